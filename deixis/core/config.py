"""From `params.yaml` to checked, frozen dataclasses; nothing below a stage ever sees a dictionary."""

import copy
import json
import math
import reprlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from deixis.core.errors import ConfigError
from deixis.core.foreign import first_words
from deixis.core.yaml_names import advise_quotes, refuse_misread_names

STRICT = ConfigDict(extra="forbid", validate_default=True)
Share = Annotated[float, Field(ge=0, le=1)]

# Aliases let a page of YAML stand for a value of gigabytes: messages show its beginning.
SHOWN = reprlib.Repr()
SHOWN.maxlevel, SHOWN.maxstring, SHOWN.maxother = 2, 80, 80

T = TypeVar("T")


def load_params(path: Path) -> dict[str, Any]:
    """Read a params file with a loader that builds plain values only."""
    try:
        params = copy.deepcopy(_parse(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Run from the root of the checkout, or pass --params FILE.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}. Pass --params FILE, a text file of YAML.") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}. Fix the file, then run the command again.") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply for settings. Fix it, then run the command again.") from None
    except Exception as error:  # of a value whose form promises another, as a thirteenth month
        where = _unreadable_value(path) or f"not valid YAML: {first_words(error)}"
        raise ConfigError(f"{path}: {where}. Fix the value, or put it in quotes, then run the command again.") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path}: found {type(params).__name__}, expected sections such as `run:` and `seed:`.")
    return params


def _unreadable_value(path: Path) -> str | None:
    """Which setting's value its loader cannot make, where that can be told: its name, and the value as written."""
    yaml = YAML(typ="safe", pure=True)
    waiting, seen = [("", yaml.compose(path))], set[int]()
    while waiting:
        name, node = waiting.pop()
        if id(node) in seen:  # an alias, which may lead back to where it stands
            continue
        seen.add(id(node))
        if isinstance(node, ScalarNode):
            try:
                YAML(typ="safe", pure=True).load(f"!<{node.tag}> {json.dumps(node.value)}")
            except Exception as error:
                return f"{name.lstrip('.')} is {SHOWN.repr(node.value)}: {first_words(error)}"
        elif isinstance(node, MappingNode):
            waiting += [(f"{name}.{key.value}", value) for key, value in reversed(node.value)]
        elif isinstance(node, SequenceNode):
            waiting += [(name, value) for value in reversed(node.value)]
    return None


@lru_cache(maxsize=4)
def _parse(text: str) -> Any:
    """A stage reads several sections of one file."""
    return YAML(typ="safe").load(text)


def read_section(params_path: Path, section: str, kind: type[T]) -> T:
    """Read one dotted section as `kind`; every mistake in it is reported at once.

    Raises:
        ConfigError: If the section is absent or any key or value of it is not allowed.
    """
    values: Any = load_params(params_path)
    walked: list[str] = []
    for name in section.split("."):
        if isinstance(values, dict) and name not in values:
            refuse_misread_names(values, ".".join(walked), params_path, wanted=name)
        if not isinstance(values, dict) or name not in values:
            where = ".".join(walked) or "the top level"
            known = ", ".join(sorted(map(str, values))) if isinstance(values, dict) else type(values).__name__
            raise ConfigError(f'{params_path}: {where} has no "{name}". Known: {known}. Add it or name one of those.')
        values = values[name]
        walked.append(name)
    if problem := _unstorable(values, section):
        raise ConfigError(f"{params_path}: {problem}. Fix {params_path}, then run: dvc repro")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        lines = [_explain(problem, section, kind) for problem in error.errors()]
        remedy = f"Fix {params_path}, then run: dvc repro"
        raise ConfigError(f"{params_path}: " + "; ".join(lines) + f". {remedy}") from None


def _unstorable(values: Any, name: str) -> str | None:
    """The first value that no manifest could hold: neither a number nor text, though YAML has it."""
    waiting, seen = [(name, values)], set[int]()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name} is {value}. Allowed: a finite number"
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return f"{name} is {SHOWN.repr(value)}, which holds half of a surrogate pair. Allowed: whole characters"
        if isinstance(value, dict | list) and id(value) not in seen:  # aliases may make a page of it a maze
            seen.add(id(value))
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{name}.{key}", part) for key, part in inside]
            waiting += [(f"{name}: a name in it", key) for key in value] if isinstance(value, dict) else []
    return None


def _explain(problem: Any, section: str, kind: Any) -> str:
    path = [part for part in problem["loc"] if not str(part).startswith("function-")]
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        *parents, name = path
        where = ".".join([section, *map(str, parents)])
        known = ", ".join(_fields_at(kind, parents)) or "none"
        return f'{where} has no setting "{name}" ({SHOWN.repr(problem["input"])}). Known: {known}'
    said = f"{'.'.join([section, *map(str, path)])} is {SHOWN.repr(problem['input'])}: {problem['msg']}"
    return said + (advise_quotes(problem["input"]) if problem["type"] == "string_type" else "")


def _fields_at(kind: Any, parents: list[Any]) -> list[str]:
    for parent in parents:
        if isinstance(parent, int):  # an entry of a list
            kind = next((part for part in get_args(kind) if part is not Ellipsis), kind)
            continue
        kind = next((part for part in get_args(kind) if getattr(part, "__name__", None) == parent), kind)  # of a choice
        fields = getattr(kind, "__dataclass_fields__", {})
        if parent in fields:
            kind = fields[parent].type
    return list(getattr(kind, "__dataclass_fields__", {}))

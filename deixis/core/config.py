"""From `params.yaml` to checked, frozen dataclasses; nothing below a stage ever sees a dictionary."""

import copy
import reprlib
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from deixis.core.errors import ConfigError
from deixis.core.yaml_names import advise_quotes, refuse_misread_names

STRICT = ConfigDict(extra="forbid", validate_default=True)

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
    if not isinstance(params, dict):
        raise ConfigError(f"{path}: found {type(params).__name__}, expected sections such as `run:` and `seed:`.")
    return params


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
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        lines = [_explain(problem, section, kind) for problem in error.errors()]
        remedy = f"Fix {params_path}, then run: dvc repro"
        raise ConfigError(f"{params_path}: " + "; ".join(lines) + f". {remedy}") from None


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

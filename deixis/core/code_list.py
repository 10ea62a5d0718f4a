"""The list of fingerprints: `data/code.json`, and a running stage held to what it says about the stage's code."""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deixis.core.errors import ConfigError
from deixis.core.fingerprint import OF_METHODS, Code, loaded_modules
from deixis.core.syntax import Import, Syntax

LISTED = Path("data/code.json")
LISTER = "stages.list_code"
PARSED = Path("scratch/code_syntax.json")  # by checksum, so that a stage need not parse what `list_code` has parsed


class CodeGuard:
    """Refuses to go on where a stage's code is not what the list says, at its start and before DVC takes its output.

    DVC itself cannot notice: `repro -s` runs no other stage, and an edit during a run comes after it looked.
    """

    def __init__(self, stage: str) -> None:
        self._listed = read_list(LISTED)
        self._entries = [stage]

    def check(self) -> None:
        """Compare all that has been loaded so far.

        Raises:
            ConfigError: If it differs from the list, with the files that were changed since; or if the stage has loaded
                modules that its fingerprint does not cover.
        """
        code = Code(known=read_parsed(PARSED))
        methods = {f"{package}.{key}": target for package, key, target in code.methods()}
        covered = {name for entry in self._entries for name in code.closure(methods.get(entry, entry).split(":")[0])}
        if others := sorted(set(loaded_modules(code)) - covered):
            raise ConfigError(
                f"{self._entries[0]} has loaded {', '.join(others)}, which no import of it names, so that an edit "
                "there would go unnoticed. Import it by its name, or through a registry. Then run: dvc repro"
            )
        for entry in self._entries:
            now = code.method(methods[entry]) if entry in methods else code.stage(entry)
            if now != look_up(self._listed, entry):
                changed = [str(path) for path in changed_files(code, self._listed["modules"])]
                raise ConfigError(
                    f"{entry} runs other code than {LISTED} lists; changed since: {', '.join(changed) or 'no file'}. "
                    "Its output would be filed under code that did not make it. Run: dvc repro, which lists the code "
                    "first, or undo the change"
                )

    def add_method(self, entry: str) -> None:
        """A method is loaded: from here on it counts, too."""
        if entry not in self._entries:
            self._entries.append(entry)
            self.check()


_guard: CodeGuard | None = None


def held_to_its_code(stage: Callable[..., Any], module: str) -> Callable[..., Any]:
    """The stage, which refuses to run under DVC where its code is not as listed, or is not any more at its end."""
    if "DVC_STAGE" not in os.environ or module == LISTER:
        return stage

    @functools.wraps(stage)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        global _guard
        _guard = CodeGuard(module)
        _guard.check()
        result = stage(*args, **kwargs)
        _guard.check()
        return result

    return guarded


def method_loaded(target: str, key: str) -> None:
    """Tell the guard, if there is one, that a registry's line was followed."""
    package = target.split(":")[0].rpartition(".")[0]
    if _guard is not None and package in OF_METHODS:
        _guard.add_method(f"{package}.{key}")


def read_list(path: Path) -> dict[str, Any]:
    """What `list_code` wrote.

    Raises:
        ConfigError: If there is no list, or it is cut short.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise ConfigError(f"{path}: {reason}. It says what code a stage runs. Run: dvc repro list_code") from None


def look_up(listed: dict[str, Any], entry: str) -> Any:
    """The value at a dotted name, or None."""
    value: Any = listed
    for part in entry.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def changed_files(code: Code, modules: dict[str, str]) -> list[Path]:
    """Files whose meaning is not what it was, those that came and those that went."""
    now = {name: code.fingerprint([name]) for name in code.paths}
    names = sorted(name for name in now.keys() | modules.keys() if now.get(name) != modules.get(name))
    return [code.paths.get(name, code.root / f"{name.replace('.', '/')}.py").relative_to(code.root) for name in names]


def read_parsed(path: Path) -> dict[str, Syntax]:
    """What an earlier run parsed; nothing where there is none, or it cannot be read: it is but a shortcut."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {checksum: _syntax(fields) for checksum, fields in stored.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def storable(parsed: dict[str, Syntax]) -> dict[str, Any]:
    """What was parsed as JSON takes it, for `read_parsed`."""
    return {checksum: asdict(syntax) | {"names": sorted(syntax.names)} for checksum, syntax in parsed.items()}


def _syntax(fields: dict[str, Any]) -> Syntax:
    imports = tuple(Import(**one) for one in fields["imports"])
    registries = {
        name: {key: (target, line) for key, (target, line) in lines.items()}
        for name, lines in fields["registries"].items()
    }
    return Syntax(fields["digest"], imports, frozenset(fields["names"]), registries)

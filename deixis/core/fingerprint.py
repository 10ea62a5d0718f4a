"""Which of our code each stage and method stands on: import closures, each with one fingerprint.

`list_code` writes the fingerprints, and stages depend on theirs as on a parameter; `deixis.core.code_guard` holds a
running stage to the one it was started under.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deixis.core.errors import ConfigError
from deixis.core.syntax import HEX_DIGITS, Import, Syntax, is_installed, read_syntax

ROOT = Path(__file__).resolve().parents[2]  # of the checkout
FOLDERS = ("deixis", "models", "training", "answering", "reviewing", "stages", "commands", "claims")
# Registries whose methods have fingerprints of their own, which the stages of one method add to theirs
OF_METHODS = ("models.teachers", "models.map_teachers", "models.students")
RUNNABLE = ("stages", "claims")  # folders whose modules are stages

_PARSED: dict[str, Syntax] = {}  # of this process


class Code:
    """The modules of a checkout as they are on disk now, each parsed when it is first asked for.

    Args:
        known: Syntax by the checksum of a module's bytes; what is parsed here is added to it.
    """

    def __init__(self, root: Path = ROOT, *, known: dict[str, Syntax] | None = None) -> None:
        self.root = root
        self._known = _PARSED if known is None else known
        self._syntax: dict[str, Syntax] = {}  # by module
        self._closures: dict[str, frozenset[str]] = {}

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Every module's file, by dotted name; a package's is its `__init__.py`."""
        modules = {}
        for folder in FOLDERS:
            for path in sorted((self.root / folder).rglob("*.py")):
                name = ".".join(path.relative_to(self.root).with_suffix("").parts)
                modules[name.removesuffix(".__init__")] = path
        return modules

    def syntax(self, module: str) -> Syntax:
        """What counts of a module."""
        if module not in self._syntax:
            path = self.paths[module]
            source = path.read_bytes()
            checksum = hashlib.sha256(source).hexdigest()
            if checksum not in self._known:
                self._known[checksum] = read_syntax(path.relative_to(self.root), source)
            self._syntax[module] = self._known[checksum]
        return self._syntax[module]

    def closure(self, module: str) -> frozenset[str]:
        """The module and all of our code that loading and running it can load.

        Methods of OF_METHODS are left out: which of them a stage loads, its parameters say.
        """
        if module not in self._closures:
            reached, todo = set[str](), [module]
            while todo:
                current = todo.pop()
                if current not in reached:
                    reached.add(current)
                    todo += self._needed(current)
            self._closures[module] = frozenset(reached)
        return self._closures[module]

    def fingerprint(self, modules: Iterable[str], *more: str) -> str:
        """One hash for some modules together."""
        lines = [f"{name} {self.syntax(name).digest} {self._registry_lines(name)}" for name in sorted(modules)]
        return hashlib.sha256("\n".join([*lines, *more]).encode()).hexdigest()[:HEX_DIGITS]

    def stage(self, module: str) -> str:
        """Fingerprint of a stage, without the method that it may run."""
        return self.fingerprint(self.closure(module))

    def method(self, target: str) -> str:
        """Fingerprint of a method, as its registry names it: "package.module:Name"."""
        return self.fingerprint(self.closure(target.split(":")[0]), target)

    def methods(self) -> Iterator[tuple[str, str, str]]:
        """Registry's package, key and target of every method in OF_METHODS."""
        for package in OF_METHODS:
            for lines in self.syntax(package).registries.values():
                yield from ((package, key, target) for key, (target, _) in lines.items())

    def _needed(self, module: str) -> Iterator[str]:
        if "." in module:
            yield module.rpartition(".")[0]  # importing a module loads its packages
        for imported in self.syntax(module).imports:
            yield from (name for name in (imported.module, f"{imported.module}.{imported.name}") if name in self.paths)
            if imported.module in self.paths and imported.module not in OF_METHODS and imported.name:
                lines = self.syntax(imported.module).registries.get(imported.name, {})
                yield from (target.split(":")[0] for target, _ in lines.values())

    def _registry_lines(self, module: str) -> str:
        if module in OF_METHODS:
            return ""
        registries = self.syntax(module).registries.items()
        return repr(sorted((name, key, target) for name, lines in registries for key, (target, _) in lines.items()))

    def check(self) -> None:
        """Refuse imports and registry lines that lead nowhere, in any module.

        Raises:
            ConfigError: Names every one by file and line.
        """
        problems = [problem for module in self.paths for problem in self._problems(module)]
        if problems:
            raise ConfigError("; ".join(problems) + ". Fix them, then run: dvc repro")

    def _problems(self, module: str) -> Iterator[str]:
        path, syntax = self.paths[module].relative_to(self.root), self.syntax(module)
        for imported in syntax.imports:
            if problem := self._broken(imported):
                yield f"{path}:{imported.line}: {problem}"
        for name, lines in syntax.registries.items():
            for key, (target, line) in lines.items():
                place, attribute = target.split(":")
                if place.split(".")[0] not in FOLDERS:
                    continue
                if place not in self.paths:
                    yield f'{path}:{line}: {name} names "{target}" for {key}, and there is no module {place}'
                elif attribute not in self.syntax(place).names:
                    yield f'{path}:{line}: {name} names "{target}" for {key}, and {place} has no {attribute}'

    def _broken(self, imported: Import) -> str | None:
        package = imported.module.split(".")[0]
        if package not in FOLDERS:
            missing = imported.needed and not is_installed(package)
            return f"imports {imported.module}, and {package} is not installed" if missing else None
        if imported.module not in self.paths:
            return f"imports {imported.module}, and there is no such module"
        if imported.name in (None, "*") or f"{imported.module}.{imported.name}" in self.paths:
            return None
        names = self.syntax(imported.module).names
        if imported.name in names or "__getattr__" in names:
            return None
        return f"imports {imported.name} from {imported.module}, which has no such name"


@dataclass(frozen=True)
class CodeList:
    """What `list_code` writes: every fingerprint, in the order and nesting of its file."""

    stages: dict[str, str]  # "folder.module" -> fingerprint
    methods: dict[str, str]  # "models.role.key" -> fingerprint
    modules: dict[str, str]  # of every module alone, to say what changed

    @staticmethod
    def of(code: Code) -> "CodeList":
        """List a checkout."""
        runnable = [name for name in code.paths if name.split(".")[0] in RUNNABLE and "." in name]
        return CodeList(
            stages={name: code.stage(name) for name in runnable},
            methods={f"{package}.{key}": code.method(target) for package, key, target in code.methods()},
            modules={name: code.fingerprint([name]) for name in code.paths},
        )

    def nested(self) -> dict[str, Any]:
        """As JSON: dotted names become levels, which DVC reads as parameters."""
        whole: dict[str, Any] = {}
        for name, value in (self.stages | self.methods).items():
            *parents, last = name.split(".")
            level = whole
            for parent in parents:
                level = level.setdefault(parent, {})
            level[last] = value
        return whole | {"modules": self.modules}


def loaded_modules(code: Code) -> list[str]:
    """Our modules that this process has loaded, the one it runs included."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    names = {*sys.modules, main.name if main is not None else ""}
    return sorted(name for name in names if name in code.paths)

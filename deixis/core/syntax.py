"""One module of our code as what it means: its syntax tree without what changes no result, and what it imports.

Comments, layout, docstrings and help texts are left out; names, values and defaults count. The form is the same under
Python 3.11 to 3.13, whose own `ast.dump` differs.
"""

import ast
import hashlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deixis.core.errors import ConfigError

UNMEANT = {"ctx", "kind", "type_comment", "type_ignores"}  # fields of tree nodes that change no result
TARGET = re.compile(r"[a-z_]\w*(\.\w+)+:\w+")  # a line of a registry: "package.module:Name"
HEX_DIGITS = 16


@dataclass(frozen=True)
class Import:
    """One import of one module: `from module import name`, or `import module` where there is no name."""

    module: str
    name: str | None
    line: int
    needed: bool  # as soon as the module is loaded: at its top and not under `try`


@dataclass(frozen=True)
class Syntax:
    """What counts of a module."""

    digest: str  # of its form, without its registries
    imports: tuple[Import, ...]
    names: frozenset[str]  # bound at its top
    registries: dict[str, dict[str, tuple[str, int]]]  # name -> key -> "package.module:Name" and its line


def read_syntax(path: Path, source: bytes) -> Syntax:
    """Parse a module.

    Args:
        path: From the root of the checkout.

    Raises:
        ConfigError: If it is not Python; says where.
    """
    try:
        tree = ast.parse(source, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise ConfigError(f"{path}:{line}: not valid Python: {reason}. Fix it, then run: dvc repro") from None
    registries = {name: lines for node in tree.body for name, lines in _registry(node)}
    rest = [node for node in tree.body if not any(True for _ in _registry(node))]
    form = f"[{','.join(_form(node) for node in rest if not _is_text(node))}]"
    return Syntax(
        digest=hashlib.sha256(form.encode()).hexdigest()[:HEX_DIGITS],
        imports=tuple(_imports(tree, path.parent.parts)),
        names=frozenset(_bound(tree.body)),
        registries=registries,
    )


def _form(value: Any) -> str:
    if isinstance(value, ast.JoinedStr):  # some versions part the text between two fields
        return f"JoinedStr({','.join(_parts(value))})"
    if isinstance(value, ast.keyword) and value.arg == "help":
        return "help"
    if isinstance(value, ast.AST):
        fields = ((name, getattr(value, name, None)) for name in sorted(value._fields) if name not in UNMEANT)
        return f"{type(value).__name__}({','.join(f'{name}={_form(v)}' for name, v in fields if v not in (None, []))})"
    if isinstance(value, list):
        return f"[{','.join(_form(item) for item in value if not _is_text(item))}]"
    return f"{type(value).__name__}:{value!a}"


def _parts(text: ast.JoinedStr) -> Iterator[str]:
    constant = ""
    for part in text.values:
        if isinstance(part, ast.Constant):
            constant += str(part.value)
            continue
        if constant:
            yield ascii(constant)
        constant = ""
        yield _form(part)
    if constant:
        yield ascii(constant)


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _registry(node: ast.stmt) -> Iterator[tuple[str, dict[str, tuple[str, int]]]]:
    """A public name and its lines, if the statement is a registry: a dictionary of texts to places in modules."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    value = getattr(node, "value", None)
    if not isinstance(target, ast.Name) or target.id.startswith("_") or not isinstance(value, ast.Dict):
        return
    lines = {}
    for key, place in zip(value.keys, value.values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(place, ast.Constant):
            return
        if not isinstance(key.value, str) or not TARGET.fullmatch(str(place.value)):
            return
        lines[key.value] = (str(place.value), place.lineno)
    if lines:
        yield target.id, lines


def _imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[Import]:
    needed = {id(inner) for node in ast.iter_child_nodes(tree) for inner in _at_once(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, node.lineno, id(node) in needed) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(module, alias.name, node.lineno, id(node) in needed) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            named = node.args[0] if node.args else None
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield Import(named.value, None, node.lineno, False)


def _at_once(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is in it that runs when the module is loaded, whatever happens."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try):
        yield node
        for inner in ast.iter_child_nodes(node):
            yield from _at_once(inner)


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that the statements bind where they stand, whichever branch runs."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        else:
            named = (inner for inner in _at_once(node) if isinstance(inner, ast.Name))
            yield from (name.id for name in named if isinstance(name.ctx, ast.Store))
            inside = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
            inside += [handler.body for handler in getattr(node, "handlers", [])]
            yield from (name for statements in inside for name in _bound(statements))


@cache
def is_installed(package: str) -> bool:
    """Whether an import of another project's package can be found, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False

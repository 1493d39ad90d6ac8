"""The source of the project as data: modules and what they import."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.places import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One name imported. target: dotted, as far as it is written. for_types: only seen by the type checker."""

    target: str
    line: int
    for_types: bool


@dataclass(frozen=True)
class Module:
    """One module. imports: all of them, those inside functions included."""

    name: str
    path: Path
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def room(self) -> str:
        """The folder or file right below barman/."""
        return self.name.split(".")[1] if "." in self.name else ""


@functools.cache
def modules() -> dict[str, Module]:
    """Every module of the project by dotted name; packages under the name of their folder."""
    found = {}
    for path in sorted((PROJECT / "barman").rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree = ast.parse(path.read_text(), filename=str(path))
        found[name] = Module(name, path, tree, tuple(_imports(tree)))
    return found


def own_imports(module: Module, *, types_too: bool) -> dict[str, int]:
    """The project's modules that module imports, each with a line where it does."""
    known = modules()
    found: dict[str, int] = {}
    for one in module.imports:
        if one.target.split(".")[0] != "barman" or (one.for_types and not types_too):
            continue
        name = one.target
        while name not in known:
            name = name.rpartition(".")[0]
        if name not in {"barman", module.name}:
            found.setdefault(name, one.line)
    return found


def _imports(tree: ast.AST, *, for_types: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(f"{node.module}.{alias.name}", node.lineno, for_types) for alias in node.names)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            for part in node.body:
                yield from _imports(ast.Module([part], []), for_types=True)
            for part in node.orelse:
                yield from _imports(ast.Module([part], []), for_types=for_types)
        else:
            yield from _imports(node, for_types=for_types)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"

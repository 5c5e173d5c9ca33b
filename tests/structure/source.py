"""The project's own source, read as syntax trees: what each file imports, where, and what it calls."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGES", "ROOT", "Import", "calls", "dotted", "imports", "modules", "tree_of", "unit_of"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("clipcli", "trainer", "export")


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One imported module. `late` is true inside a function; type-checking blocks are not listed at all."""

    module: str
    line: int
    late: bool


def modules(*packages: str) -> list[Path]:
    """Every Python file of the packages (all three without an argument), sorted."""
    return sorted(path for package in packages or PACKAGES for path in (ROOT / package).rglob("*.py"))


def unit_of(module: str) -> str:
    """`clipcli.library.store` -> `library`, `clipcli` -> `clipcli`, `trainer.loop` -> `trainer`."""
    parts = module.split(".")
    return parts[1] if parts[0] == "clipcli" and len(parts) > 1 else parts[0]


def dotted(path: Path) -> str:
    """The module name of a file of the project."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def imports(path: Path) -> list[Import]:
    """What a file imports at run time, in order."""
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    return list(_imports(tree_of(path), package, late=False))


def _imports(node: ast.AST, package: str, *, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module=alias.name, line=child.lineno, late=late)
        elif isinstance(child, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
            base = ".".join([*above, *([child.module] if child.module else [])])
            for alias in child.names:
                # `from clipcli import errors` imports the module clipcli.errors; for a name inside a module the
                # longer path is harmless, since only its first parts are looked at.
                yield Import(module=f"{base}.{alias.name}", line=child.lineno, late=late)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _imports(other, package, late=late)
        else:
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, package, late=inside)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def calls(path: Path) -> Iterator[tuple[str, int]]:
    """The dotted name of every call with its line: `print`, `sys.stdout.write`, `typer.echo`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node.lineno

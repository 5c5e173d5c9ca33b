"""A file has one subject and can be read in one sitting."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.structure.source import ROOT, modules, tree_of

LIMIT = 300
MODEL_LIMIT = 400  # a tower is read as one piece
TEST_LIMIT = 400  # cases stand beside one another
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff", "base"}

OWN = modules() + sorted((ROOT / "benchmarks").rglob("*.py")) + sorted((ROOT / "docs").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def is_model(path: Path) -> bool:
    """A file that defines network modules."""
    classes = [node for node in tree_of(path).body if isinstance(node, ast.ClassDef)]
    bases = {ast.unparse(base) for node in classes for base in node.bases}
    return bool(bases & {"nn.Module", "torch.nn.Module"})


@pytest.mark.parametrize("path", OWN + TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_length(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    limit = TEST_LIMIT if path in TESTS else MODEL_LIMIT if is_model(path) else LIMIT
    assert lines <= limit, f"{lines} lines; split it by subject (limit {limit})"


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_say_what_is_inside(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", OWN + TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_annotations_are_postponed(path: Path) -> None:
    body = tree_of(path).body
    if [node for node in body if not isinstance(node, ast.Expr)]:  # more than a docstring
        assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in body)

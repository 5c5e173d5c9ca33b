"""The error tree: complete in `__all__`, drawn truly in its docstring, one public number per meaning."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clipcli import errors

CLASSES: list[Any] = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
]


def test_all_names_every_error() -> None:
    assert sorted(errors.__all__) == sorted(error.__name__ for error in CLASSES)
    assert errors.__all__ == sorted(errors.__all__)


def test_every_error_is_a_clip_error() -> None:
    assert all(issubclass(error, errors.ClipError) for error in CLASSES)


def drawn() -> dict[str, tuple[int, int, str]]:
    """Name -> (depth, exit code, meaning), from the drawing in the docstring."""
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^( {4}[│ ├└─]*)(\w+Error) +(\d+) +(\S.*)$", line)
        if match:
            indent, name, code, meaning = match.groups()
            found[name] = ((len(indent) - 4) // 4, int(code), meaning)
    return found


def test_the_drawing_shows_every_error_with_its_code() -> None:
    assert {name: code for name, (_, code, _) in drawn().items()} == {e.__name__: e.exit_code for e in CLASSES}


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_the_drawing_shows_the_descent(error: type[errors.ClipError]) -> None:
    depth = len(error.__mro__) - len(errors.ClipError.__mro__)
    assert drawn()[error.__name__][0] == depth


def test_codes_tell_errors_apart() -> None:
    """Two errors share a number only where one is a kind of the other."""
    for one in CLASSES:
        for other in CLASSES:
            if one.exit_code == other.exit_code:
                assert issubclass(one, other) or issubclass(other, one)


def test_a_missing_extra_names_its_pip_line() -> None:
    assert str(errors.MissingExtraError("train", "clip train")).endswith(errors.pip_line("train"))


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "pip install 'clipcli[train]'"),
        ({"url": "file:///home/me/my%20clip", "dir_info": {}}, "pip install '/home/me/my clip[train]'"),
        ({"url": "file:///home/me/clip", "dir_info": {"editable": True}}, "pip install -e '/home/me/clip[train]'"),
        (
            {"url": "https://example.org/clip", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "pip install 'clipcli[train] @ git+https://example.org/clip'",
        ),
        ({"url": "https://example.org/clip.whl"}, "pip install 'clipcli[train] @ https://example.org/clip.whl'"),
    ],
)
def test_a_missing_extra_is_installed_from_where_the_program_came_from(
    origin: dict[str, Any] | None, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(read_text=lambda name: None if origin is None else json.dumps(origin))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert errors.pip_line("train") == line
    monkeypatch.delenv("VIRTUAL_ENV")  # the `pip` of this shell is another Python's
    assert errors.pip_line("train") == line.replace("pip", f"{shlex.quote(sys.executable)} -m pip", 1)


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "pip install --force-reinstall --no-deps 'clipcli'"),
        ({"url": "file:///a/clip", "dir_info": {}}, "pip install --force-reinstall --no-deps '/a/clip'"),
        ({"url": "file:///a/clip", "dir_info": {"editable": True}}, "git -C '/a/clip' restore clipcli/starter"),
    ],
)
def test_a_part_of_the_program_is_had_again_from_where_the_program_came_from(
    origin: dict[str, Any] | None, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(read_text=lambda name: None if origin is None else json.dumps(origin))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert errors.mending_line("starter") == line


def test_a_missing_extra_within_the_folder_and_with_pipx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = json.dumps({"url": tmp_path.as_uri(), "dir_info": {}})
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda _: origin))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.chdir(tmp_path)
    assert errors.pip_line("train") == "pip install '.[train]'"
    monkeypatch.setattr(sys, "prefix", "/home/me/.local/share/pipx/venvs/clipcli")
    assert errors.pip_line("train") == "pipx install --force '.[train]'"

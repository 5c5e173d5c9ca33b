"""Where a folder cannot be made: one line and its code, before any work is done."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.installed import install, models_folder, remove, set_default
from clipcli.bundle.placing import building, check_writable
from clipcli.errors import ClipError, LibraryLockedError, UsageError
from tests.tiny_bundle import make_tiny_bundle


def refuse(number: int) -> Callable[..., Any]:
    def call(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return call


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = make_tiny_bundle(tmp_path / "source")
    install(source, name="mine")
    monkeypatch.setattr(Path, "mkdir", refuse(number))
    with pytest.raises(LibraryLockedError, match="cannot be written here"):
        install(source, name="other")
    monkeypatch.setattr(Path, "replace", refuse(number))
    with pytest.raises(LibraryLockedError, match="cannot be written here"):
        remove("mine")
    with pytest.raises(LibraryLockedError, match="cannot be written here"):
        set_default("mine")
    assert (models_folder() / "mine" / "model.json").is_file()


def test_a_full_disk_is_still_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"), building(tmp_path / "new"):
        raise AssertionError


def test_the_place_is_tried_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(tmp_path / "not" / "there" / "yet")
    assert list(tmp_path.iterdir()) == []
    asked: list[Path] = []

    def refused(path: Path, _: int) -> bool:
        asked.append(path)
        return False

    monkeypatch.setattr(os, "access", refused)
    with pytest.raises(LibraryLockedError, match="yet cannot be written here"):
        check_writable(tmp_path / "not" / "there" / "yet")
    assert asked == [tmp_path]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wanted in (tmp_path / "file" / "models", tmp_path / "file"):
        with pytest.raises(UsageError, match="file is a file; a folder is wanted there"):
            check_writable(wanted)
    with pytest.raises(ClipError, match="a folder is wanted there"), building(tmp_path / "file" / "new"):
        raise AssertionError


@pytest.mark.parametrize(
    "command", [["list"], ["show"], ["default", "starter"], ["rm", "x"], ["pull", "clip-vit-b-32"], ["import", "."]]
)
def test_a_models_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLIP_MODELS", str(tmp_path / "file"))
    monkeypatch.chdir(make_tiny_bundle(tmp_path / "source"))
    result = CliRunner().invoke(app, ["models", *command])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"clip: CLIP_MODELS names a file, {tmp_path / 'file'}: it is the folder that models are in"
    ]

"""Renaming, linking and syncing files fails: a library, a backup, an export, a cache are there whole or not at all.

What SQLite itself writes is the business of test_failing_disk.py.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.library import indexing
from clipcli.library.vectors import cache_folder
from tests.library.conftest import Index, integrity, rows
from tests.library.decoding_here import DecodersHere

CALLS = ("fsync", "replace", "rename", "link")


class Failing:
    """Some calls of `os`, the one with this number of which fails, once."""

    def __init__(self, fail_at: int, error: BaseException) -> None:
        self.count, self.fail_at, self.error = 0, fail_at, error

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.fail_at:
                raise self.error
            return call(*arguments, **options)

        return answer


def every_failure(error: BaseException, run: Callable[[], Any], check: Callable[[Any], None]) -> int:
    """Run with each call failing in turn, until none is left; how many that were."""
    for number in range(1, 50):
        failing = Failing(number, error)
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, failing.around(getattr(os, name)))
            result = run()
        if failing.count < number:
            return number - 1
        check(result)
    raise AssertionError("there is no end of it")


@pytest.fixture(params=[errno.ENOSPC, errno.EIO, KeyboardInterrupt], ids=["full", "broken", "Ctrl-C"])
def error(request: pytest.FixtureRequest) -> BaseException:
    if isinstance(request.param, int):
        return OSError(request.param, os.strerror(request.param))
    stop: BaseException = request.param()
    return stop


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def code_for(error: BaseException) -> int:
    if isinstance(error, OSError):
        return 7 if error.errno == errno.ENOSPC else 1
    return 130


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} if folder.exists() else set()


def test_a_new_library(error: BaseException, photo_folder: Callable[..., Path], tmp_path: Path, bundle: Path) -> None:
    folder, file = photo_folder(count=2), tmp_path / "new" / "library.db"

    def check(result: Any) -> None:
        # A file that cannot be linked is renamed instead.
        assert result.exit_code in (code_for(error), 0 if isinstance(error, OSError) else 130), result.stderr
        assert names(file.parent) <= {"library.db"}
        if file.exists():
            assert integrity(file) == "ok"
            for left in file.parent.glob("library.db-*"):
                left.unlink()
            file.unlink()

    assert every_failure(error, lambda: run("embed", folder, "-m", bundle, "--db", file), check) >= 3


def test_a_backup_and_an_export(
    error: BaseException, index: Index, photo_folder: Callable[..., Path], library_file: Path, tmp_path: Path
) -> None:
    index(photo_folder(count=3))
    out = tmp_path / "out"
    out.mkdir()
    for what, target in (("backup", out / "copy.db"), ("export", out / "vectors.npz")):

        def check(result: Any, target: Path = target) -> None:
            assert result.exit_code == code_for(error), result.stderr
            assert names(out) <= {target.name}
            assert not target.exists() or target.suffix != ".db" or integrity(target) == "ok"
            for left in out.iterdir():
                left.unlink()

        again = partial(run, "library", what, target, "--db", library_file)
        assert every_failure(error, again, check) >= 2
        target.unlink()
    assert rows(library_file, "SELECT count(*) FROM embeddings") == [3]


def test_what_a_killed_search_has_left_is_swept_up(
    index: Index, photo_folder: Callable[..., Path], library_file: Path, bundle: Path
) -> None:
    index(photo_folder(count=3))
    cache_folder().mkdir(parents=True)
    old, recent = (cache_folder() / f".making-{name}" for name in ("old", "recent"))
    for left in (old, recent):
        left.write_bytes(b"half a cache")
    os.utime(old, (1, 1))
    assert run("search", "red", "-m", bundle, "--db", library_file).exit_code == 0
    assert (old.exists(), recent.exists()) == (False, True)


def test_a_cache(
    error: BaseException, index: Index, photo_folder: Callable[..., Path], library_file: Path, bundle: Path
) -> None:
    """Without it a search takes longer and finds the same."""
    index(photo_folder(count=3))
    search = ("search", "red", "-m", bundle, "--db", library_file, "--format", "paths")
    right = run(*search).stdout
    assert right
    assert list(cache_folder().iterdir()) != []

    def again() -> Any:
        for left in cache_folder().iterdir():
            left.unlink()
        return run(*search)

    def check(result: Any) -> None:
        if isinstance(error, KeyboardInterrupt):
            assert result.exit_code == 130
        else:
            assert (result.exit_code, result.stdout) == (0, right), result.stderr
        assert not any(name.startswith(".") for name in names(cache_folder()))

    assert every_failure(error, again, check) >= 2

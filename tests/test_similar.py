"""`clip similar`, and what `similar` and `search` do with the pictures they have found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.render import viewer
from tests.test_search import Search, bundle, library, own_library, own_photos, photos, records, search, stems
from tests.test_search_options import ids_of
from tests.tiny_bundle import COLOURS
from tests.tiny_library import make_tiny_library

__all__ = ["bundle", "library", "own_library", "own_photos", "photos", "search"]  # fixtures

NDJSON = ("--format", "ndjson")


@pytest.fixture
def similar(library: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    monkeypatch.setenv("CLIP_DB", str(library))
    return lambda *arguments: CliRunner().invoke(app, ["similar", *map(str, arguments)])


def test_all_but_itself(similar: Search, search: Search, photos: Path, library: Path, tmp_path: Path) -> None:
    by_search = records(search(photos / "red.png", *NDJSON))
    others = [record | {"rank": record["rank"] - 1} for record in by_search[1:]]
    assert Path(by_search[0]["path"]).stem == "red"
    assert records(similar(photos / "red.png", *NDJSON)) == others
    by_id = records(similar(f"id:{ids_of(library)['red']}", *NDJSON))
    assert [record["path"] for record in by_id] == [record["path"] for record in others]
    assert [r["score"] for r in by_id] == pytest.approx([r["score"] for r in others], abs=2e-6)
    (tmp_path / "link").symlink_to(photos)
    assert records(similar(tmp_path / "link" / "red.png", *NDJSON)) == others


def test_a_picture_from_elsewhere_and_copies(similar: Search, own_photos: Path, bundle: Path, tmp_path: Path) -> None:
    (own_photos / "sub").mkdir()
    shutil.copy(own_photos / "red.png", own_photos / "sub" / "again.png")
    library = make_tiny_library(tmp_path / "with-copy.db", own_photos, [bundle])
    first = records(similar(own_photos / "red.png", "--db", library, *NDJSON))[0]
    assert (Path(first["path"]).stem, first["score"]) == ("again", pytest.approx(1, abs=1e-6))
    shutil.copy(own_photos / "red.png", tmp_path / "elsewhere")  # a picture whatever it is called
    found = stems(similar(tmp_path / "elsewhere", "--db", library, "-k", "2", *NDJSON))
    assert sorted(found) == ["again", "red"]


def test_cut_offs_and_filters(similar: Search, photos: Path) -> None:
    every = records(similar(photos / "red.png", *NDJSON))
    limit = (every[1]["score"] + every[2]["score"]) / 2
    assert records(similar(photos / "red.png", "--threshold", limit, *NDJSON)) == every[:2]
    assert stems(similar(photos / "red.png", "--where", "path LIKE '%blue.png'", *NDJSON)) == ["blue"]
    assert "nothing like that here" in similar(photos / "red.png", "--min-sigma", "9").stderr
    facts = records(similar(photos / "red.png", "-k", "1", "--facts", *NDJSON))[0]
    assert (facts["width"], facts["height"], facts["format"]) == (40, 30, "PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.jpg"], 4, "no such file: nowhere.jpg"),
        (["."], 2, ". is a folder"),
        (["id:999"], 4, "no picture with the id 999"),
        ([], 2, "IMAGE"),
        (["id:1", "--copy-to", __file__], 2, "is no folder"),
    ],
)
def test_a_senseless_command_line(arguments: list[str], code: int, said: str, similar: Search) -> None:
    ended = similar(*arguments)
    assert (ended.exit_code, ended.stderr.count("\n")) == (code, 1)
    assert said in ended.stderr


def test_copies(search: Search, own_library: Path, own_photos: Path, in_folder: Path) -> None:
    def run(*arguments: str) -> Any:
        return search("red", "--db", own_library, "--format", "paths", *arguments)

    first = run("-k", "2", "--copy-to", "found")
    paths = [Path(line) for line in first.stdout.splitlines()]
    assert (first.exit_code, first.stderr) == (0, "copied 2 pictures to found\n")
    assert {path.name: path.read_bytes() for path in (in_folder / "found").iterdir()} == {
        path.name: path.read_bytes() for path in paths
    }
    (in_folder / "found" / "red.png").write_text("something else")
    again = run("-k", "3", "--copy-to", "found", "--link-to", "links")
    assert again.stderr == (
        "copied 2 pictures to found (1 under another name, 1 there already)\nlinked 3 pictures to links\n"
    )
    assert (in_folder / "found" / "red.png").read_text() == "something else"
    assert (in_folder / "links" / "red.png").resolve() == (own_photos / "red.png").resolve()
    (own_photos / "blue.png").unlink()
    gone = run("-k", "0", "--copy-to", "all")
    assert gone.exit_code == 3
    assert len(gone.stdout.splitlines()) == len(COLOURS)  # found all the same
    assert gone.stderr.splitlines() == [
        "skipped photos/blue.png: No such file or directory",
        "copied 5 pictures to all",
        "clip: 1 of 6 pictures could not be read",
    ]
    assert run("--threshold", "1", "--copy-to", "none").exit_code == 0
    assert not (in_folder / "none").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is the desktops' of Linux")
def test_open(
    library: Path, tmp_path: Path, run_clip: Callable[..., subprocess.CompletedProcess[str]], photos: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "xdg-open"
    script.write_text(f'#!/bin/sh\necho "$@" > \'{tmp_path}/opened-\'$(basename "$1")\n')
    script.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = run_clip("search", "red", "--db", library, "-k", "2", "--open", "--format", "paths", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    for path in map(Path, done.stdout.splitlines()):
        wait_for(tmp_path / f"opened-{path.name}", f"{path}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is the desktops' of Linux")
@pytest.mark.parametrize(("does", "code"), [("exit 3", 2), ("exec sleep 5", 0)])
def test_a_desktop_without_a_viewer_is_said_and_a_slow_one_is_not_waited_for(
    does: str, code: int, search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "xdg-open"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
    monkeypatch.setattr(viewer, "find_viewer", lambda: str(script))
    monkeypatch.setattr(viewer, "FAILS_WITHIN_S", 20.0 if code else 0.2)
    ended = search("red", "-k", "1", "--open", "--copy-to", tmp_path / "copies", *NDJSON)
    assert ended.exit_code == code
    assert len(ended.stdout.splitlines()) == 1
    assert len(list((tmp_path / "copies").iterdir())) == 1
    said = ended.stderr.splitlines()[-1]
    assert ("--preview" in said and "no program to show pictures" in said) == bool(code)


def wait_for(path: Path, content: str) -> None:
    """The viewer is not waited for by the program, so the test does it."""
    import time

    until = time.monotonic() + 30
    while not path.exists() or path.read_text() != content:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_no_viewer(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer.shutil, "which", lambda name: None)
    ended = search("red", "--open")
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "is not installed" in ended.stderr


def test_at_most_twenty_windows(search: Search, monkeypatch: pytest.MonkeyPatch, library: Path) -> None:
    started: list[list[bytes]] = []

    class Started:
        def __init__(self, command: list[bytes], **options: object) -> None:
            started.append(command)

        def wait(self, timeout: float) -> int:
            return 0

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(viewer.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(viewer.subprocess, "Popen", Started)
    monkeypatch.setattr(viewer, "MOST_OPENED", 3)
    ended = search("red", "--open", *NDJSON)
    expected = [[b"/bin/xdg-open", os.fsencode(record["path"])] for record in records(ended)[:3]]
    assert started == expected
    assert ended.stderr == "opened the first 3 of 6 pictures\n"


def test_a_picture_the_library_has_is_not_decoded_again_until_it_changes(
    similar: Search, own_photos: Path, bundle: Path, tmp_path: Path
) -> None:
    library = make_tiny_library(tmp_path / "own.db", own_photos, [bundle])
    red = own_photos / "red.png"
    before, there = records(similar(red, "--db", library, *NDJSON)), red.stat()
    red.write_bytes(b"x" * there.st_size)  # as unreadable as one taken with --accept-truncated
    os.utime(red, ns=(there.st_atime_ns, there.st_mtime_ns))
    assert records(similar(red, "--db", library, *NDJSON)) == before
    os.utime(red)
    changed = similar(red, "--db", library)
    assert (changed.exit_code, changed.stderr.count("\n")) == (3, 1)

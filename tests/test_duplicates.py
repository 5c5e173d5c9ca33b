"""`clip duplicates`: what it shows, what it remembers, and that it deletes only when asked twice."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.commands.duplicate_groups import FIELDS
from clipcli.library.run_lock import RunLock
from tests.test_search import Search, bundle, paint
from tests.tiny_library import make_tiny_library

__all__ = ["bundle"]  # a fixture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six colours; red again in a folder below, and almost red, smaller."""
    folder = paint(tmp_path / "photos")
    (folder / "sub").mkdir()
    shutil.copy(folder / "red.png", folder / "sub" / "red again.png")
    Image.new("RGB", (20, 15), (228, 26, 26)).save(folder / "reddish.png")
    for path in folder.rglob("*.png"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    return folder


@pytest.fixture
def library(photos: Path, bundle: Path) -> Path:
    return make_tiny_library(photos.parent / "library.db", photos, [bundle])


@pytest.fixture
def duplicates(library: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    monkeypatch.setenv("CLIP_DB", str(library))
    return lambda *arguments: CliRunner().invoke(app, ["duplicates", *map(str, arguments)])


def shown(result: Any) -> list[tuple[int, str, str]]:
    assert result.exit_code == 0, result.stderr
    return [(r["group"], r["kind"], Path(r["path"]).name) for r in map(json.loads, result.stdout.splitlines())]


NDJSON = ("--format", "ndjson")
EXACT = [(1, "kept", "red.png"), (1, "exact", "red again.png")]
NEAR = [*EXACT, (1, "near", "reddish.png")]


def test_exact_and_near(duplicates: Search) -> None:
    assert shown(duplicates(*NDJSON)) == EXACT
    assert shown(duplicates("--threshold", "0.99", *NDJSON)) == NEAR


def test_formats(duplicates: Search, photos: Path) -> None:
    records = [json.loads(line) for line in duplicates("--threshold", "0.99", *NDJSON).stdout.splitlines()]
    assert [name for name in FIELDS if name != "path_b64"] == list(records[0])
    assert (records[0]["width"], records[0]["bytes"]) == (40, (photos / "red.png").stat().st_size)
    assert 0.99 <= records[2]["score"] < 1
    rows = duplicates("--format", "csv").stdout.splitlines()
    assert rows[0] == ",".join(FIELDS)
    assert len(rows) == 3
    copies = duplicates("--threshold", "0.99", "-0").stdout_bytes
    assert copies == b"".join(os.fsencode(photos / name) + b"\0" for name in ("sub/red again.png", "reddish.png"))
    shown = duplicates("--threshold", "0.99")
    table = shown.stdout.splitlines()
    assert re.fullmatch(r"\d+ groups?, \d+ (copy|copies) beside the ones to keep, [\d.]+ k?B\n", shown.stderr)
    assert "" not in table  # empty lines between groups are for terminals
    assert [line.split()[:3] for line in table[1:]] == [
        ["1", "keep", str(records[0]["image_id"])],
        ["1", "exact", "1.000"],
        ["1", "near", f"{records[2]['score']:.3f}"],
    ]


def test_only_below_a_folder(duplicates: Search, photos: Path) -> None:
    alone = duplicates("--in", photos / "sub", *NDJSON)
    assert (alone.exit_code, alone.stdout, alone.stderr) == (0, "", "no duplicates\n")


def test_decisions(duplicates: Search) -> None:
    records = [json.loads(line) for line in duplicates("--threshold", "0.99", *NDJSON).stdout.splitlines()]
    red, again, reddish = (record["image_id"] for record in records)
    told = duplicates("--distinct", f"{red}, id:{reddish}")
    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr == "remembered: 1 pair of pictures that are no duplicates\n"
    assert shown(duplicates("--threshold", "0.99", *NDJSON)) == EXACT
    assert duplicates("--distinct", f"{red},{again}").exit_code == 0
    assert duplicates(*NDJSON).stderr == "no duplicates\n"
    assert duplicates("--not-distinct", f"{red},{again},{reddish}").stderr.startswith("forgotten: 2 pairs")
    assert shown(duplicates("--threshold", "0.99", *NDJSON)) == NEAR


def test_nothing_is_deleted_unless_asked_twice(duplicates: Search, photos: Path) -> None:
    before = sorted(photos.rglob("*"))
    dry = duplicates("--threshold", "0.99", "--delete", "--dry-run", *NDJSON)
    assert shown(dry) == NEAR
    assert dry.stderr.startswith("would delete 2 files, ")
    for senseless in (["--delete"], ["--dry-run"], ["--yes"], ["--delete", "--dry-run", "--yes"]):
        refused = duplicates(*senseless)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "look with --delete --dry-run first" in refused.stderr
    assert sorted(photos.rglob("*")) == before


def test_delete(duplicates: Search, photos: Path) -> None:
    size = sum((photos / name).stat().st_size for name in ("sub/red again.png", "reddish.png"))
    done = duplicates("--threshold", "0.99", "--delete", "--yes", *NDJSON)
    assert shown(done) == NEAR
    assert done.stderr == f"deleted 2 files, {size} B\n"
    assert sorted(path.name for path in photos.rglob("*.png")) == sorted(
        f"{name}.png" for name in ("red", "green", "blue", "yellow", "white", "black")
    )
    assert duplicates("--threshold", "0.99").stderr == "no duplicates\n"
    nothing = duplicates("--delete", "--yes")
    assert (nothing.exit_code, nothing.stderr) == (0, "no duplicates\n")


def test_a_changed_file_stays_and_the_code_tells(duplicates: Search, photos: Path) -> None:
    (photos / "reddish.png").write_bytes(b"something else")
    done = duplicates("--threshold", "0.99", "--delete", "--yes", "--format", "paths")
    assert done.exit_code == 3
    assert "reddish.png: has changed since it was indexed" in done.stderr
    assert "1 of 2 copies could not be deleted" in done.stderr
    assert (photos / "reddish.png").exists()
    assert not (photos / "sub" / "red again.png").exists()


def test_no_deleting_beside_an_index_run(duplicates: Search, library: Path, photos: Path) -> None:
    with RunLock(library):
        ended = duplicates("--delete", "--yes")
    assert (ended.exit_code, ended.stdout) == (5, "")
    assert (photos / "sub" / "red again.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--threshold", "1"], 2, "between 0 and 1"),
        (["--threshold", "nan"], 2, "between 0 and 1"),
        (["--distinct", "1"], 2, "two pictures"),
        (["--distinct", "a,b"], 2, "no list of picture ids"),
        (["--distinct", ""], 2, "no list of picture ids"),
        (["--distinct", "1,99"], 4, "the id 99"),
        (["--distinct", "1,2", "--delete", "--yes"], 2, "one at a time"),
        (["--distinct", "1,2", "--not-distinct", "1,2"], 2, "one at a time"),
        (["-m", "tiny"], 2, "takes --threshold"),
        (["-m", "nobody", "--threshold", "0.9"], 4, "nobody"),
        (["--in", "nowhere"], 4, "no such folder"),
        (["--db", "nowhere.db"], 4, "no library"),
    ],
)
def test_a_senseless_command_line(arguments: list[str], code: int, said: str, duplicates: Search) -> None:
    ended = duplicates(*arguments)
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (code, "", 1)
    assert said in ended.stderr


def test_whose_vectors(duplicates: Search, bundle: Path, photos: Path) -> None:
    for name in ("tiny", bundle):  # by the name the library has, or by what the model is
        assert shown(duplicates("--threshold", "0.99", "-m", name, *NDJSON)) == NEAR
    shutil.rmtree(photos)  # neither pictures nor the model are needed to look
    assert shown(duplicates("--threshold", "0.99", *NDJSON)) == NEAR

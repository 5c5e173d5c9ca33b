"""`clip classify --library`: tags in the library of six colours, and what is said about them."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from tests.test_search import bundle, own_library, own_photos, records
from tests.tiny_bundle import COLOURS

__all__ = ["bundle", "own_library", "own_photos"]  # fixtures

Classify = Callable[..., Any]
EVERY = [part for name in COLOURS for part in ("-l", name)]


@pytest.fixture
def classify(own_library: Path, monkeypatch: pytest.MonkeyPatch) -> Classify:
    monkeypatch.setenv("CLIP_DB", str(own_library))
    return lambda *arguments: CliRunner().invoke(app, ["classify", "--library", *map(str, arguments)])


def tags(library: Path) -> dict[str, dict[str, float | None]]:
    """Label -> score by the name of the picture."""
    found: dict[str, dict[str, float | None]] = {}
    with sqlite3.connect(library) as connection:
        for path, label, score in connection.execute(
            "SELECT path, label, score FROM tags JOIN images ON images.id = image_id"
        ):
            found.setdefault(Path(path).stem, {})[label] = score
    connection.close()
    return found


def test_each_picture_gets_its_likeliest_label(classify: Classify, own_library: Path) -> None:
    before = own_library.read_bytes()
    dry = classify(*EVERY, "--dry-run")
    assert (dry.exit_code, own_library.read_bytes()) == (0, before)
    assert dry.stderr == "6 pictures: 6 tags would be new, 0 would be taken back; nothing was written\n"
    done = classify(*EVERY)
    assert done.stderr == "6 pictures: 6 tags new, 0 taken back\n"
    assert done.stdout.splitlines()[0].endswith("pictures  by hand  new  taken back  best cosine")
    assert {line.split()[0]: line.split()[1:5] for line in done.stdout.splitlines()[1:]} == {
        name: ["1", "0", "1", "0"] for name in COLOURS
    }
    assert {name: set(given) for name, given in tags(own_library).items()} == {name: {name} for name in COLOURS}
    assert classify(*EVERY).stderr == "6 pictures: 0 tags new, 0 taken back\n"


def test_records_are_the_tags_given(classify: Classify, own_library: Path, own_photos: Path) -> None:
    given = [*EVERY, "--threshold", "0.5", "--none-label", "none", "--format", "ndjson"]
    found = records(classify(*given))
    written = {name: dict(each) for name, each in tags(own_library).items()}
    shown: dict[str, dict[str, float | None]] = {}
    for record in found:
        shown.setdefault(Path(record["path"]).stem, {})[record["label"]] = record["cosine"]
        assert record["label"] == "none" or record["probability"] >= 0.5
    assert shown == written
    every = records(classify(*EVERY, "--dry-run", "-k", "0", "--format", "ndjson"))
    assert len(every) == len(COLOURS) ** 2
    paths = classify(*EVERY, "--only", "red", "-0")
    assert paths.stdout_bytes == os.fsencode(own_photos / "red.png") + b"\0"


def test_multi_and_the_threshold_as_a_cosine(classify: Classify, own_library: Path) -> None:
    found = records(classify(*EVERY, "--dry-run", "-k", "0", "--format", "ndjson"))
    cosines = {(Path(record["path"]).stem, record["label"]): record["cosine"] for record in found}
    threshold = sorted(cosines.values())[-9] - 1e-5
    shown = records(
        classify(*EVERY, "--multi", "--threshold", threshold, "--none-label", "nothing", "--format", "ndjson")
    )
    assert all(record["probability"] is None for record in shown)
    meant: dict[str, dict[str, float | None]] = {name: {} for name in COLOURS}
    for (name, label), cosine in cosines.items():
        if cosine >= threshold:
            meant[name][label] = pytest.approx(cosine, abs=2e-6)
    assert sum(len(each) for each in meant.values()) == 9
    assert tags(own_library) == {name: each or {"nothing": None} for name, each in meant.items()}
    table = classify(*EVERY, "--multi", "--threshold", threshold, "--format", "table").stdout.splitlines()
    assert table[0].split() == ["picture", "label", "cosine"]
    assert len(table) == 10


def test_own_tags_stay_and_filters_choose(classify: Classify, own_library: Path) -> None:
    with sqlite3.connect(own_library) as connection:
        connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'blue' FROM images WHERE path = 'red.png'")
    connection.close()
    assert classify("-l", "red", "-l", "blue", "--where", "path LIKE '%/red.png'").exit_code == 0
    found = tags(own_library)
    assert list(found) == ["red"]
    assert found["red"]["blue"] is None  # by hand, as before
    assert found["red"]["red"] is not None
    nothing = classify("-l", "red", "-l", "blue", "--where", "0")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "no picture passes the filters\n")


def test_labels_that_no_longer_fit_are_taken_back(classify: Classify, own_library: Path) -> None:
    classify("-l", "red", "-l", "blue")
    assert len([1 for given in tags(own_library).values() if set(given) & {"red", "blue"}]) == len(COLOURS)
    done = classify(*EVERY)
    assert {name: set(given) for name, given in tags(own_library).items()} == {name: {name} for name in COLOURS}
    assert done.stderr == "6 pictures: 4 tags new, 4 taken back\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-l", "red"], "every picture would get the label"),
        (["-l", "red", "-l", "blue", "--multi"], "--threshold (a cosine"),
        (["-l", "red", "-l", "blue", "--threshold", "2"], "2 is no probability"),
        (["-l", "red", "-l", "blue", "--none-label", "x"], "say from which probability on"),
        (["-l", "red", "-l", "blue", "--none-label", "red", "--threshold", "0.5"], "one of the labels"),
        (["-l", "red", "-l", "\x07"], "is a line of text"),
        (["-l", "red", "-l", "blue", "picture.png"], "give either pictures or folders, or --library"),
        (["-l", "red", "-l", "blue", "--where", "nonsense("], "--where"),
    ],
)
def test_what_makes_no_sense(arguments: list[str], said: str, classify: Classify, own_library: Path) -> None:
    ended = classify(*arguments)
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert said in ended.stderr
    assert tags(own_library) == {}


def test_options_of_the_library_are_refused_for_files(own_photos: Path, own_library: Path) -> None:
    for option in (["--multi"], ["--threshold", "0.5"], ["--dry-run"], ["--none-label", "x"], ["--in", "."]):
        ended = CliRunner().invoke(app, ["classify", str(own_photos), "-l", "a", "-l", "b", *option])
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert "are for --library" in ended.stderr


def test_an_empty_library(classify: Classify, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    empty = tmp_path / "empty.db"
    CliRunner().invoke(app, ["embed", str(tmp_path / "none"), "--db", str(empty)])
    ended = classify(*EVERY, "--db", empty, "--format", "json")
    assert (ended.exit_code, ended.stderr) == (0, "there are no pictures to classify\n")
    assert json.loads(ended.stdout) == []
    assert classify(*EVERY, "--db", tmp_path / "nowhere.db").exit_code == 4


def test_a_read_only_library_can_be_looked_at(classify: Classify, own_library: Path) -> None:
    own_library.chmod(0o400)
    assert classify(*EVERY, "--dry-run").exit_code == 0
    if os.geteuid():  # the superuser writes anything
        assert classify(*EVERY).exit_code == 5

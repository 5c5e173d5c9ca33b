"""`--html` and `--sheet` of the commands that find pictures: the right pictures, words and exit codes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.commands.result_options import PreviewWay
from clipcli.render.gallery import Gallery, Section, Tile
from clipcli.render.terminal import Way
from tests.pictures.test_html_page import Read
from tests.tiny_library import make_tiny_library

Clip = Callable[..., Any]


@pytest.fixture
def clip(library: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIP_DB", str(library))
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments), "-m", str(bundle)])


def names(page: Path) -> list[str]:
    return [Path(link["title"]).name for link in Read(page.read_text("utf-8")).all("a")]


def test_a_page_of_a_search_has_its_results_in_order(clip: Clip, tmp_path: Path) -> None:
    table = clip("search", "red")
    done = clip("search", "red", "--html", "page.html")
    assert (done.exit_code, done.stdout) == (0, table.stdout)
    assert done.stderr == "page.html: 5 pictures\n"
    assert names(tmp_path / "page.html") == [Path(line.split()[-1]).name for line in table.stdout.splitlines()[1:]]
    words = Read((tmp_path / "page.html").read_text("utf-8")).words
    assert '"red"' in words
    assert "~2017-07-14" in words
    assert any(word.startswith("5 of 5 pictures in ") for word in words)


def test_records_are_the_same_with_a_page_beside_them(clip: Clip, tmp_path: Path) -> None:
    plain = clip("search", "red", "--format", "ndjson")
    done = clip("search", "red", "--format", "ndjson", "--html", "page.html", "--preview")
    assert done.stdout == plain.stdout
    assert "no previews: they do not go with --format ndjson" in done.stderr
    assert len(names(tmp_path / "page.html")) == 5


@pytest.mark.parametrize("way", ["similar", "--like", "id"])
def test_the_picture_asked_with_stands_first_and_is_not_found_again(
    way: str, clip: Clip, tmp_path: Path, photos: Path
) -> None:
    known = json.loads(clip("search", "red", "-k", "1", "--format", "json").stdout)[0]
    asked, first = str(photos / "red.png"), "red.png"
    if way == "id":
        asked, first = f"id:{known['image_id']}", Path(known["path"]).name
    arguments = ("search", "--like", asked) if way == "--like" else ("similar", asked)
    assert clip(*arguments, "--html", "page.html", "--sheet", "sheet.png").exit_code == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    begun, found = page.split("<h2>")[1:]
    assert begun.startswith("Asked with")
    assert [Path(link["title"]).name for link in Read(begun).all("a")] == [first]
    again = [Path(link["title"]).name for link in Read(found).all("a")]
    assert len(again) == (5 if way == "--like" else 4)  # a search finds it as well
    assert (first in again) == (way == "--like")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 600  # two rows


def test_what_is_taken_away_is_not_shown_as_asked_with(clip: Clip, tmp_path: Path, photos: Path) -> None:
    assert clip("search", "red", "--minus", f"{photos / 'blue.png'}", "--html", "page.html").exit_code == 0
    assert "<h2>" not in (tmp_path / "page.html").read_text("utf-8")


def test_a_date_of_the_file_is_explained(clip: Clip, tmp_path: Path) -> None:
    clip("search", "red", "--html", "page.html")
    assert (
        "~ before a date: only the file's own time says so" in Read((tmp_path / "page.html").read_text("utf-8")).words
    )
    plain = Gallery(title="x", sections=(Section(tiles=(Tile(path=b"/a.jpg", detail="2021-07-04"),)),))
    assert plain.legend == ""


def test_nothing_found_makes_a_page_that_says_so(clip: Clip, tmp_path: Path) -> None:
    done = clip("search", "red", "--threshold", "0.999", "--html", "page.html")
    assert done.exit_code == 0
    assert "no picture scores 0.999 or more" in Read((tmp_path / "page.html").read_text("utf-8")).words


def test_files_are_judged_before_anything_is_searched(clip: Clip, tmp_path: Path, photos: Path) -> None:
    shutil.copy(photos / "red.png", tmp_path / "mine.png")
    before = (tmp_path / "mine.png").read_bytes()
    for arguments, complaint in (
        (("--sheet", "mine.png"), "was not made by clip"),
        (("--sheet", "mine.gif"), "ends in one of"),
        (("--html", "page.png"), "ends in .html"),
    ):
        done = clip("search", "red", *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert complaint in done.stderr
    assert clip("search", "red", "--html", "gone/page.html").exit_code == 4
    assert (tmp_path / "mine.png").read_bytes() == before
    done = clip("matrix", photos / "red.png", "-t", "red", "-o", "mine.png")
    assert done.exit_code == 2
    assert (tmp_path / "mine.png").read_bytes() == before


@pytest.fixture
def doubled(photos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library with red twice and blue twice."""
    folder = tmp_path / "own"
    shutil.copytree(photos, folder)
    shutil.copy(folder / "red.png", folder / "red again.png")
    shutil.copy(folder / "blue.png", folder / "blue again.png")
    monkeypatch.setenv("CLIP_DB", str(make_tiny_library(tmp_path / "l.db", folder, [bundle])))
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_groups_of_duplicates_stand_together(clip: Clip, doubled: Path, tmp_path: Path) -> None:
    done = run("duplicates", "--html", "page.html", "--sheet", "sheet.pdf")
    assert done.exit_code == 0, done.stderr
    page = Read((tmp_path / "page.html").read_text("utf-8"))
    assert names(tmp_path / "page.html") == ["blue.png", "blue again.png", "red.png", "red again.png"]
    group = ["keep", "exact"]
    assert [word for word in page.words if word.startswith("Group ") or word in group] == [
        "Group 1, 2 pictures",
        *group,
        "Group 2, 2 pictures",
        *group,
    ]
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
    assert run("duplicates", "--delete", "--yes", "--html", "page.html").exit_code == 2
    assert (doubled / "red again.png").exists()


def test_what_is_gone_is_a_frame_and_code_3(clip: Clip, doubled: Path, tmp_path: Path) -> None:
    os.unlink(doubled / "red.png")
    done = clip("search", "red", "--html", "page.html", "--sheet", "sheet.jpg")
    assert done.exit_code == 3
    assert "clip: 1 of 7 pictures could not be read" in done.stderr
    assert "cannot be read: no such file" in Read((tmp_path / "page.html").read_text("utf-8")).words
    assert len(names(tmp_path / "page.html")) == 7
    assert (tmp_path / "sheet.jpg").exists()


def test_pictures_stand_under_their_labels(clip: Clip, photos: Path, tmp_path: Path) -> None:
    done = clip("classify", photos, "-l", "red", "-l", "blue", "-l", "green", "--html", "page.html")
    assert done.exit_code == 0, done.stderr
    sections = (tmp_path / "page.html").read_text("utf-8").split("<h2>")[1:]
    placed = {part.split(" (")[0]: [link["title"] for link in Read(part).all("a")] for part in sections}
    assert {Path(path).name for path in placed["red"]} >= {"red.png"}
    assert {Path(path).name for path in placed["blue"]} >= {"blue.png"}
    assert sum(map(len, placed.values())) == 5


def test_a_whole_library_under_its_labels(clip: Clip, doubled: Path, tmp_path: Path) -> None:
    """Nothing is tagged in a dry run, and the totals are shown all the same."""
    labels = ("-l", "red", "-l", "blue")
    done = clip("classify", "--library", *labels, "--dry-run", "--html", "page.html")
    assert done.exit_code == 0, done.stderr
    assert "would be new" in done.stdout
    assert len(names(tmp_path / "page.html")) == 7
    both = clip("classify", "--library", *labels, "--multi", "--threshold", "-1", "--dry-run", "--html", "page.html")
    assert both.exit_code == 0, both.stderr
    assert len(names(tmp_path / "page.html")) == 14  # each under both


def test_every_way_can_be_asked_for() -> None:
    assert [way.value for way in PreviewWay] == [way.value for way in Way]

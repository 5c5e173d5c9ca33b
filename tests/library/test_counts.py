"""`clip library init`, `stats`, `roots` and `skipped`: what they say agrees with what is there."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.commands.library import ROOTS_FIELDS
from clipcli.library.location import own_library
from clipcli.library.store import Library
from tests.library.conftest import Index, integrity

Clip = Callable[..., Any]


@pytest.fixture
def clip(library_file: Path) -> Clip:
    """`clip("stats", …)`: `clip library stats --db …` in this process."""
    return lambda name, *rest: CliRunner().invoke(
        app, ["library", name, "--db", str(library_file), *(os.fsdecode(one) for one in rest)]
    )


def records(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return list(json.loads(result.stdout))


@pytest.fixture
def folder(photo_folder: Callable[..., Path], index: Index) -> Path:
    """Three pictures, one of them beside a name that is no text, and two files that cannot be read."""
    folder = photo_folder(count=3)
    os.rename(folder / "002.jpg", os.fsencode(folder) + b"/\xff.jpg")
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no picture")
    index(folder)
    return folder


def test_init_makes_a_library_that_commands_below_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    (photos / "2024").mkdir(parents=True)
    made = CliRunner().invoke(app, ["library", "init", str(photos)])
    assert (made.exit_code, made.stdout) == (0, "")
    file = photos / ".clip" / "library.db"
    assert made.stderr == f"made {file}; 'clip embed' there fills it\n"
    assert integrity(file) == "ok"
    before = file.read_bytes()
    again = CliRunner().invoke(app, ["library", "init", str(photos)])
    assert (again.exit_code, again.stderr) == (0, f"there is a library already: {file}\n")
    assert file.read_bytes() == before
    monkeypatch.chdir(photos / "2024")
    shown = records(CliRunner().invoke(app, ["library", "stats", "--format", "json"]))
    assert [one["path"] for one in shown if one["name"] == "file"] == [str(file)]
    inner = CliRunner().invoke(app, ["library", "init"])
    assert (photos / "2024" / ".clip" / "library.db").is_file()
    assert inner.stderr.splitlines()[1:] == [
        f"commands given in {photos / '2024'} or below use it from now on, no longer {file}; --db {file} uses that one"
    ]


def test_init_says_which_library_is_used_where_there_was_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library_file: Path
) -> None:
    own_library().parent.mkdir(parents=True, exist_ok=True)
    Library.open(own_library(), write=True, create=True).close()
    photos, others = tmp_path / "photos", tmp_path / "others"
    photos.mkdir()
    others.mkdir()
    made = CliRunner().invoke(app, ["library", "init", str(photos)])
    assert f"no longer {own_library()}; --db" in made.stderr
    monkeypatch.setenv("CLIP_DB", str(library_file))
    made = CliRunner().invoke(app, ["library", "init", str(others)])
    assert f"commands go on using {library_file}, as long as CLIP_DB names it" in made.stderr
    assert "from now on" not in CliRunner().invoke(app, ["library", "init", str(photos)]).stderr  # there already


def test_init_needs_a_folder_and_leaves_other_files_alone(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["library", "init", str(tmp_path / "nowhere")]).exit_code == 4
    (tmp_path / ".clip").mkdir()
    (tmp_path / ".clip" / "library.db").write_text("a letter")
    refused = CliRunner().invoke(app, ["library", "init", str(tmp_path)])
    assert (refused.exit_code, refused.stderr.count("\n")) == (6, 1)
    assert (tmp_path / ".clip" / "library.db").read_text() == "a letter"


def test_stats_count_what_is_there(clip: Clip, folder: Path, library_file: Path) -> None:
    found = {(one["section"], one["name"]): one for one in records(clip("stats", "--format", "json"))}
    bytes_ = sum(path.stat().st_size for path in folder.glob("*.jpg"))  # the empty one adds nothing
    assert (found["library", "pictures"]["count"], found["library", "pictures"]["bytes"]) == (3, bytes_)
    assert found["library", "vectors"]["count"] == 3
    assert found["library", "vectors"]["bytes"] % (3 * 4) == 0
    assert found["library", "file"]["bytes"] == library_file.stat().st_size
    assert found["root", str(folder)]["count"] == 3
    assert found["model", "tiny (fp32)"]["count"] == 3
    assert found["format", "JPEG"] == {
        "section": "format", "name": "JPEG", "count": 3, "bytes": bytes_, "path": None,
    }  # fmt: skip
    assert sum(one["count"] for (section, _), one in found.items() if section == "year") == 3
    assert {name: one["count"] for (section, name), one in found.items() if section == "skipped"} == {
        "empty": 1,
        "not-an-image": 1,
    }
    assert found["library", "skipped"]["count"] == 2


def test_stats_as_a_table_and_as_csv(clip: Clip, folder: Path) -> None:
    text = clip("stats").stdout
    for said in ("Folders", "Models", "Formats", "Years", "Skipped", str(folder), "tiny (fp32)", "JPEG"):
        assert said in text
    rows = list(csv.DictReader(io.StringIO(clip("stats", "--format", "csv").stdout)))
    assert [row["count"] for row in rows if row["section"] == "format"] == ["3"]


def test_an_empty_library_has_stats_too(clip: Clip, library_file: Path) -> None:
    assert clip("stats").exit_code == 4  # none is made by looking
    assert not library_file.exists()
    CliRunner().invoke(app, ["library", "init", str(library_file.parent.parent)])
    file = library_file.parent.parent / ".clip" / "library.db"
    for name in ("stats", "roots", "skipped"):
        assert CliRunner().invoke(app, ["library", name, "--db", str(file)]).exit_code == 0


def test_roots_say_whether_they_are_there(clip: Clip, folder: Path) -> None:
    (root,) = records(clip("roots", "--format", "json"))
    assert (root["pictures"], root["skipped"], root["present"], root["anchored"]) == (3, 2, True, False)
    assert root["path"] == str(folder)
    assert set(root) == set(ROOTS_FIELDS) - {"path_b64"}
    assert clip("roots", "-0").stdout == f"{folder}\0"
    folder.rename(folder.with_name("moved"))
    assert "NOT THERE" in clip("roots").stdout
    assert not records(clip("roots", "--format", "json"))[0]["present"]


def test_skipped_lists_reasons(clip: Clip, folder: Path) -> None:
    found = records(clip("skipped", "--format", "json"))
    assert {Path(one["path"]).name: one["reason"] for one in found} == {
        "empty.jpg": "empty",
        "text.png": "not-an-image",
    }
    (one,) = records(clip("skipped", "--reason", "empty", "--format", "json"))
    assert (one["kind"], Path(one["path"]).name) == ("file", "empty.jpg")
    assert "empty.jpg" in clip("skipped").stdout
    nothing = clip("skipped", "--reason", "too-large")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "nothing was skipped as too-large\n"

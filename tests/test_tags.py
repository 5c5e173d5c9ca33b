"""`clip tags`: by hand, from a search, listed, taken away, exported, sorted into folders and back."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.library.sidecars import sidecar_labels
from clipcli.library.store import Library
from clipcli.library.tag_selection import Selection, remove_selected, selected_tags
from tests.test_search import bundle, own_library, own_photos, records
from tests.tiny_bundle import COLOURS

__all__ = ["bundle", "own_library", "own_photos"]  # fixtures

Clip = Callable[..., Any]


@pytest.fixture
def clip(own_library: Path, own_photos: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """`clip("list")`: `clip tags list`, in the folder of the six colours."""
    monkeypatch.setenv("CLIP_DB", str(own_library))
    monkeypatch.chdir(own_photos)
    return lambda *arguments, **options: CliRunner().invoke(app, ["tags", *map(str, arguments)], **options)


def tags(library: Path) -> set[tuple[str, str]]:
    with sqlite3.connect(library) as connection:
        found = connection.execute("SELECT path, label FROM tags JOIN images ON images.id = image_id").fetchall()
    connection.close()
    return {(Path(path).stem, label) for path, label in found}


def by_model(library: Path, *given: tuple[str, str, float]) -> None:
    with sqlite3.connect(library) as connection:
        connection.executemany(
            "INSERT INTO tags (image_id, label, score, model_id) SELECT id, ?2, ?3, 1 FROM images WHERE path = ?1",
            [(f"{name}.png", label, score) for name, label, score in given],
        )
    connection.close()


def test_by_hand_by_name_and_by_id(clip: Clip, own_library: Path) -> None:
    with sqlite3.connect(own_library) as connection:
        (number,) = connection.execute("SELECT id FROM images WHERE path = 'blue.png'").fetchone()
    connection.close()
    done = clip("add", "-l", "warm", "-l", " mine ", "red.png", "./yellow.png", "red.png", f"id:{number}")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "warm: 3 pictures tagged\nmine: 3 pictures tagged\n"
    assert tags(own_library) == {(name, label) for name in ("red", "yellow", "blue") for label in ("warm", "mine")}
    again = clip("add", "-l", "warm", "red.png")
    assert again.stderr == "warm: 0 pictures tagged, 1 had it already\n"


def test_from_a_search(clip: Clip, own_library: Path) -> None:
    for options in (["-0"], ["--format", "paths"]):
        found = CliRunner().invoke(app, ["search", "red", "-k", "2", *options]).stdout_bytes
        assert clip("add", "-l", "found", "-", input=found).exit_code == 0
        assert len(tags(own_library)) == 2
    assert clip("add", "-l", "found", "-", input=b"").stderr == "found: 0 pictures tagged\n"


def test_by_filters(clip: Clip, own_library: Path) -> None:
    assert clip("add", "-l", "ends in e", "--where", "path LIKE '%e.png'").exit_code == 0
    assert {name for name, _ in tags(own_library)} == {name for name in COLOURS if name.endswith("e")}
    assert clip("add", "-l", "both", "red.png", "blue.png", "--where", "path LIKE '%red.png'").exit_code == 0
    assert {name for name, label in tags(own_library) if label == "both"} == {"red"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "red.png"], 2, "no label"),
        (["add", "-l", "x"], 2, "no pictures"),
        (["add", "-l", "", "red.png"], 2, "a label cannot be empty"),
        (["add", "-l", "x", "red.png", "pink.png"], 4, "has no picture pink.png"),
        (["add", "-l", "x", "red.png", "id:99"], 4, "no picture with the id 99"),
        (["add", "-l", "x", "."], 2, ". is a folder; --in FOLDER"),
        (["rm"], 2, "which tags?"),
        (["rm", "--by-hand", "--below", "1"], 2, "neither a model nor a score"),
        (["rm", "-m", "nobody"], 4, "knows no model nobody; it knows tiny"),
        (["rm", "--below", "nan"], 2, "finite number"),
        (["export", "--xmp", "--xmp-to", "x"], 2, "one at a time"),
        (["export", "--xmp", "--format", "csv"], 2, "format of their own"),
        (["sort"], 2, "either --move-to FOLDER or --link-to FOLDER"),
        (["sort", "--move-to", "red.png"], 2, "is no folder"),
        (["undo", "red.png"], 3, "no record of 'clip tags sort'"),
        (["undo", "nothing"], 4, "no such file"),
    ],
)
def test_what_makes_no_sense(arguments: list[str], code: int, said: str, clip: Clip, own_library: Path) -> None:
    ended = clip(*arguments)
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (code, "", 1)
    assert said in ended.stderr
    assert tags(own_library) == set()


def test_list(clip: Clip, own_library: Path) -> None:
    assert clip("list").stderr.startswith("no picture has a tag")
    by_model(own_library, ("red", "warm", 0.25), ("yellow", "warm", 0.5), ("blue", "cold", 0.125))
    clip("add", "-l", "warm", "green.png")
    assert records(clip("list", "--format", "ndjson")) == [
        {"label": "warm", "pictures": 3, "by_hand": 1, "lowest": 0.25, "highest": 0.5},
        {"label": "cold", "pictures": 1, "by_hand": 0, "lowest": 0.125, "highest": 0.125},
    ]
    lines = clip("list").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["pictures", "by", "hand", "scores", "label"],
        ["3", "1", "0.250", "to", "0.500", "warm"],
        ["1", "0", "0.125", "to", "0.125", "cold"],
    ]


def test_rm(clip: Clip, own_library: Path) -> None:
    by_model(own_library, ("red", "warm", 0.25), ("yellow", "warm", 0.5), ("blue", "cold", 0.125))
    clip("add", "-l", "warm", "green.png")
    every = tags(own_library)
    dry = clip("rm", "-l", "warm", "-l", "cold", "--dry-run")
    assert dry.stderr == "cold: would take 1 tag away\nwarm: would take 3 tags away, 1 of them by hand\n"
    assert tags(own_library) == every
    assert clip("rm", "-m", "tiny", "--below", "0.25").stderr == "cold: took 1 tag away\n"
    assert clip("rm", "-l", "warm", "red.png", "blue.png").stderr == "warm: took 1 tag away\n"
    assert clip("rm", "--by-hand", "--where", "0").stderr == "there are no such tags\n"
    assert tags(own_library) == {("yellow", "warm"), ("green", "warm")}
    assert clip("rm", "--by-hand").exit_code == 0
    assert tags(own_library) == {("yellow", "warm")}


def test_export(clip: Clip, own_library: Path, own_photos: Path) -> None:
    by_model(own_library, ("red", "warm, very", 0.25), ("blue", "cold", 0.125))
    clip("add", "-l", "mine", "red.png")
    found = records(clip("export", "--format", "ndjson"))
    assert json.loads(clip("export", "--format", "json").stdout) == found
    assert {(Path(one["path"]).stem, one["label"], one["score"], one["model"]) for one in found} == {
        ("red", "mine", None, None),
        ("red", "warm, very", 0.25, "tiny"),
        ("blue", "cold", 0.125, "tiny"),
    }
    rows = list(csv.DictReader(io.StringIO(clip("export", "--format", "csv").stdout)))
    assert [{**one, "score": float(one["score"]) if one["score"] else None} for one in rows] == [
        {**one, "path_b64": "", "image_id": str(one["image_id"]), "model": one["model"] or ""} for one in found
    ]
    assert clip("export", "-l", "cold", "-0").stdout_bytes == os.fsencode(own_photos / "blue.png") + b"\0"
    table = clip("export", "--by-hand").stdout.splitlines()
    assert [line.split() for line in table] == [
        ["picture", "label", "score", "given", "by"],
        [str(own_photos / "red.png"), "mine", "you"],
    ]
    assert clip("export", "-l", "nothing").stderr == "there are no such tags\n"


def test_every_picture_with_tags_is_exported(clip: Clip, own_library: Path, tmp_path: Path) -> None:
    """Also those without a vector, or with one of an older content; a file of embeddings says that it lacks them."""
    clip("add", "-l", "mine", "red.png", "blue.png", "green.png")
    with sqlite3.connect(own_library) as connection:
        connection.execute("DELETE FROM embeddings WHERE image_id = (SELECT id FROM images WHERE path = 'red.png')")
        connection.execute("UPDATE images SET digest = hex(zeroblob(32)) WHERE path = 'blue.png'")
    connection.close()
    for more in ((), ("--where", "1")):
        found = records(clip("export", "--format", "ndjson", *more))
        assert {Path(one["path"]).stem for one in found} == {"red", "blue", "green"}
    file = tmp_path / "all.npz"
    written = CliRunner().invoke(app, ["library", "export", str(file), "--db", str(own_library)])
    assert written.exit_code == 0
    assert "2 pictures with tags and no current embedding by that model left out; 'clip tags export'" in written.stderr


def test_side_cars(clip: Clip, own_library: Path, own_photos: Path) -> None:
    by_model(own_library, ("red", "warm", 0.25), ("blue", "cold", 0.125), ("green", "cold", 0.25))
    clip("add", "-l", "mine", "red.png")
    before = {path.name: path.read_bytes() for path in own_photos.glob("*.png")}
    assert clip("export", "-l", "warm", "--xmp").stderr == "1 side-car new\n"
    (own_photos / "green.png.xmp").write_text("not for me")
    done = clip("export", "--xmp")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[1:] == [
        "1 side-car new, 1 completed",
        "clip: 1 of 3 side-cars could not be written",
    ]
    assert "left green.png.xmp alone: it is damaged" in done.stderr
    assert sidecar_labels((own_photos / "red.png.xmp").read_bytes()) == ["warm", "mine"]
    assert (own_photos / "green.png.xmp").read_text() == "not for me"
    (own_photos / "blue.png").unlink()
    assert "blue.png.xmp alone: its picture is not there" in clip("export", "-l", "cold", "--xmp").stderr
    assert {name: (own_photos / name).read_bytes() for name in before if name != "blue.png"} == {
        name: data for name, data in before.items() if name != "blue.png"
    }
    assert clip("export", "--xmp-to", "cars").stderr == "3 side-cars new\n"
    assert clip("export", "--xmp-to", "cars").stderr == "0 side-cars new, 3 had the labels already\n"
    assert sorted(path.name for path in (own_photos / "cars").iterdir()) == [
        "blue.png.xmp", "green.png.xmp", "red.png.xmp",
    ]  # fmt: skip
    assert clip("export", "-l", "nothing", "--xmp").stderr == "there are no such tags\n"


def test_sort_and_undo(clip: Clip, own_library: Path, own_photos: Path, tmp_path: Path) -> None:
    clip("add", "-l", "warm", "red.png", "yellow.png")
    before = sorted(own_photos.iterdir())
    target = tmp_path / "sorted"
    dry = clip("sort", "--move-to", target, "--dry-run", "--format", "ndjson")
    assert {(Path(one["path"]).name, one["label"], one["target"]) for one in records(dry)} == {
        (name, "warm", str(target / "warm" / name)) for name in ("red.png", "yellow.png")
    }
    assert dry.stderr == "2 pictures; nothing was touched\n"
    assert not target.exists()
    assert len(clip("sort", "--move-to", target, "--dry-run").stdout.splitlines()) == 3
    done = clip("sort", "--move-to", target)
    (log,) = target.glob("*.jsonl")
    assert done.stderr == f"'clip tags undo {log}' puts everything back\nmoved 2 pictures\n"
    found = records(CliRunner().invoke(app, ["search", "red", "-k", "1", "--format", "ndjson"]))
    assert found[0]["path"] == str(target / "warm/red.png")
    assert clip("sort", "--move-to", target).stderr.endswith("moved 0 pictures, 2 there already\n")
    assert clip("undo", log).stderr == "2 pictures put back\n"
    assert sorted(own_photos.iterdir()) == before
    linked = clip("sort", "--link-to", "links", "--log", "links.jsonl")
    assert linked.stderr.endswith("linked 2 pictures\n")
    assert clip("undo", "links.jsonl").stderr == "2 links taken away\n"
    assert clip("sort", "--link-to", "links", "-l", "nothing").stderr == "there are no such tags\n"


def test_what_cannot_be_sorted_is_listed(clip: Clip, own_library: Path, own_photos: Path, tmp_path: Path) -> None:
    clip("add", "-l", "warm", "red.png", "yellow.png")
    (own_photos / "red.png").unlink()
    done = clip("sort", "--move-to", tmp_path / "sorted", "--log", tmp_path / "log")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[1:] == [
        "left red.png: is not there",
        "moved 1 picture",
        "clip: 1 of 2 pictures could not be moved",
    ]
    (own_photos / "yellow.png").write_text("another one")
    back = clip("undo", tmp_path / "log")
    assert back.exit_code == 3
    assert back.stderr.splitlines()[0].endswith(f"yellow.png: there is another file at {own_photos / 'yellow.png'}")
    other = tmp_path / "other.db"
    Library.open(other, write=True, create=True).close()
    refused = clip("undo", tmp_path / "log", "--db", other)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "belongs to another library" in refused.stderr


SELECTIONS = st.builds(
    Selection,
    labels=st.sampled_from([(), ("a",), ("a", "b"), ("A",), ("%",)]),
    model=st.none() | st.just("tiny"),
    below=st.none() | st.sampled_from([0.0, 0.3, 0.5, 2.0]),
    image_ids=st.none() | st.lists(st.integers(1, 7), max_size=5),
) | st.builds(Selection, by_hand=st.booleans(), labels=st.sampled_from([(), ("a",)]))
TAGS = st.dictionaries(
    st.tuples(st.integers(1, 6), st.sampled_from(["a", "b", "A", "%"])), st.none() | st.sampled_from([0.1, 0.3, 0.7])
)


@given(given_tags=TAGS, selection=SELECTIONS)
def test_a_selection_as_plain_python_has_it(
    given_tags: dict[tuple[int, str], float | None], selection: Selection, own_library: Path
) -> None:
    def fits(image_id: int, label: str, score: float | None) -> bool:
        return (
            (not selection.labels or label in selection.labels)
            and (selection.model is None or score is not None)
            and (not selection.by_hand or score is None)
            and (selection.below is None or (score is not None and score < selection.below))
            and (selection.image_ids is None or image_id in selection.image_ids)
        )

    meant = {(*key, score) for key, score in given_tags.items() if fits(*key, score)}
    with Library.open(own_library, write=True) as library:
        with library.write() as connection:
            connection.execute("DELETE FROM tags")
            connection.executemany(
                "INSERT INTO tags (image_id, label, score, model_id) VALUES (?, ?, ?, ?)",
                [(*key, score, None if score is None else 1) for key, score in given_tags.items()],
            )
        found = list(selected_tags(library, selection))
        assert {(tag.image_id, tag.label, tag.score) for tag in found} == meant
        assert len(found) == len(meant)
        counts = remove_selected(library, selection, dry_run=True)
        assert counts == remove_selected(library, selection)
        assert sum(count for _, count, _ in counts) == len(meant)
        left = library.connection.execute("SELECT image_id, label, score FROM tags").fetchall()
    assert set(left) == {(*key, score) for key, score in given_tags.items()} - meant

"""What a library knows, out through a file and in again: nothing is lost, nothing there is written over."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.errors import InputError
from clipcli.library import schema
from clipcli.library.interchange import Imported, export_embeddings, import_embeddings, origin_of
from clipcli.library.models import register_model, stored_models
from clipcli.library.roots import add_root
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored
from clipcli.library.tags import add_tags
from tests.library.conftest import integrity, rows
from tests.library.test_search import DIMENSION, unit

SUFFIX = pytest.mark.parametrize("suffix", [".npz", ".parquet"])
VECTORS = unit(8, seed=11)
ROOTS = [b"/photos", "/größe".encode(), b"/\xff"]
NAMES = [b"a.jpg", "日本/b c.png".encode(), b"\xe9/x.jpg", b"100%_.jpg", b'it\'s "q".jpg']
WORDS = ["cat", "Cat", "größe", "", "{}", "a,b", "line"]
TEXT = st.none() | st.sampled_from(["Canon EOS", "größe", "NaN", "0", "None", "a\tb"])

EVERYTHING = (
    "SELECT roots.path, roots.anchored, images.path, size, mtime_ns, images.digest, width, height, format, "
    "orientation, taken_at, taken_from, camera, lens, latitude, longitude, images.frames, truncated, precision, "
    "identity, name, embeddings.digest, vector, embeddings.frames FROM images JOIN roots ON roots.id = root_id "
    "JOIN embeddings ON image_id = images.id JOIN models ON models.id = model_id ORDER BY 1, 3"
)
TAGS = (
    "SELECT roots.path, images.path, label, score, identity, precision, models.name, models.folder, dimension, "
    "created_at FROM tags JOIN images ON images.id = image_id JOIN roots ON roots.id = root_id "
    "LEFT JOIN models ON models.id = model_id ORDER BY 1, 2, 3"
)
KEPT = "SELECT digest, label, created_at FROM kept_tags ORDER BY 1, 2"
DECISIONS = "SELECT digest, other_digest, decided_at FROM not_duplicates ORDER BY 1, 2"


@st.composite
def libraries(draw: st.DrawFn) -> dict[str, Any]:
    places = draw(st.lists(st.tuples(st.sampled_from(ROOTS), st.sampled_from(NAMES)), unique=True, max_size=8))
    pictures = []
    for root, name in places:
        dated = draw(st.booleans())
        placed = draw(st.booleans())
        pictures.append(
            {
                "root": root,
                "path": name,
                "size": draw(st.integers(0, 2**40)),
                "mtime_ns": draw(st.integers(-(2**62), 2**62)),
                "digest": f"{draw(st.integers(0, 5)):064x}",
                "width": draw(st.integers(1, 10**5)),
                "format": draw(st.sampled_from(["JPEG", "RAW"])),
                "orientation": draw(st.integers(1, 8)),
                "taken_at": "2020-02-29T12:00:00+11:00" if dated else None,
                "taken_from": draw(st.sampled_from(["exif", "xmp", "file"])) if dated else None,
                "camera": draw(TEXT),
                "lens": draw(TEXT),
                "latitude": draw(st.floats(-90, 90)) if placed else None,
                "longitude": draw(st.floats(-180, 180)) if placed else None,
                "frames": draw(st.none() | st.integers(1, 1000)),
                "truncated": draw(st.integers(0, 1)),
                "vector_frames": draw(st.integers(1, 8)),
                "tags": draw(
                    st.dictionaries(
                        st.sampled_from([word for word in WORDS if word]) | st.text(
                            st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=5
                        ),
                        st.tuples(st.none() | st.floats(-1, 1), st.sampled_from([None, 1, 2])),
                        max_size=4,
                    )
                ),
            }
        )  # fmt: skip
    pairs = draw(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5))
    decisions = sorted({(f"{min(pair):064x}", f"{max(pair):064x}", "2024-01-01T00:00:00Z") for pair in pairs})
    gone = draw(st.sets(st.tuples(st.integers(6, 9), st.sampled_from(WORDS[:3])), max_size=3))
    kept = sorted((f"{digest:064x}", label, "2022-01-01T00:00:00Z") for digest, label in gone)
    return {"pictures": pictures, "decisions": decisions, "kept": kept}


def build(file: Path, content: dict[str, Any]) -> None:
    """Two models: the first has the vectors, either may have given tags."""
    with Library.open(file, write=True, create=True) as library, library.write() as connection:
        for identity, dimension in (("a" * 64, DIMENSION), ("b" * 64, 3)):
            register_model(
                connection, identity=identity, precision="fp32", name=identity[0], folder="/m", dimension=dimension
            )
        for number, one in enumerate(content["pictures"]):
            root = add_root(library, connection, one["root"])
            names = ["size", "mtime_ns", "digest", "width", "format", "orientation", "taken_at", "taken_from", "camera"]
            names += ["lens", "latitude", "longitude", "frames", "truncated"]
            (image_id,) = connection.execute(
                f"INSERT INTO images (root_id, path, height, {', '.join(names)}) "
                f"VALUES (?, ?, 7, {', '.join('?' * len(names))}) RETURNING id",
                (root, to_stored(one["path"]), *(one[name] for name in names)),
            ).fetchone()
            connection.execute(
                "INSERT INTO embeddings (image_id, model_id, digest, vector, frames) VALUES (?, 1, ?, ?, ?)",
                (image_id, one["digest"], VECTORS[number].astype("<f4").tobytes(), one["vector_frames"]),
            )
            connection.executemany(
                "INSERT INTO tags VALUES (?, ?, ?, ?, '2023-05-06T07:08:09Z')",
                [(image_id, label, score, model) for label, (score, model) in one["tags"].items()],
            )
        connection.executemany("INSERT INTO not_duplicates VALUES (?, ?, ?)", content["decisions"])
        connection.executemany("INSERT INTO kept_tags VALUES (?, ?, ?)", content["kept"])


def export(file: Path, target: Path) -> None:
    with Library.open(file) as library:
        (model, *_) = [each for each in stored_models(library) if each.identity == "a" * 64]
        export_embeddings(library, model, target, on_progress=lambda done: None)


def bring_in(file: Path, source: Path) -> Imported:
    with Library.open(file, write=True, create=True) as library:
        return import_embeddings(library, source, on_progress=lambda done: None)


@SUFFIX
@settings(max_examples=12)
@given(content=libraries())
def test_everything_comes_back(suffix: str, content: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = folder / "first.db", folder / "second.db"
        build(first, content)
        export(first, folder / f"out{suffix}")
        result = bring_in(second, folder / f"out{suffix}")
        for query in (EVERYTHING, TAGS, DECISIONS, KEPT):
            assert rows(second, query) == rows(first, query)
        assert (result.added, result.pictures) == (len(content["pictures"]),) * 2
        assert result.tags == len(rows(first, TAGS)) + len(content["kept"])
        assert result.decisions == len(content["decisions"])
        assert integrity(second) == "ok"
        again = bring_in(second, folder / f"out{suffix}")
        assert (again.added, again.tags, again.decisions, again.known) == (0, 0, 0, len(content["pictures"]))
        for query in (EVERYTHING, TAGS, DECISIONS, KEPT):
            assert rows(second, query) == rows(first, query)


def one_picture(tags: dict[str, tuple[float | None, int | None]]) -> dict[str, Any]:
    facts = dict.fromkeys(("taken_at", "taken_from", "camera", "lens", "latitude", "longitude", "frames"))
    picture = {
        **facts, "root": b"/photos", "path": b"a.jpg", "size": 1, "mtime_ns": 1, "digest": "1" * 64, "width": 9,
        "format": "JPEG", "orientation": 1, "truncated": 0, "vector_frames": 1, "tags": tags,
    }  # fmt: skip
    return {"pictures": [picture], "decisions": [], "kept": []}


@SUFFIX
def test_tags_that_are_there_stay_but_a_persons_come_first(suffix: str, tmp_path: Path) -> None:
    theirs = {"by both": (0.1, 1), "own": (0.1, 1), "given": (None, None), "new": (0.1, 2), "kept": (0.1, None)}
    build(tmp_path / "theirs.db", one_picture(theirs))
    build(tmp_path / "mine.db", one_picture({"by both": (0.9, 1), "own": (None, None), "given": (0.9, 1)}))
    export(tmp_path / "theirs.db", tmp_path / f"out{suffix}")
    result = bring_in(tmp_path / "mine.db", tmp_path / f"out{suffix}")
    assert (result.known, result.tags) == (1, 3)
    assert {row[2]: (row[3], row[6]) for row in rows(tmp_path / "mine.db", TAGS)} == {
        "by both": (0.9, "a"),
        "own": (None, None),
        "given": (None, None),
        "new": (0.1, "b"),
        "kept": (0.1, None),
    }


def test_tags_kept_for_a_picture_that_is_here(tmp_path: Path) -> None:
    build(
        tmp_path / "theirs.db", {"pictures": [], "decisions": [], "kept": [("1" * 64, "own", "2022-01-01T00:00:00Z")]}
    )
    build(tmp_path / "mine.db", one_picture({"own": (0.9, 1)}))
    export(tmp_path / "theirs.db", tmp_path / "out.npz")
    assert bring_in(tmp_path / "mine.db", tmp_path / "out.npz").tags == 1
    assert [row[2:5] for row in rows(tmp_path / "mine.db", TAGS)] == [("own", None, None)]
    assert rows(tmp_path / "mine.db", KEPT) == []
    assert bring_in(tmp_path / "mine.db", tmp_path / "out.npz").tags == 0


def without_what_came_later(path: Path) -> None:
    """As the first version of this program wrote it."""
    later = {"frames", "truncated", "vector_frames", "tags"}
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            kept = {
                name: arrays[name]
                for name in arrays
                if name not in later and name != "clip_extras" and not name.startswith("tag_")
            }
        np.savez(path, **kept)
    else:
        table = parquet.read_table(path)
        kept_columns = [name for name in table.column_names if name not in later]
        metadata = {b"clip": (table.schema.metadata or {})[b"clip"]}
        parquet.write_table(table.select(kept_columns).replace_schema_metadata(metadata), path)


@SUFFIX
def test_an_older_file_is_read(suffix: str, tmp_path: Path) -> None:
    build(tmp_path / "first.db", one_picture({"cat": (None, None)}))
    file = tmp_path / f"out{suffix}"
    export(tmp_path / "first.db", file)
    without_what_came_later(file)
    result = bring_in(tmp_path / "second.db", file)
    assert (result.added, result.tags) == (1, 0)
    assert rows(tmp_path / "second.db", EVERYTHING) == rows(tmp_path / "first.db", EVERYTHING)


@SUFFIX
def test_an_older_program_can_read_a_new_file(suffix: str, tmp_path: Path) -> None:
    """It looks for exactly these fields, and for columns by name."""
    build(tmp_path / "first.db", one_picture({"cat": (None, None)}))
    file = tmp_path / f"out{suffix}"
    export(tmp_path / "first.db", file)
    if suffix == ".npz":
        with np.load(file) as arrays:
            text, names = str(arrays["clip"]), set(arrays)
    else:
        there = parquet.read_schema(file)
        text, names = (there.metadata or {})[b"clip"].decode(), {*there.names, "vectors"}
    assert set(json.loads(text)) == {"kind", "identity", "precision", "model", "folder", "dimension"}
    assert json.loads(text)["kind"] == "clip embeddings 1"
    assert names >= {
        "root", "root_b64", "path", "path_b64", "size", "mtime_ns", "digest", "width", "height", "format",
        "orientation", "taken_at", "taken_from", "camera", "lens", "latitude", "longitude", "vectors",
    }  # fmt: skip


def test_a_library_of_the_first_version_is_exported(tmp_path: Path) -> None:
    """As it is, where it may only be read."""
    build(tmp_path / "new.db", one_picture({"cat": (None, None)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        Library.open(tmp_path / "old.db", write=True, create=True).close()
    new = rows(tmp_path / "new.db", "SELECT digest, vector FROM embeddings")[0]
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("INSERT INTO roots (path) VALUES ('/photos')")
        connection.execute(
            "INSERT INTO models (identity, precision, name, folder, dimension) VALUES (?, 'fp32', 'a', '/m', ?)",
            ("a" * 64, DIMENSION),
        )
        connection.execute(
            "INSERT INTO images (root_id, path, size, mtime_ns, digest, width, height, format) "
            "VALUES (1, 'a.jpg', 1, 1, ?, 9, 7, 'JPEG')",
            (new[0],),
        )
        connection.execute("INSERT INTO embeddings VALUES (1, 1, ?, ?)", new)
        connection.execute("INSERT INTO tags (image_id, label) VALUES (1, 'cat')")
    connection.close()
    export(tmp_path / "old.db", tmp_path / "out.npz")
    bring_in(tmp_path / "second.db", tmp_path / "out.npz")
    assert rows(tmp_path / "second.db", EVERYTHING) == rows(tmp_path / "new.db", EVERYTHING)
    assert [row[2] for row in rows(tmp_path / "second.db", TAGS)] == ["cat"]


def test_other_programs_see_the_tags(tmp_path: Path) -> None:
    build(tmp_path / "first.db", one_picture({"cat": (0.25, 2), "mine": (None, None)}))
    export(tmp_path / "first.db", tmp_path / "out.parquet")
    export(tmp_path / "first.db", tmp_path / "out.npz")
    (given_tags,) = parquet.read_table(tmp_path / "out.parquet").column("tags").to_pylist()
    assert [(tag["label"], tag["score"], tag["model"]) for tag in given_tags] == [
        ("cat", 0.25, 0),
        ("mine", None, None),
    ]
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["tag_labels"][arrays["tag_label"]].tolist() == ["cat", "mine"]
        assert arrays["tag_row"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tag_row", [1, 0]),
        ("tag_row", [0, 5]),
        ("tag_label", [0, 9]),
        ("tag_model", [7, 0]),
        ("tag_at", ["x"]),
        ("frames", [-1]),
        ("vector_frames", [0]),
        ("clip_extras", '{"not_duplicates": [["x", "y", "z"]]}'),
        ("clip_extras", '{"not_duplicates": [["x"]]}'),
        ("clip_extras", '{"kept_tags": [["x", "y", "z"]]}'),
        ("clip_extras", '{"models": [{"identity": "x"}]}'),
        ("clip_extras", "["),
    ],
)
def test_nonsense_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    build(tmp_path / "first.db", one_picture({"cat": (0.25, 1), "dog": (0.5, 1)}))
    file = tmp_path / "out.npz"
    export(tmp_path / "first.db", file)
    with np.load(file) as arrays:
        content = dict(arrays)
    content[name] = np.array(value)
    np.savez(file, **content)
    if name == "tag_row" and value == [0, 5]:  # rows that are not there belong to nobody
        assert bring_in(tmp_path / "second.db", file).tags == 1
        return
    assert origin_of(file).dimension == DIMENSION
    with pytest.raises(InputError, match="is damaged"):
        bring_in(tmp_path / "second.db", file)
    assert rows(tmp_path / "second.db", "SELECT count(*) FROM tags") == [0]
    assert rows(tmp_path / "second.db", "SELECT count(*) FROM not_duplicates") == [0]


def test_a_copied_library_takes_the_tags_of_another(tmp_path: Path) -> None:
    """Tagging on two machines, brought together."""
    build(tmp_path / "first.db", one_picture({}))
    shutil.copy(tmp_path / "first.db", tmp_path / "second.db")
    for name in ("first", "second"):
        with Library.open(tmp_path / f"{name}.db", write=True) as library:
            add_tags(library, [1], name)
    export(tmp_path / "second.db", tmp_path / "out.npz")
    assert bring_in(tmp_path / "first.db", tmp_path / "out.npz").tags == 1
    assert [row[2] for row in rows(tmp_path / "first.db", TAGS)] == ["first", "second"]

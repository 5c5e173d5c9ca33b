"""Pairs from Parquet files and from class folders, and what is no source at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from clipcli.datasets.sources import read_source
from clipcli.errors import DataError, NotFoundError
from tests.training.tiny import save_picture, write_classes


def encoded(tmp_path: Path, number: int = 0) -> bytes:
    path = tmp_path / "encoded" / f"{number}.png"
    save_picture(path, number)
    return path.read_bytes()


def parquet(path: Path, columns: dict[str, Any], metadata: Any = None) -> Path:
    table = pyarrow.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pyarrow.parquet.write_table(table, path)
    return path


def test_columns_of_the_project_data(tmp_path: Path) -> None:
    one, two = encoded(tmp_path, 1), encoded(tmp_path, 2)
    path = parquet(
        tmp_path / "pairs.parquet",
        {
            "name": ["one.webp", "two.webp", "three", "four", "five"],
            "image": [one, two, one, None, b""],
            "captions": [["a dog", " a  brown\ndog"], [], None, ["x"], ["x"]],
            "label": [None, "cat, house cat", "", "y", "y"],
        },
    )
    source = read_source(path)
    assert [(row.name, row.image, row.captions, row.label) for row in source.rows] == [
        ("one.webp", one, ("a dog", "a brown dog"), None),
        ("two.webp", two, (), "cat, house cat"),
    ]
    assert source.refused == [
        ("pairs.parquet: three", "empty caption"),
        ("pairs.parquet: four", "missing file"),
        ("pairs.parquet: five", "missing file"),
    ]


def test_columns_of_hugging_face_datasets(tmp_path: Path) -> None:
    save_picture(tmp_path / "in" / "two.png", 2)
    one = encoded(tmp_path)
    images = [
        {"bytes": one, "path": "x.png"},
        {"bytes": None, "path": "in/two.png"},
        {"bytes": None, "path": "gone.png"},
        {"bytes": None, "path": None},
    ]
    features = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"]}}}}
    path = parquet(tmp_path / "p.parquet", {"image": images, "label": [1, 0, 0, 0]}, features)
    source = read_source(path)
    assert [(row.image, row.label) for row in source.rows] == [(one, "dog"), (tmp_path / "in/two.png", "cat")]
    assert [row.name for row in source.rows] == ["row 0", "row 1"]
    assert [reason for _, reason in source.refused] == ["missing file", "missing file"]


def test_a_class_that_is_unknown_is_no_text(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    one = encoded(tmp_path)
    path = parquet(tmp_path / "p.parquet", {"image": [one, one, one], "label": [-1, 2, 1]}, features)
    source = read_source(path)
    assert [row.label for row in source.rows] == ["dog"]
    assert [reason for _, reason in source.refused] == ["empty caption", "empty caption"]


@pytest.mark.parametrize("metadata", [None, {}, [], {"info": None}, {"info": {"features": {"label": {"names": 3}}}}])
def test_numbers_without_names(tmp_path: Path, metadata: Any) -> None:
    """They are labels where nothing else is said, and nothing where there are captions."""
    one = encoded(tmp_path)
    alone = parquet(tmp_path / "alone.parquet", {"image": [one], "label": [7]}, metadata)
    assert read_source(alone).rows[0].label == "7"
    beside = parquet(tmp_path / "beside.parquet", {"image": [one], "label": [7], "caption": ["a dog"]}, metadata)
    row = read_source(beside).rows[0]
    assert (row.label, row.captions) == (None, ("a dog",))


def test_paths_in_parquet(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", 1)
    paths = ["a.png", str(tmp_path / "a.png"), "gone.png", "", "x" * 300]
    path = parquet(tmp_path / "p.parquet", {"path": paths, "text": ["a", "b", "c", "d", "e"]})
    source = read_source(path)
    assert [(row.image, row.captions) for row in source.rows] == [
        (tmp_path / "a.png", ("a",)),
        (tmp_path / "a.png", ("b",)),
    ]
    assert [reason for _, reason in source.refused] == ["missing file"] * 3


def test_columns_of_parquet_can_be_named(tmp_path: Path) -> None:
    one, two = encoded(tmp_path, 1), encoded(tmp_path, 2)
    path = parquet(
        tmp_path / "p.parquet", {"image": [one], "scan": [two], "caption": ["no"], "species": ["a wren"], "name": ["n"]}
    )
    row = read_source(path, image_column="scan", text_column="species").rows[0]
    assert (row.image, row.captions, row.label, row.name) == (two, ("a wren",), None, "n")
    assert read_source(path, text_column="name").rows[0].captions == ("n",)
    with pytest.raises(DataError, match="has no column 'gone'; it has: image, scan, caption, species, name"):
        read_source(path, image_column="gone")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"x"], "size": [3]}, "no column of texts; it has: image, size"),
        ({"caption": ["x"]}, "no column of pict"),
    ],
)
def test_parquet_without_what_is_needed(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(parquet(tmp_path / "p.parquet", columns))


def test_damaged_parquet(tmp_path: Path) -> None:
    good = parquet(tmp_path / "good.parquet", {"image": [encoded(tmp_path)] * 50, "caption": ["a dog"] * 50})
    content = good.read_bytes()
    for name, raw in {"none": b"hello", "empty": b"", "cut": content[:-9], "torn": content[:40] + content[90:]}.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(raw)
        with pytest.raises(DataError, match=f"{name}.parquet cannot be read as Parquet"):
            read_source(path)


def test_class_folders(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    save_picture(folder / "house_wren" / "1.png", 1)
    save_picture(folder / "house_wren" / "deep" / "2.png", 2)
    save_picture(folder / "Robin" / "3.png", 3)
    (folder / "Robin" / "3.png").rename(folder / "Robin" / "3.PNG")
    for other in ("house_wren/notes.txt", "house_wren/._1.png", "top.png", ".hidden/4.png"):
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_bytes(b"no picture")
    (folder / "empty").mkdir()
    rows = read_source(folder).rows
    assert [(Path(row.name).relative_to(folder).as_posix(), row.label) for row in rows] == [
        ("Robin/3.PNG", "Robin"),
        ("house_wren/1.png", "house wren"),
        ("house_wren/deep/2.png", "house wren"),
    ]
    assert not any(row.captions for row in rows)


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_a_label_is_text_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/birds/r\xf6d"
    os.makedirs(folder)
    save_picture(tmp_path / "a.png", 0)
    (tmp_path / "a.png").rename(os.fsdecode(folder + b"/a.png"))
    (row,) = read_source(tmp_path / "birds").rows
    assert row.label == "r?d"
    assert os.path.exists(str(row.image))


def test_parts_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    for part in ("Train", "val"):
        write_classes(tmp_path / part, 1)
    with pytest.raises(DataError, match=r"holds train and val, which are no labels; .* as .*Train; .*--validation"):
        read_source(tmp_path)
    assert len(read_source(tmp_path / "val").rows) == 4


def test_a_folder_of_loose_pictures(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", 0)
    with pytest.raises(DataError, match="no folders with pictures in them; expected FOLDER/LABEL/picture"):
        read_source(tmp_path)


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file or folder"):
        read_source(tmp_path / "gone.csv")
    (tmp_path / "pairs.xlsx").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"pairs.xlsx is no kind of pairs this reads: a .csv, .tsv, .jsonl, .parquet or .tar file"
    ):
        read_source(tmp_path / "pairs.xlsx")


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="permissions of Unix")
@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet", "folder"])
def test_what_may_not_be_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Denied by a patched `open`, since root may read all."""
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"x")

    def deny(*given: Any, **named: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", deny)
    monkeypatch.setattr(Path, "iterdir", deny)
    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", deny)
    with pytest.raises(DataError, match="Permission denied"):
        read_source(path)

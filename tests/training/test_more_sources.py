"""Pairs from JSON lines and from tar shards."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from clipcli.datasets.examples import captioned
from clipcli.datasets.rows import Stored, content_of
from clipcli.datasets.sources import read_source
from clipcli.errors import DataError, ImageError, NotFoundError
from tests.training.tiny import save_picture


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def encoded(tmp_path: Path, number: int) -> bytes:
    save_picture(tmp_path / "one.png", number)
    return (tmp_path / "one.png").read_bytes()


def test_json_lines(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", 1)
    lines = [
        json.dumps({"file_name": "a.png", "captions": ["a dog", " a  brown\ndog"]}),
        json.dumps({"file_name": "a.png", "label": "cat"}),
        "",
        "{broken",
        json.dumps({"file_name": "none.png", "caption": "x"}),
        json.dumps({"file_name": "a.png", "caption": " "}),
        json.dumps({"file_name": "a.png", "other": "x"}),
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    source = read_source(tmp_path / "p.jsonl")
    assert [(row.captions, row.label) for row in source.rows] == [(("a dog", "a brown dog"), None), ((), "cat")]
    assert [reason for _, reason in source.refused] == [
        "no JSON object",
        "missing file",
        "empty caption",
        "no text named",
    ]


def test_columns_of_json_lines_that_cannot_be_told(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", 1)
    (tmp_path / "p.jsonl").write_text(json.dumps({"what": "a.png", "said": "a dog"}))
    with pytest.raises(DataError, match="cannot be told from what, said"):
        read_source(tmp_path / "p.jsonl")
    (row,) = read_source(tmp_path / "p.jsonl", image_column="what", text_column="said").rows
    assert row.captions == ("a dog",)


def test_shards_of_a_range(tmp_path: Path) -> None:
    one, two = encoded(tmp_path, 1), encoded(tmp_path, 2)
    said = json.dumps({"caption": "a dog", "label": "dog"}).encode()
    shard(tmp_path / "s-00.tar", {"d/1.png": one, "d/1.txt": b"a dog", "d/1.json": said, "2.png": two})
    shard(tmp_path / "s-01.tar", {"1.png": two, "1.cls": b"7", "3.txt": b"alone"})
    source = read_source(tmp_path / "s-{00..01}.tar")
    assert [(row.name, content_of(row.image), row.captions, row.label) for row in source.rows] == [
        ("s-00.tar: d/1", one, ("a dog",), "dog"),
        ("s-01.tar: 1", two, (), "7"),
    ]
    assert source.refused == [("s-00.tar: 2", "empty caption"), ("s-01.tar: 3", "missing file")]
    with pytest.raises(NotFoundError, match=r"s-02\.tar"):
        read_source(tmp_path / "s-{00..02}.tar")


def test_a_tar_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(DataError, match="cannot be read as a tar file"):
        read_source(tmp_path / "x.tar")


def test_pictures_of_a_shard_stay_where_they_are(tmp_path: Path) -> None:
    """Only where each lies is kept; what measures models is handed the pictures themselves."""
    contents = [encoded(tmp_path, number) for number in range(3)]
    members = {f"{n}.{ending}": content for n in range(3) for ending, content in (("png", contents[n]), ("txt", b"x"))}
    shard(tmp_path / "s.tar", members)
    rows = read_source(tmp_path / "s.tar").rows
    places = [row.image for row in rows]
    assert all(isinstance(place, Stored) and place.path == tmp_path / "s.tar" for place in places)
    assert [content_of(place) for place in places] == contents
    assert captioned(rows, where="here").pictures == tuple(contents)
    last = places[-1]
    assert isinstance(last, Stored)
    with (tmp_path / "s.tar").open("r+b") as file:
        file.truncate(last.offset + 20)
    with pytest.raises(ImageError) as caught:
        content_of(last)
    assert caught.value.reason == "truncated"


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("tar.gz", gzip.compress), ("tgz", gzip.compress), ("tar", gzip.compress), ("tar", bz2.compress)],
)
def test_a_compressed_shard_is_kept_in_memory(tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    """Whatever it is called: a pipe has no name to go by."""
    picture = encoded(tmp_path, 1)
    shard(tmp_path / "plain.tar", {"1.png": picture, "1.txt": b"a dog"})
    (tmp_path / f"s.{ending}").write_bytes(compress((tmp_path / "plain.tar").read_bytes()))
    (row,) = read_source(tmp_path / f"s.{ending}").rows
    assert (row.image, row.captions) == (picture, ("a dog",))


def test_further_columns_of_every_kind(tmp_path: Path) -> None:
    picture = encoded(tmp_path, 1)
    (tmp_path / "p.csv").write_text("filepath,caption,Scene\none.png,a dog,7\none.png,a cat\n")
    (tmp_path / "p.jsonl").write_text(json.dumps({"image": "one.png", "caption": "a dog", "scene": [1, 2]}))
    shard(tmp_path / "p.tar", {"1.png": picture, "1.json": json.dumps({"caption": "a", "scene": "x"}).encode()})
    table = pyarrow.table({"image": [picture], "caption": ["a dog"], "scene": [7.0]})
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    found = {
        ending: [row.further for row in read_source(tmp_path / f"p.{ending}", further=("scene", "none")).rows]
        for ending in ("csv", "jsonl", "tar", "parquet")
    }
    assert found == {
        "csv": [("7", None), (None, None)],
        "jsonl": [([1, 2], None)],
        "tar": [("x", None)],
        "parquet": [(7.0, None)],
    }

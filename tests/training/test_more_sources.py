"""Pairs from JSON lines and from tar shards."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from clipcli.datasets.sources import read_source
from clipcli.errors import DataError, NotFoundError
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
    assert [(row.name, row.image, row.captions, row.label) for row in source.rows] == [
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

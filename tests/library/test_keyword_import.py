"""Keywords of other programs become a person's tags: from side-cars, and from the pictures themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.library import indexing
from clipcli.library.keyword_import import keywords_of
from clipcli.library.sidecars import new_sidecar
from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from tests.library.conftest import Index, rows
from tests.library.decoding_here import DecodersHere

TAGS = "SELECT path, label, score FROM tags JOIN images ON images.id = image_id ORDER BY 1, 2"


@pytest.fixture(autouse=True)
def _decoding_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


def test_from_side_cars_and_pictures(photo_folder: Callable[..., Path], index: Index, library_file: Path) -> None:
    folder = photo_folder(count=4)
    (folder / "000.jpg.xmp").write_bytes(new_sidecar(["sea", "R&B", " ", "two\nlines", "model's"]))
    (folder / "000.xmp").write_bytes(new_sidecar(["größe", "sea"]))
    (folder / "001.jpg.xmp").write_bytes(b"<not><xmp/></not>")
    (folder / "003.xmp").write_bytes(new_sidecar(["of which?"]))
    Image.new("RGB", (8, 8)).save(folder / "003.png")
    Image.open(folder / "002.jpg").save(folder / "002.jpg", xmp=new_sidecar(["inside"]))
    index(folder)
    (number,) = rows(library_file, "SELECT id FROM images WHERE path = '000.jpg'")

    def take(*more: str) -> str:
        result = CliRunner().invoke(app, ["tags", "import", "--db", str(library_file), *more])
        assert result.exit_code == (0 if "id:1" in more else 3)
        return str(result.stderr)

    with Library.open(library_file, write=True) as library:
        add_tags(library, [number], "model's", score=0.5, model_id=1)
    told = take("--dry-run")
    assert "sea: 1 picture would be tagged\n" in told
    assert len(rows(library_file, TAGS)) == 1
    assert "001.jpg.xmp: it is no XMP side-car\n" in take()
    taken = rows(library_file, TAGS)
    assert taken == [
        ("000.jpg", "R&B", None),
        ("000.jpg", "größe", None),
        ("000.jpg", "model's", 0.5),  # as it was
        ("000.jpg", "sea", None),
        ("002.jpg", "inside", None),
    ]
    assert "no keywords that are not tags already\n" in take()
    assert take("id:1") == "no keywords that are not tags already\n"
    assert rows(library_file, TAGS) == taken


def test_where_a_packet_is_looked_for(tmp_path: Path) -> None:
    picture, packet = tmp_path / "a.webp", new_sidecar(["here"]).partition(b"?>")[2]
    for before, after, found in (
        (100, 10, ["here"]),
        (3_000_000, 1000, ["here"]),
        (500_000, 3_000_000, ["here"]),
        (1 << 19, 10, ["here"]),
        ((1 << 19) - 5, 10, ["here"]),
        ((1 << 19) - 50, 3_000_000, ["here"]),
        (1_000_000, 3_000_000, []),
    ):
        picture.write_bytes(b"x" * before + packet + b"y" * after)
        assert keywords_of(os.fsencode(picture), []) == found
    picture.write_bytes(packet[:-20])
    assert keywords_of(os.fsencode(picture), []) == []
    picture.unlink()
    assert keywords_of(os.fsencode(picture), []) == []

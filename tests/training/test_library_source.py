"""A library's own tags as pairs."""

from __future__ import annotations

from pathlib import Path

from clipcli.datasets.sources import read_source
from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_library import make_tiny_library
from tests.training.tiny import save_picture


def test_pictures_with_one_tag_by_hand_have_it_as_label(tmp_path: Path) -> None:
    for number in range(3):
        save_picture(tmp_path / "photos" / f"{number}.png", number)
    path = make_tiny_library(tmp_path / "own.clip", tmp_path / "photos", [make_tiny_bundle(tmp_path / "tiny")])
    with Library.open(path, write=True) as library:
        with library.read() as connection:
            ids = [row[0] for row in connection.execute("SELECT id FROM images ORDER BY id")]
        add_tags(library, ids[:2], "cat")
        add_tags(library, ids[1:2], "dog")
    source = read_source(path)
    assert [row.label for row in source.rows] == ["cat"]
    assert source.refused == [("own.clip", "several tags by hand")]

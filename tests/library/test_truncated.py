"""Files that were cut short: reported, or taken for what is there when that is wanted, and replaced by a whole one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from clipcli.errors import ImageError
from clipcli.library.counts import count_library
from clipcli.library.store import Library
from clipcli.photos.decode import decode, decode_frames
from tests.library.conftest import Index, integrity, rows

Photos = Callable[..., Path]


def picture(path: Path) -> bytes:
    """The content of a photograph-like file."""
    noise = np.random.default_rng(1).normal(128, 40, size=(30, 40, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noise).resize((320, 240)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tga", "tif", "ppm"])
def test_what_is_there_of_each_format(tmp_path: Path, suffix: str) -> None:
    content = picture(tmp_path / f"whole.{suffix}")
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: len(content) * 6 // 10])
    with open(path, "rb") as file:
        with pytest.raises(ImageError) as caught:
            decode(file, name=os.fsencode(path))
        assert caught.value.reason == "truncated"
        file.seek(0)
        (found,), facts = decode_frames(file, keep=np.asarray, name=os.fsencode(path), accept_truncated=True)
    assert facts.truncated
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with Image.open(tmp_path / f"whole.{suffix}") as opened:
        whole = np.asarray(opened.convert("RGB"))
    assert found.shape == whole.shape
    right = np.abs(found.astype(np.int16) - whole).mean(axis=(1, 2)) < 8  # (H,)
    assert 0.15 < right.mean() < 0.9, right.mean()


def test_nothing_left(tmp_path: Path) -> None:
    content = picture(tmp_path / "whole.jpg")
    header = content.index(b"\xff\xda") + 14
    for length in (100, header, header + 4):
        (tmp_path / "cut.jpg").write_bytes(content[:length])
        with open(tmp_path / "cut.jpg", "rb") as file, pytest.raises(ImageError) as caught:
            decode_frames(file, keep=np.asarray, accept_truncated=True)
        assert caught.value.reason == "nothing-left", length


def test_damage_inside_is_no_truncation(tmp_path: Path) -> None:
    content = picture(tmp_path / "whole.png")
    (tmp_path / "bad.png").write_bytes(content[:200] + b"\0" * 40 + content[240:])
    with open(tmp_path / "bad.png", "rb") as file, pytest.raises(ImageError) as caught:
        decode_frames(file, keep=np.asarray, accept_truncated=True)
    assert caught.value.reason == "damaged"


def test_reported_then_taken_then_replaced_by_the_whole(index: Index, photo_folder: Photos, library_file: Path) -> None:
    folder = photo_folder(count=2)
    content = picture(folder / "a.jpg")
    (folder / "a.jpg").write_bytes(content[: len(content) // 2])
    assert [skip.reason for skip in index(folder).newly_skipped] == ["truncated"]
    assert index(folder).known_bad == 1
    taken = index(folder, accept_truncated=True)
    assert (taken.embedded, taken.truncated, taken.skipped) == (1, 1, 0)
    assert rows(library_file, "SELECT truncated, frames FROM pictures WHERE path LIKE '%/a.jpg'") == [(1, 1)]
    with Library.open(library_file) as library:
        assert count_library(library).truncated == 1
    for accept in (True, False):  # known and unchanged, whichever way it is asked for
        assert index(folder, accept_truncated=accept).unchanged == 3
    shutil.copy(folder / "a.jpg", folder / "copy.jpg")
    assert index(folder).recognised == 1
    assert rows(library_file, "SELECT truncated FROM pictures ORDER BY path") == [0, 0, 1, 1]
    (folder / "a.jpg").write_bytes(content)
    (folder / "copy.jpg").write_bytes(content)
    whole = index(folder)
    assert (whole.embedded, whole.recognised, whole.truncated) == (1, 1, 0)
    assert rows(library_file, "SELECT truncated FROM images") == [0, 0, 0, 0]
    assert integrity(library_file) == "ok"


def test_what_is_not_even_there_in_part_is_tried_once(index: Index, photo_folder: Photos) -> None:
    folder = photo_folder(count=1)
    content = picture(folder / "a.jpg")
    (folder / "a.jpg").write_bytes(content[:300])
    assert [skip.reason for skip in index(folder).newly_skipped] == ["truncated"]
    assert [skip.reason for skip in index(folder, accept_truncated=True).newly_skipped] == ["nothing-left"]
    for accept in (True, False):
        assert index(folder, accept_truncated=accept).known_bad == 1


def test_a_whole_picture_that_became_a_truncated_one_keeps_its_vector_unless_what_is_there_is_wanted(
    index: Index, photo_folder: Photos, library_file: Path
) -> None:
    folder = photo_folder(count=1)
    content = picture(folder / "a.jpg")
    index(folder)
    (vector,) = rows(library_file, "SELECT vector FROM embeddings JOIN images ON id = image_id WHERE path = 'a.jpg'")
    (folder / "a.jpg").write_bytes(content[: len(content) // 2])
    index(folder)
    assert rows(library_file, "SELECT stale, truncated FROM images WHERE path = 'a.jpg'") == [(1, 0)]
    assert vector in rows(library_file, "SELECT vector FROM embeddings")
    index(folder, accept_truncated=True)
    assert rows(library_file, "SELECT stale, truncated FROM images WHERE path = 'a.jpg'") == [(0, 1)]
    assert vector not in rows(library_file, "SELECT vector FROM embeddings")

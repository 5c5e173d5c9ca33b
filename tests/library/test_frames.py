"""Several frames of a moving picture: which, their mean, and that a change of their number touches nothing else."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.errors import UsageError
from clipcli.library.indexing import IndexOptions
from clipcli.library.pipeline import _means
from clipcli.library.store import Library
from clipcli.library.vectors import vectors
from clipcli.photos.decode import decode_frames
from clipcli.photos.frames import spread
from tests.library.conftest import Index, integrity, rows

Photos = Callable[..., Path]
COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250), (250, 0, 250), (9, 9, 9), (99, 99, 9)]


def film(path: Path, count: int, *, first: int = 0) -> Path:
    """A picture whose frames have a colour each."""
    frames = [Image.new("RGB", (40, 30), COLOURS[(first + number) % 8]) for number in range(count)]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


def shown(path: Path, frames: int) -> tuple[list[tuple[int, int, int]], int | None]:
    """The colours of the frames that stand for a picture, and how many it has."""
    with open(path, "rb") as file:
        colours, facts = decode_frames(
            file, keep=lambda picture: picture.getpixel((20, 15)), name=os.fsencode(path), frames=frames
        )
    return [tuple(int(level) for level in colour) for colour in colours], facts.frames  # type: ignore[misc,union-attr]


@given(count=st.integers(1, 500), wanted=st.integers(1, 64))
def test_frames_are_spread_evenly(count: int, wanted: int) -> None:
    taken = spread(count, wanted)
    assert len(taken) == min(count, wanted)
    assert taken[0] == 0
    assert taken[-1] < count
    steps = np.diff([*taken, count])
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff", "avif"])
def test_the_frames_of_each_format(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"a.{suffix}", 8)
    for wanted, numbers in ((1, [0]), (2, [0, 4]), (3, [0, 2, 5]), (64, list(range(8)))):
        colours, count = shown(path, wanted)
        assert count == 8
        expected = [COLOURS[number] for number in numbers]
        assert np.abs(np.subtract(colours, expected)).max() < 12, (suffix, wanted)
    assert shown(film(tmp_path / f"still.{suffix}", 1), 5)[1] == 1


def test_pages_have_sizes_of_their_own_and_a_large_one_is_not_read(tmp_path: Path) -> None:
    pages = [Image.new("RGB", size, (200, 0, 0)) for size in ((40, 30), (30, 60), (400, 300))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with open(tmp_path / "a.tif", "rb") as file:
        sizes, facts = decode_frames(file, keep=lambda picture: picture.size, frames=3)
        assert (sizes, facts.frames) == ([(40, 30), (30, 60), (400, 300)], 3)
        file.seek(0)
        sizes, facts = decode_frames(file, keep=lambda picture: picture.size, frames=3, max_megapixels=0.01)
        assert (sizes, facts.frames) == ([(40, 30), (30, 60)], 2)


def test_frames_after_damage_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.gif", 8).read_bytes()
    (tmp_path / "cut.gif").write_bytes(whole[: len(whole) * 5 // 8])
    colours, count = shown(tmp_path / "cut.gif", 64)
    assert count is not None
    assert 3 <= count <= 6
    assert np.abs(np.subtract(colours, COLOURS[:count])).max() < 12
    assert shown(tmp_path / "cut.gif", 1)[0] == shown(tmp_path / "a.gif", 1)[0]


def test_a_frame_turned_by_its_metadata_is_turned_like_the_first(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.new("RGB", (40, 30), colour) for colour in COLOURS[:3]]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], exif=exif)
    with open(tmp_path / "a.webp", "rb") as file:
        sizes, facts = decode_frames(file, keep=lambda picture: picture.size, frames=3)
    assert sizes == [(30, 40)] * 3
    assert (facts.width, facts.height) == (30, 40)


def test_the_vector_is_the_mean_of_the_frames_brought_to_length_one(
    index: Index, tmp_path: Path, library_file: Path, model: Model
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    film(folder / "a.gif", 6)
    film(folder / "still.png", 1)
    assert index(folder, frames=3).embedded == 2
    assert rows(
        library_file,
        "SELECT path, images.frames, embeddings.frames FROM images JOIN embeddings ON image_id = id ORDER BY path",
    ) == [("a.gif", 6, 3), ("still.png", 1, 1)]
    pixels = [to_pixels(Image.new("RGB", (40, 30), COLOURS[number]), model.spec.preprocess) for number in (0, 2, 4)]
    mean = model.encode_images(np.stack(pixels)).mean(axis=0)
    with Library.open(library_file) as library:
        _, found = vectors(library, identity=model.identity, precision="fp32")
    assert abs(float(np.linalg.norm(found[0])) - 1) < 1e-6
    assert float(found[0] @ (mean / np.linalg.norm(mean))) > 0.9999


def test_another_number_of_frames_embeds_moving_pictures_again_and_no_other(
    index: Index, photo_folder: Photos, library_file: Path
) -> None:
    folder = photo_folder(count=4)
    film(folder / "long.gif", 8)
    film(folder / "short.png", 2)
    film(folder / "still.png", 1)
    assert index(folder).embedded == 7
    for wanted, embedded, of in ((1, 0, [1, 1]), (4, 2, [4, 2]), (4, 0, [4, 2]), (8, 1, [8, 2]), (2, 1, [2, 2])):
        report = index(folder, frames=wanted)
        assert (report.embedded, report.recognised, report.unchanged) == (embedded, 0, 7 - embedded), wanted
        moving = "SELECT embeddings.frames FROM images JOIN embeddings ON image_id = id WHERE images.frames > 1"
        assert rows(library_file, f"{moving} ORDER BY path") == of
    assert index(folder).embedded == 2
    assert integrity(library_file) == "ok"


def test_a_copy_of_a_moving_picture_needs_no_model(index: Index, tmp_path: Path, library_file: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    film(folder / "a.gif", 8)
    index(folder, frames=4)
    shutil.copy(folder / "a.gif", folder / "b.gif")
    assert index(folder, frames=4).recognised == 1
    assert rows(library_file, "SELECT frames FROM embeddings") == [4, 4]
    assert rows(library_file, "SELECT frames FROM pictures") == [8, 8]
    (folder / "a.gif").rename(folder / "c.gif")
    report = index(folder, frames=2)
    assert (report.embedded, report.recognised) == (1, 1)  # one of the two stands for the other


def test_a_library_of_an_older_version_is_counted_without_being_embedded_again(
    index: Index, photo_folder: Photos, library_file: Path
) -> None:
    """Nobody knows yet which of its pictures move; looking tells, and only those that do are embedded again."""
    folder = photo_folder(count=3)
    for number in range(3):
        Image.new("RGB", (30, 20), COLOURS[number]).save(folder / f"still{number}.png")
    film(folder / "moving.png", 5)
    index(folder)
    with sqlite3.connect(library_file) as connection:
        connection.execute("UPDATE images SET frames = NULL")
    connection.close()
    assert index(folder).unchanged == 7
    report = index(folder, frames=3)
    assert (report.embedded, report.recognised, report.unchanged) == (1, 3, 3)
    assert index(folder, frames=3).unchanged == 7


def test_opposite_frames_have_no_mean() -> None:
    opposite = np.array([[1, 0], [-1, 0], [0, 1], [0.6, 0.8], [0.6, -0.8]], dtype=np.float32)
    assert _means(opposite, [2, 1, 2]).tolist() == [[1, 0], [0, 1], [1, 0]]
    assert _means(opposite, [1] * 5) is opposite


def test_the_options_limits() -> None:
    for options in ({"frames": 0}, {"frames": 65}, {"seconds_per_file": 0}, {"seconds_per_file": float("nan")}):
        with pytest.raises(UsageError):
            IndexOptions(**options)  # type: ignore[arg-type]

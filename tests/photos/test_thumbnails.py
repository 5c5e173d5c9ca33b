"""Thumbnails: upright, small, never made larger, as the file they say; what cannot be read says so."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from PIL import Image

from clipcli.errors import ImageError
from clipcli.photos import thumbnails
from clipcli.photos.thumbnails import Encoding, encode, small_picture, small_pictures, thumbnail
from tests.photos.test_decode import difference, oriented, photo, saved, stored


@pytest.mark.parametrize(("encoding", "format"), [("webp", "WEBP"), ("jpeg", "JPEG")])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_upright_small_and_bare(encoding: Encoding, format: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(stored(photo(960, 640), orientation), "JPEG", quality=95, exif=oriented(orientation)))
    opened = Image.open(io.BytesIO(thumbnail(path, long_side=96, encoding=encoding, quality=95)))
    assert (opened.format, opened.size) == (format, (96, 64))
    assert difference(opened.convert("RGB"), photo()) < 4
    assert dict(opened.getexif()) == {}


def test_nothing_is_made_larger_and_nothing_vanishes() -> None:
    assert small_picture(saved(photo(96, 64), "PNG"), long_side=500).size == (96, 64)
    assert small_picture(saved(photo(3000, 2), "PNG"), long_side=100).size == (100, 1)


@pytest.mark.parametrize("side", [0, -1, thumbnails.LONGEST_SIDE + 1])
def test_a_side_that_makes_no_sense(side: int) -> None:
    with pytest.raises(ValueError, match="longer side"):
        small_picture(saved(photo(), "PNG"), long_side=side)


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_that_makes_no_sense(quality: int) -> None:
    with pytest.raises(ValueError, match="quality"):
        encode(photo(), quality=quality)


def test_in_order_with_an_error_in_the_place_of_what_cannot_be_read(tmp_path: Path) -> None:
    sources: list[Path | bytes] = [saved(photo(10 + n, 10), "PNG") for n in range(40)]
    sources[7] = tmp_path / "gone.jpg"
    sources[8] = b"GIF89a"
    made = list(small_pictures(sources, long_side=100, workers=3))
    assert len(made) == 40
    for number, each in enumerate(made):
        if number in (7, 8):
            assert isinstance(each, ImageError)
            assert each.reason == ("missing" if number == 7 else "truncated")
        else:
            assert isinstance(each, Image.Image)
            assert each.width == 10 + number


def test_the_limit_asked_for_holds() -> None:
    with pytest.raises(ImageError, match=r"more than 0\.001") as raised:
        small_picture(saved(photo(96, 64), "PNG"), long_side=32, max_megapixels=0.001)
    assert raised.value.reason == "too-large"


def test_large_pictures_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything above 1,000 pixels large, no two are decoded at once; small ones are."""
    monkeypatch.setattr(thumbnails, "SIDE_BY_SIDE_MEGAPIXELS", 0.001)
    opened, inside, most = thumbnails.open_image, 0, 0
    lock = threading.Lock()

    def counted(source: bytes, *, max_megapixels: float, hint: int) -> Image.Image:
        nonlocal inside, most
        if max_megapixels <= 0.001:
            return opened(source, max_megapixels=max_megapixels, hint=hint)
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            threading.Event().wait(0.005)
            return opened(source, max_megapixels=max_megapixels, hint=hint)
        finally:
            with lock:
                inside -= 1

    monkeypatch.setattr(thumbnails, "open_image", counted)
    made = list(small_pictures([saved(photo(), "PNG")] * 12, long_side=32, workers=6))
    assert all(isinstance(each, Image.Image) and each.size == (32, 21) for each in made)
    assert most == 1


def test_leaving_early_leaves_nothing_running() -> None:
    before = threading.active_count()
    made = small_pictures((saved(photo(), "PNG") for _ in range(1000)), long_side=32, workers=4)
    assert isinstance(next(made), Image.Image)
    made.close()
    assert threading.active_count() <= before

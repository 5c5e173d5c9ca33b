"""Raw files of cameras: a small DNG made here, developed by LibRaw; previews through a stand-in for it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image

from clipcli.errors import ImageError
from clipcli.photos.decode import TooLargeError, decode, open_image
from clipcli.photos.formats import IMAGE_SUFFIXES, RAW, RAW_SUFFIXES, identify
from clipcli.photos.scan import walk


def dng(path: Path, *, orientation: int = 1, width: int = 96, height: int = 64) -> Path:
    """A DNG whose left half is green and whose right half is red, before it is turned. Tags: DNG 1.4, chapter 4."""
    sensor = np.zeros((height, width), dtype=np.uint16)
    sensor[0::2, width // 2 :: 2] = 4000  # red sites of an RGGB filter
    sensor[0::2, 1 : width // 2 : 2] = sensor[1::2, 0 : width // 2 : 2] = 4000  # green ones
    tags = [
        (271, "s", 0, "Test", True),
        (272, "s", 0, "Camera One", True),
        (274, "H", 1, orientation, True),
        (306, "s", 0, "2021:07:04 12:30:05", True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Test Camera One", True),
        (50717, "H", 1, 4095, True),
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    tifffile.imwrite(path, sensor, photometric=32803, extratags=tags, metadata=None)
    return path


def halves(picture: Image.Image) -> tuple[str, str]:
    """The strongest channel of the left half and of the right one."""
    pixels = np.asarray(picture, dtype=np.float32)
    middle = pixels.shape[1] // 2
    names = ("red", "green", "blue")
    return tuple(names[int(half.mean(axis=(0, 1)).argmax())] for half in (pixels[:, :middle], pixels[:, middle:]))  # type: ignore[return-value]


def test_a_dng_is_developed_and_upright(tmp_path: Path) -> None:
    for orientation, size, sides in ((1, (96, 64), ("green", "red")), (3, (96, 64), ("red", "green"))):
        path = dng(tmp_path / f"{orientation}.dng", orientation=orientation)
        with open(path, "rb") as file:
            picture, facts = decode(file, name=bytes(path))
        assert (facts.width, facts.height, facts.format, facts.orientation) == (*size, "RAW", orientation)
        assert (facts.camera, facts.taken_at) == ("Test Camera One", "2021-07-04T12:30:05")
        assert halves(picture) == sides
    turned = open_image(dng(tmp_path / "6.dng", orientation=6))
    assert turned.size == (32, 48)  # half the sensor's size, on its side
    assert halves(turned.transpose(Image.Transpose.ROTATE_90)) == ("green", "red")


def test_size_is_judged_before_anything_is_developed(tmp_path: Path) -> None:
    with pytest.raises(TooLargeError):
        open_image(dng(tmp_path / "a.dng"), max_megapixels=0.001)


def test_a_damaged_raw_file(tmp_path: Path) -> None:
    (tmp_path / "a.nef").write_bytes(b"II*\0" + b"\x08\0\0\0" + b"\xff" * 500)
    with pytest.raises(ImageError) as caught:
        open_image(tmp_path / "a.nef")
    assert caught.value.reason in {"damaged", "truncated"}


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dng(tmp_path / "a.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageError, match=r"pip install .*\[raw\]' reads it") as caught:
        open_image(path)
    assert caught.value.reason == "needs-raw"


class Camera:
    """What `rawpy.imread` returns for a picture 2000 x 1500, turned as `flip` says."""

    def __init__(self, preview: Any, *, flip: int) -> None:
        self.sizes = SimpleNamespace(width=2000, height=1500, flip=flip)
        self.preview = preview

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def extract_thumb(self) -> Any:
        if isinstance(self.preview, Exception):
            raise self.preview
        return self.preview

    def postprocess(self, **_: Any) -> Any:
        return np.full((750, 1000, 3), (0, 0, 255), dtype=np.uint8)


def preview(size: tuple[int, int], *, orientation: int | None = None) -> Any:
    image = Image.new("RGB", size, (0, 200, 0))
    image.paste((200, 0, 0), (size[0] // 2, 0, *size))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", exif=exif)
    return SimpleNamespace(format=rawpy.ThumbFormat.JPEG, data=buffer.getvalue())


@pytest.mark.parametrize(
    ("shown", "flip", "size", "sides"),
    [
        (preview((1000, 750)), 0, (1000, 750), ("green", "red")),
        (preview((1000, 750)), 3, (1000, 750), ("red", "green")),  # the preview does not say: the raw file does
        (preview((1000, 750), orientation=3), 3, (1000, 750), ("red", "green")),  # both say it: once is enough
        (preview((160, 120)), 0, (1000, 750), ("blue", "blue")),  # a thumbnail is not good enough
        (rawpy.LibRawNoThumbnailError(), 0, (1000, 750), ("blue", "blue")),
        (SimpleNamespace(format=rawpy.ThumbFormat.BITMAP, data=None), 0, (1000, 750), ("blue", "blue")),
    ],
)
def test_the_cameras_preview_comes_first(
    shown: Any, flip: int, size: tuple[int, int], sides: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rawpy, "imread", lambda file: Camera(shown, flip=flip))
    picture, facts = decode(io.BytesIO(b"II*\0" + b"\0" * 60), name=b"a.nef")
    assert (picture.size, halves(picture)) == (size, sides)
    assert (facts.width, facts.height) == (2000, 1500)


def test_raw_files_are_told_from_tiffs() -> None:
    tiff = b"II*\0" + b"\x10\0\0\0"
    assert identify(tiff) == "TIFF"
    assert identify(tiff, name=b"a.NEF") == RAW
    assert identify(tiff + b"CR\2\0") == RAW
    assert identify(b"FUJIFILMCCD-RAW 0201") == RAW
    assert identify(b"\0\0\0\x18ftypcrx \0\0\0\1") == RAW
    assert identify(b"text in a file called raw", name=b"a.raw") is None
    assert RAW_SUFFIXES < IMAGE_SUFFIXES
    assert {len(suffix) for suffix in RAW_SUFFIXES} == {4}


def test_a_raw_file_beside_its_jpeg_is_left_out(tmp_path: Path) -> None:
    for name in ("a.NEF", "a.jpg", "b.nef", "b.txt", "c.ARW", "C.HEIC"):
        (tmp_path / name).touch()
    assert [found.path for found in walk(bytes(tmp_path))] == [b"C.HEIC", b"a.jpg", b"b.nef"]

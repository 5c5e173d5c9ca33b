"""Decoding: by content, bounded, upright exactly once, RGB, and every failure an ImageError with a reason."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipcli.errors import ImageError
from clipcli.photos.decode import TooLargeError, open_image
from clipcli.photos.formats import identify

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"


def photo(width: int = 96, height: int = 64) -> Image.Image:
    """Smooth, with no symmetry: every turn of it is another picture."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = [across * 255, down * 255, (across * down) * 255]
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The pixels a camera would store so that `orientation` turns them upright again."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return upright.transpose(undo[orientation]) if orientation in undo else upright


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference per channel, 0 to 255."""
    assert one.size == other.size
    return float(np.abs(np.asarray(one, dtype=np.float32) - np.asarray(other, dtype=np.float32)).mean())


ORIENTED: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF jpeg": {"compression": "jpeg"},
    "AVIF": {"quality": 95},
}


@pytest.mark.parametrize("format", ORIENTED)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone_exactly_once(format: str, orientation: int) -> None:
    data = saved(stored(photo(), orientation), format.split()[0], exif=oriented(orientation), **ORIENTED[format])
    opened = open_image(data)
    assert difference(opened, photo()) < 4  # a turn too many or too few differs by 60 and more, or in size
    assert opened.getexif() == {}  # nobody can turn it a second time


def test_orientation_may_stand_in_xmp_alone() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert difference(open_image(saved(stored(photo(), 6), "JPEG", quality=95, xmp=xmp)), photo()) < 4


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    assert difference(open_image(saved(photo(), "JPEG", quality=95, exif=oriented(orientation))), photo()) < 4


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("TIFF", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("AVIF", {"quality": 90}),
        ("JPEG2000", {}),
        ("PPM", {}),
        ("ICO", {"sizes": [(96, 64)]}),
        ("TGA", {}),
        ("QOI", {}),
    ],
)
def test_each_format_is_recognised_by_its_content(format: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "named.wrongly"
    path.write_bytes(saved(photo(), format, **options))
    opened = open_image(path)
    assert opened.mode == "RGB"
    assert difference(opened, photo()) < (25 if format == "GIF" else 5)  # GIF has 256 colours


def test_a_targa_without_a_footer_is_known_by_its_name(tmp_path: Path) -> None:
    data = saved(photo(), "TGA").removesuffix(b"\0" * 8 + b"TRUEVISION-XFILE.\0")
    (tmp_path / "old.tga").write_bytes(data)
    (tmp_path / "old.dat").write_bytes(data)
    assert difference(open_image(tmp_path / "old.tga"), photo()) == 0
    with pytest.raises(ImageError, match="not a picture"):
        open_image(tmp_path / "old.dat")


def test_heif_and_avif_are_told_apart_by_their_brands() -> None:
    assert identify(HEIC) == "HEIF"
    assert identify(HEIC.replace(b"heic", b"mif1", 1)) == "HEIF"
    assert identify(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"
    assert identify(b"\0\0\0\x18ftypisom\0\0\0\0isommp42") is None


def test_a_damaged_heic_is_a_reason_not_a_crash() -> None:
    with pytest.raises(ImageError) as caught:
        open_image(HEIC + b"\0" * 200)
    assert caught.value.reason in {"damaged", "truncated"}


@pytest.mark.parametrize("text", ["P5 is a good school", "BMW is a car", "GIF", "P1\nhello", "just text"])
def test_text_that_begins_like_a_picture(text: str) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(text.encode())
    assert caught.value.reason in {"not-an-image", "damaged", "truncated"}


def test_transparent_is_white() -> None:
    rgba = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert open_image(saved(rgba, "PNG")).getpixel((3, 3)) == (255, 255, 255)
    assert open_image(saved(half, "PNG")).getpixel((3, 3)) == (127, 127, 127)


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB"])
def test_transparency_of_other_modes_is_white_as_well(mode: str) -> None:
    if mode == "LA":
        data = saved(Image.new("LA", (8, 8), (90, 0)), "PNG")
    elif mode == "P":
        image = Image.new("P", (8, 8), 1)
        image.putpalette([10, 20, 30, 200, 0, 0])
        data = saved(image, "PNG", transparency=1)
    else:
        colour: Any = 77 if mode == "L" else (77, 0, 5)
        data = saved(Image.new(mode, (8, 8), colour), "PNG", transparency=colour)
    assert open_image(data).getpixel((3, 3)) == (255, 255, 255)


def test_sixteen_bit_grey_keeps_its_tones() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    for format in ("PNG", "TIFF"):
        opened = np.asarray(open_image(saved(Image.fromarray(ramp), format)))
        assert np.abs(opened[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_a_float_tiff_and_one_with_nothing_in_it() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, axis=0)
    opened = np.asarray(open_image(saved(Image.fromarray(ramp), "TIFF")))
    assert np.abs(opened[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    nothing = np.full((4, 4), np.nan, dtype=np.float32)
    assert np.asarray(open_image(saved(Image.fromarray(nothing), "TIFF"))).max() == 0


@pytest.mark.parametrize("mode", ["CMYK", "1", "LAB", "YCbCr"])
def test_other_colour_models(mode: str) -> None:
    if mode == "LAB":
        image = Image.new("LAB", (8, 8), (255, 128, 128))  # lightness 100
    else:
        image = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    format = "JPEG" if mode == "YCbCr" else "TIFF"
    assert np.asarray(open_image(saved(image, format))).min() >= 253


def test_a_cmyk_jpeg() -> None:
    red = Image.new("RGB", (32, 32), (255, 0, 0)).convert("CMYK")
    assert difference(open_image(saved(red, "JPEG", quality=95)), Image.new("RGB", (32, 32), (255, 0, 0))) < 3


def test_a_jpeg_is_decoded_smaller_but_not_below_twice_the_hint() -> None:
    data = saved(photo(1600, 1200), "JPEG", quality=95)
    assert open_image(data).size == (1600, 1200)
    assert open_image(data, hint=224).size == (800, 600)
    assert open_image(data, hint=64).size == (200, 150)
    turned = saved(stored(photo(1600, 1200), 6), "JPEG", quality=95, exif=oriented(6))
    assert open_image(turned, hint=224).size == (800, 600)


def test_size_is_judged_by_the_header(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    for data in (header, header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")):
        with pytest.raises(TooLargeError, match="30000 x 30000 pixels are 900 megapixels, more than 150") as caught:
            open_image(data, max_megapixels=150)
        assert caught.value.reason == "too-large"
    with pytest.raises(TooLargeError):
        open_image(saved(photo(), "PNG"), max_megapixels=0.006)
    assert open_image(saved(photo(), "PNG"), max_megapixels=0.0062).size == (96, 64)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF", "TGA"])
def test_half_a_file_is_truncated_or_damaged(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    data = saved(noise, format)
    with pytest.raises(ImageError) as caught:
        open_image(data[: len(data) // 2])
    expected = {"truncated"} if format in {"JPEG", "PNG", "GIF", "WEBP"} else {"truncated", "damaged", "not-an-image"}
    assert caught.value.reason in expected


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_wherever_a_file_is_cut_it_is_called_truncated(format: str) -> None:
    data = saved(photo(), format)
    for length in range(60, len(data) - 60, len(data) // 23):
        with pytest.raises(ImageError) as caught:
            open_image(data[:length])
        assert caught.value.reason == "truncated", length


def test_reasons_for_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("this is text")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    for name, reason in [
        ("text.png", "not-an-image"),
        ("empty.jpg", "empty"),
        ("none.jpg", "missing"),
        ("folder", "not-an-image"),
    ]:
        with pytest.raises(ImageError) as caught:
            open_image(tmp_path / name)
        assert caught.value.reason == reason
        assert "\n" not in str(caught.value)


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = bytes(tmp_path) + b"/\xff\xfe.png"
    with open(path, "wb") as file:
        file.write(saved(photo(), "PNG"))
    assert open_image(os.fsdecode(path)).size == (96, 64)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_broken_metadata_never_costs_the_picture(format: str) -> None:
    """Bytes of the EXIF block are overwritten one stretch after the other; the pixels are not touched."""
    exif = oriented(1)
    exif[0x010F] = "MakerMaker" * 3
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    data = saved(photo(), format, exif=exif)
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    start = data.index(b"MakerMaker") - block.index(b"MakerMaker") if format != "TIFF" else data.index(b"MakerMaker")
    end = start + len(block) if format != "TIFF" else len(data)
    # A TIFF's metadata stand among the tags that say how its pixels are stored, so only what lies behind is broken.
    for offset in range(start, end - 4, 5):
        broken = data[:offset] + b"\xff\xfe\xfd\xfc" + data[offset + 4 :]
        assert open_image(broken).size == (96, 64), offset


def test_a_jpeg_with_an_unreadable_segment_loses_that_segment_only() -> None:
    data = saved(photo(), "JPEG", quality=95)
    photoshop = b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x10" + b"\0" * 3  # a resolution block cut short
    segment = b"\xff\xed" + (len(photoshop) + 2).to_bytes(2, "big") + photoshop
    assert difference(open_image(data[:2] + segment + data[2:]), photo()) < 4


FUZZED = {name: saved(photo(24, 16), name) for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "QOI")}


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(FUZZED)), where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=8))
def test_damage_gives_a_picture_or_an_image_error(name: str, where: float, junk: bytes) -> None:
    data = FUZZED[name]
    at = int(where * len(data))
    damaged = data[:at] + junk + data[at + len(junk) :]
    try:
        outcome = open_image(damaged, max_megapixels=1).mode
    except ImageError as error:
        outcome = error.reason
    assert outcome in {"RGB", "damaged", "truncated", "not-an-image", "too-large", "out-of-memory"}

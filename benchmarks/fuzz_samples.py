"""One small file and more of each format, made on the spot, for `fuzz_decoding` to damage."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

__all__ = ["made_samples"]

_SIZE = (48, 36)
_HEIC = Path(__file__).resolve().parents[1] / "tests" / "photos" / "small.heic"  # nothing here can write one


def made_samples() -> dict[str, bytes]:
    """File name -> content; the ending is the usual one of its format."""
    noise = np.random.default_rng(0).integers(0, 255, (9, 12, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise, "RGBA").resize(_SIZE, Image.Resampling.BICUBIC)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    frames = [rgb.rotate(90 * turn, expand=False) for turn in range(4)]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "Maker", "2020:01:02 03:04:05"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    film = {"save_all": True, "append_images": frames[1:]}
    return {
        "plain.jpg": _saved(rgb, "JPEG", exif=exif),
        "progressive.jpg": _saved(rgb, "JPEG", progressive=True, optimize=True),
        "cmyk.jpg": _saved(rgb.convert("CMYK"), "JPEG"),
        "grey.jpg": _saved(grey, "JPEG", restart_marker_rows=1),
        "pair.mpo": _saved(frames[0], "MPO", **film),
        "plain.png": _saved(rgb, "PNG", exif=exif),
        "alpha.png": _saved(rgba, "PNG"),
        "palette.png": _saved(rgb.quantize(16), "PNG", bits=4),
        "deep.png": _saved(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "film.png": _saved(frames[0], "PNG", **film),
        "lossy.webp": _saved(rgba, "WEBP", exif=exif),
        "lossless.webp": _saved(rgb, "WEBP", lossless=True),
        "film.webp": _saved(frames[0], "WEBP", **film),
        "plain.tif": _saved(rgb, "TIFF", exif=exif),
        "pages.tif": _saved(frames[0], "TIFF", compression="tiff_lzw", **film),
        "deflate.tif": _saved(rgba, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": _saved(rgb, "TIFF", compression="jpeg"),
        "fax.tif": _saved(grey.convert("1"), "TIFF", compression="group4"),
        "float.tif": _saved(Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "TIFF"),
        "film.gif": _saved(frames[0], "GIF", **film),
        "plain.gif": _saved(grey, "GIF"),
        "plain.bmp": _saved(rgb, "BMP"),
        "palette.bmp": _saved(rgb.quantize(16), "BMP"),
        "plain.avif": _saved(rgba, "AVIF"),
        "film.avif": _saved(frames[0], "AVIF", **film),
        "plain.heic": _HEIC.read_bytes(),
        "plain.jp2": _saved(rgb, "JPEG2000"),
        "tiles.j2k": _saved(rgb, "JPEG2000", no_jp2=True, tile_size=(16, 16), irreversible=True),
        "plain.ppm": _saved(rgb, "PPM"),
        "plain.pgm": _saved(grey, "PPM"),
        "plain.pbm": _saved(grey.convert("1"), "PPM"),
        "text.ppm": b"P3 4 2 255 " + b" ".join(str(value % 256).encode() for value in range(24)),
        "float.pfm": b"Pf\n4 2\n-1.0\n" + struct.pack("<8f", *(value / 8 for value in range(8))),
        "several.ico": _saved(rgba, "ICO", sizes=[(16, 16), (32, 32)]),
        "bitmaps.ico": _saved(rgba, "ICO", sizes=[(16, 16)], bitmap_format="bmp"),
        "plain.tga": _saved(rgb, "TGA"),
        "packed.tga": _saved(rgba, "TGA", compression="tga_rle"),
        "plain.qoi": _saved(rgba, "QOI"),
        **_raw(),
    }


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if "append_images" in options:  # Pillow leaves settings of one format on a picture, which another trips over
        options["append_images"] = [frame.copy() for frame in cast(list[Image.Image], options["append_images"])]
    image.copy().save(buffer, format=format, **options)
    return buffer.getvalue()


def _raw() -> dict[str, bytes]:
    """A camera's raw file (DNG 1.4) where its decoder is installed."""
    try:
        import rawpy  # noqa: F401
        import tifffile
    except ImportError:
        return {}
    sensor = np.random.default_rng(0).integers(0, 4095, (32, 48), dtype=np.uint16)
    tags = [
        (271, "s", 0, "Test", True),
        (274, "H", 1, 6, True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Test Camera", True),
        (50717, "H", 1, 4095, True),
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, sensor, photometric=32803, extratags=tags, metadata=None)
    return {"plain.dng": buffer.getvalue()}

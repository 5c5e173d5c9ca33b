"""A library of photographs that are easy to tell apart, for everything that shows pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_bundle import COLOURS, make_tiny_bundle
from tests.tiny_library import make_tiny_library

SIZES = {"red": (640, 480), "green": (480, 640), "blue": (900, 300), "yellow": (40, 30), "white": (640, 480)}


def drawn(colour: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    """Mostly that colour, lighter to the right and darker downwards, so that no turn of it looks the same."""
    across, down = np.meshgrid(np.linspace(0, 60, size[0]), np.linspace(0, 60, size[1]))
    wave = 12 * np.sin(across / 3)
    pixels = np.array(colour, dtype=np.float64) + (across - down + wave)[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", name="tiny")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of five shapes; one of them lies on its side and says so."""
    folder = tmp_path_factory.mktemp("photos")
    for name, size in SIZES.items():
        picture = drawn(COLOURS[name], size)
        if name == "green":
            exif = Image.Exif()
            exif[0x0112] = 6
            picture.transpose(Image.Transpose.ROTATE_90).save(folder / "green.jpg", quality=95, exif=exif)
        else:
            picture.save(folder / f"{name}.png")
    stamp = 1_500_000_000  # 2017-07-14
    for path in folder.iterdir():
        os.utime(path, (stamp, stamp))
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, photos: Path, bundle: Path) -> Path:
    return make_tiny_library(tmp_path_factory.mktemp("library") / "library.db", photos, [bundle])

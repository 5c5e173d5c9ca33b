"""Preprocessing against an independent transcription of the reference transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.preprocess import normalise, resize_and_crop, resized_shape, to_pixels
from clipcli.bundle.spec import Preprocess

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def spec(size: int = 32, **changes: str) -> Preprocess:
    return Preprocess(image_size=size, mean=MEAN, std=STD, **changes)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft colours with hard edges, so that resampling by another filter or offset shows."""
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((width, height))
    levels = np.asarray(soft).copy()
    levels[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = random.integers(0, 256, 3)
    return Image.fromarray(levels)


def reference(image: Image.Image, size: int) -> NDArray[np.float32]:
    """Resize(size, BICUBIC), CenterCrop(size), ToTensor, Normalize, written down from torchvision's documentation and
    source (transforms.functional: `_compute_resized_output_size`, `center_crop`; pixel values float32 throughout).
    """
    w, h = image.size
    if w <= h:
        new_w, new_h = size, int(size * h / w)
    else:
        new_w, new_h = int(size * w / h), size
    image = image.resize((new_w, new_h), Image.Resampling.BICUBIC)
    top, left = round((new_h - size) / 2.0), round((new_w - size) / 2.0)
    image = image.crop((left, top, left + size, top + size))
    tensor = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    mean = np.array(MEAN, dtype=np.float32)[:, None, None]
    std = np.array(STD, dtype=np.float32)[:, None, None]
    return (tensor - mean) / std


@given(width=st.integers(1, 150), height=st.integers(1, 150), size=st.sampled_from([8, 31, 32]))
def test_equal_to_the_reference_bit_for_bit(width: int, height: int, size: int) -> None:
    if max(width, height) > 15 * min(width, height):  # ribbons take another way, see below
        width = height
    image = picture(width, height, seed=width * 1000 + height)
    ours = to_pixels(image, spec(size))
    assert ours.dtype == np.float32
    assert ours.shape == (3, size, size)
    assert np.array_equal(ours, reference(image, size))


@pytest.mark.parametrize(("width", "height"), [(640, 427), (427, 640), (500, 375), (224, 224), (333, 500), (1000, 224)])
def test_equal_to_the_reference_at_photograph_sizes(width: int, height: int) -> None:
    image = picture(width, height)
    assert np.array_equal(to_pixels(image, spec(224)), reference(image, 224))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(100, 200, (32, 64)), (200, 100, (64, 32)), (99, 100, (32, 32)), (3, 4, (32, 42)), (7, 5, (44, 32))],
)
def test_the_longer_side_is_cut_to_a_whole_number(width: int, height: int, expected: tuple[int, int]) -> None:
    assert resized_shape(width, height, 32) == expected


def test_halves_of_the_crop_offset_go_to_even() -> None:
    """63 pixels for 32 leave 31: 15.5 becomes 16; 61 leave 29: 14.5 becomes 14."""
    for length, offset in ((63, 16), (61, 14)):
        ramp = np.zeros((length, 32, 3), dtype=np.uint8)
        ramp[:] = np.arange(length, dtype=np.uint8)[:, None, None]
        cropped = np.asarray(resize_and_crop(Image.fromarray(ramp), spec()))
        assert cropped[0, 0, 0] == offset


@pytest.mark.parametrize(("width", "height"), [(40, 4000), (4000, 40), (33, 1700)])
def test_a_ribbon_differs_from_the_reference_by_rounding_at_most(width: int, height: int) -> None:
    image = picture(width, height)
    ours = np.asarray(resize_and_crop(image, spec())).astype(int)
    levels = reference(image, 32) * np.array(STD)[:, None, None] + np.array(MEAN)[:, None, None]
    theirs = np.round(levels * 255).transpose(1, 2, 0).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_a_very_long_ribbon_needs_no_memory_for_what_is_cropped_away() -> None:
    """Resized whole, this would be 224 x 13,440,000 pixels."""
    image = Image.new("RGB", (1, 60_000), (10, 20, 30))
    assert resize_and_crop(image, spec(224)).getpixel((100, 100)) == (10, 20, 30)


def test_squash_keeps_everything_and_the_shape_goes() -> None:
    image = Image.new("RGB", (100, 50), "red")
    image.paste((0, 0, 255), (0, 0, 10, 50))
    squashed = np.asarray(resize_and_crop(image, spec(resize="squash")))
    assert squashed.shape == (32, 32, 3)
    assert squashed[16, 0, 2] > 200
    assert np.asarray(resize_and_crop(image, spec()))[16, 0, 2] < 50  # the crop never sees the edge


def test_interpolation_is_the_specs() -> None:
    image = picture(90, 60)
    bicubic, bilinear = to_pixels(image, spec()), to_pixels(image, spec(interpolation="bilinear"))
    assert not np.array_equal(bicubic, bilinear)
    direct = image.resize((48, 32), Image.Resampling.BILINEAR).crop((8, 0, 40, 32))
    assert np.array_equal(bilinear, normalise(np.asarray(direct), spec()))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16"])
def test_other_modes_become_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 40), 40_000, dtype=np.uint16))
    else:
        image = picture(40, 40).convert(mode)
    assert to_pixels(image, spec()).shape == (3, 32, 32)


def test_the_picture_given_is_left_alone() -> None:
    image = picture(50, 40)
    before = np.asarray(image).copy()
    to_pixels(image, spec())
    assert np.array_equal(np.asarray(image), before)


@given(level=st.integers(0, 255))
def test_normalising_is_the_references_arithmetic(level: int) -> None:
    pixels = normalise(np.full((2, 3, 3), level, dtype=np.uint8), spec())
    for channel in range(3):
        expected = (np.float32(level) / np.float32(255) - np.float32(MEAN[channel])) / np.float32(STD[channel])
        assert (pixels[channel] == expected).all()

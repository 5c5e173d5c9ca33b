"""Pictures varied in their colours, and with a part hidden."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.augment import vary

SIZE, COUNT = 32, 40
ALL = slice(0, COUNT)


def pictures(seed: int = 0) -> NDArray[np.uint8]:
    """(40, 32, 32, 3) without the darkest and the lightest, so that little is cut off."""
    return np.random.default_rng(seed).integers(90, 130, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)


def varied(
    pixels: NDArray[np.uint8], *, colour: float = 0.0, erase: float = 0.0, own: slice = ALL, seed: int = 1
) -> NDArray[np.uint8]:
    return vary(pixels, colour=colour, erase=erase, batch_size=COUNT, own=own, random=np.random.default_rng(seed))


def test_nothing_asked_changes_nothing() -> None:
    assert np.array_equal(varied(pictures()), pictures())


def test_colours_vary_and_stay_the_same_hue() -> None:
    before = np.zeros((COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    before[:, : SIZE // 2] = (150, 60, 60)
    before[:, SIZE // 2 :] = (60, 60, 120)
    made = varied(before, colour=0.3).astype(int)
    assert len({tuple(picture[0, 0]) for picture in made}) > COUNT // 2  # each in a way of its own
    red, blue = made[:, 0, 0], made[:, -1, 0]
    assert (red[:, 0] > red[:, 1]).all()
    assert (blue[:, 2] > blue[:, 1]).all()
    assert (abs(red[:, 1] - red[:, 2]) <= 1).all()
    assert (abs(blue[:, 0] - blue[:, 1]) <= 1).all()


def test_brightness_lies_within_what_was_asked() -> None:
    grey = np.full((COUNT, SIZE, SIZE, 3), 100, dtype=np.uint8)  # has no contrast and no saturation to vary
    levels = varied(grey, colour=0.4)[:, 0, 0, 0]
    assert levels.min() >= 60
    assert levels.max() <= 140
    assert levels.max() - levels.min() > 40


def test_extremes_stay_pixels() -> None:
    white = np.full((COUNT, SIZE, SIZE, 3), 255, dtype=np.uint8)
    assert varied(white, colour=1.0).max() == 255
    assert varied(np.zeros_like(white), colour=1.0).max() == 0


def test_squares_hide_a_part_of_a_share() -> None:
    before = pictures()
    made = varied(before, erase=0.5)
    hidden = (made != before).any(axis=3)  # (40, 32, 32)
    touched = hidden.any(axis=(1, 2))
    assert 10 <= touched.sum() <= 30
    for picture, where in zip(made[touched], hidden[touched], strict=True):
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert 4 <= max(high, wide) <= 16
        inside = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (inside == inside[0, 0]).all()
    assert np.array_equal(before, pictures())  # what was given is not written to


@pytest.mark.parametrize("own", [slice(0, 13), slice(13, 40)])
def test_each_process_makes_its_part_of_the_whole(own: slice) -> None:
    whole = varied(pictures(), colour=0.4, erase=0.5)
    assert np.array_equal(varied(pictures()[own], colour=0.4, erase=0.5, own=own), whole[own])

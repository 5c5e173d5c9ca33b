"""The figure of objectives compared: how many pictures an accuracy takes, and the picture of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.objectives_figure import Curve, draw_objectives, mean_of_seeds, ratios, reached

FAST = Curve(objective="fast", seed=0, top1={1000: 0.1, 2000: 0.2, 4000: 0.4})
SLOW = Curve(objective="slow", seed=0, top1={1000: 0.05, 4000: 0.15, 16000: 0.25})


def test_pictures_are_counted_between_two_points_by_their_logarithm() -> None:
    assert reached(SLOW.top1, 0.15) == pytest.approx(4000)
    assert reached(SLOW.top1, 0.1) == pytest.approx(2000)  # half way, in doublings, from 1,000 to 4,000
    assert reached(SLOW.top1, 0.3) is None
    assert reached(SLOW.top1, 0.01) == 0.0


def test_how_many_times_as_many_and_what_cannot_be_told() -> None:
    assert [line.rsplit(": ", 1)[1] for line in ratios(FAST.top1, SLOW.top1)] == ["2.00", "4.00", "more than 4.00"]
    assert [line.rsplit(": ", 1)[1] for line in ratios(SLOW.top1, FAST.top1)] == ["less than 1.00", "0.35", "0.15"]


def test_the_mean_is_over_what_all_seeds_have() -> None:
    other = Curve(objective="fast", seed=1, top1={1000: 0.3, 2000: 0.4})
    assert mean_of_seeds([FAST, SLOW, other], "fast") == pytest.approx({1000: 0.2, 2000: 0.3})
    assert mean_of_seeds([FAST], "nothing") == {}


def test_the_figure_is_drawn_where_an_objective_has_nothing_yet(tmp_path: Path) -> None:
    draw_objectives([FAST, SLOW], ("fast", "slow", "nothing"), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > 1000

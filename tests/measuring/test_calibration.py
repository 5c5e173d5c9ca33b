"""Whether probabilities are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipcli.evaluate.calibration import calibration_error, reliability
from tests.measuring.conftest import Eval


def test_a_model_that_says_half_and_is_right_half_the_time_is_calibrated() -> None:
    bins = reliability(np.full(4, 0.5), np.asarray([True, False, True, False]), bins=10)
    assert calibration_error(bins) == 0.0
    assert [one.pictures for one in bins] == [0, 0, 0, 0, 4, 0, 0, 0, 0, 0]  # up to 0.5, as in the paper


def test_the_error_is_weighted_by_pictures() -> None:
    probabilities = np.asarray([0.9, 0.9, 0.9, 0.3])
    bins = reliability(probabilities, np.asarray([True, True, False, False]), bins=10)
    assert calibration_error(bins) == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.3)


def test_the_ends_belong_to_the_first_and_the_last_bin() -> None:
    bins = reliability(np.asarray([0.0, 1.0]), np.asarray([False, True]))
    assert (bins[0].pictures, bins[-1].pictures, calibration_error(bins)) == (1, 1, 0.0)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        reliability(np.asarray([1.5]), np.asarray([True]))


def test_the_command_and_its_diagram(evaluate: Eval, classes: Path, tmp_path: Path) -> None:
    outcome = evaluate("calibration", classes, "--diagram", "r.png", "--format", "json")
    assert outcome.exit_code == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert len(found) == 15
    assert sum(one["pictures"] for one in found) == 18
    right = sum(one["pictures"] * one["right"] for one in found if one["pictures"])
    assert right == pytest.approx(17, abs=1e-4)
    assert found[0]["right"] is None or found[0]["pictures"]
    with Image.open(tmp_path / "r.png") as figure:
        assert figure.width > 1000
    assert "expected calibration error" in evaluate("calibration", classes).stdout
    assert evaluate("calibration", classes, "--diagram", "r.gif").exit_code == 2

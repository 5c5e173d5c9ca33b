"""Pictures made worse, and what is left of the figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.datasets.changes import CHANGES
from tests.measuring.conftest import Eval


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_keeps_the_shape_and_is_always_the_same(name: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = Image.fromarray(levels)
    changed = CHANGES[name](picture)
    assert (changed.size, changed.mode) == ((64, 64), "RGB")
    assert np.asarray(changed).tolist() != levels.tolist()
    assert np.asarray(CHANGES[name](picture)).tolist() == np.asarray(changed).tolist()
    assert np.asarray(picture).tolist() == levels.tolist()


def test_without_colour_the_colours_are_not_found(
    evaluate: Eval, classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = evaluate("robustness", classes, "--format", "json")
    assert outcome.exit_code == 0, outcome.stderr
    found = {one["change"]: one["top1"] for one in json.loads(outcome.stdout)}
    assert list(found) == ["none", *CHANGES]
    assert found["none"] == found["blur"] == round(17 / 18, 6)
    assert found["greyscale"] < 0.7

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Model, "encode_images", refuse)
    assert evaluate("robustness", classes, "--format", "json").stdout == outcome.stdout
    assert "greyscale" in evaluate("robustness", classes).stdout


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_left_is_drawn(evaluate: Eval, classes: Path, in_folder: Path, dark: bool) -> None:
    outcome = evaluate("robustness", classes, "--chart", "left.png", *(["--dark"] if dark else []))
    assert outcome.exit_code == 0, outcome.stderr
    with Image.open(in_folder / "left.png") as drawn:
        assert drawn.width == 1520
        corner = drawn.convert("RGB").getpixel((0, 0))
    assert corner == ((22, 22, 22) if dark else (255, 255, 255))
    refused = evaluate("robustness", classes, "--chart", "left.txt")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "'left.txt' does not end in one of .png" in refused.stderr

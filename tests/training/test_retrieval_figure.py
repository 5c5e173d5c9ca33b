"""The picture of what is found before and after: what stands in it, its frames, and that a run leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipcli.errors import ClipError
from clipcli.render import retrieval_figure
from clipcli.render.figure_style import DARK, LIGHT, Look
from clipcli.render.retrieval_figure import draw_retrievals
from tests.training.conftest import clip
from tests.training.tiny import Told, options, write_classes, write_pairs
from trainer.finishing import EXAMPLES, Example
from trainer.run import train

COLOURS = np.asarray([(250, 0, 0), (0, 0, 250), (250, 250, 0), (120, 0, 120)], dtype=np.uint8)
PIXELS = np.repeat(np.repeat(COLOURS[:, None, None], 8, axis=1), 8, axis=2)  # (4, 8, 8, 3)


def drawn(path: Path, *examples: Example, look: Look = LIGHT) -> Any:
    draw_retrievals(examples, PIXELS, path, title="Training of a model", look=look)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def columns_of(picture: Any, colour: tuple[int, ...]) -> float:
    """Where the colour stands, as a share of the width."""
    found = np.flatnonzero((np.abs(picture - np.asarray(colour)).max(axis=2) < 12).any(axis=0))
    return float(found.mean()) / picture.shape[1] if len(found) else -1


@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_before_stands_on_the_left_and_after_on_the_right(tmp_path: Path, look: Look) -> None:
    example = Example(text="x", right=frozenset({9}), before=(0, 1), after=(2, 3))
    picture = drawn(tmp_path / "a.png", example, look=look)
    places = [columns_of(picture, tuple(map(int, colour))) for colour in COLOURS]
    assert places == sorted(places)
    assert places[1] < places[2]
    assert min(places) > 0


def test_the_right_ones_and_no_others_are_framed(tmp_path: Path) -> None:
    frame = tuple(int(LIGHT.series[2][at : at + 2], 16) for at in (1, 3, 5))
    without = Example(text="x", right=frozenset({3}), before=(0, 1), after=(1, 2))
    assert columns_of(drawn(tmp_path / "a.png", without), frame) == -1
    found = Example(text="x", right=frozenset({2}), before=(0, 1), after=(1, 2))
    picture = drawn(tmp_path / "b.png", found)
    assert columns_of(picture, frame) == pytest.approx(columns_of(picture, tuple(map(int, COLOURS[2]))), abs=0.01)


def test_odd_texts_and_no_before(tmp_path: Path) -> None:
    many = [
        Example(text=text, right=frozenset({1}), before=(), after=(0, 1, 2, 3))
        for text in ("", "$x^2$ and \\frac", "long " * 60, "a\nb", "日本語 ünder ☃ \x1b[31m")
    ]
    picture = drawn(tmp_path / "a.png", *many)
    assert picture.shape[0] > 800
    assert columns_of(picture, tuple(map(int, COLOURS[0]))) > 0


def test_a_run_looks_for_examples_evenly_spread(tmp_path: Path, trained: Path) -> None:
    pairs = write_pairs(tmp_path / "data", 24)
    more = write_pairs(tmp_path / "more", 12)
    start = str(trained / "models" / "seed-model")
    finished = train(options(pairs, start=start, validation=(str(more),), epochs=1.0), tmp_path / "run", Told())
    assert finished.examples is not None
    examples = finished.examples.examples
    assert [sorted(each.right) for each in examples] == [[0], [2], [4], [6], [8], [10]]
    assert all(len(set(each.before)) == len(set(each.after)) == 4 for each in examples)
    scratch = train(options(write_classes(tmp_path / "classes"), epochs=1.0), tmp_path / "scratch", Told())
    assert scratch.examples is not None
    assert all(each.before == () and each.after and each.right for each in scratch.examples.examples)
    assert all(each.text.startswith("a photo of a ") for each in scratch.examples.examples)
    assert len(scratch.examples.examples) <= EXAMPLES


def test_the_command_leaves_them_and_does_without(
    pairs: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    done = clip("train", pairs, "--from", "seed-model", "--name", "one", "--output", run, "--epochs", 1)
    assert done.exit_code == 0, done.stderr
    assert f"examples: {run / 'examples.png'}" in done.stderr.splitlines()
    assert (run / "examples-dark.png").read_bytes().startswith(b"\x89PNG")

    def full(*given: object, **named: object) -> None:
        raise ClipError("no space left")

    monkeypatch.setattr(retrieval_figure, "save_figure", full)
    done = clip("train", pairs, "--from", "seed-model", "--name", "two", "--output", tmp_path / "2", "--epochs", 1)
    assert done.exit_code == 0, done.stderr
    assert "no picture of examples: no space left" in done.stderr

"""--set: every training option from the command line, read as its type says; the page that lists them is current."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

import trainer.run
from clipcli.errors import ClipError, UsageError
from tests.training.conftest import clip
from trainer.defaults import BY_PAIRS, RATE, compose
from trainer.options import TrainOptions
from trainer.settings import SETTABLE, kind_of, read_settings

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def shown(value: Any) -> str:
    """A usual value as the page writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_the_page_lists_every_setting() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|(.*?)\| (.*?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    usual = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    assert [name for name, *_ in rows] == [name for name in usual if name in SETTABLE]
    for name, kind, value, meaning in rows:
        assert (kind, value.strip()) == (kind_of(name), shown(usual[name])), name
        assert meaning


def test_the_page_has_the_usual_values_by_number_of_pairs() -> None:
    rows = re.findall(r"^\| (fewer than [\d,]+|more) \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    wanted = [("more" if most == math.inf else f"fewer than {most:,}", _usual(values)) for most, values in BY_PAIRS]
    assert rows == wanted
    assert list(BY_PAIRS[0][1]) == ["tune", "epochs", "batch_size", "lr", "anchor"]


def _usual(values: dict[str, Any]) -> str:
    shown = values | {"lr": values["lr"] * RATE[values["tune"]]}
    return " | ".join(f"`{value}`" if isinstance(value, str) else f"{value:g}" for value in shown.values())


def test_values_are_read_as_their_type_says() -> None:
    assert read_settings([
        "lr=1e-4", "batch-size=1_024", "flip=TRUE", "compile=false", "weights=1, 2.5", "templates=a {}, {}",
        "templates=the {}", "same_text=ignore", "text_column=none", "image_column= a=b ",
    ]) == {
        "lr": 1e-4, "batch_size": 1024, "flip": True, "compile": False, "weights": (1.0, 2.5),
        "templates": ("a {}, {}", "the {}"), "same_text": "ignore", "text_column": None, "image_column": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["lr"], "--set takes NAME=VALUE, as in --set warmup=0.1, not 'lr'"),
        (["warmpu=1"], "--set: there is no training option 'warmpu'; did you mean warmup?"),
        (["shade=1"], "--set: there is no training option 'shade'; there are: anchor, batch_size, "),
        (["data=x.csv"], "data is not given by --set but by DATA"),
        (["start=x"], "start is not given by --set but by --from"),
        (["lr=fast"], "--set lr=fast: lr is a number"),
        (["batch_size=2.5"], "--set batch_size=2.5: batch_size is a whole number"),
        (["flip=1"], "--set flip=1: flip is true or false"),
        (["same_text=both"], "--set same_text=both: same_text is positive, ignore or negative"),
        (["weights=a,b"], "--set weights=a,b: weights is numbers with commas between them"),
        (["lr=1e-4", "lr=1e-5"], "--set gives lr twice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_read_is_one_line(given: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_settings_stand_over_a_recipe_and_may_empty_it() -> None:
    recipe = {"text_column": "b", "lr": 0.1}
    made = compose(start=None, recipe=recipe, chosen={"data": ("x",)}, settings={"text_column": None, "lr": 0.2})
    assert (made.text_column, made.lr) == (None, 0.2)


class Composed(ClipError):
    exit_code = 77


def test_they_reach_the_run(models: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[TrainOptions] = []

    def keep(chosen: TrainOptions, run: Path, reporter: object) -> None:
        given.append(chosen)
        raise Composed

    monkeypatch.setattr(trainer.run, "train", keep)
    done = clip("train", "p.csv", "--scratch", "--set", "beta2=0.9", "--set", "flip=true", "--lr", "0.01")
    assert done.exit_code == 77, done.stderr
    assert (given[0].beta2, given[0].flip, given[0].lr) == (0.9, True, 0.01)
    for arguments, complaint in (
        (["--set", "lr=0.1", "--lr", "0.01"], "lr is given twice: by --set and by an option of its own"),
        (["--set", "warmup=2"], "warm-up is a share of the steps, from 0 to below 1"),
    ):
        done = clip("train", "p.csv", "--scratch", *arguments)
        assert (done.exit_code, done.stderr) == (2, f"clip: {complaint}\n")


def test_a_resumed_run_takes_none(trained: Path) -> None:
    done = clip("train", "--resume", trained / "run", "--set", "flip=false")
    assert done.exit_code == 2
    assert "leave the other options out" in done.stderr

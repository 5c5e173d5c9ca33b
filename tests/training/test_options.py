"""Options: what makes no sense is said, recipes stand between defaults and the command line, JSON round trips."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from clipcli.errors import DataError, NotFoundError, UsageError
from tests.training.tiny import options
from trainer import defaults
from trainer.defaults import ANCHOR_OF_IMAGES, BY_PAIRS, FINE_TUNING, PRETRAINING, compose, read_recipe, settle
from trainer.options import TrainOptions

RECIPES = Path(defaults.__file__).parent / "recipes"
CHOSEN: dict[str, Any] = {"data": ("/pairs.csv",), "name": "mine"}


def test_json_round_trip(tmp_path: Path) -> None:
    chosen = options(Path("/a"), weights=(2.0,), templates=("{}", "a {}"), seed=7, text_column="x\udce9")
    (tmp_path / "options.json").write_text(chosen.to_json(), "utf-8")
    assert TrainOptions.load(tmp_path) == chosen


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data", (), "at least one file"),
        ("weights", (1.0, 2.0), "as many weights as sources"),
        ("weights", (0.0,), "each above 0"),
        ("weights", ("a",), "make no sense"),
        ("templates", (), "a template needs {}"),
        ("templates", ("a photo",), "a template needs {}"),
        ("templates", "a {}", "a template needs {}"),
        ("epochs", 0, "epochs must be above 0"),
        ("epochs", math.nan, "epochs must be above 0"),
        ("epochs", math.inf, "epochs must be above 0"),
        ("epochs", "ten", "make no sense"),
        ("batch_size", 1, "at least 2"),
        ("batch_size", 2.5, "batch_size is a whole number, not 2.5"),
        ("batch_size", True, "whole number"),
        ("lr", 0.0, "the learning rate must lie between 0 and 1"),
        ("lr", 1.0, "the learning rate must lie between 0 and 1"),
        ("lr", math.nan, "the learning rate must lie between 0 and 1"),
        ("weight_decay", -0.1, "weight decay"),
        ("beta2", 1.0, "beta2"),
        ("warmup", 1.0, "warm-up"),
        ("max_grad_norm", 0.0, "gradient norm"),
        ("max_grad_norm", math.nan, "gradient norm"),
        ("same_text", "both", "--same-text is one of positive, ignore, negative"),
        ("precision", "int8", "--precision is one of auto, fp32, bf16, fp16"),
        ("label_loss", -1.0, "label loss"),
        ("crop_min", 0.0, "the least crop"),
        ("crop_min", 1.1, "the least crop"),
        ("max_vocabulary", 299, "the vocabulary holds between 300 and 49,152"),
        ("max_vocabulary", 49_153, "the vocabulary holds between 300 and 49,152"),
        ("validation_share", 0.6, "validation share"),
        ("validation_limit", 1, "at least two validation pictures"),
        ("threads", -1, "must not be negative"),
        ("save_every_s", math.nan, "must not be negative"),
        ("seed", -1, "the seed lies between 0 and"),
        ("seed", 2**63, "the seed lies between 0 and"),
        ("flip", 1, "flip is true or false, not 1"),
        ("text_column", 3, "text_column is a text, not 3"),
        ("arch", None, "either a model to start from or an architecture"),
        ("start", "/model", "either a model to start from or an architecture"),
        ("shade", "red", "unknown training option 'shade'"),
        ("colour", 1.5, "colour and erase lie between 0 and 1"),
        ("erase", -0.1, "colour and erase lie between 0 and 1"),
    ],
)
def test_values_that_make_no_sense(field: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainOptions.from_mapping({"data": ["/a"], "arch": "RN50", field: value})


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such training run"):
        TrainOptions.load(tmp_path / "gone")
    with pytest.raises(DataError, match="is no training run that can be resumed"):
        TrainOptions.load(tmp_path)
    for text in ("{", "[]", "3"):
        (tmp_path / "options.json").write_text(text, "utf-8")
        with pytest.raises(DataError, match="no training run that can be resumed"):
            TrainOptions.load(tmp_path)


def test_defaults_recipe_and_command_line_in_this_order() -> None:
    made = compose(
        start=None, recipe={"lr": 0.1, "epochs": 3, "seed": 4}, chosen={**CHOSEN, "epochs": 5.0, "arch": None}
    )
    assert (made.lr, made.epochs, made.seed) == (0.1, 5.0, 4)
    assert (made.arch, made.crop_min) == ("RN-nano-64", PRETRAINING["crop_min"])
    tuned = compose(start=Path("/model"), recipe={"lr": 0.1, "arch": "RN50"}, chosen=CHOSEN)
    assert (tuned.start, tuned.arch, tuned.lr) == ("/model", None, 0.1)
    assert tuned.freeze_batch_norm is FINE_TUNING["freeze_batch_norm"] is True
    assert tuned.by_pairs == ("tune", "epochs", "batch_size", "anchor")  # and not the rate, which was given
    assert compose(start=None, recipe={}, chosen=CHOSEN).by_pairs == ()


def test_the_number_of_pairs_decides_what_was_left_open() -> None:
    assert [settle(_tuned(), pairs).epochs for pairs in (8, 999, 1000, 9999, 10_000, 10**9)] == [
        BY_PAIRS[place][1]["epochs"] for place in (0, 0, 1, 1, 2, 2)
    ]
    few = settle(_tuned(lr=0.25, batch_size=7), 100)
    assert (few.lr, few.batch_size) == (0.25, 7)
    assert (few.epochs, few.anchor, few.by_pairs) == (BY_PAIRS[0][1]["epochs"], BY_PAIRS[0][1]["anchor"], ())
    assert (few.tune, settle(_tuned(tune="image"), 100).anchor) == ("text", ANCHOR_OF_IMAGES)
    assert settle(_tuned(), 100).lr == pytest.approx(2.5 * settle(_tuned(tune="full"), 100).lr)
    assert settle(_tuned(tune="lora"), 100).lr > settle(_tuned(), 100).lr
    assert all(values["lr"] < PRETRAINING["lr"] for _, values in BY_PAIRS)


def _tuned(**chosen: Any) -> TrainOptions:
    return compose(start=Path("/model"), recipe={}, chosen={**CHOSEN, **chosen})


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("*.toml")))
def test_recipes_of_the_shipped_model_can_be_read(name: str) -> None:
    recipe = read_recipe(RECIPES / name)
    start = None if "arch" in recipe else Path("/text-start")
    made = compose(start=start, recipe=recipe, chosen={**CHOSEN, "data": tuple("abcde")})
    assert (made.arch, made.start) == (recipe.get("arch"), None if start is None else str(start))
    assert (len(made.weights), made.label_loss, made.flip) == (5, 1.0, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = ", "cannot be read"),
        ("data = ['x']", "'data' is nothing a recipe sets"),
        ("threads = 3", "'threads' is nothing a recipe sets"),
        ("shade = 'red'", "'shade' is nothing a recipe sets; it may set anchor, arch, "),
        (b"\xff", "cannot be read"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=message):
        read_recipe(path)
    with pytest.raises(NotFoundError, match="no such recipe"):
        read_recipe(tmp_path / "gone.toml")


def test_json_is_plain() -> None:
    assert json.loads(options(Path("/a")).to_json())["data"] == ["/a"]

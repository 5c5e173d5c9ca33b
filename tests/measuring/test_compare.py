"""`clip eval compare`: several models, several sets of data, a table, records and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.commands.compared import FIELDS
from clipcli.datasets.pace import FEWEST_ROUNDS, MOST_ROUNDS, images_per_second
from tests.tiny_bundle import COLOURS, make_tiny_bundle

Compare = Callable[..., Any]


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model under the name of the first."""
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "other", seed=5)


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["eval", "compare", *map(str, arguments)])


@pytest.fixture
def captions(classes: Path, tmp_path: Path) -> Path:
    lines = [f"classes/{colour}/0.png,{text}" for colour in COLOURS for text in (colour, f"a {colour} thing")]
    (tmp_path / "captions.csv").write_text("image,caption\n" + "\n".join(lines) + "\n")
    return tmp_path / "captions.csv"


def records(outcome: Any, code: int = 0) -> list[dict[str, Any]]:
    assert outcome.exit_code == code, outcome.stderr
    found: list[dict[str, Any]] = json.loads(outcome.stdout)
    return found


def test_figures_are_those_of_the_other_commands(
    compare: Compare, bundle: Path, other: Path, classes: Path, captions: Path
) -> None:
    found = records(compare(bundle, other, "--on", classes, "--on", captions, "--no-speed", "--format", "json"))
    assert len(found) == 2 * (3 + 6)
    assert set(found[0]) == set(FIELDS)
    for number, model in enumerate((bundle, other)):
        alone = ["-m", str(model), "--format", "json"]
        shot = json.loads(CliRunner().invoke(app, ["eval", "zero-shot", str(classes), *alone]).stdout)[0]
        recall = json.loads(CliRunner().invoke(app, ["eval", "retrieval", str(captions), *alone]).stdout)
        own = {one["figure"]: one["value"] for one in found[number::2]}
        assert {name: own[name] for name in ("top1", "top5", "mean_per_class")} == {
            name: shot[name] for name in ("top1", "top5", "mean_per_class")
        }
        for one in recall:
            assert own[f"{one['direction']}_recall5"] == one["recall5"]
    first, second = found[:2]
    assert first["difference"] is None
    assert second["difference"] == pytest.approx(second["value"] - first["value"], abs=2e-6)
    assert second["difference_low"] <= second["difference"] <= second["difference_high"]
    assert first["low"] <= first["value"] <= first["high"]
    assert first["images_per_second"] is None
    assert 0 < first["bytes_to_run"] < first["bytes"]
    assert {(one["data"], one["pictures"]) for one in found} == {("classes", 18), ("captions.csv", 6)}


def test_nothing_is_computed_twice(
    compare: Compare, bundle: Path, classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (bundle, "--on", classes, "--no-speed", "--format", "ndjson")
    first = compare(*line)

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Model, "encode_images", refuse)
    monkeypatch.setattr(Model, "encode_texts", refuse)
    assert compare(*line).stdout == first.stdout
    assert len(first.stdout.splitlines()) == 3
    assert "computed again" in compare(*line, "--no-cache").stderr


def test_precisions_of_one_model(compare: Compare, bundle: Path, classes: Path) -> None:
    found = records(compare(f"{bundle}@fp32", f"{bundle}@fp16", "--on", classes, "--no-speed", "--format", "json"))
    assert [one["precision"] for one in found[:2]] == ["fp32", "fp16"]
    assert found[0]["bytes_to_run"] > found[1]["bytes_to_run"]
    assert compare(f"{bundle}@int8", "--on", classes).exit_code == 4


def test_table_and_picture(
    compare: Compare, bundle: Path, other: Path, classes: Path, captions: Path, tmp_path: Path
) -> None:
    line = (bundle, other, "--on", classes, "--on", captions)
    outcome = compare(*line, "--chart", "models.png")
    assert outcome.exit_code == 0, outcome.stderr
    for said in ("classes: 18 pictures", "mean per class", "text → image R@10", str(other), "images/s", "to run"):
        assert said in outcome.stdout
    dark = compare(*line, "--chart", "dark.png", "--dark", "--no-speed")
    assert dark.exit_code == 0, dark.stderr
    with Image.open(tmp_path / "models.png") as light, Image.open(tmp_path / "dark.png") as night:
        assert light.width == night.width == 1520
        assert np.asarray(light.convert("L"))[2, 2] == 255
        assert np.asarray(night.convert("L"))[2, 2] < 40
        pixels = np.asarray(light.convert("L"))
        assert (pixels[:, -8:] == 255).all()  # nothing reaches over the edge
        assert (pixels[-8:] == 255).all()


def test_one_model_alone(compare: Compare, bundle: Path, classes: Path) -> None:
    outcome = compare(bundle, "--on", classes, "--no-speed")
    assert outcome.exit_code == 0
    assert "95 % interval" in outcome.stdout
    assert "beside the first" not in outcome.stdout


def test_a_table_with_labels_and_captions(compare: Compare, bundle: Path, classes: Path, tmp_path: Path) -> None:
    rows = [
        {"image": f"classes/{colour}/{shade}.png", "label": colour, "caption": f"all of it {colour}"}
        for colour in COLOURS
        for shade in (0, 1)
    ]
    (tmp_path / "both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = records(compare(bundle, "--on", "both.jsonl", "--no-speed", "--format", "json"))
    assert len(found) == 9


def test_an_unreadable_picture_is_left_out_for_all(compare: Compare, bundle: Path, other: Path, classes: Path) -> None:
    (classes / "red" / "2.png").write_bytes(b"no picture")
    outcome = compare(bundle, other, "--on", classes, "--no-speed", "--format", "json")
    assert {one["pictures"] for one in records(outcome, code=3)} == {17}
    assert outcome.stderr.count("red") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["BUNDLE"], 2, "--on"),
        (["BUNDLE", "--on", "nowhere"], 4, "no such file or folder"),
        (["nothing", "--on", "classes"], 4, "no model is called 'nothing'"),
        (["BUNDLE", "--on", "classes", "--on", "classes"], 2, "the same data twice"),
        (["BUNDLE", "--on", "classes", "--chart", "c.gif"], 2, "does not end in one of"),
        (["a", "b", "c", "d", "e", "f", "g", "--on", "classes", "--chart", "c.png"], 2, "at most 6 models"),
        (["BUNDLE", "--on", "classes", "--format", "paths"], 2, "figures have none"),
        (["BUNDLE", "--on", "one.csv"], 12, "two"),
    ],
)
def test_a_senseless_command_line(
    compare: Compare, bundle: Path, classes: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    (tmp_path / "one.csv").write_text("image,label\nclasses/red/0.png,red\n")
    outcome = compare(*(str(bundle) if argument == "BUNDLE" else argument for argument in arguments))
    assert outcome.exit_code == code
    assert said in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


class Paced:
    """A model whose batches take as long as they are told, by a clock of its own."""

    clock = 0.0

    def __init__(self, model: Model, seconds: list[float]) -> None:
        self.spec, self.seconds, self.order = model.spec, seconds, seconds[:]

    def encode_images(self, pixels: Any) -> None:
        assert pixels.shape == (32, 3, 32, 32)
        Paced.clock += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]


def test_the_speed_is_a_median_without_the_first_round(bundle: Path, classes: Path) -> None:
    model, pictures = Model.load(bundle), [classes / "gone.png", classes / "red" / "0.png"]
    Paced.clock, advanced = 0.0, []
    fast, slow = Paced(model, [99.0, 0.32, 0.32, 50.0, 0.32]), Paced(model, [0.01, 0.64])
    found = images_per_second([fast, slow], pictures, advance=lambda: advanced.append(1), clock=lambda: Paced.clock)
    assert found == [pytest.approx(100), pytest.approx(50)]
    assert len(advanced) == 2 * (FEWEST_ROUNDS + 1)  # the slow first rounds have used up the time
    Paced.clock, advanced = 0.0, []
    images_per_second([Paced(model, [0.01])], pictures, advance=lambda: advanced.append(1), clock=lambda: Paced.clock)
    assert len(advanced) == MOST_ROUNDS + 1
    assert images_per_second([Paced(model, [0.1])], pictures[:1]) == [None]


def test_it_measures_what_the_model_sees(bundle: Path, classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = Model.load(bundle), []
    encode = Model.encode_images
    monkeypatch.setattr(Model, "encode_images", lambda self, pixels: seen.append(pixels) or encode(self, pixels))
    (rate,) = images_per_second([model], [classes / "red" / "0.png"])
    assert rate is not None
    assert rate > 1
    with Image.open(classes / "red" / "0.png") as picture:
        assert (seen[0][0] == to_pixels(picture.convert("RGB"), model.spec.preprocess)).all()

"""The linear probe: what is held out, how the strength is found, and the command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from clipcli.bundle.encoder import Model
from clipcli.datasets.examples import labelled
from clipcli.datasets.features import Features
from clipcli.datasets.sources import read_source
from clipcli.errors import MissingExtraError
from clipcli.evaluate import probe
from clipcli.evaluate.probe import best_strength, few_of_each, fitted_answers, split
from tests.measuring.conftest import Eval
from tests.tiny_bundle import COLOURS

LABELS = np.repeat(np.arange(4), [10, 10, 3, 2])


def clusters() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 20)
    return np.eye(3)[labels] + 0.4 * random.standard_normal((60, 3)), labels


def test_parts_do_not_overlap_and_small_classes_stay_out() -> None:
    parts = split(LABELS, seed=0)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(together.tolist()) == list(range(23))  # the two of the last class are in none
    assert np.bincount(LABELS[parts.test]).tolist() == [2, 2, 1]
    assert np.bincount(LABELS[parts.train]).tolist() == [6, 6, 1]
    assert split(LABELS, seed=1).test.tolist() != parts.test.tolist()


def test_so_many_of_each_class() -> None:
    chosen = few_of_each(LABELS, np.arange(25), 3, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [3, 3, 3, 2]


@pytest.mark.parametrize("peak", [-48, -17, 0, 5, 48])
def test_the_sweep_finds_the_one_peak_there_is(peak: int) -> None:
    tried: list[float] = []

    def score(strength: float) -> float:
        tried.append(strength)
        return -abs(np.log10(strength) * 8 - peak)

    assert best_strength(score) == pytest.approx(10 ** (peak / 8))
    assert len(tried) == len(set(tried)) <= 15  # not all 97


@pytest.mark.parametrize("format", ["table", "json"])
@pytest.mark.parametrize(
    ("strengths", "said"),
    [
        ([1e-6, 0.1], "C = 1e-06 (1 of each class): the end of the sweep, 1e-06 to 1e+06; a better one may lie beyond"),
        ([1e-6, 1e6], "C = 1e-06 and C = 1e+06 (1 of each class, all): the end of the sweep"),
        ([0.1, 10.0], ""),
    ],
)
def test_a_strength_at_an_end_of_the_sweep_is_said(
    evaluate: Eval, classes: Path, monkeypatch: pytest.MonkeyPatch, strengths: list[float], said: str, format: str
) -> None:
    left = list(strengths)
    monkeypatch.setattr(probe, "best_strength", lambda score: score(1.0) * 0 + left.pop(0))
    outcome = evaluate("probe", classes, "--shots", "1", "--format", format)
    assert outcome.exit_code == 0, outcome.stderr
    assert said in outcome.stderr
    assert ("sweep" in outcome.stderr) is bool(said)


def test_answers_are_those_of_scikit_learn() -> None:
    vectors, labels = clusters()
    peer = LogisticRegression(C=0.316, max_iter=1000).fit(vectors[::2], labels[::2])
    given = fitted_answers(vectors[::2], labels[::2], vectors[1::2], strength=0.316)
    assert (given == labels[1::2]).mean() == peer.score(vectors[1::2], labels[1::2])


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    vectors, labels = clusters()
    with pytest.raises(MissingExtraError, match="the linear probe needs the extra 'eval'"):
        fitted_answers(vectors, labels, vectors, strength=1.0)


def test_the_command_and_its_curve(evaluate: Eval, classes: Path, tmp_path: Path) -> None:
    for colour, level in COLOURS.items():
        for number in range(3, 8):
            shade = tuple(abs(part - number) for part in level)
            Image.new("RGB", (50, 50), shade).save(classes / colour / f"{number}.png")
    command = ("probe", classes, "--shots", "2,1", "--curve", "shots.png", "--format", "json")
    outcome = evaluate(*command)
    assert outcome.exit_code == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert [one["shots"] for one in found] == [0, 1, 2, None]
    assert [one["fitted"] for one in found] == [0, 6, 12, 36]
    assert {one["tested"] for one in found} == {12}
    assert found[0]["strength"] is None
    assert 1e-6 <= found[-1]["strength"] <= 1e6
    assert found[-1]["top1"] >= 11 / 12
    with Image.open(tmp_path / "shots.png") as figure:
        assert figure.width > 1000
    assert evaluate(*command).stdout == outcome.stdout
    shown = evaluate("probe", classes, "--shots", "2", "--shots", "1,3").stdout
    assert re.findall(r"^(\d) of each class", shown, re.MULTILINE) == ["1", "2", "3"]


def shaded(folder: Path, numbers: range, colours: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """Class folders of noise around each colour, no two pictures alike."""
    for colour in colours:
        (folder / colour).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            noise = np.random.default_rng(number).integers(-60, 60, (40, 40, 3))
            levels = np.clip(np.asarray(COLOURS[colour]) + noise + 3 * number, 0, 255).astype(np.uint8)
            Image.fromarray(levels).save(folder / colour / f"{number}.png")
    return folder


def test_the_command_is_what_scikit_learn_says(evaluate: Eval, bundle: Path, tmp_path: Path) -> None:
    """The strength found, a probe fitted to all that was not held out, its score on what was."""
    train, test = shaded(tmp_path / "train", range(7)), shaded(tmp_path / "test", range(20, 24))
    features = Features(Model.load(bundle))
    vectors, wanted = {}, {}
    for name, folder in (("train", train), ("test", test)):
        examples = labelled(read_source(folder).rows, where=name)
        vectors[name], _, _ = features.encode_pictures(examples.pictures, lambda _: None)
        wanted[name] = examples.wanted
    found = json.loads(evaluate("probe", train, "--test", test, "--format", "json").stdout)[-1]
    assert (found["fitted"], found["tested"]) == (42, 24)
    peer = LogisticRegression(C=found["strength"], max_iter=1000).fit(vectors["train"], wanted["train"])
    assert found["top1"] == pytest.approx(peer.score(vectors["test"], wanted["test"]), abs=1e-6)
    given = peer.predict(vectors["test"])
    assert found["mean_per_class"] == pytest.approx(balanced_accuracy_score(wanted["test"], given), abs=1e-6)
    parts = split(wanted["train"], seed=0)
    found = json.loads(evaluate("probe", train, "--format", "json").stdout)[-1]
    known = np.concatenate([parts.train, parts.validation])
    peer = LogisticRegression(C=found["strength"], max_iter=1000).fit(vectors["train"][known], wanted["train"][known])
    score = peer.score(vectors["train"][parts.test], wanted["train"][parts.test])
    assert found["top1"] == pytest.approx(score, abs=1e-6)


def test_pictures_of_its_own_to_measure_with(evaluate: Eval, tmp_path: Path) -> None:
    train = shaded(tmp_path / "train", range(2))  # too few of each to hold out a fifth twice
    test = shaded(tmp_path / "test", range(20, 23))
    (test / "red").rename(test / "crimson")
    outcome = evaluate("probe", train, "--test", test, "--shots", "1", "--format", "json")
    assert outcome.exit_code == 0, outcome.stderr
    assert [(one["shots"], one["fitted"], one["tested"]) for one in json.loads(outcome.stdout)] == [
        (0, 0, 15), (1, 6, 15), (None, 12, 15),
    ]  # fmt: skip
    assert "left out 3 pictures of" in outcome.stderr
    again = evaluate("probe", train, "--test", train)
    assert "12 pictures of" in again.stderr
    assert "not new to the probe" in again.stderr
    assert evaluate("probe", train, "--test", shaded(tmp_path / "one", range(1))).exit_code == 0
    for part in test.iterdir():
        part.rename(test / f"no {part.name}")
    strange = evaluate("probe", train, "--test", test)
    assert (strange.exit_code, "letter by letter" in strange.stderr) == (12, True)
    lone = evaluate("probe", tmp_path / "one", "--test", train)
    assert (lone.exit_code, "two pictures" in lone.stderr) == (12, True)
    assert evaluate("probe", train, "--test", "gone").exit_code == 4


def test_unreadable_pictures_to_measure_with(evaluate: Eval, tmp_path: Path) -> None:
    train, test = shaded(tmp_path / "train", range(3)), shaded(tmp_path / "test", range(20, 22))
    (test / "red" / "20.png").write_bytes(b"none")
    outcome = evaluate("probe", train, "--test", test, "--format", "json")
    assert outcome.exit_code == 3
    assert json.loads(outcome.stdout)[-1]["tested"] == 11
    for file in test.rglob("*.png"):
        file.write_bytes(b"none")
    assert evaluate("probe", train, "--test", test).exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--shots", "0"], 2, "numbers above zero"),
        (["--shots", "a"], 2, "numbers above zero"),
        (["--curve", "c.png"], 2, "--curve draws what --shots measures"),
    ],
)
def test_a_senseless_command_line(evaluate: Eval, classes: Path, arguments: list[str], code: int, said: str) -> None:
    outcome = evaluate("probe", classes, *arguments)
    assert outcome.exit_code == code
    assert said in outcome.stderr


def test_classes_too_small_for_a_probe(evaluate: Eval, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        (tmp_path / "few" / colour).mkdir(parents=True)
        Image.new("RGB", (9, 9), COLOURS[colour]).save(tmp_path / "few" / colour / "1.png")
    outcome = evaluate("probe", "few")
    assert outcome.exit_code == 12
    assert "two classes of three pictures" in outcome.stderr

"""The model that ships: whole, small, able to go on learning, and described by its own figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipcli.bundle.installed import shipped_model
from clipcli.bundle.spec import WEIGHTS_FILE, ModelSpec, read_spec
from clipcli.bundle.verify import verify
from tests.structure.source import ROOT

STARTER = ROOT / "clipcli" / "starter"
LIMIT_BYTES = 25_000_000


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return read_spec(STARTER)


def figures(value: object) -> Iterator[float]:
    """Every number below `value`, at any depth."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from figures(inner)


def percentages(text: str) -> list[str]:
    return re.findall(r"\b(\d{1,2}\.\d) ?%", text)


def test_it_is_the_model_that_ships() -> None:
    assert shipped_model() == STARTER


def test_it_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in STARTER.rglob("*") if path.is_file()) <= LIMIT_BYTES


def test_it_is_whole_and_computes_the_same_here() -> None:
    checks = verify(STARTER, device="cpu")
    assert len(checks) > 3
    assert [check for check in checks if not check.passed] == []


def test_it_can_be_trained_further(spec: ModelSpec) -> None:
    assert WEIGHTS_FILE in spec.files
    assert spec.towers


def test_nothing_lies_beside_it_that_it_does_not_speak_of(spec: ModelSpec) -> None:
    found = {path.name for path in STARTER.iterdir() if not path.name.startswith((".", "__"))}
    assert found == {*spec.files, "model.json", "README.md"}


def test_the_card_says_what_a_card_has_to_say(spec: ModelSpec) -> None:
    card = (STARTER / "README.md").read_text("utf-8")
    for word in ("Flickr8k", "Caltech-101", "tiny-imagenet", "icence", "not good for"):
        assert word in card, f"the model card does not mention {word}"
    assert spec.licence != "unknown"
    assert spec.provenance


@pytest.mark.parametrize("page", [ROOT / "README.md", STARTER / "README.md"], ids=["README", "card"])
def test_figures_are_those_measured(page: Path, spec: ModelSpec) -> None:
    """Each percentage with a decimal stands in model.json; a round one ("chance: 1 %") is no measurement."""
    text = page.read_text("utf-8")
    section = text.split("## Which model")[1].split("\n## ")[0] if "## Which model" in text else text
    measured = {f"{100 * value:.1f}" for value in figures(dict(spec.metrics))}
    shown = percentages(section)
    assert len(shown) >= 3
    assert [figure for figure in shown if figure not in measured] == []

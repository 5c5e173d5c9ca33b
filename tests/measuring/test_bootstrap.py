"""Intervals over pictures: the figures they are of, how wide they are, and that they hold what they should."""

from __future__ import annotations

import numpy as np
import pytest

from clipcli.evaluate import bootstrap
from clipcli.evaluate.bootstrap import Estimate, Outcome, estimates, value_of
from clipcli.evaluate.outcomes import class_outcomes, retrieval_outcomes
from clipcli.evaluate.retrieval import recall_at_k
from clipcli.evaluate.zero_shot import mean_per_class, top_k_accuracy


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def coin(right: np.ndarray) -> Outcome:
    return Outcome(right=right.astype(float), asked=np.ones(len(right)))


def test_values_are_those_of_the_other_commands() -> None:
    random = np.random.default_rng(2)
    images, classes = unit(random.standard_normal((60, 8))), unit(random.standard_normal((7, 8)))
    labels = random.integers(0, 6, 60)  # of the last class there is no picture
    found = class_outcomes(images, classes, labels)
    shares = top_k_accuracy(images, classes, labels)
    assert value_of(found["top1"]) == pytest.approx(shares[1], abs=1e-12)
    assert value_of(found["top5"]) == pytest.approx(shares[5], abs=1e-12)
    assert value_of(found["mean_per_class"]) == pytest.approx(mean_per_class(images, classes, labels), abs=1e-12)
    texts, owners = unit(random.standard_normal((90, 8))), random.integers(0, 50, 90)  # ten pictures without captions
    recalls = recall_at_k(texts, images, owners)
    outcomes = retrieval_outcomes(texts, images, owners)
    assert {name: value_of(one) for name, one in outcomes.items()} == pytest.approx(
        {f"{way}_recall{k}": share for way, by_k in recalls.items() for k, share in by_k.items()}, abs=1e-12
    )


def test_an_interval_is_as_wide_as_theory_says() -> None:
    """Of a share: 1.96 standard errors either way; of a paired difference, that of the differences."""
    random = np.random.default_rng(3)
    first = random.random(2000) < 0.3
    second = first ^ (random.random(2000) < 0.05)  # the same but for one in twenty
    one, other = estimates([coin(first), coin(second)])
    expected = 1.96 * np.sqrt(first.mean() * (1 - first.mean()) / 2000)
    assert (one.high - one.low) / 2 == pytest.approx(expected, rel=0.08)
    apart = second.astype(float) - first
    assert other.difference == pytest.approx(apart.mean())
    assert other.difference_low is not None
    assert other.difference_high is not None
    half = (other.difference_high - other.difference_low) / 2
    assert half == pytest.approx(1.96 * apart.std() / np.sqrt(2000), rel=0.08)
    assert half < 0.6 * (one.high - one.low) / 2 * np.sqrt(2)  # unpaired it would be this wide


def test_it_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(150):
        (found,) = estimates([coin(np.random.default_rng(seed).random(200) < 0.4)], resamples=400, seed=seed)
        held += found.low <= 0.4 <= found.high
    assert 0.89 <= held / 150 <= 0.99  # 0.95, give or take three standard errors


def test_captions_of_a_picture_go_together() -> None:
    """Ten pictures with ten captions each, all found or none: as sure as ten questions, not as a hundred."""
    right = np.repeat([10.0, 0.0], 5)
    (found,) = estimates([Outcome(right=right, asked=np.full(10, 10.0))])
    assert found.value == 0.5
    assert found.high - found.low > 0.5


def test_a_class_counts_as_much_as_another() -> None:
    groups = np.repeat([0, 1], [98, 2])
    outcome = Outcome(right=(groups == 0).astype(float), asked=np.ones(100), groups=groups)
    (found,) = estimates([outcome])
    assert found.value == 0.5
    assert found.low == 0.5
    assert found.high == 1.0  # now and then neither picture of the small class is drawn


def test_the_same_seed_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = Outcome(right=np.random.default_rng(0).random(50), asked=np.ones(50))
    whole = estimates([outcome], seed=4)
    assert estimates([outcome], seed=5) != whole
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 320)  # in blocks, which change nothing
    assert estimates([outcome], seed=4) == whole


def test_equal_models_differ_by_nothing() -> None:
    outcome = coin(np.arange(50) % 3 == 0)
    _, twin = estimates([outcome, outcome])
    assert (twin.difference, twin.difference_low, twin.difference_high) == (0.0, 0.0, 0.0)
    assert isinstance(twin, Estimate)


def test_senseless_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        Outcome(right=np.ones(3), asked=np.ones(4))
    with pytest.raises(ValueError, match="nothing was asked"):
        Outcome(right=np.zeros(3), asked=np.zeros(3))
    with pytest.raises(ValueError, match="the same pictures"):
        estimates([coin(np.ones(3)), coin(np.ones(4))])

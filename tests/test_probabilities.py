"""Probabilities of labels against the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.evaluate.probabilities import label_probabilities, likeliest

rows = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(st.floats(-1, 1), min_size=width, max_size=width), min_size=1, max_size=4)
)


@given(rows, st.floats(0.1, 200))
def test_softmax(cosines: list[list[float]], scale: float) -> None:
    found = label_probabilities(np.array(cosines), logit_scale=scale)
    for row, given_row in zip(found, cosines, strict=True):
        assert row.sum() == pytest.approx(1.0)
        for probability, cosine in zip(row, given_row, strict=True):
            assert probability == pytest.approx(1 / sum(math.exp(scale * (c - cosine)) for c in given_row), abs=1e-12)


@given(rows, st.floats(0.1, 200), st.floats(-30, 30))
def test_sigmoid(cosines: list[list[float]], scale: float, bias: float) -> None:
    found = label_probabilities(np.array(cosines), logit_scale=scale, logit_bias=bias)
    for row, given_row in zip(found, cosines, strict=True):
        for probability, cosine in zip(row, given_row, strict=True):
            assert probability == pytest.approx(1 / (1 + math.exp(-(scale * cosine + bias))), abs=1e-12)


def test_large_scales_do_not_overflow() -> None:
    assert label_probabilities(np.array([[1.0, -1.0]]), logit_scale=1e5).tolist() == [[1.0, 0.0]]
    assert label_probabilities(np.array([[-1.0]]), logit_scale=1e5, logit_bias=0.0).tolist() == [[0.0]]
    assert label_probabilities(np.array([[0.3]]), logit_scale=100.0).tolist() == [[1.0]]
    with pytest.raises(ValueError, match="cosines"):
        label_probabilities(np.empty((2, 0)), logit_scale=1.0)


def test_of_equal_labels_the_earlier_comes_first() -> None:
    cosines = np.array([[0.1, 0.5, 0.5, 0.3]])
    assert likeliest(cosines, 3).tolist() == [[1, 2, 3]]
    assert likeliest(cosines, 99).tolist() == [[1, 2, 3, 0]]

"""The benchmarks count what they say they count. Nothing is timed here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import exact_results, faster_decoding
from benchmarks.material import filled_library, made_vectors
from benchmarks.timing import Times, interleaved, process
from clipcli.bundle.encoder import Model
from clipcli.library.search import nearest
from clipcli.library.store import Library
from tests.tiny_bundle import make_tiny_bundle


def test_candidates_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert {name: len(taken.seconds) for name, taken in times.items()} == {"a": 3, "b": 3}


def test_a_candidate_that_takes_its_own_time_is_believed() -> None:
    assert interleaved({"far away": lambda: 7.5}, rounds=2)["far away"].seconds == (7.5, 7.5)


def test_median_and_spread() -> None:
    times = Times(seconds=(1.0, 2.0, 3.0, 4.0, 100.0))
    assert times.median_s == 3.0
    assert times.spread == pytest.approx((52.0 - 1.5) / 2 / 3.0)  # quartiles as the statistics module takes them
    assert Times(seconds=(1.0, 3.0)).spread == 0.5


def test_a_failing_command_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="ended with 3: out of luck"):
        process([sys.executable, "-c", "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"])()


def test_a_filled_library_can_be_searched(tmp_path: Path) -> None:
    model = Model.load(make_tiny_bundle(tmp_path / "tiny"))
    vectors = made_vectors(50, model.spec.embedding_dim)
    filled_library(tmp_path / "x.db", model.spec, model.precision, vectors)
    with Library.open(tmp_path / "x.db") as library:
        hits = nearest(library, vectors[7], identity=model.identity, precision=model.precision, k=3)
    assert hits[0].image_id == 8
    assert [hit.score for hit in hits] == pytest.approx(np.sort(vectors @ vectors[7])[::-1][:3], abs=1e-6)


def test_combined_queries_with_filters_are_brute_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python -m benchmarks.exact_results` does with 100,000; on these near copies float32 alone goes wrong."""
    monkeypatch.setattr("clipcli.library.scoring._ROWS_AT_ONCE", 700)
    results = list(exact_results.compared(tmp_path, 2000, 48, queries=3))
    assert len(results) == 3 * len(exact_results.CASES)
    assert all(same for same, _, _, _ in results)
    assert not all(alone for _, alone, _, _ in results)
    assert all(0 < considered <= 2000 for _, _, _, considered in results)


def test_both_ways_of_decoding_are_compared(tmp_path: Path) -> None:
    model = Model.load(
        make_tiny_bundle(tmp_path / "tiny")
    )  # pictures of 32 pixels: a JPEG of 200 is halved, one of 60 not
    random = np.random.default_rng(3)
    small = [Image.fromarray(random.integers(0, 256, (45, 60, 3), dtype=np.uint8)) for _ in range(3)]
    kept = faster_decoding.compare(model, (faster_decoding.jpeg(one) for one in small))
    assert (kept[:, 0] > 1 - 1e-12).all()
    assert (kept[:, 1] < 1 - 1e-6).all()
    for made in (faster_decoding.enlarged, faster_decoding.sheets):
        halved = faster_decoding.compare(model, made(small))
        assert halved.shape == (3, 2)
        assert (halved[:, 0] < 1 - 1e-9).all()
        assert (halved[:, 0] > 0.99).all()

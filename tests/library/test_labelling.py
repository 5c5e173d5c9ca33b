"""Tagging by a model against a plain-Python oracle; whole batches, and nobody's own tags touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.evaluate.probabilities import label_probabilities
from clipcli.library import labelling
from clipcli.library.labelling import Labelled, Rule, label_pictures
from clipcli.library.models import stored_models
from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from tests.library.test_search import DIMENSION, fill, unit

PICTURES = 13
NAMES = ("a", "b", "c")
SCALE = 8.0
VECTORS = unit(PICTURES, seed=3)
PROTOTYPES = unit(len(NAMES), seed=4)

Tags = dict[tuple[int, str], tuple[float | None, int | None]]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setattr(labelling, "_PICTURES_AT_ONCE", 5)
    with Library.open(tmp_path / "labels.db", write=True, create=True) as opened:
        fill(opened, VECTORS)
        yield opened


def softmax(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    return label_probabilities(cosines, logit_scale=SCALE)


def run(library: Library, rule: Rule, **options: Any) -> Labelled:
    (model,) = stored_models(library)
    prototypes = PROTOTYPES[[NAMES.index(label) for label in rule.labels]]
    options.setdefault("on_progress", lambda done: None)
    return label_pictures(library, model, prototypes, rule, probabilities=softmax, **options)


def tags(library: Library) -> Tags:
    found = library.connection.execute("SELECT image_id, label, score, model_id FROM tags").fetchall()
    return {(image_id, label): (score, model_id) for image_id, label, score, model_id in found}


def expected(rule: Rule, ids: set[int]) -> Tags:
    """Written out by hand."""
    found: Tags = {}
    for image_id in ids:
        cosines = {
            label: sum(float(x) * float(y) for x, y in zip(VECTORS[image_id - 1], prototype, strict=True))
            for label, prototype in zip(NAMES, PROTOTYPES, strict=True)
            if label in rule.labels
        }
        total = sum(np.exp(SCALE * cosine) for cosine in cosines.values())
        fits = []
        for label, cosine in cosines.items():
            share = cosine if rule.multi or len(cosines) == 1 else np.exp(SCALE * cosine) / total
            likeliest = rule.multi or cosine == max(cosines.values())
            if likeliest and (rule.threshold is None or share >= rule.threshold):
                fits.append(label)
        found.update({(image_id, label): (round(cosines[label], 6), 1) for label in fits})
        if not fits and rule.none_label is not None:
            found[image_id, rule.none_label] = (None, 1)
    return found


RULES = st.one_of(
    st.builds(Rule, labels=st.sampled_from([("a", "b"), NAMES, ("c", "a")])),
    st.builds(
        Rule,
        labels=st.sampled_from([("a",), ("a", "b"), NAMES]),
        multi=st.booleans(),
        threshold=st.sampled_from([0.0, 0.2, 0.55, 0.9]),
        none_label=st.sampled_from([None, "other"]),
    ),
)


@given(
    rules=st.lists(st.tuples(RULES, st.none() | st.sets(st.integers(1, PICTURES))), min_size=1, max_size=3),
    by_hand=st.sets(st.tuples(st.integers(1, PICTURES), st.sampled_from([*NAMES, "other", "own"])), max_size=12),
)
def test_as_written_out_by_hand(
    rules: list[tuple[Rule, set[int] | None]], by_hand: set[tuple[int, str]], library: Library
) -> None:
    with library.write() as connection:
        connection.execute("DELETE FROM tags")
    now: Tags = {}
    for image_id, label in by_hand:
        add_tags(library, [image_id], label)
        now[image_id, label] = (None, None)
    for rule, some in rules:
        ids = set(range(1, PICTURES + 1)) if some is None else some
        chosen = None if some is None else np.array(sorted(some), dtype=np.int64)
        meant = expected(rule, ids)
        kept = {key: value for key, value in now.items() if key in by_hand or key[0] not in ids}
        kept |= {key: value for key, value in now.items() if key[1] not in rule.judged}
        after = {**meant, **kept}
        dry = run(library, rule, image_ids=chosen, dry_run=True)
        assert tags(library) == now
        result = run(library, rule, image_ids=chosen)
        assert tags(library) == after
        assert dry == result
        assert result.seen == len(ids)
        for label, total in result.totals.items():
            assert total.pictures == sum(key[1] == label for key in meant)
            assert total.by_hand == sum(key[1] == label and key in by_hand for key in meant)
            assert total.added == sum(key[1] == label and key not in now for key in meant)
            assert total.removed == sum(key[1] == label and key not in after for key in now)
        again = run(library, rule, image_ids=chosen)
        assert sum(total.added + total.removed for total in again.totals.values()) == 0
        now = after


def test_each_label_on_its_own_with_a_sigmoid_model(library: Library) -> None:
    rule = Rule(labels=NAMES, multi=True, threshold=0.6, independent=True)
    (model,) = stored_models(library)
    label_pictures(
        library,
        model,
        PROTOTYPES,
        rule,
        probabilities=lambda cosines: label_probabilities(cosines, logit_scale=SCALE, logit_bias=-1.0),
        on_progress=lambda done: None,
    )
    cosines = VECTORS.astype(np.float64) @ PROTOTYPES.astype(np.float64).T
    fits = np.argwhere(1 / (1 + np.exp(1 - SCALE * cosines)) >= 0.6).tolist()
    assert set(tags(library)) == {(row + 1, NAMES[column]) for row, column in fits}
    assert fits


def test_what_is_interrupted_keeps_whole_batches_and_is_done_again(library: Library) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    rule = Rule(labels=NAMES)
    with pytest.raises(KeyboardInterrupt):
        run(library, rule, on_progress=stop)
    assert {image_id for image_id, _ in tags(library)} == set(range(1, 6))
    run(library, rule)
    assert tags(library) == expected(rule, set(range(1, PICTURES + 1)))


def test_a_second_run_writes_nothing(library: Library) -> None:
    run(library, Rule(labels=NAMES))
    before = library.connection.total_changes
    run(library, Rule(labels=NAMES))
    assert library.connection.total_changes == before


def test_a_damaged_vector_is_left_alone(library: Library) -> None:
    add_tags(library, [2], "a", score=0.1, model_id=1)
    with library.write() as connection:
        bad = np.full(DIMENSION, np.nan, dtype="<f4").tobytes()
        connection.execute("UPDATE embeddings SET vector = ? WHERE image_id = 2", (bad,))
    result = run(library, Rule(labels=NAMES, threshold=0.99, none_label="other"))
    assert (result.seen, result.unusable) == (PICTURES, 1)
    assert {key: value for key, value in tags(library).items() if key[0] == 2} == {(2, "a"): (0.1, 1)}


def test_a_picture_forgotten_meanwhile(library: Library) -> None:
    """Its vector was read, then another program took it out of the library."""

    def forget(done: int) -> None:
        with library.write() as connection:
            connection.execute("DELETE FROM images WHERE id = ?", (PICTURES,))

    run(library, Rule(labels=NAMES), on_progress=forget)
    assert {image_id for image_id, _ in tags(library)} == set(range(1, PICTURES))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ()}, "no labels"),
        ({"labels": ("a", " ")}, "cannot be empty"),
        ({"labels": ("a",)}, "every picture would get the label"),
        ({"labels": ("a", "b"), "multi": True}, "every label"),
        ({"labels": ("a", "b"), "none_label": "c"}, "say from which probability"),
        ({"labels": ("a", "b"), "threshold": 0.5, "none_label": " a"}, "is one of the labels"),
        ({"labels": ("a", "b"), "threshold": 1.5}, "is no probability"),
        ({"labels": ("a", "b"), "threshold": -0.5}, "is no probability"),
        ({"labels": ("a", "b"), "threshold": float("nan")}, "is no probability"),
        ({"labels": ("a",), "threshold": -1.5}, "is no cosine"),
    ],
)
def test_rules_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Rule(**options)

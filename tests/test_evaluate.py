"""The figures against a plain transcription of their definitions, one comparison at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipcli.evaluate import ranks
from clipcli.evaluate.retrieval import median_ranks, recall_at_k
from clipcli.evaluate.zero_shot import class_accuracies, mean_per_class, prototypes, top_k_accuracy


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def plain_rank(scores: list[float], right: set[int]) -> float:
    """1 + rivals that beat the best right answer + half of the rivals that equal it."""
    best = max(scores[i] for i in right)
    rank = 1.0
    for i, score in enumerate(scores):
        if i in right:
            continue
        if score > best:
            rank += 1.0
        elif score == best:
            rank += 0.5
    return rank


@st.composite
def retrieval_cases(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Small integer vectors, not normalised: exact scores, and ties in plenty."""
    images = draw(st.integers(1, 7))
    texts = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    spread = draw(st.integers(1, 3))
    text_vectors = rng.integers(-spread, spread + 1, (texts, 3)).astype(np.float32)
    image_vectors = rng.integers(-spread, spread + 1, (images, 3)).astype(np.float32)
    return text_vectors, image_vectors, rng.integers(0, images, texts)


@settings(deadline=None, max_examples=150)
@given(retrieval_cases())
def test_recall_agrees_with_a_plain_transcription(
    case: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]],
) -> None:
    texts, images, owner = case
    scores = [[float(sum(a * b for a, b in zip(t, i, strict=True))) for i in images] for t in texts]
    to_image = [plain_rank(scores[t], {int(owner[t])}) for t in range(len(texts))]
    to_text = []
    for i in range(len(images)):
        own = {t for t in range(len(texts)) if owner[t] == i}
        if own:
            to_text.append(plain_rank([scores[t][i] for t in range(len(texts))], own))
    found = recall_at_k(texts, images, owner, ks=(1, 2, 5))
    for k in (1, 2, 5):
        assert found["text_to_image"][k] == pytest.approx(sum(r <= k for r in to_image) / len(to_image))
        assert found["image_to_text"][k] == pytest.approx(sum(r <= k for r in to_text) / len(to_text))
    middle = median_ranks(texts, images, owner)
    assert middle["text_to_image"] == pytest.approx(float(np.median(to_image)))
    assert middle["image_to_text"] == pytest.approx(float(np.median(to_text)))


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 15))
def test_accuracy_agrees_with_a_plain_transcription(seed: int, classes: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(-2, 3, (count, 3)).astype(np.float32)
    protos = rng.integers(-2, 3, (classes, 3)).astype(np.float32)
    labels = rng.integers(0, classes, count)
    hits: dict[int, list[bool]] = {}
    within_two = 0
    for n in range(count):
        rank = plain_rank([float(images[n] @ p) for p in protos], {int(labels[n])})
        hits.setdefault(int(labels[n]), []).append(rank <= 1)
        within_two += rank <= 2
    top = top_k_accuracy(images, protos, labels, ks=(1, 2))
    assert top[1] == pytest.approx(sum(sum(h) for h in hits.values()) / count)
    assert top[2] == pytest.approx(within_two / count)
    assert mean_per_class(images, protos, labels) == pytest.approx(
        sum(sum(h) / len(h) for h in hits.values()) / len(hits)
    )
    each = class_accuracies(images, protos, labels)
    assert [c for c in range(classes) if not np.isnan(each[c])] == sorted(hits)


def test_a_collapsed_model_finds_nothing() -> None:
    """Every embedding the same: the right picture is one of 20 that tie, so it is in the middle, not first."""
    same = unit(np.ones((20, 8)))
    owner = np.arange(20)
    found = recall_at_k(same, same, owner)
    assert found == {"text_to_image": {1: 0.0, 5: 0.0, 10: 0.0}, "image_to_text": {1: 0.0, 5: 0.0, 10: 0.0}}
    assert median_ranks(same, same, owner)["text_to_image"] == 10.5


def test_equal_embeddings_tie_wherever_they_stand() -> None:
    """Duplicates spread over a wide matrix: BLAS tiles must not decide who wins."""
    rng = np.random.default_rng(3)
    images = unit(rng.normal(size=(1003, 193)))
    images[1::2] = images[0]
    texts = images[[0]]
    equal_rivals = 501  # row 0 and the 501 odd rows, less the target itself
    assert ranks.ranks_of_target(texts, images, np.array([501])) == pytest.approx(1.0 + equal_rivals / 2)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    texts, images = unit(rng.normal(size=(37, 16))), unit(rng.normal(size=(11, 16)))
    owner = rng.integers(0, 11, 37)
    whole = recall_at_k(texts, images, owner)
    monkeypatch.setattr(ranks, "ROWS_AT_ONCE", 4)
    assert recall_at_k(texts, images, owner) == whole


def test_a_picture_without_a_caption_is_a_rival_but_not_a_query() -> None:
    images = np.eye(3, dtype=np.float32)
    texts = images[[0, 2]]  # the second caption describes the picture that has no caption of its own
    found = recall_at_k(texts, images, np.array([0, 1]), ks=(1,))
    assert found["text_to_image"][1] == 0.5
    assert found["image_to_text"][1] == 0.5  # of two pictures, not three


def test_prototypes_are_the_normalised_mean() -> None:
    vectors = unit(np.random.default_rng(5).normal(size=(4, 3, 8)))
    made = prototypes(vectors)
    for c in range(4):
        mean = sum(vectors[c, t].astype(np.float64) for t in range(3)) / 3
        assert made[c] == pytest.approx(mean / np.sqrt((mean**2).sum()), abs=1e-6)


@pytest.mark.parametrize(
    ("texts", "images", "owner"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), np.array([0, 1])),
        (np.ones((2, 3)), np.ones((2, 3)), np.array([0, 2])),
        (np.ones((2, 3)), np.ones((2, 3)), np.array([0])),
        (np.ones((2, 3)), np.array([[1.0, np.nan, 0.0]]), np.array([0, 0])),
        (np.ones((0, 3)), np.ones((2, 3)), np.array([], dtype=np.int64)),
    ],
)
def test_senseless_input_is_refused(
    texts: NDArray[np.float64], images: NDArray[np.float64], owner: NDArray[np.int64]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        recall_at_k(texts, images, owner)


def test_k_counts_from_one_and_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="k counts from 1"):
        recall_at_k(np.ones((2, 3)), np.ones((2, 3)), np.array([0, 1]), ks=(0,))
    with pytest.raises(ValueError, match="no query has a right answer"):
        ranks.share_within(np.array([np.nan]), (1,))
    with pytest.raises(ValueError, match="templates"):
        prototypes(np.ones((2, 3)))


def test_prototypes_that_cancel_out_are_refused() -> None:
    with pytest.raises(ValueError, match="cancel"):
        prototypes(np.array([[[1.0, 0.0], [-1.0, 0.0]]]))

"""The figures are what others mean by these names: CLIP_benchmark's and scikit-learn's, on the same embeddings.

`python -m tests.measuring.make_references` ran the peers; `python -m benchmarks.eval_agreement` does on photographs.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcli.bundle.templates import class_prototypes
from clipcli.evaluate.bootstrap import value_of
from clipcli.evaluate.outcomes import class_outcomes, retrieval_outcomes
from clipcli.evaluate.retrieval import recall_at_k
from clipcli.evaluate.zero_shot import mean_per_class, top_k_accuracy
from tests.measuring import made_embeddings as made

TOLERANCE = 1e-6  # largest difference: 1.3e-8, where CLIP_benchmark counts in float32


class Texts:
    @staticmethod
    def encode_texts(sentences: list[str]) -> NDArray[np.float32]:
        return made.texts(sentences)


def prototypes() -> NDArray[np.float32]:
    return class_prototypes(Texts(), made.NAMES, made.TEMPLATES)


@pytest.mark.parametrize("peer", ["clip_benchmark", "scikit-learn"])
def test_zero_shot(peer: str) -> None:
    theirs = made.references()[peer]
    names = (
        ("acc1", "acc5", "mean_per_class_recall") if peer == "clip_benchmark" else ("top1", "top5", "mean_per_class")
    )
    shares = top_k_accuracy(made.images(), prototypes(), made.labels())
    ours = (shares[1], shares[5], mean_per_class(made.images(), prototypes(), made.labels()))
    assert ours == pytest.approx([theirs[name] for name in names], abs=TOLERANCE)
    compared = class_outcomes(made.images(), prototypes(), made.labels())
    assert [value_of(one) for one in compared.values()] == pytest.approx(ours, abs=TOLERANCE)
    assert 0.2 < ours[0] < 0.8  # where a mistake would show


def test_retrieval() -> None:
    theirs = made.references()["clip_benchmark"]
    sentences = [text for said in made.captions() for text in said]
    owners = np.asarray([place for place, said in enumerate(made.captions()) for _ in said])
    ours = recall_at_k(made.texts(sentences), made.images(), owners)
    compared = retrieval_outcomes(made.texts(sentences), made.images(), owners)
    for way, called in (("text_to_image", "image_retrieval"), ("image_to_text", "text_retrieval")):
        for k in (1, 5, 10):
            assert ours[way][k] == pytest.approx(theirs[f"{called}_recall@{k}"], abs=TOLERANCE)
            assert value_of(compared[f"{way}_recall{k}"]) == pytest.approx(ours[way][k], abs=TOLERANCE)

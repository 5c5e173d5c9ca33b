"""Names for the clusters of a map, from a person's own words; none where none of them fits.

Shapes: K clusters, W words, B everyday words, D embedding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.browse.embedding_map import Clusters
    from clipcli.browse.model_in_use import Encoding

__all__ = ["EVERYDAY", "name_clusters"]

_NAMES = 3
# What photographs show, of all kinds: a word that fits a cluster no better than these do happens to lie nearest.
EVERYDAY = (
    "person", "crowd", "dog", "cat", "horse", "bird", "fish", "insect", "flower", "tree", "forest", "field",
    "mountain", "beach", "river", "sky", "snow", "sunset", "night", "street", "house", "church", "bridge", "car",
    "train", "boat", "airplane", "bicycle", "food", "fruit", "kitchen", "table", "chair", "lamp", "window", "book",
    "screen", "machine", "toy", "ball", "statue", "painting", "pattern", "clothes", "face", "hand", "stone",
    "water", "truck", "motorcycle", "ship", "bus", "sheep", "cow", "rabbit", "monkey", "bear", "reptile", "frog",
    "spider", "butterfly", "shell", "leaf", "mushroom", "vegetable", "bread", "cake", "drink", "bottle", "cup",
    "plate", "bag", "shoe", "hat", "jewellery", "clock", "telephone", "computer", "tool", "weapon",
    "musical instrument", "bed", "sofa", "door", "stairs", "wall", "tower", "road", "lake", "desert", "garden",
    "sign", "drawing", "map", "text", "fire",
)  # fmt: skip
# In standard deviations of what the everyday words have in the same cluster; measured, see docs/experiments.md.
_STANDING_OUT = 2.0  # of the lead; more where many words are tried
_MARGIN = 0.5
_NEAR = 1.5  # of the cosine
_BEHIND_THE_BEST = 0.25  # a person's word may be another name of the everyday word that fits best


def name_clusters(clusters: Clusters, words: Sequence[str], encoding: Encoding) -> list[dict[str, Any]]:
    """For each cluster the words that fit it, best first; none where they fit no better than any word would.

    A word that fits everything says nothing, so what counts is its lead over the mean of all other clusters. Whether a
    lead is large is seen from those that everyday words have in the same cluster. It also has to lie as near as the
    nearest of them does: a cluster of watches is not called a butterfly for being less unlike one than the others are.
    """
    vectors = encoding.words(words).astype(np.float64)  # (W, D)
    lengths = np.linalg.norm(clusters.means, axis=1, keepdims=True)
    means = clusters.means / np.maximum(lengths, 1e-12)  # (K, D)
    cosines = means @ vectors.T  # (K, W)
    everyday = means @ encoding.everyday(EVERYDAY).astype(np.float64).T  # (K, B)
    leads, usual = _leads(cosines), _leads(everyday)
    stands_out = _deviations(leads, usual) >= max(_STANDING_OUT, _best_of_chance(len(words)) + _MARGIN)
    nearness = _deviations(cosines, everyday)
    nearest = _deviations(everyday, everyday).max(axis=1, keepdims=True)  # (K, 1)
    fits = stands_out & (nearness >= np.maximum(_NEAR, nearest - _BEHIND_THE_BEST))  # (K, W)
    named = []
    for number in range(len(cosines)):
        best = [place for place in np.argsort(-leads[number], kind="stable") if fits[number, place]]
        named.append(
            {
                "cluster": number,
                "labels": [
                    {
                        "word": words[place],
                        "score": round(float(cosines[number, place]), 4),
                        "lead": round(float(leads[number, place]), 4),
                    }
                    for place in best[:_NAMES]
                ],
            }
        )
    return named


def _leads(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much better each word fits each cluster than it fits the others, (K, W); of one cluster alone how well."""
    count = len(cosines)
    return cosines if count < 2 else (cosines * count - cosines.sum(axis=0)) / (count - 1)


def _deviations(values: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the values (K, W) lie above the mean of the usual ones (K, B), in standard deviations of these."""
    middle, spread = usual.mean(axis=1, keepdims=True), usual.std(axis=1, keepdims=True)
    return np.asarray((values - middle) / np.maximum(spread, 1e-9))


def _best_of_chance(count: int) -> float:
    """About the largest of so many values of a normal distribution, in standard deviations (Cramer 1946, 28.6)."""
    root = math.sqrt(2 * math.log(max(2, count)))
    return root - (math.log(math.log(max(3, count))) + math.log(4 * math.pi)) / (2 * root)

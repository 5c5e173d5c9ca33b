"""What becomes of each picture, for every figure: what bootstrap intervals and paired differences are made from.

Shapes: N images, C classes, T captions, D embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipcli.evaluate.bootstrap import Outcome
from clipcli.evaluate.ranks import ranks_of_any, ranks_of_target

__all__ = ["class_outcomes", "retrieval_outcomes"]


def class_outcomes(
    image_vectors: NDArray[np.floating],  # (N, D)
    class_prototypes: NDArray[np.floating],  # (C, D)
    labels: NDArray[np.integer],  # (N,)
) -> dict[str, Outcome]:
    """`top1`, `top5` and `mean_per_class`, which are those of `clipcli.evaluate.zero_shot`."""
    ranks = ranks_of_target(image_vectors, class_prototypes, labels)
    first, one = (ranks <= 1).astype(np.float64), np.ones(len(ranks))
    return {
        "top1": Outcome(right=first, asked=one),
        "top5": Outcome(right=(ranks <= 5).astype(np.float64), asked=one),
        "mean_per_class": Outcome(right=first, asked=one, groups=labels.astype(np.intp)),
    }


def retrieval_outcomes(
    text_vectors: NDArray[np.floating],  # (T, D)
    image_vectors: NDArray[np.floating],  # (N, D)
    owners: NDArray[np.integer],  # (T,)
    ks: tuple[int, ...] = (1, 5, 10),
) -> dict[str, Outcome]:
    """`text_to_image_recallK` and `image_to_text_recallK`, which are those of `clipcli.evaluate.retrieval`."""
    to_image = ranks_of_target(text_vectors, image_vectors, owners)  # (T,)
    to_text = ranks_of_any(image_vectors, text_vectors, owners)  # (N,)
    total = len(image_vectors)
    captions = np.bincount(owners, minlength=total).astype(np.float64)  # (N,)
    told = (~np.isnan(to_text)).astype(np.float64)
    found = {
        f"text_to_image_recall{k}": Outcome(
            right=np.bincount(owners, weights=to_image <= k, minlength=total).astype(np.float64), asked=captions
        )
        for k in ks
    }
    return found | {
        f"image_to_text_recall{k}": Outcome(right=(to_text <= k).astype(np.float64), asked=told) for k in ks
    }

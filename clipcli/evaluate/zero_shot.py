"""Zero-shot classification: the class whose prototype lies nearest to the picture (Radford et al. 2021, section 3.1).

Shapes: N images, C classes, T templates, D embedding. Ties count half (see `clipcli.evaluate.ranks`): two classes with
the same prototype share nothing, and neither is found first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipcli.evaluate.ranks import ranks_of_target, share_within


def prototypes(
    template_vectors: NDArray[np.floating],  # (C, T, D) unit vectors of every class name in every template
) -> NDArray[np.float32]:  # (C, D)
    """The normalised mean over templates, one unit vector a class (section 3.1.4, ensembling in embedding space)."""
    if template_vectors.ndim != 3:
        raise ValueError(f"expected (classes, templates, D), got {template_vectors.shape}")
    mean = template_vectors.astype(np.float64).mean(axis=1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    if not (length > 1e-12).all():
        raise ValueError("the templates of a class cancel out: its mean has no direction")
    vectors: NDArray[np.float32] = (mean / length).astype(np.float32)
    return vectors


def top_k_accuracy(
    image_vectors: NDArray[np.floating],  # (N, D)
    class_prototypes: NDArray[np.floating],  # (C, D)
    labels: NDArray[np.integer],  # (N,) the right class of each picture
    ks: tuple[int, ...] = (1, 5),
) -> dict[int, float]:
    """The share of pictures whose class is among the k nearest prototypes, over all pictures, from 0 to 1."""
    return share_within(ranks_of_target(image_vectors, class_prototypes, labels), ks)


def class_accuracies(
    image_vectors: NDArray[np.floating],  # (N, D)
    class_prototypes: NDArray[np.floating],  # (C, D)
    labels: NDArray[np.integer],  # (N,)
) -> NDArray[np.float64]:  # (C,)
    """Top-1 accuracy of each class by itself; NaN for a class without pictures."""
    right = (ranks_of_target(image_vectors, class_prototypes, labels) <= 1.0).astype(np.float64)
    count = np.bincount(labels, minlength=len(class_prototypes)).astype(np.float64)
    found = np.bincount(labels, weights=right, minlength=len(class_prototypes))
    shares: NDArray[np.float64] = np.divide(found, count, out=np.full(len(count), np.nan), where=count > 0)
    return shares


def mean_per_class(
    image_vectors: NDArray[np.floating],  # (N, D)
    class_prototypes: NDArray[np.floating],  # (C, D)
    labels: NDArray[np.integer],  # (N,)
) -> float:
    """Top-1 accuracy averaged over the classes that have pictures, so that a large class does not drown a small one."""
    return float(np.nanmean(class_accuracies(image_vectors, class_prototypes, labels)))

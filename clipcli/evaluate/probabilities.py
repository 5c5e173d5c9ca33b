"""From cosines to probabilities: softmax over the labels, or one sigmoid each for models trained that way.

Shapes: N images, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def label_probabilities(
    cosines: NDArray[np.floating],  # (N, C)
    *,
    logit_scale: float,
    logit_bias: float | None = None,
) -> NDArray[np.float64]:  # (N, C)
    """Softmax over `logit_scale * cosine` along the labels (Radford et al. 2021, section 3.1.2).

    With a bias the model is a sigmoid one (Zhai et al. 2023, SigLIP): each label has a probability of its own, and
    they need not add up to one.
    """
    if cosines.ndim != 2 or cosines.shape[1] == 0:
        raise ValueError(f"expected (N, C) cosines, got {cosines.shape}")
    logits = logit_scale * cosines.astype(np.float64)
    if logit_bias is not None:
        return np.asarray(np.exp(-np.logaddexp(0.0, -(logits + logit_bias))))  # sigmoid without overflow
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def likeliest(cosines: NDArray[np.floating], top: int) -> NDArray[np.intp]:
    """The `top` best columns of each row, the best first (N, top); of equal ones the earlier column comes first."""
    return np.argsort(-cosines, axis=1, kind="stable")[:, :top]

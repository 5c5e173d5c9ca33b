"""Retrieval both ways: which picture a caption belongs to, and which captions a picture has.

Shapes: T captions, N images, D embedding. Embeddings are unit vectors, scores are cosines. Ties count half
(see `clipcli.evaluate.ranks`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipcli.evaluate.ranks import ranks_of_any, ranks_of_target, share_within


def recall_at_k(
    text_vectors: NDArray[np.floating],  # (T, D)
    image_vectors: NDArray[np.floating],  # (N, D)
    text_to_image: NDArray[np.integer],  # (T,) row of the image each caption belongs to
    ks: tuple[int, ...] = (1, 5, 10),
) -> dict[str, dict[int, float]]:
    """Recall at each k, `{"text_to_image": {k: share}, "image_to_text": {k: share}}`, shares from 0 to 1.

    Text to image: the share of captions whose picture is among the first k of all pictures. Image to text: the share
    of pictures with any of their captions among the first k of all captions; pictures without a caption are
    candidates for the first figure and are left out of the second.
    Raises ValueError where shapes, indices or numbers make no sense.
    """
    return {
        "text_to_image": share_within(ranks_of_target(text_vectors, image_vectors, text_to_image), ks),
        "image_to_text": share_within(ranks_of_any(image_vectors, text_vectors, text_to_image), ks),
    }


def median_ranks(
    text_vectors: NDArray[np.floating],  # (T, D)
    image_vectors: NDArray[np.floating],  # (N, D)
    text_to_image: NDArray[np.integer],  # (T,)
) -> dict[str, float]:
    """The median rank of the right answer both ways; 1 is perfect."""
    return {
        "text_to_image": float(np.median(ranks_of_target(text_vectors, image_vectors, text_to_image))),
        "image_to_text": float(np.nanmedian(ranks_of_any(image_vectors, text_vectors, text_to_image))),
    }

"""The rank of the right answer among all candidates, the one quantity every figure here is made of.

Shapes: Q queries, N candidates, D embedding.

The rank is 1 + (candidates strictly better) + ½ (other candidates exactly as good): ties count half. A model that
gives every picture the same embedding therefore ranks everything in the middle, and not first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Rows of the score matrix held at once: 1,024 queries against 100,000 candidates are 0.8 GB in float64.
ROWS_AT_ONCE = 1024


def score_blocks(
    queries: NDArray[np.floating],  # (Q, D)
    candidates: NDArray[np.floating],  # (N, D)
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """The score matrix in blocks of rows: `(rows, scores)`, scores (rows, N).

    The product is taken in float64 and rounded to float32. BLAS may add up in another order at the edges of its tiles,
    so that two equal candidates differ in the last bit; rounded, they tie again.
    """
    check_vectors(queries, candidates)
    transposed = candidates.astype(np.float64).T
    for start in range(0, len(queries), ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, len(queries)))
        yield rows, (queries[rows].astype(np.float64) @ transposed).astype(np.float32)


def ranks_of_target(
    queries: NDArray[np.floating],  # (Q, D)
    candidates: NDArray[np.floating],  # (N, D)
    targets: NDArray[np.integer],  # (Q,) index of the right candidate
) -> NDArray[np.float64]:  # (Q,)
    """Rank of each query's one right candidate."""
    check_targets(targets, len(queries), len(candidates))
    ranks = np.empty(len(queries), dtype=np.float64)
    for rows, scores in score_blocks(queries, candidates):
        right = scores[np.arange(len(scores)), targets[rows]][:, None]  # (rows, 1)
        better = (scores > right).sum(axis=1)
        equal = (scores == right).sum(axis=1) - 1  # the target equals itself
        ranks[rows] = 1.0 + better + 0.5 * equal
    return ranks


def ranks_of_any(
    queries: NDArray[np.floating],  # (Q, D)
    candidates: NDArray[np.floating],  # (N, D)
    owners: NDArray[np.integer],  # (N,) index of the query a candidate belongs to
) -> NDArray[np.float64]:  # (Q,)
    """Rank of the best of each query's own candidates; its other own ones are not rivals.

    NaN for a query that owns no candidate: there is nothing to find.
    """
    check_targets(owners, len(candidates), len(queries))
    ranks = np.empty(len(queries), dtype=np.float64)
    for rows, scores in score_blocks(queries, candidates):
        own = owners[None, :] == np.arange(rows.start, rows.stop)[:, None]  # (rows, N)
        best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)  # (rows, 1)
        rivals = ~own
        better = ((scores > best) & rivals).sum(axis=1)
        equal = ((scores == best) & rivals).sum(axis=1)
        ranks[rows] = np.where(own.any(axis=1), 1.0 + better + 0.5 * equal, np.nan)
    return ranks


def share_within(ranks: NDArray[np.float64], ks: tuple[int, ...]) -> dict[int, float]:
    """The share of ranks at or above each k; NaN ranks do not count at all."""
    known = ranks[~np.isnan(ranks)]
    if any(k < 1 for k in ks):
        raise ValueError(f"k counts from 1, got {ks}")
    if not len(known):
        raise ValueError("no query has a right answer to find")
    return {k: float((known <= k).mean()) for k in ks}


def check_vectors(queries: NDArray[np.floating], candidates: NDArray[np.floating]) -> None:
    """Both are matrices of the same width, and finite: a NaN would rank first and last at once."""
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(f"expected (Q, D) and (N, D), got {queries.shape} and {candidates.shape}")
    if not len(queries) or not len(candidates):
        raise ValueError("nothing to rank")
    if not (np.isfinite(queries).all() and np.isfinite(candidates).all()):
        raise ValueError("embeddings hold NaN or infinity")


def check_targets(targets: NDArray[np.integer], count: int, limit: int) -> None:
    """One index per row, each within the other side."""
    if targets.shape != (count,):
        raise ValueError(f"expected {count} indices, got shape {targets.shape}")
    if count and (int(targets.min()) < 0 or int(targets.max()) >= limit):
        raise ValueError(f"indices must lie in 0..{limit - 1}")

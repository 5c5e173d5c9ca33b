"""Pictures judged by labels: the records of `clip classify`, and its table.

Shapes: B batch, C labels, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model
    from clipcli.render.records import Record

    Batch = tuple[list[bytes], NDArray[np.float32]]  # paths, (B, D)

FIELDS = ("path", "path_b64", "label", "probability", "cosine", "rank")


@dataclass(kw_only=True, slots=True)
class Tally:
    """How many pictures were classified, and how many of them are shown."""

    seen: int = 0
    shown: int = 0


def judge(
    batches: Iterator[Batch],
    prototypes: NDArray[np.float32],  # (C, D)
    names: Sequence[str],
    model: Model,
    top: int,
    wanted: frozenset[str],
    tally: Tally,
) -> Iterator[Record]:
    """A record per picture and label, likeliest first; a picture whose likeliest label is not wanted is left out."""
    from clipcli.evaluate.probabilities import label_probabilities, likeliest

    certain = len(names) > 1 or model.spec.logit_bias is not None
    for paths, vectors in batches:
        cosines = vectors @ prototypes.T  # (B, C)
        probabilities = label_probabilities(
            cosines, logit_scale=model.spec.logit_scale, logit_bias=model.spec.logit_bias
        )
        order = likeliest(cosines, top)  # (B, top)
        tally.seen += len(paths)
        for row, path in enumerate(paths):
            if wanted and names[order[row, 0]] not in wanted:
                continue
            tally.shown += 1
            for rank, column in enumerate(order[row], start=1):
                yield judgement(
                    path, names[column], rank, cosines[row, column], probabilities[row, column] if certain else None
                )


def judgement(path: bytes, label: str, rank: int, cosine: float | None, probability: float | None) -> Record:
    """The record of a label; a picture that none of the labels fits has neither cosine nor probability."""
    return {
        "path": path,
        "label": label,
        "probability": None if probability is None else round(float(probability), 6),
        "cosine": None if cosine is None else round(float(cosine), 6),
        "rank": rank,
    }


def write_judged(records: Sequence[Record]) -> None:
    """Pictures with their labels as a table; nothing at all for none."""
    from clipcli.render.tables import BarCell, Cell, Column, PathCell, write_table
    from clipcli.render.text import percent

    rows: list[list[Cell]] = []
    columns = [Column(title="picture", wide=True), Column(title="label", wide=True), Column(title="cosine", right=True)]
    certain = any(record["probability"] is not None for record in records)
    if certain:
        columns += [Column(title="probability", right=True), Column(title="")]
    for record in records:
        row: list[Cell] = [
            PathCell(path=cast("bytes", record["path"]), again=record["rank"] != 1),
            str(record["label"]),
            "" if record["cosine"] is None else f"{record['cosine']:z.3f}",
        ]
        if certain:
            share = cast("float | None", record["probability"])
            row += ["" if share is None else percent(share), BarCell(share=share or 0.0)]
        rows.append(row)
    if rows:
        write_table(columns, rows)

"""The figures of `clip eval compare`: models on the same pictures, with intervals and paired differences.

Shapes: N images, T captions, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from clipcli.commands.measuring import Refusals, prototypes_of, texts_of, told_model
from clipcli.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.datasets.examples import Captioned, Labelled
    from clipcli.datasets.features import Features
    from clipcli.datasets.rows import Row
    from clipcli.evaluate.bootstrap import Outcome
    from clipcli.render.records import Record
    from clipcli.render.tables import Cell

FIELDS = (
    "model", "precision", "data", "figure", "pictures", "value", "low", "high",
    "difference", "difference_low", "difference_high", "images_per_second", "bytes_to_run", "bytes",
)  # fmt: skip
SHOWN = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_per_class": "mean per class",
    **{f"text_to_image_recall{k}": f"text → image R@{k}" for k in (1, 5, 10)},
    **{f"image_to_text_recall{k}": f"image → text R@{k}" for k in (1, 5, 10)},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One set of data: pictures with classes, with captions, or with both."""

    where: str
    labelled: Labelled | None
    captioned: Captioned | None

    @property
    def pictures(self) -> Sequence[Path | bytes]:
        examples = self.labelled or self.captioned
        assert examples is not None
        return examples.pictures


def asked_of(rows: Sequence[Row], *, where: str, texts_are_labels: bool) -> Asked:
    """What can be measured on the rows. Raises DataError where that is nothing."""
    from clipcli.datasets.examples import captioned, labelled

    classes, captions, reasons = None, None, []
    try:
        classes = labelled(rows, where=where, texts_are_labels=texts_are_labels)
    except DataError as error:
        reasons.append(error)
    if classes is None or any(row.label for row in rows):  # else the texts are the labels
        try:
            captions = captioned(rows, where=where)
        except DataError as error:
            reasons.append(error)
    if classes is None and captions is None:
        raise reasons[1 if any(row.captions for row in rows) else 0]
    return Asked(where=where, labelled=classes, captioned=captions)


def compared(models: Sequence[Features], asked: Asked, refusals: Refusals, *, seed: int) -> list[Record]:
    """A record for each figure and model. Raises InputError where no picture can be read."""
    records = []
    if asked.labelled is not None:
        records += _records(models, asked.where, _of_classes(models, asked.labelled, refusals), seed)
    if asked.captioned is not None:
        records += _records(models, asked.where, _of_captions(models, asked.captioned, refusals), seed)
    return records


def _of_classes(models: Sequence[Features], examples: Labelled, refusals: Refusals) -> list[dict[str, Outcome]]:
    from clipcli.evaluate.outcomes import class_outcomes

    vectors, places = _same_pictures(models, examples, refusals)
    seen = examples.only(places)
    return [
        class_outcomes(own, prototypes_of(model, seen.spoken, model.model.spec.templates), seen.wanted)
        for model, own in zip(models, vectors, strict=True)
    ]


def _of_captions(models: Sequence[Features], pairs: Captioned, refusals: Refusals) -> list[dict[str, Outcome]]:
    from clipcli.evaluate.outcomes import retrieval_outcomes

    vectors, places = _same_pictures(models, pairs, refusals)
    readable = pairs.only(places)
    return [
        retrieval_outcomes(texts_of(model, readable.captions), own, readable.owners)
        for model, own in zip(models, vectors, strict=True)
    ]


def _same_pictures(
    models: Sequence[Features], examples: Labelled | Captioned, refusals: Refusals
) -> tuple[list[NDArray[np.float32]], NDArray[np.intp]]:
    """(N, D) of each model, and the places of the N pictures that all of them have seen."""
    import numpy as np

    found = [refusals.pictures(model, examples.pictures, examples.names) for model in models]
    places = found[0][1]
    for _, others in found[1:]:
        places = np.intersect1d(places, others)
    return [vectors[np.isin(own, places)] for vectors, own in found], places


def _records(
    models: Sequence[Features], where: str, outcomes: Sequence[Mapping[str, Outcome]], seed: int
) -> list[Record]:
    from clipcli.evaluate.bootstrap import estimates

    records: list[Record] = []
    for figure in outcomes[0]:
        found = estimates([each[figure] for each in outcomes], seed=seed)
        for model, estimate in zip(models, found, strict=True):
            told = {name: getattr(estimate, name) for name in FIELDS[5:11]}
            records.append(
                {
                    **told_model(model.model),
                    "data": where,
                    "figure": figure,
                    "pictures": len(outcomes[0][figure].right),
                    **{name: None if share is None else round(share, 6) for name, share in told.items()},
                }
            )
    return records


def write_compared(records: Sequence[Record], names: Sequence[str]) -> None:
    """A table for each set of data, then what the models cost. `records` go round the models as `names` does."""
    from clipcli.render.notes import counted
    from clipcli.render.tables import Column, write_heading, write_table

    columns = [Column(title=""), Column(title="model", wide=True)]
    columns += [Column(title=title, right=True) for title in ("share", "95 % interval", "beside the first", "95 %")]
    many = len(names) > 1
    for data in dict.fromkeys(str(record["data"]) for record in records):
        own = [record for record in records if record["data"] == data]
        write_heading(f"{data}: {counted(cast('int', own[0]['pictures']), 'picture')}")
        rows: list[list[Cell]] = []
        for number, record in enumerate(own):
            place = number % len(names)
            rows.append(["" if place else SHOWN[str(record["figure"])], names[place], *_shares(record)])
        write_table(columns if many else columns[:-2], rows if many else [row[:-2] for row in rows])
    write_heading("what they cost")
    columns = [Column(title="model", wide=True), Column(title="images/s", right=True)]
    columns += [Column(title=title, right=True) for title in ("to run", "on disk")]
    write_table(columns, [[name, *_cost(record)] for name, record in zip(names, records, strict=False)])


def _shares(record: Record) -> list[Cell]:
    from clipcli.render.text import percent

    low, high = (100 * cast("float", record[name]) for name in ("low", "high"))
    cells: list[Cell] = [percent(cast("float", record["value"])), f"{low:.1f} to {high:.1f}"]
    if record["difference"] is None:
        return [*cells, "", ""]
    difference, low, high = (
        100 * cast("float", record[name]) for name in ("difference", "difference_low", "difference_high")
    )
    return [*cells, f"{difference:+z.1f}", f"{low:+z.1f} to {high:+z.1f}"]


def _cost(record: Record) -> list[Cell]:
    pace = record["images_per_second"]
    return [
        "" if pace is None else f"{pace:,.0f}",
        *(f"{cast('int', record[name]) / 1e6:,.1f} MB" for name in ("bytes_to_run", "bytes")),
    ]

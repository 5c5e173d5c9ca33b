"""The figures of `clip eval zero-shot`: a record for each way of asking, and one for each class.

Shapes: N images, C classes, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from clipcli.commands.measuring import prototypes_of, told_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.datasets.examples import Labelled
    from clipcli.datasets.features import Features
    from clipcli.datasets.measured import Measured
    from clipcli.render.records import Record
    from clipcli.render.tables import Cell

FIELDS = (
    "model", "precision", "prompts", "templates", "pictures", "classes", "top1", "top5", "mean_per_class",
)  # fmt: skip
CLASS_FIELDS = ("model", "precision", "label", "pictures", "top1", "taken_for", "times")


def prompt_records(
    features: Features,
    vectors: NDArray[np.float32],  # (N, D)
    examples: Labelled,
    prompts: Sequence[str],
    chosen: str,
) -> tuple[list[Record], NDArray[np.float32]]:  # (C, D)
    """A record for the templates asked for, "a photo of a {}." and the bare label; and the prototypes of the first."""
    from clipcli.datasets.template_sets import BARE, PHOTO
    from clipcli.evaluate.zero_shot import mean_per_class, top_k_accuracy

    ways = {chosen: tuple(prompts) or tuple(features.model.spec.templates), "photo": (PHOTO,), "label": (BARE,)}
    prototypes = {name: prototypes_of(features, examples.spoken, asked) for name, asked in ways.items()}
    records: list[Record] = []
    for name, classes in prototypes.items():
        shares = top_k_accuracy(vectors, classes, examples.wanted)
        records.append(
            {
                **told_model(features.model),
                "prompts": name,
                "templates": len(ways[name]),
                "pictures": len(vectors),
                "classes": len(classes),
                "top1": round(shares[1], 6),
                "top5": round(shares[5], 6),
                "mean_per_class": round(mean_per_class(vectors, classes, examples.wanted), 6),
            }
        )
    return records, prototypes[chosen]


def class_records(
    model: Measured, vectors: NDArray[np.float32], prototypes: NDArray[np.float32], examples: Labelled
) -> list[Record]:
    """A record for each class that has pictures, the worst first: its top-1 and what it is mistaken for most often."""
    import numpy as np

    from clipcli.evaluate.confusions import answers, confusion_matrix
    from clipcli.evaluate.zero_shot import class_accuracies

    given, _ = answers(vectors, prototypes)
    counts = confusion_matrix(examples.wanted, given, len(prototypes))
    shares = class_accuracies(vectors, prototypes, examples.wanted)
    records: list[Record] = []
    for at in sorted(np.flatnonzero(counts.sum(axis=1)).tolist(), key=lambda place: (shares[place], place)):
        wrong = counts[at].copy()
        wrong[at] = 0
        times = int(wrong.max())
        records.append(
            {
                **told_model(model),
                "label": examples.classes[at],
                "pictures": int(counts[at].sum()),
                "top1": round(float(shares[at]), 6),
                "taken_for": examples.classes[int(wrong.argmax())] if times else None,
                "times": times,
            }
        )
    return records


def write_figures(records: Sequence[Record], classes: Sequence[Record]) -> None:
    """The ways of asking with what the first gains over the others, in points; then the classes."""
    from clipcli.render.tables import BarCell, Column, write_heading, write_table
    from clipcli.render.text import percent

    columns = [Column(title="model", wide=True), Column(title="prompts", wide=True)]
    columns += [Column(title=title, right=True) for title in ("top-1", "top-5", "mean per class", "gain of the first")]
    rows: list[list[Cell]] = []
    first = cast("float", records[0]["top1"])
    seen = ""
    for record in records:
        name = f"{record['model']} ({record['precision']})"
        top1 = cast("float", record["top1"])
        first = first if name == seen else top1
        gain = "" if name != seen else f"{100 * (first - top1):+.1f}"
        rows.append(
            [
                name,
                _asked(record),
                *(percent(cast("float", record[of])) for of in ("top1", "top5", "mean_per_class")),
                gain,
            ]
        )
        seen = name
    write_table(columns, rows)
    if classes:
        write_heading("classes, the worst first")
        columns = [Column(title="class", wide=True), Column(title="pictures", right=True)]
        columns += [
            Column(title="top-1", right=True),
            Column(title=""),
            Column(title="taken for most often", wide=True),
        ]
        rows = [
            [
                str(record["label"]),
                f"{record['pictures']:,}",
                percent(cast("float", record["top1"])),
                BarCell(share=cast("float", record["top1"])),
                f"{record['taken_for']} ({record['times']:,})" if record["taken_for"] else "",
            ]
            for record in classes
        ]
        write_table(columns, rows)


def _asked(record: Record) -> str:
    name, count = str(record["prompts"]), cast("int", record["templates"])
    if name == "photo":
        return '"a photo of a {}."'
    if name == "label":
        return "the bare label"
    whose = "the model's" if name == "model" else name
    return f"{whose}, {count:,} {'template' if count == 1 else 'templates'}"

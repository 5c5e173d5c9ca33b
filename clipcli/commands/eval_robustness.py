"""`clip eval robustness`: what is left of zero-shot when the pictures are made worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipcli.commands.measuring import (
    LABELLED_DATA_HELP,
    DarkOption,
    ImageColumnOption,
    ModelsOption,
    NoCacheOption,
    Refusals,
    TextColumnOption,
    each_model,
    figures_format,
    library_in,
    prototypes_of,
    read_rows,
    say_how,
    told_model,
)
from clipcli.commands.options import Device, DeviceOption, FormatOption, Precision, PrecisionOption

if TYPE_CHECKING:
    from clipcli.render.records import Record
    from clipcli.render.tables import Cell

FIELDS = ("model", "precision", "change", "pictures", "classes", "top1", "top5", "mean_per_class")


def robustness(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help=LABELLED_DATA_HELP,
            show_default=False,
        ),
    ],
    chart: Annotated[
        Path | None,
        typer.Option(
            "--chart",
            metavar="FILE",
            help="Draw what is left: .png, .jpg, .webp, .pdf or .svg. Needs the extra 'plot'.",
            show_default=False,
        ),
    ] = None,
    dark: DarkOption = False,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    no_cache: NoCacheOption = False,
    model: ModelsOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
) -> None:
    """Measure what is left of zero-shot when the pictures are made worse.

    The same pictures as they are, blurred, with noise, as a poor JPEG, turned by 15 degrees, shrunk to a quarter and
    enlarged again, and without colour; always in the same way, in the square the model sees.

    \b
      clip eval robustness photos/ -m starter -m mine --chart left.png
    """
    from clipcli.datasets.changes import CHANGES
    from clipcli.datasets.examples import labelled
    from clipcli.evaluate.zero_shot import mean_per_class, top_k_accuracy
    from clipcli.render.records import write_records

    written = figures_format(format)
    if chart is not None:
        from clipcli.render.comparison_figure import check_comparison

        check_comparison(chart, models=len(model or [""]))
    rows = read_rows(data, image_column, text_column)
    examples = labelled(rows, where=str(data), texts_are_labels=text_column is not None)
    models = each_model(model, device=device, precision=precision, cached=not no_cache, library=library_in(data))
    refusals = Refusals()
    records: list[Record] = []
    for features in models:
        prototypes = prototypes_of(features, examples.spoken, features.model.spec.templates)
        for change in (None, *CHANGES):
            vectors, places = refusals.pictures(features, examples.pictures, examples.names, change=change)
            wanted = examples.wanted[places]
            shares = top_k_accuracy(vectors, prototypes, wanted)
            records.append(
                {
                    **told_model(features.model),
                    "change": change or "none",
                    "pictures": len(vectors),
                    "classes": len(prototypes),
                    "top1": round(shares[1], 6),
                    "top5": round(shares[5], 6),
                    "mean_per_class": round(mean_per_class(vectors, prototypes, wanted), 6),
                }
            )
    if chart is not None:
        _draw(records, chart, data.name, dark=dark)
    if written == "table":
        _write(records)
        say_how(models, len(examples.pictures))
    else:
        write_records(records, format=written, fields=FIELDS)
    refusals.raise_at_the_end()


def _write(records: list[Record]) -> None:
    from clipcli.render.tables import Column, write_table
    from clipcli.render.text import percent

    columns = [Column(title="model", wide=True), Column(title="change")]
    columns += [Column(title=title, right=True) for title in ("top-1", "top-5", "mean per class", "lost")]
    rows: list[list[Cell]] = []
    whole = 0.0
    for record in records:
        top1 = cast("float", record["top1"])
        whole = top1 if record["change"] == "none" else whole
        lost = "" if record["change"] == "none" else f"{100 * (whole - top1):z.1f}"
        shares = (percent(cast("float", record[of])) for of in ("top1", "top5", "mean_per_class"))
        rows.append([f"{record['model']} ({record['precision']})", str(record["change"]), *shares, lost])
    write_table(columns, rows)


def _draw(records: list[Record], path: Path, data: str, *, dark: bool) -> None:
    from clipcli.render.comparison_figure import Panel, Row, draw_comparison
    from clipcli.render.figure_style import DARK, LIGHT

    points: dict[str, list[tuple[float, ...]]] = {}
    for record in records:
        points.setdefault(str(record["change"]), []).append((cast("float", record["top1"]),) * 3)
    names = dict.fromkeys(f"{record['model']} ({record['precision']})" for record in records)
    rows = [Row(label="as they are" if change == "none" else change, points=each) for change, each in points.items()]
    pictures, classes = records[0]["pictures"], records[0]["classes"]
    panel = Panel(title=f"{data}, {pictures:,} pictures, {classes:,} classes: top-1", rows=rows)
    draw_comparison(
        [panel], list(names), path, title="What worse pictures leave of zero-shot", look=DARK if dark else LIGHT
    )

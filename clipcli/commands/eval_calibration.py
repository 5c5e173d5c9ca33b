"""`clip eval calibration`: whether a model's probabilities are what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipcli.commands.measuring import (
    LABELLED_DATA_HELP,
    DarkOption,
    ImageColumnOption,
    NoCacheOption,
    OneModelOption,
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
    from clipcli.evaluate.calibration import Bin
    from clipcli.render.records import Record
    from clipcli.render.tables import Cell

FIELDS = ("model", "precision", "low", "high", "pictures", "probability", "right", "calibration_error")


def calibration(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help=LABELLED_DATA_HELP,
            show_default=False,
        ),
    ],
    diagram: Annotated[
        Path | None,
        typer.Option(
            "--diagram",
            metavar="FILE",
            help="Draw the reliability diagram: .png, .jpg, .webp, .pdf or .svg. Needs the extra 'plot'.",
            show_default=False,
        ),
    ] = None,
    dark: DarkOption = False,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    no_cache: NoCacheOption = False,
    model: OneModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
) -> None:
    """Measure whether a model's probabilities are what they say.

    Of all answers that are called 70 % probable, 70 % should be right. The answers of zero-shot classification, with
    the model's own templates, stand in 15 bins by their probability; the expected calibration error is the mean
    distance between that and the share that is right.

    \b
      clip eval calibration photos/ --diagram reliability.png
    """
    import numpy as np

    from clipcli.datasets.examples import labelled
    from clipcli.evaluate.calibration import calibration_error, reliability
    from clipcli.evaluate.probabilities import label_probabilities
    from clipcli.render.records import write_records

    written = figures_format(format)
    if diagram is not None:
        from clipcli.render.figure_style import check_figure
        from clipcli.render.made_files import check_replaceable

        check_figure(diagram, "drawing a reliability diagram")
        check_replaceable(diagram)
    rows = read_rows(data, image_column, text_column)
    examples = labelled(rows, where=str(data), texts_are_labels=text_column is not None)
    (features,) = each_model(
        [model] if model else None, device=device, precision=precision, cached=not no_cache, library=library_in(data)
    )
    refusals = Refusals()
    vectors, places = refusals.pictures(features, examples.pictures, examples.names)
    seen = examples.only(places)
    spec = features.model.spec
    cosines = vectors @ prototypes_of(features, seen.spoken, spec.templates).T  # (N, C)
    chances = label_probabilities(cosines, logit_scale=spec.logit_scale, logit_bias=spec.logit_bias)
    given = chances.argmax(axis=1)
    bins = reliability(np.minimum(chances.max(axis=1), 1.0), given == seen.wanted)
    error = calibration_error(bins)
    if diagram is not None:
        from clipcli.render.text import percent

        _draw(bins, diagram, title=f"{features.model.name}: calibration error {percent(error)}", dark=dark)
    records: list[Record] = [
        {
            **told_model(features.model),
            "low": round(one.low, 6),
            "high": round(one.high, 6),
            "pictures": one.pictures,
            "probability": round(one.probability, 6) if one.pictures else None,
            "right": round(one.right, 6) if one.pictures else None,
            "calibration_error": round(error, 6),
        }
        for one in bins
    ]
    if written == "table":
        _write(records)
        say_how([features], len(examples.pictures))
    else:
        write_records(records, format=written, fields=FIELDS)
    refusals.raise_at_the_end()


def _draw(bins: list[Bin], path: Path, *, title: str, dark: bool) -> None:
    from clipcli.render.figure_style import DARK, LIGHT
    from clipcli.render.reliability_figure import draw_reliability

    total = sum(one.pictures for one in bins)
    points = [(one.probability, one.right) for one in bins if one.pictures]
    shares = [(one.low, one.high - one.low, one.pictures / total) for one in bins]
    draw_reliability(points, shares, path, title=title, look=DARK if dark else LIGHT)


def _write(records: list[Record]) -> None:
    from clipcli.render.notes import write_text
    from clipcli.render.tables import Column, write_table
    from clipcli.render.text import percent

    columns = [Column(title=title, right=True) for title in ("probability", "pictures", "mean", "right")]
    rows: list[list[Cell]] = [
        [
            f"{100 * cast('float', record['low']):.0f} - {100 * cast('float', record['high']):.0f} %",
            f"{record['pictures']:,}",
            percent(cast("float", record["probability"])),
            percent(cast("float", record["right"])),
        ]
        for record in records
        if record["pictures"]
    ]
    write_table(columns, rows)
    write_text(f"\nexpected calibration error: {percent(cast('float', records[0]['calibration_error']))}\n")

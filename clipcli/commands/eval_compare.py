"""`clip eval compare`: models side by side on the same pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipcli.commands.compared import FIELDS, SHOWN, asked_of, compared, write_compared
from clipcli.commands.measuring import (
    EITHER_DATA_HELP,
    DarkOption,
    ImageColumnOption,
    NoCacheOption,
    Refusals,
    TextColumnOption,
    each_model,
    features_of,
    figures_format,
    library_in,
    read_rows,
    say_how,
)
from clipcli.commands.options import (
    Device,
    DeviceOption,
    FormatOption,
    Precision,
    PrecisionOption,
    installed_names,
)
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.datasets.features import Features
    from clipcli.datasets.measured import Measured
    from clipcli.render.records import Record


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Installed models, model folders, training runs or weights files; NAME@int8 names a precision.",
            autocompletion=installed_names,
            show_default=False,
        ),
    ],
    on: Annotated[
        list[Path],
        typer.Option(
            "--on",
            metavar="DATA",
            help=EITHER_DATA_HELP,
            show_default=False,
        ),
    ],
    chart: Annotated[
        Path | None,
        typer.Option(
            "--chart",
            metavar="FILE",
            help="Draw them: .png, .jpg, .webp, .pdf or .svg. Needs the extra 'plot'.",
            show_default=False,
        ),
    ] = None,
    dark: DarkOption = False,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Measure images per second as well.")] = True,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the pictures drawn for intervals.")] = 0,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    no_cache: NoCacheOption = False,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
) -> None:
    """Measure models side by side on the same pictures.

    Zero-shot accuracy where there are labels, recall both ways where there are captions, each with its 95 % interval
    (bootstrap over pictures) and with the paired difference from the first model: where its interval does not hold 0,
    the difference is more than luck. Beside that what a model costs: images per second through its image tower alone,
    measured in turns, and bytes.

    \b
      clip eval compare starter mine --on photos/
      clip eval compare birds@fp32 birds@int8 runs/birds2 --on test.csv --on captions.parquet --chart models.png
    """
    from clipcli.render.records import write_records

    written = figures_format(format)
    if chart is not None:
        from clipcli.render.comparison_figure import check_comparison

        check_comparison(chart, models=len(set(models)))
    if len(set(on)) < len(on):
        raise UsageError("--on names the same data twice")
    asked = [
        asked_of(
            read_rows(data, image_column, text_column),
            where=_called(data, on),
            texts_are_labels=text_column is not None,
        )
        for data in on
    ]
    library = next(filter(None, map(library_in, on)), None)
    opened = [
        features.model
        for name in dict.fromkeys(models)
        for features in _opened(name, precision, device=device, library=library)
    ]
    refusals = Refusals()
    records: list[Record] = []
    measured: list[Features] = []
    for data, each in zip(on, asked, strict=True):
        features = [features_of(model, cached=not no_cache, library=library_in(data)) for model in opened]
        records += compared(features, each, refusals, seed=seed)
        measured += features
    costs = _costs(opened, [picture for each in asked for picture in each.pictures], speed=speed)
    records = [{**record, **costs[number % len(costs)]} for number, record in enumerate(records)]
    names = _names(opened, list(dict.fromkeys(models)))
    if chart is not None:
        draw(records, names, chart, dark=dark)
    if written == "table":
        write_compared(records, names)
        say_how(measured, sum(len(each.pictures) for each in asked))
    else:
        write_records(records, format=written, fields=FIELDS)
    refusals.raise_at_the_end()


def _opened(name: str, precision: Precision, *, device: Device, library: Path | None) -> list[Features]:
    """The model called NAME or NAME@PRECISION."""
    plain, at, asked = name.rpartition("@")
    if at and asked in set(Precision):
        name, precision = plain, Precision(asked)
    return each_model([name], device=device, precision=precision, cached=False, library=library)


def _called(data: Path, on: Sequence[Path]) -> str:
    """The file's or folder's own name, unless two share it."""
    names = Counter(one.resolve().name for one in on)
    return data.resolve().name if names[data.resolve().name] == 1 else str(data)


def _names(models: Sequence[Measured], asked: Sequence[str]) -> list[str]:
    """What a person reads: `birds (int8)`; where two models are called alike, as they were asked for."""
    names = [f"{model.name} ({model.precision})" for model in models]
    return [name if names.count(name) == 1 else given for name, given in zip(names, asked, strict=True)]


def _costs(models: Sequence[Measured], pictures: Sequence[Path | bytes], *, speed: bool) -> list[Record]:
    """For each model what it takes to run."""
    from clipcli.datasets.pace import MOST_ROUNDS, images_per_second
    from clipcli.render.progress import progress_bar

    rates: list[float | None] = [None] * len(models)
    if speed:
        rounds = (MOST_ROUNDS + 1) * len(models)
        with progress_bar("Measuring the speed", total=rounds, unit="batches", rate=False) as bar:
            rates = images_per_second(models, pictures, advance=bar.advance)
    return [
        {
            "images_per_second": None if rate is None else round(rate, 1),
            "bytes_to_run": model.bytes_to_run,
            "bytes": model.bytes_in_all,
        }
        for model, rate in zip(models, rates, strict=True)
    ]


def draw(records: Sequence[Record], names: Sequence[str], path: Path, *, dark: bool) -> None:
    """The picture of what was measured; `records` go round the models as `names` does. Raises as `save_figure`."""
    from clipcli.render.comparison_figure import Panel, Row, draw_comparison
    from clipcli.render.figure_style import DARK, LIGHT
    from clipcli.render.notes import counted

    panels = []
    for data in dict.fromkeys(str(record["data"]) for record in records):
        own = [record for record in records if record["data"] == data]
        rows = []
        for start in range(0, len(own), len(names)):
            points = [
                tuple(cast("float", record[name]) for name in ("value", "low", "high"))
                for record in own[start : start + len(names)]
            ]
            rows.append(Row(label=SHOWN[str(own[start]["figure"])], points=points))
        panels.append(Panel(title=f"{data}: {counted(cast('int', own[0]['pictures']), 'picture')}", rows=rows))
    draw_comparison(
        panels,
        names,
        path,
        sizes=[cast("int", record["bytes_to_run"]) for record in records[: len(names)]],
        rates=[cast("float | None", record["images_per_second"]) for record in records[: len(names)]],
        look=DARK if dark else LIGHT,
    )

"""`clip eval retrieval`: whether captions find their pictures, and pictures their captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipcli.commands.measuring import (
    CAPTIONED_DATA_HELP,
    ImageColumnOption,
    ModelsOption,
    NoCacheOption,
    Refusals,
    TextColumnOption,
    each_model,
    figures_format,
    read_rows,
    say_how,
    texts_of,
    told_model,
)
from clipcli.commands.options import Device, DeviceOption, FormatOption, Precision, PrecisionOption

if TYPE_CHECKING:
    from clipcli.render.records import Record
    from clipcli.render.tables import Cell

FIELDS = (
    "model", "precision", "direction", "pictures", "captions", "recall1", "recall5", "recall10", "median_rank",
)  # fmt: skip
SHOWN = {"text_to_image": "text → image", "image_to_text": "image → text"}


def retrieval(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help=CAPTIONED_DATA_HELP,
            show_default=False,
        ),
    ],
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    no_cache: NoCacheOption = False,
    model: ModelsOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
) -> None:
    """Measure whether captions find their pictures, and pictures their captions.

    Recall at k is the share of captions whose picture is among the first k of all pictures, and the share of pictures
    with any of their captions among the first k of all captions. Several captions of a picture stand in several rows,
    or in a list. Ties count half.

    \b
      clip eval retrieval captions.csv
      clip eval retrieval flickr8k.parquet -m starter -m mine --format json
    """
    from clipcli.datasets.examples import captioned
    from clipcli.evaluate.retrieval import median_ranks, recall_at_k
    from clipcli.render.records import write_records

    written = figures_format(format)
    pairs = captioned(read_rows(data, image_column, text_column), where=str(data))
    models = each_model(model, device=device, precision=precision, cached=not no_cache)
    refusals = Refusals()
    records: list[Record] = []
    for features in models:
        pictures, places = refusals.pictures(features, pairs.pictures, pairs.names)
        readable = pairs.only(places)
        texts = texts_of(features, readable.captions)
        recalls = recall_at_k(texts, pictures, readable.owners)
        medians = median_ranks(texts, pictures, readable.owners)
        records += [
            {
                **told_model(features.model),
                "direction": direction,
                "pictures": len(readable.pictures),
                "captions": len(readable.captions),
                **{f"recall{k}": round(share, 6) for k, share in recalls[direction].items()},
                "median_rank": medians[direction],
            }
            for direction in SHOWN
        ]
    if written == "table":
        _write(records)
        say_how(models, len(pairs.pictures))
    else:
        write_records(records, format=written, fields=FIELDS)
    refusals.raise_at_the_end()


def _write(records: list[Record]) -> None:
    from clipcli.render.tables import Column, write_table
    from clipcli.render.text import percent

    columns = [Column(title="model", wide=True), Column(title="direction")]
    columns += [Column(title=title, right=True) for title in ("R@1", "R@5", "R@10", "median rank")]
    rows: list[list[Cell]] = [
        [
            f"{record['model']} ({record['precision']})",
            SHOWN[str(record["direction"])],
            *(percent(cast("float", record[f"recall{k}"])) for k in (1, 5, 10)),
            f"{record['median_rank']:,g}",
        ]
        for record in records
    ]
    write_table(columns, rows)

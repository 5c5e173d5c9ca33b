"""`clip search`: the pictures of the library that are nearest to words, to a picture, or to both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import (
    Device,
    DeviceOption,
    FormatOption,
    LibraryOption,
    ModelOption,
    NullOption,
    Precision,
    PrecisionOption,
)

if TYPE_CHECKING:
    from clipcli.library.search import Hit

FIELDS = ("rank", "score", "path", "path_b64", "image_id", "model")


def search(
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="Words, quoted or not; or the path of a picture.", show_default=False),
    ] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option(
            "--like",
            metavar="FILE",
            help="A picture to look like; together with words, both count.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=0, help="Show the N best; 0 shows all.")] = 10,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="COSINE",
            min=-1,
            max=1,
            help="Show only scores at or above this.",
            show_default=False,
        ),
    ] = None,
    db: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """Find pictures by words, by a picture, or by both.

    The score is a cosine: how near a picture is to what was asked for. What counts as near differs from model to
    model, so compare scores with each other.

    \b
      clip search red motorcycle
      clip search holiday/boat.jpg
      clip search --like bike.jpg at night
      clip search receipt -k 100 -0 | xargs -0 ls -l
    """
    from clipcli.commands.opening import model_and_device, open_library, open_model_of
    from clipcli.commands.query import query_vector, read_query
    from clipcli.library.search import nearest
    from clipcli.render.notes import aside, counted, say
    from clipcli.render.records import choose_format, write_records
    from clipcli.render.text import short_path

    written = choose_format(format, print0=print0)
    asked = read_query(query or [], like or [])
    hits: list[Hit] = []
    nothing = "nothing found" if threshold is None else f"no picture scores {threshold:g} or more"
    with open_library(db) as library:
        chosen = open_model_of(library, model, device=device, precision=precision)
        if chosen is None:
            nothing = f"the library {library.path} is empty; 'clip embed FOLDER' fills it"
        else:
            hits = nearest(
                library,
                query_vector(chosen.model, asked),
                identity=chosen.model.identity,
                precision=chosen.stored_precision,
                k=k or None,
                threshold=threshold,
            )
    if written == "table":
        write_hits(hits)
        if chosen is not None:
            found = f"{len(hits):,} of {counted(chosen.pictures, 'picture')}"
            aside(f"{found} in {short_path(os.fsencode(library.path))}, by {model_and_device(chosen.model)}")
    else:
        write_records([as_record(hit) for hit in hits], format=written, fields=FIELDS, print0=print0)
    if not hits:
        say(nothing)


def as_record(hit: Hit) -> dict[str, object]:
    """A result as scripts get it; scores to six digits, which is more than float32 embeddings tell apart."""
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "path": hit.path,
        "image_id": hit.image_id,
        "model": hit.model,
    }


def write_hits(hits: Sequence[Hit]) -> None:
    """Results as a table; nothing at all for none."""
    from clipcli.render.tables import Column, PathCell, write_table

    columns = [
        Column(title="", right=True, style="dim"),
        Column(title="score", right=True, style="green"),
        Column(title="picture", wide=True),
    ]
    if hits:
        write_table(columns, [[str(hit.rank), f"{hit.score:.3f}", PathCell(path=hit.path)] for hit in hits])

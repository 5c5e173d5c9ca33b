"""`clip library export` and `import`: embeddings as a file, for other programs and other libraries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clipcli.commands.options import LibraryOption, ModelOption
from clipcli.errors import NotFoundError


def export_to_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .npz or .parquet file.", show_default=False)],
    db: LibraryOption = None,
    model: ModelOption = None,
) -> None:
    """Write a model's embeddings to a file, with what is known of each picture.

    .npz is for NumPy: 'vectors' is a matrix with a row per picture, the other arrays say which picture that is.
    .parquet needs the extra 'parquet'. Without -m: the library's own model. 'clip library import' reads both. The
    pictures' tags and what was decided about duplicates go with them. A picture without a current embedding by that
    model has no row; 'clip tags export' has the tags of all pictures.
    """
    from clipcli.commands.opening import open_library
    from clipcli.library.interchange import export_embeddings, tagged_without_row
    from clipcli.library.models import own_model, stored_models
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar
    from clipcli.render.text import short_path

    with open_library(db) as library, progress_bar("Writing", unit="pictures") as bar:
        stored = [one for one in stored_models(library) if one.pictures]
        if model is None:
            own = own_model(library)
            chosen = own if own is not None and own.pictures else next(iter(stored), None)
        else:
            chosen = next((one for one in stored if model in (one.name, one.folder)), None)
        if chosen is None:
            known = ", ".join(dict.fromkeys(one.name for one in stored))
            raise NotFoundError(f"the library has no embeddings{f' by {model}; it has {known}' if known else ''}")
        bar.set_total(chosen.pictures)
        done = 0

        def told(rows: int) -> None:
            nonlocal done
            bar.advance(rows - done)
            done = rows

        rows = export_embeddings(library, chosen, file, on_progress=told)
        left_out = tagged_without_row(library, chosen)
    say(f"{short_path(os.fsencode(file))}: {counted(rows, 'picture')} by {chosen.name} ({chosen.precision})")
    if left_out:
        say(
            f"{counted(left_out, 'picture')} with tags and no current embedding by that model left out; "
            "'clip tags export' writes the tags of all"
        )


def import_from_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by 'clip library export'.", show_default=False)],
    db: LibraryOption = None,
) -> None:
    """Add embeddings and tags from a file that 'clip library export' has written; nothing is embedded again.

    Where there is no library yet it is made; what one has already stays as it is. Where the pictures lie elsewhere on
    this machine, 'clip library relocate' says so afterwards. Run again after an interruption it goes on.
    """
    from clipcli.commands.keeping import for_keeping
    from clipcli.library.interchange import import_embeddings, origin_of
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar

    origin_of(file)  # before a library is made for something that is no export
    with for_keeping(db, create=True) as library, progress_bar("Reading", unit="pictures") as bar:
        done = 0

        def told(rows: int) -> None:
            nonlocal done
            bar.advance(rows - done)
            done = rows

        result = import_embeddings(library, file, on_progress=told)
    parts = [f"{counted(result.added, 'vector')} added ({counted(result.pictures, 'new picture')})"]
    if result.known:
        parts.append(f"{result.known:,} known before")
    if result.different:
        parts.append(f"{result.different:,} left out, since the files have changed here")
    if result.tags:
        parts.append(counted(result.tags, "tag"))
    if result.decisions:
        parts.append(f"{counted(result.decisions, 'pair')} of pictures that are no duplicates")
    say(", ".join(parts))

"""`clip duplicates`: pictures that are in the library more than once, and what to do about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.duplicate_groups import say_sum, say_total, show_groups
from clipcli.commands.filter_options import InOption
from clipcli.commands.galleries import Wanted
from clipcli.commands.options import FormatOption, LibraryOption, ModelOption, NullOption
from clipcli.commands.result_options import HtmlOption, PreviewAsOption, PreviewOption, SheetOption
from clipcli.errors import InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    from clipcli.library.duplicates import Group
    from clipcli.library.filters import Filters
    from clipcli.library.models import StoredModel
    from clipcli.library.store import Library


def duplicates(
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="COSINE",
            help="Near copies as well: pictures whose cosine with the one to keep is at least this, as 0.97. What is "
            "near differs from model to model.",
            show_default=False,
        ),
    ] = None,
    folder: InOption = None,
    distinct: Annotated[
        str | None,
        typer.Option(
            "--distinct",
            metavar="ID,ID...",
            help="Remember that these pictures are not duplicates of one another, and show nothing.",
            show_default=False,
        ),
    ] = None,
    not_distinct: Annotated[
        str | None,
        typer.Option("--not-distinct", metavar="ID,ID...", help="Take that back.", show_default=False),
    ] = None,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete", help="Delete all but the one to keep of each group, for good. Needs --dry-run or --yes as well."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --delete: only say what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --delete: do it.")] = False,
    preview: PreviewOption = False,
    preview_as: PreviewAsOption = None,
    html: HtmlOption = None,
    sheet: SheetOption = None,
    db: LibraryOption = None,
    model: ModelOption = None,
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """Find pictures that are there more than once, in groups, the one to keep first.

    Exact copies are files with the same content. To be kept is the picture with most pixels; of those the largest file,
    then the earliest date, the oldest file, the shortest path, the first by name. A near copy is near to the one that
    is kept, not only to another copy. --format paths and -0 give the copies without the ones to keep.

    Before a file is deleted, it and the one to keep are read once more; a file that has changed stays. Tags that you
    gave a copy pass to the one that is kept; XMP side-cars stay, and are named.

    \b
      clip duplicates
      clip duplicates --threshold 0.97 --in ~/Pictures/phone
      clip duplicates --threshold 0.97 --html look.html
      clip duplicates --distinct 12,15
      clip duplicates --delete --dry-run
    """
    from clipcli.commands.opening import open_library
    from clipcli.render.records import choose_format

    written = choose_format(format, print0=print0)
    wanted = Wanted(preview=preview, way=preview_as, html=html, sheet=sheet)
    if distinct is not None or not_distinct is not None:
        if delete or (distinct is not None and not_distinct is not None):
            raise UsageError("one at a time: --distinct, --not-distinct, or --delete")
        _remember(db, distinct, not_distinct)
        return
    if delete != (dry_run or yes) or (dry_run and yes):
        raise UsageError("--delete is for good: look with --delete --dry-run first, then say --delete --yes")
    if delete and yes:
        if wanted.seen or wanted.kept:
            raise UsageError("look at the pictures first, with --delete --dry-run; --yes shows none")
        _delete(db, folder, model, threshold, written, print0)
        return
    with open_library(db) as library:
        groups = _find(library, folder, model, threshold)
    show_groups(groups, written, print0, wanted)
    if groups and dry_run:
        say_sum(groups, "would delete")
    elif groups and written == "table":
        say_total(groups)


def _remember(db: Path | None, distinct: str | None, not_distinct: str | None) -> None:
    from clipcli.library.duplicates import decide, undecide
    from clipcli.library.location import find_library
    from clipcli.library.store import Library
    from clipcli.render.notes import counted, say

    ids = _ids(distinct or not_distinct or "")
    with Library.open(find_library(db), write=True) as library:
        if distinct is not None:
            say(f"remembered: {counted(decide(library, ids), 'pair')} of pictures that are no duplicates")
        else:
            say(f"forgotten: {counted(undecide(library, ids), 'pair')} of pictures that were no duplicates")


def _ids(text: str) -> list[int]:
    if not re.fullmatch(r"\s*(id:)?\d{1,18}(\s*,\s*(id:)?\d{1,18})*\s*", text):
        raise UsageError(f"{text!r} is no list of picture ids such as 12,15")
    return [int(number) for number in re.findall(r"\d+", text)]


def _delete(
    db: Path | None,
    folder: list[Path] | None,
    model: str | None,
    threshold: float | None,
    written: str,
    print0: bool,
) -> None:
    from clipcli.commands.keeping import for_keeping
    from clipcli.library.removal import delete_copies
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar
    from clipcli.render.text import readable_size, short_path

    with for_keeping(db) as library:
        groups = _find(library, folder, model, threshold)
        show_groups(groups, written, print0, Wanted())
        with progress_bar("Deleting", total=len(groups), unit="groups") as bar:
            deleted = delete_copies(library, groups, on_progress=bar.advance)
    for path, reason in deleted.refused:
        say(f"left {short_path(path)}: {reason}")
    for path in deleted.sidecars:
        say(f"left {short_path(path)}: a side-car, its picture is deleted")
    if groups:
        say(f"deleted {counted(deleted.files, 'file')}, {readable_size(deleted.size)}")
    if deleted.refused:
        total = deleted.files + len(deleted.refused)
        raise InputError(f"{len(deleted.refused):,} of {counted(total, 'copy', 'copies')} could not be deleted")


def _find(library: Library, folder: list[Path] | None, name: str | None, threshold: float | None) -> list[Group]:
    from clipcli.library.duplicates import find_duplicates
    from clipcli.render.progress import progress_bar

    filters = _filters(folder)
    if threshold is None:
        if name is not None:
            raise UsageError("-m chooses whose vectors are compared, which takes --threshold COSINE")
        return find_duplicates(library, filters=filters)
    model = _stored(library, name)
    if model is None:
        return []
    with progress_bar("Comparing", unit="pictures") as bar:

        def told(done: int, total: int) -> None:
            bar.set_total(total)
            bar.advance(done)

        return find_duplicates(library, model=model, threshold=threshold, filters=filters, on_progress=told)


def _filters(folder: list[Path] | None) -> Filters | None:
    from clipcli.commands.filter_options import read_filters

    return read_filters(
        folders=folder,
        since=None,
        until=None,
        cameras=None,
        near=None,
        tags=None,
        formats=None,
        min_size=None,
        where=None,
    )


def _stored(library: Library, name: str | None) -> StoredModel | None:
    """Whose vectors are compared; the model itself is not needed. None for a library without any."""
    from clipcli.library.models import own_model, stored_models

    if name is None:
        return own_model(library)
    known = [model for model in stored_models(library) if model.pictures]
    found = next((model for model in known if model.name == name), None)
    if found is None:
        from clipcli.bundle.installed import find_model
        from clipcli.bundle.spec import read_spec

        identity = read_spec(find_model(name)).identity
        found = next((model for model in known if model.identity == identity), None)
    if found is None:
        raise NotFoundError(f"the library has no embeddings by the model {name}")
    return found

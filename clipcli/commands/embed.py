"""`clip embed`: bring a library up to date with folders of pictures."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import (
    Device,
    DeviceOption,
    Format,
    FormatOption,
    LibraryOption,
    ModelOption,
    Precision,
    PrecisionOption,
)
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.library.store import Library

_FILES_AT_LEAST = 4  # in folders that a library is begun with, likely


def embed(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Folders of pictures, or single pictures.")],
    db: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            max=4096,
            help="Pictures in flight, half in the model and half being written: all that a kill can cost. "
            "Default: 256 on a GPU, 32 on the CPU.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=64,
            help="Of a moving picture, or a file of several pages, embed N frames spread evenly and keep their mean. "
            "1 is the first frame. Default: what the library was told last, at first 1.",
            show_default=False,
        ),
    ] = None,
    accept_truncated: Annotated[
        bool, typer.Option("--accept-truncated", help="Of a file that was cut short, take what is there.")
    ] = False,
    max_megapixels: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Skip pictures with more pixels than this, in millions. "
            "Default: as many as a quarter of the machine's memory holds.",
            show_default=False,
        ),
    ] = None,
    seconds_per_file: Annotated[
        float, typer.Option(metavar="S", help="Give up on a picture that takes longer than this to decode.")
    ] = 60.0,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Leave out what matches, like a line of .clipignore in each folder; can be given again.",
            show_default=False,
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="GLOB", help="Take only files that match; can be given again.", show_default=False
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Then go on, and keep the library up to date until Ctrl-C.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Embed every picture again, and try again what could not be read.")
    ] = False,
    format: FormatOption = None,
) -> None:
    """Index folders of pictures into a library.

    Only what is new or has changed is embedded, so the same command again brings the library up to date. It can be
    stopped at any moment and goes on from there. Files that cannot be read are listed with the reason, and the
    exit code is then 3. With --format one record on stdout says what came of the run.

    A library is searched with the model that all its pictures were last embedded with, and goes on with it: -m gives
    it another one, which is said.

    A file called .clipignore says what in its folder and below is left out, by the rules of .gitignore. What is in the
    library already stays until 'clip library forget' takes it out.

    \b
      clip embed ~/Pictures
      clip embed ~/Pictures --watch
      clip embed /mnt/disk/photos --db /mnt/disk/photos/.clip/library.db
    """
    from clipcli.commands.index_run import (
        FIELDS,
        Teller,
        judge,
        model_for,
        run_record,
        say_done,
        say_own_model,
        say_preview,
    )
    from clipcli.commands.watching import watch_folders
    from clipcli.library.decoders import Decoders
    from clipcli.library.indexing import IndexOptions, index_folders, preview, workers_for
    from clipcli.library.location import check_place, find_library
    from clipcli.library.models import own_model
    from clipcli.library.remembered import with_frames_of
    from clipcli.library.roots import targets
    from clipcli.library.run_lock import RunLock
    from clipcli.library.store import Library
    from clipcli.library.watch_lock import refuse_watched
    from clipcli.photos.decode import DEFAULT_MAX_MEGAPIXELS
    from clipcli.render.notes import say
    from clipcli.render.progress import progress_bar
    from clipcli.render.records import write_records
    from clipcli.render.text import short_path

    def load(library: Library | None) -> Model:
        return model_for(library, model, device=device, precision=precision)

    if watch and dry_run:
        raise UsageError("--watch and --dry-run do not go together")
    written = None if format == Format.table else format
    if written == Format.paths:
        raise UsageError("the record of a run has no paths: take json, ndjson, csv or tsv")
    if watch and written not in (None, Format.ndjson):
        raise UsageError("--watch goes on without end, and so with --format ndjson alone")
    options = IndexOptions(
        batch_size=batch_size,
        max_megapixels=DEFAULT_MAX_MEGAPIXELS if max_megapixels is None else max_megapixels,
        seconds_per_file=seconds_per_file,
        frames=1 if frames is None else frames,
        accept_truncated=accept_truncated,
        force=force,
        exclude=tuple(exclude or ()),
        include=tuple(include or ()),
    )
    named = [os.fsencode(path) for path in paths]
    file = find_library(db)
    if not os.path.lexists(file):
        check_place(file)
    if watch:
        watch_folders(file, named, options, load, frames_given=frames is not None, records=written is not None)
        return
    with ExitStack() as stack:
        if not dry_run:
            refuse_watched(file, named)
        lock = None if dry_run else stack.enter_context(RunLock(file))
        library = stack.enter_context(Library.open(file, write=not dry_run)) if os.path.lexists(file) else None
        decoders: Decoders | None = None
        if frames is None:
            options = with_frames_of(library, options)
        loaded = load(library)
        if lock is None:
            report = preview(library, named, loaded, options)
            say_preview(report)
            if written is not None:
                write_records([run_record(report, loaded)], format=written, fields=FIELDS)
            return
        if library is None:  # made only once it is clear that there is something to put in, and a model to do it with
            targets(named, ())
            decoders = stack.enter_context(closing(Decoders(loaded.spec.preprocess)))
            decoders.start(workers_for(_FILES_AT_LEAST, options))  # while the model is opened
            _ = loaded.device
            library = stack.enter_context(Library.open(file, write=True, create=True))
            say(f"new library {short_path(os.fsencode(file))}")
        bar = stack.enter_context(progress_bar("Looking through folders", unit="pictures"))
        before = own_model(library)
        teller = Teller(loaded, bar, lock, frames=options.frames)
        try:
            report = index_folders(library, named, loaded, options, teller, decoders=decoders)
        except KeyboardInterrupt:
            teller.stopped()
            raise
        say_own_model(library, before)
    say_done(report, loaded)
    if written is not None:
        write_records([run_record(report, loaded)], format=written, fields=FIELDS)
    judge(report)

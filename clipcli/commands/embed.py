"""`clip embed`: bring a library up to date with folders of pictures."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import Device, DeviceOption, LibraryOption, ModelOption, Precision, PrecisionOption
from clipcli.errors import InputError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.library.report import IndexReport, Progress
    from clipcli.library.run_lock import RunLock
    from clipcli.library.store import Library
    from clipcli.render.progress import Bar


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
            "Default: 128 on a GPU, 32 on the CPU.",
            show_default=False,
        ),
    ] = None,
    max_megapixels: Annotated[
        float, typer.Option(metavar="N", help="Skip pictures with more pixels than this, in millions.")
    ] = 150.0,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Embed every picture again, and try again what could not be read.")
    ] = False,
) -> None:
    """Index folders of pictures into a library.

    Only what is new or has changed is embedded, so the same command again brings the library up to date. It can be
    stopped at any moment and goes on from there. Files that cannot be read are listed with the reason, and the
    exit code is then 3.

    A file called .clipignore says what in its folder and below is left out, by the rules of .gitignore. What is in the
    library already stays until 'clip library forget' takes it out.

    \b
      clip embed ~/Pictures
      clip embed /mnt/disk/photos --db /mnt/disk/photos/.clip/library.db
    """
    from clipcli.library.indexing import IndexOptions, index_folders, preview
    from clipcli.library.location import find_library
    from clipcli.library.roots import targets
    from clipcli.library.run_lock import RunLock
    from clipcli.library.store import Library
    from clipcli.render.progress import progress_bar

    options = IndexOptions(
        batch_size=batch_size,
        max_megapixels=max_megapixels,
        force=force,
        exclude=tuple(exclude or ()),
        include=tuple(include or ()),
    )
    named = [os.fsencode(path) for path in paths]
    file = find_library(db)
    with ExitStack() as stack:
        lock = None if dry_run else stack.enter_context(RunLock(file))
        library = stack.enter_context(Library.open(file, write=not dry_run)) if os.path.lexists(file) else None
        loaded = _model_for(library, model, device=device, precision=precision)
        if lock is None:
            _preview(preview(library, named, loaded, options))
            return
        if library is None:  # made only once it is clear that there is something to put in, and a model to do it with
            targets(named, ())
            library = stack.enter_context(Library.open(file, write=True, create=True))
        bar = stack.enter_context(progress_bar("Looking through folders", unit="pictures"))
        teller = _Teller(loaded, bar, lock)
        try:
            report = index_folders(library, named, loaded, options, teller)
        except KeyboardInterrupt:
            teller.stopped()
            raise
    _summary(report)


class _Teller:
    """Tells the person where a run stands: the bar moves, skipped files are listed as they turn up."""

    def __init__(self, model: Model, bar: Bar, lock: RunLock) -> None:
        self._model = model
        self._bar = bar
        self._lock = lock
        self._done = 0
        self._total: int | None = None

    def __call__(self, progress: Progress) -> None:
        from clipcli.render.notes import counted, say
        from clipcli.render.text import short_path

        if progress.phase == "scan":
            self._bar.describe(f"Looking through folders, {counted(progress.done, 'picture')}")
            return
        if self._total is None:
            self._total = progress.total
            self._bar.set_total(progress.total)
            self._bar.describe("Embedding")
            where = "the CPU" if self._model.device == "cpu" else "the GPU"
            pictures = counted(progress.total or 0, "picture")
            say(f"embedding {pictures} with {self._model.name} ({self._model.precision}) on {where}")
        self._bar.advance(progress.done - self._done)
        self._done = progress.done
        self._lock.tell(progress.done, progress.total or 0)
        for skip in progress.skipped:
            say(f"skipped {short_path(skip.path)}: {skip.reason} ({skip.detail})")

    def stopped(self) -> None:
        from clipcli.render.notes import say

        if self._total is None:
            say("stopped before anything was changed; the same command begins again")
        else:
            say(f"stopped: {self._done:,} of {self._total:,} are done and safe; the same command goes on from there")


def _model_for(library: Library | None, name: str | None, *, device: str, precision: str) -> Model:
    """`-m NAME`, else the library's own, else the default; in the precision the library has it in, unless one is asked.

    Otherwise a machine with another preference would embed everything a second time.
    """
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.spec import read_spec
    from clipcli.commands.opening import open_model, open_model_of
    from clipcli.library.models import stored_models

    if library is None:
        return open_model(name, device=device, precision=precision)
    if name is None:
        chosen = open_model_of(library, None, device=device, precision=precision)
        return open_model(None, device=device, precision=precision) if chosen is None else chosen.model
    if precision == "auto":
        spec = read_spec(find_model(name))
        offered = {variant.precision for variant in spec.variants}
        stored = (model for model in stored_models(library) if model.identity == spec.identity and model.pictures)
        precision = next((model.precision for model in stored if model.precision in offered), precision)
    return open_model(name, device=device, precision=precision)


def _preview(report: IndexReport) -> None:
    from clipcli.render.notes import counted, say

    _absent(report)
    say(
        f"would look at {counted(report.considered, 'file')}: {report.pending:,} to read and embed, "
        f"{report.unchanged:,} unchanged, {report.skipped:,} that cannot be read; "
        f"{report.forgotten:,} would be forgotten unless they have only moved"
    )


def _summary(report: IndexReport) -> None:
    """What was done. Raises InputError when files were newly skipped, or none could be read."""
    from clipcli.render.notes import counted, say

    _absent(report)
    if not report.considered and not report.forgotten and not report.absent:
        say("no pictures there")
        return
    parts = [f"{report.embedded:,} embedded"]
    if report.unchanged:
        parts.append(f"{report.unchanged:,} unchanged")
    if report.recognised:
        parts.append(f"{report.recognised:,} recognised (moved, copied or touched)")
    if report.skipped:
        known = f" ({report.known_bad:,} of them known before)" if report.known_bad else ""
        parts.append(f"{report.skipped:,} skipped{known}")
    forgotten = f"; {counted(report.forgotten, 'picture')} forgotten, the files are gone" if report.forgotten else ""
    say(f"{counted(report.considered, 'file')}: {', '.join(parts)}{forgotten}; {report.seconds:.1f} s")
    if report.considered and not report.indexed:
        raise InputError(f"none of {counted(report.considered, 'file')} could be read")
    if report.newly_skipped:
        raise InputError(f"{counted(len(report.newly_skipped), 'file')} could not be read, listed above")


def _absent(report: IndexReport) -> None:
    from clipcli.render.notes import say
    from clipcli.render.text import short_path

    for folder in report.absent:
        say(f"nothing in {short_path(folder)}: not mounted? its pictures stay in the library")

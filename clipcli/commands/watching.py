"""`clip embed --watch`: what is said while a library is kept up to date."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.library.report import IndexOptions, IndexReport, Progress
    from clipcli.library.store import Library
    from clipcli.library.watching import News

_GONE_AGAIN = "missing"  # between being listed and being read: its end will be told as well
LoadModel = Callable[["Library | None"], "Model"]


def watch_folders(
    file: Path, named: Sequence[bytes], options: IndexOptions, load: LoadModel, *, frames_given: bool, records: bool
) -> None:
    """Index folders, then keep the library up to date with them until Ctrl-C. `load` finds the model for a library.

    Unless `frames_given`, the library says how many frames are taken. With `records` the first run, and each that
    changes anything, writes a line of JSON to stdout.

    Raises UsageError for a name that is no folder, LibraryLockedError where another process does the same.
    """
    from clipcli.library.watch_lock import WatchLock
    from clipcli.library.watching import Watcher
    from clipcli.render.notes import say

    folders = _folders(named)
    with WatchLock(file, folders):
        try:
            runs = _Runs(file, options, load, frames_given=frames_given, records=records)
            Watcher(folders, update=runs.update, tell=_say_news).run()
        except KeyboardInterrupt:
            say("no longer watching; the same command goes on from there")
            raise


class _Runs:
    """The first run, which is told as any other, and the small ones after it. The lock is held by each for itself."""

    def __init__(
        self, file: Path, options: IndexOptions, load: LoadModel, *, frames_given: bool, records: bool
    ) -> None:
        self._file = file
        self._options = options
        self._load = load
        self._frames_given = frames_given
        self._records = records
        self._model: Model | None = None
        self._first = True
        self._emptied: dict[bytes, int] = {}  # told last

    def update(self, paths: Sequence[bytes], unsettled: Set[bytes]) -> None:
        from clipcli.commands.index_run import Teller, say_done, say_own_model
        from clipcli.library.indexing import index_folders
        from clipcli.library.models import own_model
        from clipcli.library.remembered import with_frames_of
        from clipcli.library.run_lock import RunLock
        from clipcli.library.store import Library
        from clipcli.render.progress import progress_bar

        with ExitStack() as stack:
            lock = stack.enter_context(RunLock(self._file))
            there = os.path.lexists(self._file)
            library = stack.enter_context(Library.open(self._file, write=True)) if there else None
            if self._model is None:
                self._model = self._load(library)
            if library is None:
                _ = self._model.device  # opens it: no library is made for a model that cannot be used
                library = stack.enter_context(Library.open(self._file, write=True, create=True))
            if not self._frames_given:
                self._options = with_frames_of(library, self._options)
            if not self._first:
                report = index_folders(
                    library,
                    paths,
                    self._model,
                    self._options,
                    _say_skipped,
                    unsettled=unsettled,
                    look_for_damage=False,  # the first run has, and a photograph is to be there at once
                )
                if _say_update(report):
                    self._record(report)
                self._tell_emptied(report)
                return
            bar = stack.enter_context(progress_bar("Looking through folders", unit="pictures"))
            before = own_model(library)
            teller = Teller(self._model, bar, lock, frames=self._options.frames)
            try:
                report = index_folders(library, paths, self._model, self._options, teller, unsettled=unsettled)
            except KeyboardInterrupt:
                teller.stopped()
                raise
            say_own_model(library, before)
        say_done(report, self._model)
        self._record(report)
        self._emptied = report.emptied
        self._first = False
        self._options = replace(self._options, force=False)  # once is enough

    def _record(self, report: IndexReport) -> None:
        from clipcli.commands.index_run import FIELDS, run_record
        from clipcli.render.records import write_records

        if self._records and self._model is not None:
            write_records([run_record(report, self._model)], format="ndjson", fields=FIELDS)

    def _tell_emptied(self, report: IndexReport) -> None:
        from clipcli.commands.index_run import say_emptied

        for folder, pictures in report.emptied.items():
            if self._emptied.get(folder) != pictures:
                say_emptied(folder, pictures, at=_clock())
        self._emptied = report.emptied


def _folders(named: Sequence[bytes]) -> list[bytes]:
    folders: dict[bytes, None] = {}
    for name in named:
        if not os.path.lexists(name):
            raise NotFoundError(f"no such file or folder: {os.fsdecode(name)}")
        if not os.path.isdir(name):
            raise UsageError(f"--watch takes folders, not {os.fsdecode(name)}")
        folders[os.path.realpath(name)] = None
    inner = [one for one in folders if any(one != other and one.startswith(other + b"/") for other in folders)]
    return [folder for folder in folders if folder not in inner]


def _say_news(news: News) -> None:
    from clipcli.render.notes import say
    from clipcli.render.text import short_path

    where = ", ".join(short_path(folder) for folder in news.folders)
    lines = {
        "watching": f"watching {where}; Ctrl-C ends it",
        "gone": f"{where} is not there, or empty: not mounted? its pictures stay in the library; waiting for it",
        "back": f"{where} is back",
        "deaf": f"the system cannot tell of changes in {where} ({news.detail}); looking every minute instead",
        "waiting": f"waiting: {news.detail}",
    }
    say(_clock() + lines[news.kind])


def _say_skipped(progress: Progress) -> None:
    from clipcli.render.notes import say
    from clipcli.render.text import short_path

    for skip in progress.skipped:
        if skip.reason == _GONE_AGAIN:
            continue
        say(f"{_clock()}skipped {short_path(skip.path)}: {skip.reason} ({skip.detail})")


def _say_update(report: IndexReport) -> bool:
    """One line where something has changed; whether it has."""
    from clipcli.render.notes import say

    done = {
        "embedded": report.embedded,
        "recognised": report.recognised,
        "skipped": sum(skip.reason != _GONE_AGAIN for skip in report.newly_skipped),
        "forgotten": report.forgotten,
    }
    changed = any(done.values())
    if changed:
        say(_clock() + ", ".join(f"{count:,} {what}" for what, count in done.items() if count))
    return changed


def _clock() -> str:
    from datetime import datetime

    return f"{datetime.now():%H:%M:%S} "

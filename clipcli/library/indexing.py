"""Bringing a library up to date with folders: scan, decide, then read, embed and write, each overlapping the next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from typing import TYPE_CHECKING

from clipcli.library.decoders import Decoders
from clipcli.library.emptied import still_emptied
from clipcli.library.id_set import IdSet
from clipcli.library.job_list import JobList
from clipcli.library.jobs import Copied, Decoded, Kept, Postponed, Refused, Skip
from clipcli.library.models import keep_own_model, register_model, stored_models
from clipcli.library.mounts import keep_mounts
from clipcli.library.pipeline import Pipeline
from clipcli.library.plan import Plan
from clipcli.library.planning import make_plan
from clipcli.library.reading import Contents, Reader
from clipcli.library.remembered import remember_frames
from clipcli.library.report import IndexOptions, IndexReport, Progress
from clipcli.library.roots import Root, Target, add_root, read_roots, targets
from clipcli.library.sqlite_errors import translated
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute
from clipcli.library.structure import check_pages
from clipcli.library.writing import Batch, BatchWriter

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model

__all__ = ["IndexOptions", "IndexReport", "Progress", "index_folders", "preview", "workers_for"]

_IN_FLIGHT_ON_GPU, _IN_FLIGHT_ON_CPU = 256, 32
_MAX_WORKERS, _MAX_WORKERS_FOR_GPU = 8, 32  # a GPU leaves all cores to decoding, and waits for what they do
_FILES_WORTH_A_PROCESS = 4  # one takes 0.05 s to start

OnProgress = Callable[[Progress], None]


def preview(library: Library | None, paths: Sequence[bytes], model: Model, options: IndexOptions) -> IndexReport:
    """What `index_folders` would do; nothing is changed. `library` is None where there is none yet.

    `forgotten` is the most it could be: a file that has only moved is recognised when it is read.
    """
    wanted = targets(paths, read_roots(library) if library is not None else ())
    plan = _plan(library, wanted, model, options, _say_nothing)
    report = _report(plan)
    report.emptied = {path: len(held) for path, held in plan.held.items()}
    report.forgotten = len(plan.vanished) - sum(report.emptied.values())
    return report


def index_folders(
    library: Library,
    paths: Sequence[bytes],
    model: Model,
    options: IndexOptions,
    on_progress: OnProgress,
    *,
    unsettled: Set[bytes] = frozenset(),
    look_for_damage: bool = True,
    decoders: Decoders | None = None,
) -> IndexReport:
    """Bring the library up to date with files and folders. The caller holds the library's `RunLock`.

    `unsettled` are absolute paths of files that are being written at the moment and are left for later. Before anything
    is written the model is open, and all of the file has been looked through for damage, unless `look_for_damage` says
    that it was a moment ago. `decoders` are processes that have been started already, and will be closed.

    Each batch is one transaction. Interrupted at any moment, what was committed stays, and the next run goes on from
    there. Raises NotFoundError for a path that is not there, ModelError and DeviceError of the model, NoSpaceError,
    LibraryLockedError, LibraryDamagedError; a file that cannot be read is in the report instead.
    """
    started = time.monotonic()
    with closing(decoders or Decoders(model.spec.preprocess)) as reading:
        wanted = targets(paths, read_roots(library))
        plan = _plan(library, wanted, model, options, on_progress, unsettled)
        workers = workers_for(len(plan.jobs), options, gpu=model.may_use_gpu)
        if plan.jobs:
            reading.start(workers)  # they start while the model is loaded
            _ = model.device  # opens it: where it cannot be used nothing has been written
        if look_for_damage and (plan.jobs or plan.vanished or plan.outdated_skips):
            check_pages(library)
        run = _Run(library, wanted, plan, model, options, on_progress)
        if plan.jobs:
            run.embed(plan.jobs, reading, workers)
    run.finish()
    run.report.seconds = time.monotonic() - started
    return run.report


def workers_for(files: int, options: IndexOptions, *, gpu: bool = False) -> int:
    """How many files are read side by side, each with a process that decodes, where so many are to be read."""
    most = options.workers or min(_MAX_WORKERS_FOR_GPU if gpu else _MAX_WORKERS, os.cpu_count() or 1)
    return min(most, 1 + files // _FILES_WORTH_A_PROCESS)


def _say_nothing(progress: Progress) -> None:
    """For a run that nobody listens to."""


def _plan(
    library: Library | None,
    wanted: Sequence[Target],
    model: Model,
    options: IndexOptions,
    on_progress: OnProgress,
    unsettled: Set[bytes] = frozenset(),
) -> Plan:
    model_id = None
    if library is not None:
        same = (known for known in stored_models(library) if known.identity == model.identity)
        model_id = next((known.id for known in same if known.precision == model.precision), None)
    return make_plan(
        library,
        wanted,
        model_id=model_id,
        options=options,
        unsettled=unsettled,
        on_found=lambda found: on_progress(Progress(phase="scan", done=found)),
    )


def _report(plan: Plan) -> IndexReport:
    return IndexReport(
        considered=plan.considered,
        unchanged=plan.unchanged,
        known_bad=plan.known_bad,
        others=plan.others,
        left_out=plan.left_out,
        pending=len(plan.jobs),
        newly_skipped=[folder.skip for folder in plan.unlisted],
        absent=list(plan.absent),
        left_in=dict(plan.left_in),
    )


class _Run:
    """One run after its plan: the stages put together, and the count of what has come through them."""

    def __init__(
        self,
        library: Library,
        wanted: Sequence[Target],
        plan: Plan,
        model: Model,
        options: IndexOptions,
        on_progress: OnProgress,
    ) -> None:
        self.report = _report(plan)
        self._library = library
        self._plan = plan
        self._model = model
        self._options = options
        self._on_progress = on_progress
        self._total = len(plan.jobs)
        self._postponed = JobList()
        self._told = 0  # how many of the newly skipped
        with library.write() as connection:
            self._model_id = register_model(
                connection,
                identity=model.identity,
                precision=model.precision,
                name=model.name,
                folder=os.fspath(model.folder.absolute()),
                dimension=model.spec.embedding_dim,
            )
            roots = [target.root for target in wanted]
            self._root_ids = {
                root.path: add_root(library, connection, root.path) if root.id is None else root.id for root in roots
            }
            remember_frames(library, options.frames)
            for path, mounts in plan.mounts.items():
                keep_mounts(library, self._root_ids[path], mounts)
        self._writer = BatchWriter(library, model_id=self._model_id, root_ids=self._root_ids, vanished=plan.vanished)
        self._writer.save_unlisted(plan.unlisted)

    def embed(self, jobs: JobList, decoders: Decoders, workers: int) -> None:
        """All jobs, in a second round those that waited for a twin, which by then is in the library or refused."""
        self._tell()
        preprocess = self._model.spec.preprocess
        # Threads that read may outlive an error or Ctrl-C for a moment: `contents` is closed between two queries.
        contents = Contents(self._library.second_reader(), self._model_id, frames=self._options.frames)
        # The processes are ended before that, so that the threads which wait for them are through.
        with closing(contents), closing(decoders), translated(self._library.path):
            reader = Reader(contents, decoders, preprocess, self._options)
            try:
                self._pass(jobs, reader, contents, workers)
                if self._postponed:
                    reader.postpones = False
                    self._pass(self._postponed, reader, contents, workers)
            finally:
                self._tell()  # Ctrl-C may have come just before a batch was told

    def finish(self) -> None:
        """What can only be done once every file has been looked at."""
        if self._told < len(self.report.newly_skipped):
            self._tell()  # folders that could not be listed, where there was no file to read
        held = self._held()
        self.report.forgotten, self.report.kept_tags = self._writer.forget(skips=self._plan.outdated_skips, but=held)
        with self._library.write() as connection:
            connection.executemany(
                "UPDATE roots SET scanned_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id = ?",
                [(self._root_ids[path],) for path in self._plan.scanned_roots],
            )
            keep_own_model(self._library, self._model_id)

    def _held(self) -> IdSet:
        """The pictures that stay although their files are gone, as nothing else of their root is there either."""
        held = IdSet()
        for path, ids in self._plan.held.items():
            mounts, root = self._plan.mounts[path], Root(id=self._root_ids[path], path=path)
            if still_emptied(self._library, root, mounts):
                missing = self._writer.still_missing(ids)
                held |= missing
                if missing:
                    self.report.emptied[path] = len(missing)
            with self._library.write():
                keep_mounts(self._library, self._root_ids[path], mounts)
        return held

    def _pass(self, jobs: JobList, reader: Reader, contents: Contents, workers: int) -> None:
        default = _IN_FLIGHT_ON_CPU if self._model.device == "cpu" else _IN_FLIGHT_ON_GPU

        def commit(batch: Batch) -> None:
            self._writer.commit(batch)
            contents.release(outcome.digest for outcome in batch.outcomes if isinstance(outcome, Decoded))
            self._count(batch)  # in this thread, which Ctrl-C does not reach

        Pipeline(
            read=reader.read,
            encode=self._model.encode_images,
            commit=commit,
            workers=workers,
            batch_size=(self._options.batch_size or default) // 2,  # half is written while the other half is computed
        ).run(jobs, lambda batch: self._tell())  # noqa: ARG005 - counted already

    def _count(self, batch: Batch) -> None:
        skipped: list[Skip] = []
        for outcome in batch.outcomes:
            if isinstance(outcome, Postponed):
                self._postponed.append(outcome.job)
                continue
            self.report.pending -= 1
            if isinstance(outcome, Decoded):
                self.report.embedded += 1
                self.report.truncated += outcome.facts.truncated
            elif isinstance(outcome, Kept | Copied):
                self.report.recognised += 1
            elif isinstance(outcome, Refused):
                job = outcome.job
                if outcome.reason == job.known_reason:
                    self.report.known_bad += 1
                else:
                    skipped.append(
                        Skip(path=absolute(job.root, job.path), reason=outcome.reason, detail=outcome.detail)
                    )
        self.report.newly_skipped += skipped

    def _tell(self) -> None:
        skipped = tuple(self.report.newly_skipped[self._told :])
        self._told += len(skipped)
        done = self._total - self.report.pending
        self._on_progress(Progress(phase="embed", done=done, total=self._total, skipped=skipped))

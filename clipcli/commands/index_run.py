"""What `clip embed` says while it runs and when it is done, and which model it takes."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from clipcli.errors import InputError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.library.models import StoredModel
    from clipcli.library.report import IndexReport, Progress
    from clipcli.library.run_lock import RunLock
    from clipcli.library.store import Library
    from clipcli.render.progress import Bar


FIELDS = (
    "considered", "embedded", "unchanged", "recognised", "skipped", "newly_skipped", "pending", "forgotten",
    "kept_tags", "held", "absent", "left_out_files", "left_out_folders", "model", "precision", "seconds",
)  # fmt: skip


class Teller:
    """Tells the person where a run stands: the bar moves, skipped files are listed as they turn up."""

    def __init__(self, model: Model, bar: Bar, lock: RunLock, *, frames: int = 1) -> None:
        self._model = model
        self._bar = bar
        self._lock = lock
        self._frames = frames
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
            self._bar.describe("Reading and embedding")
            where = "the CPU" if self._model.device == "cpu" else "the GPU"
            pictures = counted(progress.total or 0, "picture")
            model = f"{self._model.name} ({self._model.precision})"
            frames = f", {self._frames} frames of moving ones" if self._frames > 1 else ""
            say(f"reading {pictures}, embedding what is new with {model} on {where}{frames}")
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


def model_for(library: Library | None, name: str | None, *, device: str, precision: str) -> Model:
    """`-m NAME`, else the library's own, else the default; in the precision the library has it in, unless one is asked.

    Otherwise a machine with another preference would embed everything a second time.
    """
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.spec import read_spec
    from clipcli.commands.opening import open_model, open_model_of
    from clipcli.library.models import stored_models

    if library is None:
        return _chosen(open_model(name, device=device, precision=precision), precision)
    if name is None:
        chosen = open_model_of(library, None, device=device, precision=precision)
        if chosen is not None:
            return chosen.model
        return _chosen(open_model(None, device=device, precision=precision), precision)
    if precision == "auto":
        spec = read_spec(find_model(name))
        offered = {variant.precision for variant in spec.variants}
        stored = (model for model in stored_models(library) if model.identity == spec.identity and model.pictures)
        precision = next((model.precision for model in stored if model.precision in offered), precision)
    return _chosen(open_model(name, device=device, precision=precision), precision)


def _chosen(model: Model, precision: str) -> Model:
    """The model, and a line where a precision was taken that is not the model's own first: a library keeps to it."""
    from clipcli.bundle.choosing import worst_cosine
    from clipcli.render.notes import say

    if precision == "auto" and model.precision != model.spec.default_precision:
        worst = worst_cosine(model.variant)
        exact = "" if worst is None else f", cosine to the exact towers at least {worst:.4f}"
        say(
            f"{model.precision} is taken, the fastest of {model.name} here{exact} "
            f"(--precision {model.spec.default_precision} takes another)"
        )
    return model


def say_preview(report: IndexReport) -> None:
    from clipcli.render.notes import counted, say

    _absent(report)
    known = f", {report.unchanged:,} unchanged" if report.unchanged else ""
    bad = f", {report.skipped:,} unreadable" if report.skipped else ""
    say(f"would look at {counted(report.considered, 'file')}: {report.pending:,} new, changed or moved{known}{bad}")
    if report.forgotten:
        say(f"would forget {counted(report.forgotten, 'picture')}, unless they have only moved")
    _left_out(report)


def run_record(report: IndexReport, model: Model) -> dict[str, object]:
    """What came of a run, for scripts."""
    return {
        "considered": report.considered,
        "embedded": report.embedded,
        "unchanged": report.unchanged,
        "recognised": report.recognised,
        "skipped": report.skipped,
        "newly_skipped": len(report.newly_skipped),
        "pending": report.pending,
        "forgotten": report.forgotten,
        "kept_tags": report.kept_tags,
        "held": sum(report.emptied.values()),
        "absent": len(report.absent),
        "left_out_files": report.left_out.files,
        "left_out_folders": report.left_out.folders,
        "model": model.name,
        "precision": model.precision,
        "seconds": round(report.seconds, 3),
    }


def judge(report: IndexReport) -> None:
    """Raise InputError when files were newly skipped, or none could be read."""
    from clipcli.render.notes import counted

    if report.considered and not report.indexed:
        raise InputError(f"none of {counted(report.considered, 'file')} could be read")
    if report.newly_skipped:
        what = counted(len(report.newly_skipped), "file or folder", "files and folders")
        raise InputError(f"{what} could not be read, listed above")


def say_own_model(library: Library, before: StoredModel | None) -> None:
    """A line where the run has changed which model searches of the library use; `before` is the one they used."""
    from clipcli.library.models import own_model
    from clipcli.render.notes import say

    now = own_model(library)
    if before is not None and before.pictures and now is not None and now.identity != before.identity:
        say(f"searches of this library use {now.name} from now on; -m {before.name} takes the one before")


def say_done(report: IndexReport, model: Model) -> None:
    """What was done: what became of the files in one line, which names the model where nothing has yet."""
    from clipcli.render.notes import counted, say, say_cut_short

    _absent(report)
    if not (report.considered or report.forgotten):
        if not (report.absent or report.emptied):
            say("no pictures there")
        _left_out(report)
        return
    parts = [f"{report.embedded:,} embedded"] if report.embedded else []
    if report.unchanged:
        parts.append(f"{report.unchanged:,} unchanged")
    if report.recognised:
        parts.append(f"{report.recognised:,} recognised")
    if report.skipped:
        known = f" ({report.known_bad:,} known)" if report.known_bad else ""
        parts.append(f"{report.skipped:,} skipped{known}")
    by = "" if report.embedded else f" ({model.name}, {model.precision})"
    say(f"{counted(report.considered, 'file')}: {', '.join(parts) or '0 embedded'}; {report.seconds:.1f} s{by}")
    if report.truncated:
        say(f"{report.truncated:,} of the embedded: what is left of a file cut short")
    if report.forgotten:
        say(f"{counted(report.forgotten, 'picture')} forgotten, the files are gone")
    if report.kept_tags:
        say(f"{counted(report.kept_tags, 'tag')} by hand kept for when they are back")
    _left_out(report)
    say_cut_short(skip.reason for skip in report.newly_skipped)


def _left_out(report: IndexReport) -> None:
    from clipcli.render.notes import counted, say

    left = report.left_out
    parts = [counted(left.files, "picture")] if left.files else []
    parts += [counted(left.folders, "folder")] if left.folders else []
    if parts:
        say(f"{' and '.join(parts)} left out by rules")
    if report.left_in:
        count = counted(sum(report.left_in.values()), "picture of those is", "pictures of those are")
        place = shlex.quote(os.fsdecode(next(iter(report.left_in)))) if len(report.left_in) == 1 else "PATH"
        say(f"{count} in the library from before; to take out: clip library forget {place}")


def _absent(report: IndexReport) -> None:
    from clipcli.render.notes import say
    from clipcli.render.text import short_path

    for folder in report.absent:
        say(f"nothing in {short_path(folder)}: not mounted? its pictures stay in the library")
    for folder, pictures in report.emptied.items():
        say_emptied(folder, pictures)


def say_emptied(folder: bytes, pictures: int, *, at: str = "") -> None:
    """A folder that is there, and none of its pictures. `at` is the time, where a person wants to know."""
    from clipcli.render.notes import counted, say
    from clipcli.render.text import short_path

    which = f"the only picture known in {short_path(folder)} is not there"
    if pictures > 1:
        which = f"none of the {counted(pictures, 'picture')} known in {short_path(folder)} is there"
    say(
        f"{at}{which}: is its disk mounted? the library keeps what it knows; if that is gone for good: "
        f"clip library forget --gone {shlex.quote(os.fsdecode(folder))}"
    )

"""The three stages: they overlap, they hold little, and what goes wrong in one is raised where the run was started."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clipcli.errors import ModelError, NoSpaceError
from clipcli.library.jobs import Decoded, Job, Outcome, Refused
from clipcli.library.pipeline import Pipeline
from clipcli.library.writing import Batch
from clipcli.photos.facts import Facts

FACTS = Facts(width=1, height=1, format="PNG")


def jobs(count: int) -> list[Job]:
    return [Job(root=b"/", path=b"%d" % number, size=0, mtime_ns=0) for number in range(count)]


def decoded(job: Job) -> Outcome:
    pixels = np.full((1, 3, 2, 2), int(job.path), dtype=np.float32)
    return Decoded(job=job, size=0, mtime_ns=0, digest=job.path.decode(), facts=FACTS, pixels=pixels)


def means(pixels: Any) -> Any:
    return pixels.mean(axis=(1, 2, 3))[:, None]


def run(count: int, **stages: Any) -> list[Batch]:
    committed: list[Batch] = []
    told: list[Batch] = []
    settings: dict[str, Any] = {
        "read": decoded,
        "encode": means,
        "commit": committed.append,
        "workers": 2,
        "batch_size": 4,
        **stages,
    }
    Pipeline(**settings).run(jobs(count), told.append)
    assert stages.get("commit") or told == committed
    return told


def test_everything_comes_through_in_order_with_its_vector() -> None:
    def sometimes_slow(job: Job) -> Outcome:
        time.sleep(0.002 * (int(job.path) % 3))
        return decoded(job) if int(job.path) % 5 else Refused(job=job, reason="empty", detail="")

    batches = run(33, read=sometimes_slow)
    outcomes = [outcome for batch in batches for outcome in batch.outcomes]
    assert [int(outcome.job.path) for outcome in outcomes] == list(range(33))
    for batch in batches:
        numbers = [int(outcome.job.path) for outcome in batch.outcomes if isinstance(outcome, Decoded)]
        assert batch.vectors[:, 0].tolist() == numbers
        assert len(numbers) <= 4
    assert run(0) == []


def test_many_files_that_need_no_model_are_written_in_between() -> None:
    batches = run(1000, read=lambda job: Refused(job=job, reason="empty", detail=""), encode=None)
    assert len(batches) > 2


def test_the_stages_overlap() -> None:
    """Reading, the model and writing each wait to see the other two at work on other batches."""
    at_work = {name: threading.Event() for name in ("read", "encode", "commit")}

    def with_the_others(name: str, last: Callable[[], bool]) -> None:
        at_work[name].set()
        if not last():
            for other in at_work.values():
                assert other.wait(5), "a stage waited for another one to be done"

    seen = {"encode": 0, "commit": 0}

    def read(job: Job) -> Outcome:
        # The first files have to pass so that there is a batch to compute; a later one waits.
        with_the_others("read", lambda: int(job.path) != 10)
        return decoded(job)

    def encode(pixels: Any) -> Any:
        seen["encode"] += 1
        with_the_others("encode", lambda: seen["encode"] != 2)
        return means(pixels)

    def commit(batch: Batch) -> None:
        seen["commit"] += 1
        with_the_others("commit", lambda: seen["commit"] != 1)

    run(24, read=read, encode=encode, commit=commit)
    assert seen == {"encode": 6, "commit": 6}


def test_reading_stays_a_little_ahead_and_no_more() -> None:
    """A library of any size needs the same memory."""
    passed = {"read": 0, "committed": 0}
    ahead: list[int] = []

    def read(job: Job) -> Outcome:
        passed["read"] += 1
        return decoded(job)

    def commit(batch: Batch) -> None:
        time.sleep(0.003)
        ahead.append(passed["read"] - passed["committed"])
        passed["committed"] += len(batch.outcomes)

    run(300, read=read, commit=commit)
    assert max(ahead) <= 5 * 4 + 2 + 2  # look-ahead, the batch being gathered, the one computed, the one written


@pytest.mark.parametrize("stage", ["read", "encode", "commit"])
def test_an_error_in_any_stage_is_raised_and_ends_the_run(stage: str) -> None:
    calls = 0
    stages: dict[str, Any] = {"read": decoded, "encode": means, "commit": lambda batch: None}
    healthy = stages[stage]

    def failing(value: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise NoSpaceError("full") if stage == "commit" else ModelError("broken")
        return healthy(value)

    stages[stage] = failing
    with pytest.raises(NoSpaceError if stage == "commit" else ModelError):
        run(200, **stages)
    assert calls < 60
    wait_for_threads()


def test_after_a_batch_that_could_not_be_written_no_other_is() -> None:
    """The next one may be computed already: it waits in the queue while the disk turns out to be full."""
    asked: list[int] = []

    def commit(batch: Batch) -> None:
        asked.append(len(asked))
        if len(asked) == 2:
            time.sleep(0.2)  # time enough to compute the next
            raise NoSpaceError("full")

    for _ in range(3):
        asked.clear()
        with pytest.raises(NoSpaceError):
            run(200, commit=commit)
        assert asked == [0, 1]
    wait_for_threads()


def wait_for_threads() -> None:
    deadline = time.monotonic() + 5
    while any(thread.name.startswith(("read", "model", "write")) for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread was left behind"
        time.sleep(0.01)


def test_an_interruption_in_the_callers_thread_writes_what_was_computed() -> None:
    committed: list[Batch] = []
    told: list[Batch] = []

    def interrupted(batch: Batch) -> None:
        told.append(batch)
        if len(told) == 2:
            raise KeyboardInterrupt

    pipeline = Pipeline(read=decoded, encode=means, commit=committed.append, workers=2, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(jobs(400), interrupted)
    assert told == committed  # nothing was written that nobody was told of
    assert len(committed) < 100
    wait_for_threads()


def test_an_interruption_while_the_threads_are_started_leaves_nobody_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread)
        if len(started) == 2:
            time.sleep(0.2)  # a busy machine: the thread runs before its starter does
            raise KeyboardInterrupt

    committed: list[Batch] = []
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(20, commit=committed.append)
    assert committed == []
    assert not any(thread.is_alive() for thread in started)

"""Three stages that overlap: several threads read, one runs the model, one writes; the caller's thread waits.

The caller's thread does nothing but wait, so that Ctrl-C reaches it at once even while the model computes. At most one
batch is written while the next is computed: a kill costs those, and nothing that was reported as done.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from clipcli.library.jobs import Decoded, Job, Outcome
from clipcli.library.writing import Batch

__all__ = ["Pipeline"]

_NO_DIRECTION = 1e-6
_GRACE_S = 1.2  # how long a batch in the model is waited for after Ctrl-C
_LIGHT_OUTCOMES = 256  # outcomes that need no model, such as moved files, are written this many at a time at the latest
_POLL_S = 0.5  # on Windows a wait without end cannot be interrupted


class Pipeline:
    """One pass over jobs. `read` is called in `workers` threads, `encode` in one, `commit` in another."""

    def __init__(
        self,
        *,
        read: Callable[[Job], Outcome],
        encode: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        commit: Callable[[Batch], None],
        workers: int,
        batch_size: int,
    ) -> None:
        self._read = read
        self._encode = encode
        self._commit = commit
        self._batch_size = batch_size
        self._look_ahead = 2 * batch_size + workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="read")
        self._go = threading.Event()
        self._stop = threading.Event()
        self._writer_is_free = threading.Semaphore(1)
        self._to_write: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Batch | BaseException | None] = queue.SimpleQueue()

    def run(self, jobs: Iterable[Job], on_commit: Callable[[Batch], None]) -> None:
        """Returns when all jobs are through; `on_commit` is called here with each batch once it is in the library.

        Whatever a stage raises is raised here. After Ctrl-C, what is in the model is written when that takes no more
        than a moment, else dropped; either way KeyboardInterrupt comes through with nothing left half-done.
        """
        encoder = threading.Thread(target=self._encode_all, args=(jobs,), name="model")
        writer = threading.Thread(target=self._write_all, name="write")
        try:
            encoder.start()  # Ctrl-C may come in here: neither does anything before both are there
            writer.start()
            self._go.set()
            while True:
                try:
                    event = self._events.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                if isinstance(event, BaseException):
                    raise event
                if event is None:
                    break
                on_commit(event)
        finally:
            self._stop.set()
            self._go.set()
            self._pool.shutdown(wait=False, cancel_futures=True)
            _join(encoder, _GRACE_S)
            self._to_write.put(None)
            _join(writer, None)
            self._tell_the_rest(on_commit)

    def _tell_the_rest(self, on_commit: Callable[[Batch], None]) -> None:
        """What was committed between the interruption and the end."""
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return
            if isinstance(event, Batch):
                on_commit(event)

    def _encode_all(self, jobs: Iterable[Job]) -> None:
        self._go.wait()
        try:
            remaining = iter(jobs)
            reading: deque[Future[Outcome]] = deque()
            outcomes: list[Outcome] = []
            pictures = 0
            while not self._stop.is_set():
                while self._reads_on(reading) and (job := next(remaining, None)) is not None:
                    reading.append(self._pool.submit(self._read, job))
                if not reading:
                    break
                outcome = reading.popleft().result()
                outcomes.append(outcome)
                pictures += _weight(outcome)
                if pictures >= self._batch_size or len(outcomes) >= self._batch_size + _LIGHT_OUTCOMES:
                    self._hand_over(outcomes)
                    outcomes, pictures = [], 0
            if outcomes and not self._stop.is_set():
                self._hand_over(outcomes)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            # Cancelled reads and a closed pool are how a stop reaches this thread.
            if not (self._stop.is_set() and isinstance(error, CancelledError | RuntimeError)):
                self._events.put(error)
        finally:
            self._to_write.put(None)

    def _reads_on(self, reading: deque[Future[Outcome]]) -> bool:
        """Whether there is room ahead for another picture, counted in frames where some have several."""
        if len(reading) >= self._look_ahead:
            return False
        return not reading or sum(_weight(one.result()) for one in reading if _is_whole(one)) < self._look_ahead

    def _hand_over(self, outcomes: list[Outcome]) -> None:
        pixels = [outcome.pixels for outcome in outcomes if isinstance(outcome, Decoded)]
        vectors = np.empty((0, 0), dtype=np.float32)
        if pixels:
            vectors = _means(self._encode(np.concatenate(pixels)), [len(frames) for frames in pixels])  # (B, D)
        # Waiting for the writer before the next batch is begun keeps what a kill can cost at two batches.
        self._writer_is_free.acquire()
        self._to_write.put(Batch(outcomes=outcomes, vectors=vectors))

    def _write_all(self) -> None:
        self._go.wait()
        while (batch := self._to_write.get()) is not None:
            try:
                self._commit(batch)
                self._events.put(batch)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                self._stop.set()
                self._events.put(error)
                break  # what comes after a batch that could not be written is not written either
            finally:
                self._writer_is_free.release()
        self._events.put(None)


def _is_whole(one: Future[Outcome]) -> bool:
    return one.done() and not one.cancelled() and one.exception() is None


def _weight(outcome: Outcome) -> int:
    """How many pictures the model gets for it."""
    return len(outcome.pixels) if isinstance(outcome, Decoded) else 0


def _means(vectors: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float32]:
    """(F, D) unit vectors of the frames of B pictures, `counts` of each -> (B, D), the unit vector of each mean.

    Where frames are so opposite that their mean has no direction, the first one stands for the picture.
    """
    starts = np.cumsum([0, *counts[:-1]])  # (B,)
    if len(counts) == len(vectors):
        return vectors
    sums = np.add.reduceat(vectors, starts, axis=0, dtype=np.float64)  # (B, D)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)  # (B, 1)
    means = np.where(lengths > _NO_DIRECTION, sums / np.maximum(lengths, _NO_DIRECTION), vectors[starts])
    single = (np.asarray(counts) == 1)[:, None]
    return np.asarray(np.where(single, vectors[starts], means), dtype=np.float32)  # untouched where there was one


def _join(thread: threading.Thread, timeout_s: float | None) -> None:
    """Wait for a thread; another Ctrl-C meanwhile ends a wait that has a limit, and no other."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while thread.is_alive() and (deadline is None or time.monotonic() < deadline):
        try:
            thread.join(0.1)
        except KeyboardInterrupt:
            if deadline is not None:
                return

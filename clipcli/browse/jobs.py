"""Slow questions: begun by one request, asked after by others. One computes at a time."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from clipcli.browse.answers import BUSY, FAILED, GONE, Refusal, as_refusal
from clipcli.errors import ClipError

__all__ = ["Job", "Jobs", "Tell"]

_KEPT = 8

Tell = Callable[[int, int], None]  # how many are done, and of how many; raises where nobody waits any more


class _Stopped(Exception):
    """Out of whatever was being computed."""


@dataclass(kw_only=True, eq=False)
class Job:
    """`state` is running, done or failed. `kept` is for whoever asks more about a result."""

    token: str
    key: object
    state: str = "running"
    done: int = 0
    total: int = 0
    result: dict[str, Any] | None = None
    kept: Any = None
    refusal: Refusal | None = None
    stopped: bool = False
    finished: threading.Event = field(default_factory=threading.Event)

    def described(self) -> dict[str, Any]:
        refusal = self.refusal
        return {
            "job": self.token,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "error": None if refusal is None else {"code": refusal.code, "message": str(refusal)},
            "result": self.result,
        }


class Jobs:
    """The last few, finished or not, by token; the same question about the same state is computed once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clip-job")

    def start(self, key: object, work: Callable[[Tell], tuple[dict[str, Any], Any]]) -> Job:
        """`work` returns the result for the page, and what is to be kept beside it. Raises Refusal."""
        with self._lock:
            for job in self._jobs.values():
                if job.key == key and job.state != "failed" and not job.stopped:
                    self._jobs.move_to_end(job.token)
                    return job
            self._make_room()
            job = Job(token=secrets.token_urlsafe(12), key=key)
            self._jobs[job.token] = job
        self._thread.submit(self._compute, job, work)
        return job

    def known(self, token: str) -> Job:
        """Raises Refusal for one that has been forgotten."""
        with self._lock:
            if token not in self._jobs:
                raise Refusal(*GONE, "this has been forgotten; ask again")
            return self._jobs[token]

    def stop(self, token: str) -> None:
        job = self.known(token)
        job.stopped = True
        with self._lock:
            self._jobs.pop(token, None)

    def close(self) -> None:
        with self._lock:
            for job in self._jobs.values():
                job.stopped = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _make_room(self) -> None:
        for token, job in list(self._jobs.items()):
            if len(self._jobs) < _KEPT:
                return
            if job.state != "running":
                del self._jobs[token]
        if len(self._jobs) >= _KEPT:
            raise Refusal(*BUSY, "too much is being computed already; try again in a moment")

    def _compute(self, job: Job, work: Callable[[Tell], tuple[dict[str, Any], Any]]) -> None:
        def tell(done: int, total: int) -> None:
            job.done, job.total = done, total
            if job.stopped:
                raise _Stopped

        try:
            tell(0, 0)
            job.result, job.kept = work(tell)
            job.state = "done"
        except _Stopped:
            job.state = "failed"
            job.refusal = Refusal(*GONE, "stopped")
        except Refusal as refusal:
            job.state, job.refusal = "failed", refusal
        except ClipError as error:
            job.state, job.refusal = "failed", as_refusal(error)
        except MemoryError:
            job.state, job.refusal = "failed", Refusal(*FAILED, "not enough memory for this")
        except Exception as error:  # noqa: BLE001 - whoever waits has to be told
            job.state, job.refusal = "failed", Refusal(*FAILED, f"unexpected {type(error).__name__}")
        finally:
            job.finished.set()

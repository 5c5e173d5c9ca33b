"""Stages measured warm: each candidate is a process that has everything ready (`stage_worker`), and they take turns.

One that cannot begin, because its library is not there or does not fit, is left out and said in a line.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.timing import Times, interleaved

__all__ = ["Absent", "Measured", "Stage", "in_turns", "working"]

ROOT = Path(__file__).resolve().parents[1]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")


class Absent(RuntimeError):
    """A candidate that cannot begin; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """`made_by` is "module:function" of what prepares it, `given` its arguments, for the interpreter `python`."""

    python: Path
    made_by: str
    given: Mapping[str, object]
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Times of whole turns, what the candidate told of itself, and how many cores it kept busy on the way."""

    times: Times
    facts: Mapping[str, Any]
    cores: float


@dataclass(kw_only=True, slots=True)
class Worker:
    """A candidate that is ready."""

    process: subprocess.Popen[str]
    said: IO[str]  # its error output
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_s: float = 0.0

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.said.seek(0)
            lines = [line.strip() for line in self.said if line.strip()]
            raise Absent(lines[-1] if lines else f"it ended with {self.process.returncode}")
        found: dict[str, Any] = json.loads(line)
        return found

    def turn(self) -> float:
        """Its work once: seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        taken = self.answer()
        self.seconds += taken["seconds"]
        self.cpu_s += taken["cpu_s"]
        return float(taken["seconds"])


@contextmanager
def working(stage: Stage) -> Iterator[Worker]:
    """The candidate, ready; it is ended afterwards. Raises Absent when it cannot begin."""
    # How many threads each takes is its own choice: what a shell says for other work is not passed on.
    environment = {name: value for name, value in stage.environment.items() if name not in THREAD_VARIABLES}
    line = [str(stage.python), "-m", "benchmarks.stage_worker", stage.made_by, json.dumps(dict(stage.given))]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            process = subprocess.Popen(
                line, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
            )
        except OSError as error:
            raise Absent(f"{stage.python} cannot be run ({error.strerror})") from error
        with process:
            try:
                worker = Worker(process=process, said=said)
                worker.facts = worker.answer()
                yield worker
            finally:
                process.kill()  # it holds nothing that is kept


def in_turns(stages: Mapping[str, Stage], *, rounds: int) -> tuple[dict[str, Measured], list[str]]:
    """The candidates that could begin, by name, after so many rounds, and a line for each of the others.

    They are prepared one after the other. A candidate that tells a `label` goes by that name.
    """
    left_out = []
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, stage in stages.items():
            try:
                worker = stack.enter_context(working(stage))
            except Absent as reason:
                left_out.append(f"{name}: {reason}")
                continue
            workers[str(worker.facts.get("label", name))] = worker
        times = interleaved({name: worker.turn for name, worker in workers.items()}, rounds=rounds)
        measured = {
            name: Measured(times=times[name], facts=worker.facts, cores=worker.cpu_s / worker.seconds)
            for name, worker in workers.items()
        }
    return measured, left_out

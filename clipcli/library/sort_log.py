"""The record of files sorted into folders: a line of JSON before each step, so that all of it can be put back.

    {"clip": "sort 1", "library": UUID, "file": its path, "at": …}
    {"step": 1, "what": "move", "from": …, "to": …, "image_id": …, "size": …, "mtime_ns": …}
    {"done": 1}          the step was carried out; without it nobody knows
    {"undoing": 1}       it is about to be put back
    {"undone": 1}        and was, or there is nothing to put back

Further steps are `link`, `folder` (made) and `root` (a folder that the library took in). Lines are only ever added. A
path that is not UTF-8 has its bytes beside it, in `from_b64` or `to_b64`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from clipcli.errors import InputError, NotFoundError, UsageError

__all__ = ["SortLog", "Step", "Steps", "append_log", "new_log", "read_log"]

_KIND = "sort 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One file moved or linked, one folder made or taken into the library (those have no source).

    `size` and `mtime_ns` are what the file had before it was moved.
    """

    number: int
    what: str
    source: bytes
    target: bytes
    image_id: int | None = None
    size: int = 0
    mtime_ns: int = 0

    def __post_init__(self) -> None:
        if self.what not in ("move", "link", "folder", "root") or not os.path.isabs(self.target):
            raise ValueError("no step that is known")
        if self.what in ("move", "link") and not os.path.isabs(self.source):
            raise ValueError("no step that is known")


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """What a log says. `library` is its uuid, `file` where it was."""

    library: str
    file: bytes
    steps: tuple[Step, ...]
    done: frozenset[int]
    undoing: frozenset[int]
    undone: frozenset[int]


class SortLog:
    """A log open for more lines."""

    def __init__(self, file: BinaryIO, last: int = 0) -> None:
        self._file = file
        self._last = last

    def intend(self, what: str, source: bytes, target: bytes, **more: int | None) -> int:
        """Note a step that is about to be made; it is on the disk when this returns. The number of the step."""
        self._last += 1
        self._write({"step": self._last, "what": what, **_field("from", source), **_field("to", target), **more})
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._last

    def note(self, event: str, number: int) -> None:
        """`done`, `undoing` or `undone`. Lost in a crash it is found out by looking."""
        self._write({event: number})
        self._file.flush()

    def begin(self, library: str, file: bytes) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({"clip": _KIND, "library": library, **_field("file", file), "at": now})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode("ascii") + b"\n")


@contextmanager
def new_log(path: bytes, *, library: str, file: bytes) -> Iterator[SortLog]:
    """Raises UsageError where there is a file of that name already, NotFoundError without a folder for it."""
    try:
        opened = open(path, "xb")  # noqa: SIM115 - closed below
    except FileExistsError:
        raise UsageError(f"{os.fsdecode(path)} is there already") from None
    except FileNotFoundError:
        raise NotFoundError(f"no such folder: {os.fsdecode(os.path.dirname(path))}") from None
    with opened:
        log = SortLog(opened)
        log.begin(library, file)
        yield log
        os.fsync(opened.fileno())


@contextmanager
def append_log(path: Path) -> Iterator[SortLog]:
    """To note what is put back."""
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            torn = file.read(1) != b"\n"
            file.seek(end)
            if torn:
                file.write(b"\n")  # what was being written when the run was killed stays apart
        yield SortLog(file)
        file.flush()
        os.fsync(file.fileno())


def read_log(path: Path) -> Steps:
    """Raises NotFoundError, InputError for a file that is none. A line torn by a kill stands for nothing done."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    read = [_parsed(line) for line in lines if line.strip()]
    head = read[0] if read else None
    if head is None or head.get("clip") != _KIND:
        raise InputError(f"{path} is no record of 'clip tags sort'")
    steps: dict[int, Step] = {}
    events: dict[str, set[int]] = {"done": set(), "undoing": set(), "undone": set()}
    try:
        for line in read[1:]:
            if line is None:
                continue
            if "step" in line:
                step = _step(line)
                steps[step.number] = step
            for event, numbers in events.items():
                if event in line:
                    numbers.add(int(line[event]))
        return Steps(
            library=str(head["library"]),
            file=_path(head, "file"),
            steps=tuple(steps.values()),
            done=frozenset(events["done"]),
            undoing=frozenset(events["undoing"]),
            undone=frozenset(events["undone"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error})") from None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for a torn line. Nothing was done after it was begun and before it was whole."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _step(line: dict[str, Any]) -> Step:
    return Step(
        number=int(line["step"]),
        what=str(line["what"]),
        source=_path(line, "from"),
        target=_path(line, "to"),
        image_id=line.get("image_id"),
        size=int(line.get("size") or 0),
        mtime_ns=int(line.get("mtime_ns") or 0),
    )


def _field(name: str, path: bytes) -> dict[str, str]:
    try:
        return {name: path.decode("utf-8")}
    except UnicodeDecodeError:
        exact = base64.b64encode(path).decode("ascii")
        return {name: path.decode("utf-8", errors="replace"), f"{name}_b64": exact}


def _path(line: dict[str, Any], name: str) -> bytes:
    exact = line.get(f"{name}_b64")
    return str(line[name]).encode("utf-8") if exact is None else base64.b64decode(exact, validate=True)

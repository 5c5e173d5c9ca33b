"""A disk that fails when it is told to: SQLite's own file layer with a counter in front of every change.

Within `FaultyDisk(...)` each write, sync, truncation and deletion of a file by SQLite is noted, and the one with the
number `fail_at` fails. What was noted can be played back to any point (`left_behind`), which is what a kill or a pulled
plug at that point leaves on the disk. Shapes follow https://sqlite.org/c3ref/vfs.html and io_methods.html.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["FULL", "IO_ERROR", "Change", "FaultyDisk", "left_behind"]

FULL = 13
IO_ERROR = 10
_CODES = {"write": 778, "sync": 1034, "truncate": 1546, "delete": 2570}  # SQLITE_IOERR_…
_SECTOR = 512
_KEPT: list[Any] = []  # what C points to: a file may be closed long after its disk was put away

_Pointer, _Int, _Int64, _Text = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_char_p
_Open = ctypes.CFUNCTYPE(_Int, _Pointer, _Pointer, _Pointer, _Int, _Pointer)
_Delete = ctypes.CFUNCTYPE(_Int, _Pointer, _Text, _Int)
_Write = ctypes.CFUNCTYPE(_Int, _Pointer, _Pointer, _Int, _Int64)
_Truncate = ctypes.CFUNCTYPE(_Int, _Pointer, _Int64)
_Sync = ctypes.CFUNCTYPE(_Int, _Pointer, _Int)


class _Vfs(ctypes.Structure):
    _fields_ = (
        [("iVersion", _Int), ("szOsFile", _Int), ("mxPathname", _Int), ("pNext", _Pointer), ("zName", _Text)]
        + [("pAppData", _Pointer), ("xOpen", _Pointer), ("xDelete", _Pointer)]
        + [(f"other{number}", _Pointer) for number in range(14)]
    )  # fmt: skip


class _Methods(ctypes.Structure):
    _fields_ = (
        [("iVersion", _Int), ("xClose", _Pointer), ("xRead", _Pointer), ("xWrite", _Pointer)]
        + [("xTruncate", _Pointer), ("xSync", _Pointer)]
        + [(f"other{number}", _Pointer) for number in range(13)]
    )  # fmt: skip


class _File(ctypes.Structure):
    _fields_ = [("pMethods", ctypes.POINTER(_Methods))]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a file: `what` is write, sync, truncate or delete; `at` an offset, or the length truncated to."""

    what: str
    path: str
    at: int = 0
    data: bytes = b""


@functools.cache
def _sqlite() -> ctypes.CDLL:
    return ctypes.CDLL(ctypes.util.find_library("sqlite3"))


class FaultyDisk:
    """`fail_at` counts from 1; None never fails. With `code` FULL or `lasting` every later change fails as well.

    `torn`: the write that fails has written half of what it should have.
    """

    def __init__(
        self, *, fail_at: int | None = None, code: int = IO_ERROR, lasting: bool = False, torn: bool = False
    ) -> None:
        self.changes: list[Change] = []
        self._fail_at, self._code, self._torn = fail_at, code, torn
        self._lasting = lasting or code == FULL
        self._lock = threading.Lock()
        self._kept: list[Any] = []
        _KEPT.append(self._kept)
        self._names: dict[int, str] = {}
        self._patched: dict[int, Any] = {}
        library = _sqlite()
        self._find, self._register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
        self._unregister = library.sqlite3_vfs_unregister
        self._find.restype, self._find.argtypes = ctypes.POINTER(_Vfs), [_Text]
        self._register.argtypes, self._unregister.argtypes = [_Pointer, _Int], [_Pointer]

    @property
    def failed(self) -> bool:
        return self._fail_at is not None and len(self.changes) >= self._fail_at

    def __enter__(self) -> FaultyDisk:
        real = self._find(None)
        ours = _Vfs.from_buffer_copy(real.contents)
        ours.zName, ours.pNext = b"faulty", None
        open_file, delete = _Open(real.contents.xOpen), _Delete(real.contents.xDelete)

        def opened(vfs: int, name: int | None, file: int, flags: int, flags_out: int | None) -> int:
            code = open_file(ctypes.addressof(real.contents), name, file, flags, flags_out)
            head = ctypes.cast(file, ctypes.POINTER(_File)).contents
            if code == 0 and head.pMethods:
                self._names[file] = "" if name is None else os.fsdecode(ctypes.string_at(name))
                head.pMethods = self._counting(head.pMethods)
            return code

        def deleted(vfs: int, name: bytes, sync: int) -> int:
            refused = self._refused(Change("delete", os.fsdecode(name)))
            return refused or delete(ctypes.addressof(real.contents), name, sync)

        calls = (_Open(opened), _Delete(deleted))
        ours.xOpen, ours.xDelete = (ctypes.cast(call, _Pointer).value for call in calls)
        self._kept += [real, ours, *calls]
        self._real = real
        self._register(ctypes.addressof(ours), 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unregister(ctypes.addressof(self._kept[1]))
        self._register(ctypes.addressof(self._real.contents), 1)
        self._fail_at = None  # a connection that is still open may be closed in peace

    def _counting(self, methods: Any) -> Any:
        """The same methods, except that changes are counted."""
        place = ctypes.addressof(methods.contents)
        if place in self._patched:
            return ctypes.pointer(self._patched[place])
        ours = _Methods.from_buffer_copy(methods.contents)
        write, truncate = _Write(ours.xWrite), _Truncate(ours.xTruncate)

        def written(file: int, data: int, count: int, offset: int) -> int:
            content = ctypes.string_at(data, count)
            refused = self._refused(Change("write", self._names[file], offset, content))
            if refused and self._torn:
                write(file, data, count // 2, offset)
            return refused or write(file, data, count, offset)

        def truncated(file: int, size: int) -> int:
            return self._refused(Change("truncate", self._names[file], size)) or truncate(file, size)

        def synced(file: int, flags: int) -> int:
            # Noted and not done, which takes most of the time: no power goes here but that of `left_behind`.
            return self._refused(Change("sync", self._names[file]))

        calls = (_Write(written), _Truncate(truncated), _Sync(synced))
        ours.xWrite, ours.xTruncate, ours.xSync = (ctypes.cast(call, _Pointer).value for call in calls)
        self._kept += [ours, *calls]
        self._patched[place] = ours
        return ctypes.pointer(ours)

    def _refused(self, change: Change) -> int:
        """What SQLite is told: 0, or why it cannot be."""
        with self._lock:
            self.changes.append(change)
            if self._fail_at is None:
                return 0
            number = len(self.changes)
            fails = number >= self._fail_at if self._lasting else number == self._fail_at
            if not fails or (self._code == FULL and change.what != "write"):
                return 0
            return FULL if self._code == FULL else _CODES[change.what]


def left_behind(
    before: Mapping[str, bytes], changes: Iterable[Change], target: Path, *, torn: bool = False, plug: int | None = None
) -> None:
    """Write into `target` the files as they are after the changes: what a process leaves that is killed then.

    With `torn` the last write is only half done. With `plug` (a seed) the power goes: of what was written and not
    synced, any part may be missing, sector by sector.
    """
    files = {name: bytearray(content) for name, content in before.items()}
    safe = {name: bytes(content) for name, content in before.items()}
    changes = list(changes)
    for number, change in enumerate(changes, start=1):
        name = os.path.basename(change.path)
        if not name:  # a temporary file without a name, of which nobody finds anything
            continue
        content = files.setdefault(name, bytearray())
        if change.what == "write":
            data = change.data[: len(change.data) // 2] if torn and number == len(changes) else change.data
            content.extend(bytes(max(0, change.at + len(data) - len(content))))
            content[change.at : change.at + len(data)] = data
        elif change.what == "truncate":
            del content[change.at :]
        elif change.what == "delete":
            del files[name]
            safe.pop(name, None)
        else:
            safe[name] = bytes(content)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        whole = bytes(content) if plug is None else _after_the_plug(safe.get(name, b""), bytes(content), plug)
        (target / name).write_bytes(whole)


def _after_the_plug(safe: bytes, written: bytes, seed: int) -> bytes:
    """Of each sector that was not synced either the old or the new content; the length is one of the two."""
    chance = random.Random(seed)
    length = chance.choice((len(safe), len(written)))
    old, new = safe.ljust(length, b"\0")[:length], written.ljust(length, b"\0")[:length]
    return b"".join(chance.choice((old, new))[start : start + _SECTOR] for start in range(0, length, _SECTOR))

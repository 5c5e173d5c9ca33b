"""What goes back and forth between a run and a process that decodes for it: records in JSON, pixels as they are."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

__all__ = ["ProcessGoneError", "receive", "receive_bytes", "send"]

_LENGTH = struct.Struct("<I")


class ProcessGoneError(Exception):
    """The other end of the pipe is closed: its process is no more."""


def send(handle: int, record: Mapping[str, Any], payload: bytes = b"") -> None:
    """One record, and what belongs to it. Raises ProcessGoneError."""
    text = json.dumps(record).encode("ascii")
    _write(handle, _LENGTH.pack(len(text)) + text + payload)


def receive(handle: int) -> dict[str, Any]:
    """The next record. Raises ProcessGoneError."""
    (length,) = _LENGTH.unpack(receive_bytes(handle, _LENGTH.size))
    record: dict[str, Any] = json.loads(receive_bytes(handle, length))
    return record


def receive_bytes(handle: int, length: int) -> bytearray:
    """Exactly so many bytes. Raises ProcessGoneError."""
    found = bytearray(length)
    view, at = memoryview(found), 0
    while at < length:
        part = os.read(handle, min(length - at, 1 << 20))
        if not part:
            raise ProcessGoneError
        view[at : at + len(part)] = part
        at += len(part)
    return found


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(handle, view) :]
        except OSError as error:  # a broken pipe, in the words of this system
            raise ProcessGoneError from error

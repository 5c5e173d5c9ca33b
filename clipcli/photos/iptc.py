"""The date in a picture's IPTC record, as agencies and older programs write it (IIM 4.2, record 2).

A record is a row of fields: 0x1C, record, number, two bytes of length, the value. It lies in a JPEG's Photoshop
block, and in a TIFF's tag 33723.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["iptc_date", "iptc_record"]

_PHOTOSHOP_RESOURCE = 0x0404
_TIFF_TAG = 33723
_MARK, _RECORD = 0x1C, 2
_DATE_CREATED, _TIME_CREATED = 55, 60
_MOST_BYTES, _MOST_FIELDS = 1_000_000, 5_000
_DATE = re.compile(rb"(\d{4})-?(\d{2})-?(\d{2})")
_TIME = re.compile(rb"(\d{2}):?(\d{2}):?(\d{2})?\s*([+-]\d{2}:?\d{2})?")


def iptc_record(info: Mapping[Any, Any], tiff: Mapping[int, Any]) -> bytes:
    """The record among what Pillow keeps beside a picture, or of a TIFF's tags; empty where there is none."""
    block = info.get("photoshop")
    record = block.get(_PHOTOSHOP_RESOURCE) if isinstance(block, Mapping) else tiff.get(_TIFF_TAG)
    if isinstance(record, tuple) and all(isinstance(part, int) for part in record):
        # Some programs declare the bytes as numbers of four bytes each.
        record = b"".join(part.to_bytes(4, "little") for part in record[: _MOST_BYTES // 4])
        record = (
            record
            if record[:1] == bytes([_MARK])
            else b"".join(record[at : at + 4][::-1] for at in range(0, len(record), 4))
        )
    return record[:_MOST_BYTES] if isinstance(record, bytes) else b""


def iptc_date(record: bytes) -> str | None:
    """`2021:07:04 12:30:05+02:00` from DateCreated and TimeCreated, to be read as any date; None without a date."""
    found = _fields(record)
    date = _DATE.match(found.get(_DATE_CREATED, b""))
    if date is None:
        return None
    text = b":".join(date.groups()).decode("ascii")
    time = _TIME.match(found.get(_TIME_CREATED, b""))
    if time is None:
        return text
    hour, minute, second, zone = (part.decode("ascii") if part else "" for part in time.groups())
    return f"{text} {hour}:{minute}:{second or '00'}{zone}"


def _fields(record: bytes) -> dict[int, bytes]:
    """The first value of each field of record 2 up to where the row breaks off."""
    found: dict[int, bytes] = {}
    at = 0
    for _ in range(_MOST_FIELDS):
        head = record[at : at + 5]
        length = int.from_bytes(head[3:5], "big")
        if len(head) < 5 or head[0] != _MARK or length > 0x7FFF:  # longer ones have no dates in them
            break
        if head[1] == _RECORD:
            found.setdefault(head[2], record[at + 5 : at + 5 + length])
        at += 5 + length
    return found

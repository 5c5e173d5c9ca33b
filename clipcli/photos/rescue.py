"""The pixels of a PNG or JPEG whose metadata is so broken that its decoder will not open it."""

from __future__ import annotations

import struct

__all__ = ["without_metadata"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"))
_JPEG_DROPPED = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))  # APP1..13, APP15, comments; APP14 tells the colours
_JPEG_SCAN = 0xDA


def without_metadata(format: str, data: bytes) -> bytes | None:
    """The file with nothing but what its pixels need; None where that cannot help."""
    if format == "PNG":
        return _png(data)
    return _jpeg(data) if format == "JPEG" else None


def _png(data: bytes) -> bytes | None:
    kept, at = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    dropped = False
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if kind in _PNG_KEPT:
            kept.append(data[at:end])
        else:
            dropped = True
        at = end
    return b"".join(kept) if dropped else None


def _jpeg(data: bytes) -> bytes | None:
    kept, at = [data[:2]], 2
    dropped = False
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _JPEG_SCAN:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] in _JPEG_DROPPED:
            dropped = True
        else:
            kept.append(data[at:end])
        at = end
    return b"".join((*kept, data[at:])) if dropped else None

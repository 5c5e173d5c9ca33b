"""Paths in the database: text where they are UTF-8, so that people can read them, else the bytes themselves.

The same bytes always become the same value, and two different paths never become one.
"""

from __future__ import annotations

__all__ = ["absolute", "from_stored", "range_below", "to_stored"]


def to_stored(path: bytes) -> str | bytes:
    """`path` as its column keeps it."""
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        return path


def from_stored(value: str | bytes) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else value


def absolute(root: bytes, path: bytes) -> bytes:
    """A path relative to a root, as the operating system takes it."""
    if not path:
        return root
    return root + path if root.endswith(b"/") else root + b"/" + path


def range_below(folder: bytes) -> tuple[bytes, bytes]:
    """First and last-but-one path below a folder, in the order of bytes: `/` is followed by `0`."""
    return folder + b"/", folder + b"0"

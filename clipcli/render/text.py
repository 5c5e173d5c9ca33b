"""Text that is safe to show: a file name may hold escape sequences, line ends, or bytes that are no text at all."""

from __future__ import annotations

import base64
import os
import re

# C0, DEL and C1 controls; line and paragraph separators; marks that turn the direction of writing; half surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with every character a terminal might act on written as an escape: `\\n`, `\\x1b`, `\\u202e`.

    Bytes that are not UTF-8, which Python keeps as half surrogates, come out as the byte: `\\xff`.
    """
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape, PEP 383
        return f"\\x{code - 0xDC00:02x}"
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def readable_size(count: int) -> str:
    """Bytes for a person: `812 B`, `1.2 MB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count} B"


def percent(share: float) -> str:
    """A share for a person: `79.2 %` of 0.792."""
    return f"{100 * share:.1f} %"


def path_fields(path: bytes) -> dict[str, str]:
    """A path for a script: `{"path": …}`, and `path_b64` beside it where the bytes are not UTF-8.

    The text then has U+FFFD for what cannot be read; the bytes themselves are in `path_b64`.
    """
    try:
        return {"path": path.decode("utf-8")}
    except UnicodeDecodeError:
        text = path.decode("utf-8", errors="replace")
        return {"path": text, "path_b64": base64.b64encode(path).decode("ascii")}


def short_path(path: bytes, *, from_here: bool = True) -> str:
    """A path for a person: from here where it lies below the current folder, from ~ below home, else in full.

    What goes into a file is read elsewhere, and is not written `from_here`.
    """
    text = os.fsdecode(path)
    try:
        here = os.getcwd()
    except OSError:  # the current folder is gone
        here = ""
    if from_here and here and text.startswith(here.rstrip(os.sep) + os.sep):
        return text[len(here.rstrip(os.sep)) + 1 :]
    home = os.path.expanduser("~")
    if home not in ("", "~", os.sep) and text.startswith(home.rstrip(os.sep) + os.sep):
        return "~" + text[len(home.rstrip(os.sep)) :]
    return text

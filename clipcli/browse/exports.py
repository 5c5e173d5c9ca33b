"""A selection as a file: paths, CSV, JSON or JSON lines, with the fields that `clip search --facts` writes.

Paths a line each are for pasting and for programs that read lines. A name with a line break in it would be two of
them, one with an escape sequence does something in a terminal: such paths are left out there, and counted. JSON and CSV
write them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipcli.browse.answers import BAD, Refusal
from clipcli.library.pictures import FACTS, facts_of
from clipcli.library.search import paths_of
from clipcli.library.tags import tags_of
from clipcli.render.text import path_fields

if TYPE_CHECKING:
    from clipcli.library.store import Library

__all__ = ["FORMATS", "Export", "export"]

FORMATS = {
    "paths": ("text/plain; charset=utf-8", "txt"),
    "clipboard": ("text/plain; charset=utf-8", "txt"),  # as paths, without those that are no UTF-8
    "csv": ("text/csv; charset=utf-8", "csv"),
    "json": ("application/json", "json"),
    "ndjson": ("application/x-ndjson", "ndjson"),
}
_FIELDS = ("score", "path", "path_b64", "image_id", *FACTS, "tags")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """The file's bytes, and what kind it is. `left_out` paths cannot stand on a line."""

    data: bytes
    media_type: str
    name: str
    left_out: int = 0


def export(library: Library, ids: Sequence[int], scores: Mapping[int, float], form: str) -> Export:
    """Pictures in the order of `ids`; those that are not in the library are left out. Raises Refusal."""
    if form not in FORMATS:
        raise Refusal(*BAD, f"format is one of {', '.join(FORMATS)}")
    with library.read():
        paths = paths_of(library, ids)
        there = [image_id for image_id in ids if image_id in paths]
        left_out = 0
        if form in ("paths", "clipboard"):
            lines = [path for path in map(paths.__getitem__, there) if _is_a_line(path, utf8=form == "clipboard")]
            data = b"".join(path + b"\n" for path in lines)
            left_out = len(there) - len(lines)
        else:
            facts, tags = facts_of(library, there), tags_of(library, there)
            records = [
                {
                    "score": None if image_id not in scores else round(scores[image_id], 6),
                    **path_fields(paths[image_id]),
                    "image_id": image_id,
                    **facts[image_id],
                    "tags": tags[image_id],
                }
                for image_id in there
            ]
            data = _written(records, form)
    media_type, suffix = FORMATS[form]
    return Export(data=data, media_type=media_type, name=f"clip-pictures.{suffix}", left_out=left_out)


def _is_a_line(path: bytes, *, utf8: bool) -> bool:
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        if utf8:
            return False
        text = path.decode("utf-8", errors="surrogateescape")
    return _CONTROL.search(text) is None


def _written(records: Sequence[Mapping[str, Any]], form: str) -> bytes:
    if form == "csv":
        return _as_csv(records)
    lines = [json.dumps(record, allow_nan=False).encode("ascii") for record in records]
    if form == "ndjson":
        return b"".join(line + b"\n" for line in lines)
    return b"[\n" + b",\n".join(b"  " + line for line in lines) + b"\n]\n" if lines else b"[]\n"


def _as_csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    """For a spreadsheet, which would run a text that begins like a formula: such a one gets an apostrophe before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(_FIELDS)
    for record in records:
        cells = []
        for field in _FIELDS:
            value = record.get(field)
            value = "; ".join(value) if isinstance(value, list) else value
            if isinstance(value, str):
                value = f"'{value}" if value.startswith(_FORMULA) else value
            cells.append("" if value is None else value)
        writer.writerow(cells)
    return text.getvalue().encode("utf-8", errors="backslashreplace")

"""Results for scripts: JSON, JSON lines, CSV, TSV, and bare paths. The table for people is in `tables.py`.

A record is a mapping of plain values; under `path` it has the file's path as bytes, the way the disk has it. Everything
is written as UTF-8 whatever the locale says, with U+FFFD for what is no text, lines end in a line feed, and bare paths
are written byte for byte.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

from clipcli.errors import UsageError
from clipcli.render.text import path_fields, printable

Record = Mapping[str, object]

# Half surrogates, which Python keeps bytes that are no text as. Neither UTF-8 nor what strict readers take for JSON has
# them, not even as escapes.
_NO_TEXT = re.compile("[\ud800-\udfff]")
# JSON allows these unescaped, but a terminal that is shown them may act on them.
_ACTS_ON_TERMINALS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def choose_format(asked: str | None, *, print0: bool, default: str = "table") -> str:
    """The format to use: `-0` means paths. Raises UsageError where both are given and disagree."""
    if print0 and asked not in (None, "paths"):
        raise UsageError(f"-0 writes paths and does not go with --format {asked}")
    return "paths" if print0 else asked or default


def write_records(records: Iterable[Record], *, format: str, fields: Sequence[str], print0: bool = False) -> None:
    """Write records to stdout as json, ndjson, csv, tsv or paths.

    `fields` orders the columns and has `path_b64` after `path`: JSON carries it only where a path is not UTF-8, CSV and
    TSV always have the column. Paths are written once each, in the order they first appear. JSON lines and paths are
    written as the records come; on a terminal all come first, since a progress bar may be showing meanwhile. Raises
    UsageError where paths are wanted of records that have none.
    """
    if format == "paths" and "path" not in fields:
        raise UsageError("these results have no paths: take json, ndjson, csv or tsv")
    if _on_terminal():
        records = list(records)
    if format == "paths":
        _write_paths(records, end=b"\0" if print0 else b"\n", raw=print0 or not _on_terminal())
    elif format == "json":
        _write_json(records)
    elif format == "ndjson":
        for record in records:
            write_bytes(_as_json(record) + b"\n")
    else:
        _write_rows(records, fields, "," if format == "csv" else "\t")


def expanded(record: Record) -> dict[str, object]:
    """The record with its path as text, `path_b64` right after it where that is needed."""
    flat: dict[str, object] = {}
    for key, value in record.items():
        if key == "path" and isinstance(value, bytes):
            flat.update(path_fields(value))
        else:
            flat[key] = value
    return flat


def write_bytes(data: bytes) -> None:
    """Write to stdout below its text layer, in step with what has been printed before."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _as_json(record: Record) -> bytes:
    text = json.dumps(expanded(record), ensure_ascii=False, allow_nan=False)
    text = _NO_TEXT.sub("\ufffd", text)
    return _ACTS_ON_TERMINALS.sub(lambda match: f"\\u{ord(match.group()):04x}", text).encode("utf-8")


def _write_json(records: Iterable[Record]) -> None:
    rows = [b"  " + _as_json(record) for record in records]
    write_bytes(b"[\n" + b",\n".join(rows) + b"\n]\n" if rows else b"[]\n")


def _write_rows(records: Iterable[Record], fields: Sequence[str], delimiter: str) -> None:
    """CSV as in RFC 4180, but with bare line feeds; TSV with the same quoting where a field needs it."""
    terminal = _on_terminal()
    lines = [delimiter.join(fields)]
    for record in records:
        flat = expanded(record)
        cells = ["" if flat.get(field) is None else str(flat[field]) for field in fields]
        lines.append(delimiter.join(_quoted(printable(cell) if terminal else cell, delimiter) for cell in cells))
    write_bytes(_NO_TEXT.sub("\ufffd", "".join(line + "\n" for line in lines)).encode("utf-8"))


def _quoted(cell: str, delimiter: str) -> str:
    """Quotes where the field needs them. The csv module of Python 3.11 leaves a lone carriage return bare."""
    if any(character in cell for character in (delimiter, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _write_paths(records: Iterable[Record], *, end: bytes, raw: bool) -> None:
    seen: set[bytes] = set()
    for record in records:
        path = record["path"]
        if not isinstance(path, bytes) or path in seen:
            continue
        seen.add(path)
        text = path if raw else printable(path.decode("utf-8", errors="surrogateescape")).encode("utf-8")
        write_bytes(text + end)


def _on_terminal() -> bool:
    return sys.stdout.isatty()

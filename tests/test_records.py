"""What scripts read: every format parsed back gives the records that went in, whatever the file names hold."""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import UsageError
from clipcli.render import records
from clipcli.render.records import Record, choose_format, write_records
from clipcli.render.text import path_fields, printable, short_path

FIELDS = ("rank", "score", "path", "path_b64", "image_id", "model")

paths = st.one_of(
    st.text(min_size=1).map(lambda text: text.encode("utf-8", errors="surrogatepass")),
    st.binary(min_size=1),
    st.sampled_from([b'a,"b"\n.jpg', b"\xff\xfe.jpg", b"=1+1.jpg", "Ärger\u202egpj.exe".encode(), b"\x1b[31mred"]),
).map(lambda path: b"/" + path.replace(b"\0", b""))
made_records = st.lists(
    st.fixed_dictionaries(
        {
            "rank": st.integers(1, 99),
            "score": st.floats(-1, 1),
            "path": paths,
            "image_id": st.integers(1, 2**40),
            "model": st.text(max_size=8),
        }
    ),
    max_size=6,
)


def written(rows: Sequence[Record], *, format: str, print0: bool = False, terminal: bool = False) -> bytes:
    class Out(io.TextIOWrapper):
        def isatty(self) -> bool:
            return terminal

    raw = io.BytesIO()
    with contextlib.redirect_stdout(Out(raw, encoding="ascii")):  # the locale of a cron job
        write_records(rows, format=format, fields=FIELDS, print0=print0)
        return raw.getvalue()


def original(row: dict[str, object]) -> dict[str, object]:
    """A record as read back, with its path as bytes again."""
    encoded = row.pop("path_b64", "")
    path = str(row["path"]).encode("utf-8")
    return {**row, "path": base64.b64decode(str(encoded)) if encoded else path}


def readable(row: Record) -> Record:
    """As it can be read back: the model's name may hold half a surrogate here, which no UTF-8 file can."""
    return {**row, "model": re.sub("[\ud800-\udfff]", "\ufffd", str(row["model"]))}


@given(made_records)
def test_json_reads_back(rows: list[Record]) -> None:
    assert [original(row) for row in json.loads(written(rows, format="json"))] == [readable(row) for row in rows]


@given(made_records)
def test_ndjson_reads_back_line_by_line(rows: list[Record]) -> None:
    lines = written(rows, format="ndjson").split(b"\n")
    assert lines.pop() == b""
    assert [original(json.loads(line)) for line in lines] == [readable(row) for row in rows]


@pytest.mark.parametrize("format", ["csv", "tsv"])
@given(rows=made_records)
def test_rows_read_back(format: str, rows: list[Record]) -> None:
    text = written(rows, format=format).decode("utf-8")
    read = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="," if format == "csv" else "\t"))
    assert [original({**row}) for row in read] == [
        {key: value if key == "path" else str(value) for key, value in readable(row).items()} for row in rows
    ]


@given(made_records)
def test_print0_gives_the_very_bytes(rows: list[Record]) -> None:
    found = written(rows, format="paths", print0=True)
    assert found == b"".join(path + b"\0" for path in dict.fromkeys(row["path"] for row in rows))  # type: ignore[operator]


@given(made_records)
def test_paths_are_the_very_bytes_a_line_each(rows: list[Record]) -> None:
    rows = [row for row in rows if b"\n" not in row["path"]]  # type: ignore[operator]
    found = written(rows, format="paths").split(b"\n")
    assert found.pop() == b""
    assert found == list(dict.fromkeys(row["path"] for row in rows))


@given(made_records, st.sampled_from(["json", "ndjson", "csv", "tsv", "paths"]))
def test_a_terminal_gets_nothing_it_would_act_on(rows: list[Record], format: str) -> None:
    shown = written(rows, format=format, terminal=True).decode("utf-8")
    assert printable(shown.replace("\n", "").replace("\t", "")) == shown.replace("\n", "").replace("\t", "")


def test_the_exact_line_of_a_search() -> None:
    row = {"rank": 1, "score": 0.25, "path": "/a/ü.jpg".encode(), "image_id": 7, "model": "starter"}
    line = '{"rank": 1, "score": 0.25, "path": "/a/ü.jpg", "image_id": 7, "model": "starter"}'
    assert written([row], format="ndjson").decode() == line + "\n"
    assert written([row], format="json").decode() == f"[\n  {line}\n]\n"
    assert written([row], format="csv").decode() == (
        "rank,score,path,path_b64,image_id,model\n1,0.25,/a/ü.jpg,,7,starter\n"
    )


def test_path_b64_stands_after_the_path_and_only_where_needed() -> None:
    row = {"rank": 1, "path": b"/a/\xff.jpg", "model": "m"}
    assert list(json.loads(written([row], format="ndjson"))) == ["rank", "path", "path_b64", "model"]
    assert path_fields(b"/a/\xff.jpg") == {"path": "/a/\ufffd.jpg", "path_b64": "L2Ev/y5qcGc="}
    assert path_fields(b"/a/b.jpg") == {"path": "/a/b.jpg"}


def test_nothing_found_is_still_a_document() -> None:
    assert written([], format="json") == b"[]\n"
    assert written([], format="ndjson") == b""
    assert written([], format="csv") == b"rank,score,path,path_b64,image_id,model\n"
    assert written([], format="paths", print0=True) == b""


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        written([{"rank": 1, "score": float("nan"), "path": b"/a", "image_id": 1, "model": "m"}], format="json")


def test_print0_means_paths() -> None:
    assert choose_format(None, print0=True) == "paths"
    assert choose_format("paths", print0=True) == "paths"
    assert choose_format("csv", print0=False) == "csv"
    assert choose_format(None, print0=False) == "table"
    with pytest.raises(UsageError, match="-0"):
        choose_format("json", print0=True)


@given(st.text())
def test_printable_text_has_no_controls_and_plain_text_stays(text: str) -> None:
    shown = printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    assert printable(shown) == shown
    if text.isascii() and text.isprintable():
        assert shown == text


def test_printable_shows_bytes_that_are_no_text() -> None:
    assert printable(os.fsdecode(b"a\xff\n\t\x1b\x9b.jpg")) == "a\\xff\\n\\t\\x1b\\x9b.jpg"


def test_short_paths_start_where_the_person_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    inside = tmp_path / "photos" / "a.jpg"
    monkeypatch.chdir(tmp_path)
    assert short_path(bytes(inside)) == os.path.join("photos", "a.jpg")
    assert short_path(bytes(home / "b.jpg")) == os.path.join("~", "b.jpg")
    assert short_path(b"/elsewhere/c.jpg") == "/elsewhere/c.jpg"
    assert short_path(bytes(tmp_path) + b"-other/c.jpg").endswith("-other/c.jpg")
    assert short_path(bytes(tmp_path) + b"-other/c.jpg").startswith("/")


def test_records_are_expanded_once() -> None:
    assert records.expanded({"path": b"/a", "label": "x"}) == {"path": "/a", "label": "x"}


@pytest.mark.parametrize("format", ["json", "ndjson", "csv", "tsv"])
def test_bytes_that_are_no_text_are_one_character_for_scripts_and_an_escape_for_people(format: str) -> None:
    name = b"caf\xe9.jpg"
    row = {"rank": 1, "path": name, "model": os.fsdecode(name), "tags": [os.fsdecode(name)]}
    shown = written([row], format=format).decode("utf-8")
    assert shown.count("caf\ufffd.jpg") == (3 if "json" in format else 2)  # no column of tags
    assert base64.b64encode(name).decode() in shown
    assert "\\" not in shown
    assert printable(os.fsdecode(name)) == "caf\\xe9.jpg"

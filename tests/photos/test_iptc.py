"""Dates in IPTC records, written as agencies do, into real files."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from clipcli.photos.decode import decode
from clipcli.photos.facts import Facts
from clipcli.photos.iptc import iptc_date, iptc_record


def field(number: int, value: bytes, record: int = 2) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def record(date: bytes = b"20190314", time: bytes | None = b"154500+0100") -> bytes:
    time_created = b"" if time is None else field(60, time)
    return field(90, b"\x1b%G", 1) + field(5, b"a title") + field(55, date) + time_created + field(25, b"harbour")


def in_jpeg(iptc: bytes, **options: Any) -> Facts:
    """An APP13 segment with the resource 0x0404 before the rest of the picture."""
    plain = io.BytesIO()
    Image.new("RGB", (16, 12), "navy").save(plain, format="JPEG", **options)
    padded = iptc + b"\0" * (len(iptc) % 2)
    resource = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(iptc)) + padded
    segment = b"Photoshop 3.0\0" + resource
    content = plain.getvalue()
    return decode(
        io.BytesIO(content[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + content[2:]),
        mtime_ns=1_600_000_000_000_000_000,
    )[1]


@pytest.mark.parametrize(
    ("date", "time", "taken"),
    [
        (b"20190314", b"154500+0100", "2019-03-14T15:45:00+01:00"),
        (b"20190314", b"154500-0530", "2019-03-14T15:45:00-05:30"),
        (b"20190314", b"154500", "2019-03-14T15:45:00"),
        (b"20190314", b"15:45:00+01:00", "2019-03-14T15:45:00+01:00"),
        (b"2019-03-14", b"1545", "2019-03-14T15:45:00"),
        (b"20190314", None, "2019-03-14T00:00:00"),
        (b"20190314", b"??????", "2019-03-14T00:00:00"),
    ],
)
def test_dates(date: bytes, time: bytes | None, taken: str) -> None:
    found = in_jpeg(record(date, time))
    assert (found.taken_at, found.taken_from) == (taken, "xmp")


@pytest.mark.parametrize("date", [b"00000000", b"20190000", b"", b"soon", b"17000101"])
def test_no_dates(date: bytes) -> None:
    assert in_jpeg(record(date)).taken_from == "file"


def test_exif_and_xmp_come_first() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2001:01:01 01:01:01"
    assert in_jpeg(record(), exif=exif).taken_at == "2001-01-01T01:01:01"
    xmp = b"<rdf:Description photoshop:DateCreated='2011-05-06T07:08:09'/>"
    assert in_jpeg(record(), xmp=xmp).taken_at == "2011-05-06T07:08:09"
    changed = Image.Exif()
    changed[0x0132] = "2022:02:02 02:02:02"  # when it was changed last counts less
    assert in_jpeg(record(), exif=changed).taken_at == "2019-03-14T15:45:00+01:00"


@pytest.mark.parametrize("order", ["bytes", "<", ">"])
def test_tiff(order: str) -> None:
    """As bytes, and as the numbers of four bytes that Photoshop declares them to be."""
    iptc = record()
    iptc += b"\0" * (-len(iptc) % 4)
    if order == "bytes":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[33723] = iptc
        tags.tagtype[33723] = 7
        buffer = io.BytesIO()
        Image.new("RGB", (16, 12), "navy").save(buffer, format="TIFF", tiffinfo=tags)
        buffer.seek(0)
        assert decode(buffer)[1].taken_at == "2019-03-14T15:45:00+01:00"
        return
    numbers = struct.unpack(f"{order}{len(iptc) // 4}I", iptc)
    assert iptc_date(iptc_record({}, {33723: numbers})) == "2019:03:14 15:45:00+0100"


@given(st.binary(max_size=200), st.integers(0, 60))
def test_anything_is_read_without_an_error(junk: bytes, cut: int) -> None:
    for broken in (junk, record()[:cut], record()[:cut] + junk, b"\x1c\x02\x37\xff\xff" + junk):
        found = iptc_date(iptc_record({"photoshop": {0x0404: broken}}, {}))
        assert found is None or found.startswith(tuple("0123456789"))

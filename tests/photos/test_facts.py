"""What metadata says: dates, cameras, places as real cameras write them, and what is left out as nonsense."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from clipcli.photos.decode import decode
from clipcli.photos.facts import Facts, parse_date

MAIN = {"make": 0x010F, "model": 0x0110, "orientation": 0x0112, "changed": 0x0132}
EXIF = {"taken": 0x9003, "digitized": 0x9004, "zone": 0x9011, "lens_make": 0xA433, "lens": 0xA434}
GPS = {"lat_ref": 1, "lat": 2, "lon_ref": 3, "lon": 4}
MTIME_NS = 1_600_000_000 * 10**9  # 2020-09-13T12:26:40Z


def facts(format: str = "JPEG", *, xmp: bytes | None = None, size: tuple[int, int] = (40, 20), **tags: Any) -> Facts:
    exif = Image.Exif()
    for name, value in tags.items():
        if name in MAIN:
            exif[MAIN[name]] = value
        elif name in EXIF:
            exif.get_ifd(0x8769)[EXIF[name]] = value
        else:
            exif.get_ifd(0x8825)[GPS[name]] = value
    if format == "TIFF":  # Pillow writes a TIFF's further tables only where their tag is set
        for tag in (0x8769, 0x8825):
            exif[tag] = exif.get_ifd(tag)
    buffer = io.BytesIO()
    extra = {"xmp": xmp} if xmp else {}
    Image.new("RGB", size, (9, 99, 9)).save(buffer, format=format, exif=exif, **extra)
    buffer.seek(0)
    return decode(buffer, mtime_ns=MTIME_NS)[1]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_all_of_it_in_each_format(format: str) -> None:
    found = facts(
        format,
        make="Canon",
        model="Canon EOS 5D",
        orientation=6,
        taken="2021:07:04 12:30:05",
        zone="+02:00",
        lens_make="Sigma",
        lens="35mm F1.4",
        lat_ref="S",
        lat=(51.0, 30.0, 36.0),
        lon_ref="W",
        lon=(0.0, 7.0, 12.0),
    )
    assert found == Facts(
        width=20,
        height=40,
        format=format,
        orientation=6,
        frames=1,
        taken_at="2021-07-04T12:30:05+02:00",
        taken_from="exif",
        camera="Canon EOS 5D",
        lens="Sigma 35mm F1.4",
        latitude=-51.51,
        longitude=-0.12,
    )


def test_size_is_the_whole_pictures_even_when_it_was_decoded_smaller() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (800, 600)).save(buffer, format="JPEG")
    buffer.seek(0)
    picture, found = decode(buffer, hint=32)
    assert (found.width, found.height) == (800, 600)
    assert picture.size == (100, 75)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("Apple", "iPhone 12 mini", "Apple iPhone 12 mini"),
        ("SONY\0\0", "  DSC-RX100  ", "SONY DSC-RX100"),
        ("", "X100", "X100"),
        ("Leica", "", "Leica"),
        ("\x1b[31mred\n", "line", "[31mred line"),
    ],
)
def test_cameras(make: str, model: str, camera: str) -> None:
    assert facts(make=make, model=model).camera == camera


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2021:07:04 12:30:05", "2021-07-04T12:30:05"),
        ("2021-07-04T12:30:05Z", "2021-07-04T12:30:05Z"),
        ("2021:07:04 12:30:05.123+0530", "2021-07-04T12:30:05+05:30"),
        ("2021:07:04 12:30:60", "2021-07-04T12:30:59"),
        ("2021:07:04", "2021-07-04T00:00:00"),
        ("2021/7/4 9:05", "2021-07-04T09:05:00"),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("2021:13:40 12:00:00", None),
        ("1601:01:01 00:00:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_dates(written: str | None, read: str | None) -> None:
    assert parse_date(written) == read


def test_which_date_counts() -> None:
    assert facts(taken="2001:01:01 01:01:01", changed="2002:02:02 02:02:02").taken_at == "2001-01-01T01:01:01"
    assert facts(taken="0000:00:00 00:00:00", digitized="2003:03:03 03:03:03").taken_at == "2003-03-03T03:03:03"
    assert facts(changed="2002:02:02 02:02:02").taken_at == "2002-02-02T02:02:02"
    xmp = b"<rdf:Description photoshop:DateCreated='2011-05-06T07:08:09+01:00'/>"
    assert facts(xmp=xmp).taken_at == "2011-05-06T07:08:09+01:00"
    assert facts(xmp=xmp).taken_from == "xmp"
    assert facts(xmp=b"<xmp:CreateDate>2012-01-02</xmp:CreateDate>").taken_at == "2012-01-02T00:00:00"
    by_file = facts()
    assert (by_file.taken_at, by_file.taken_from) == ("2020-09-13T12:26:40Z", "file")


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), None),
        ((91.0, 0.0, 0.0), (1.0, 0.0, 0.0), None),
        ((IFDRational(1, 0), 0.0, 0.0), (1.0, 0.0, 0.0), None),
        ((10.0, 30.0, 0.0), (20.0, 15.0, 0.0), (10.5, 20.25)),
    ],
)
def test_places(latitude: Any, longitude: Any, place: tuple[float, float] | None) -> None:
    found = facts("TIFF", lat_ref="N", lat=latitude, lon_ref="E", lon=longitude)
    assert (found.latitude, found.longitude) == (place or (None, None))


def test_facts_refuse_nonsense() -> None:
    for wrong in (
        {"width": 0},
        {"orientation": 9},
        {"latitude": 1.0},
        {"taken_at": "2021-07-04T12:30:05"},
    ):
        with pytest.raises(ValueError, match=r"."):
            Facts(**{"width": 1, "height": 1, "format": "PNG", **wrong})  # type: ignore[arg-type]

"""Metadata as cameras, phones and programs really write it: who took a picture, with what, when and where."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from clipcli.photos.decode import decode
from clipcli.photos.facts import Facts
from clipcli.photos.xmp import xmp_place, xmp_values

MAIN_DATE, ORIGINAL, DIGITIZED = 0x0132, 0x9003, 0x9004
ZONE, ZONE_ORIGINAL, ZONE_DIGITIZED = 0x9010, 0x9011, 0x9012
SUBSEC_ORIGINAL, SPECIFICATION, LENS_MAKE, LENS = 0x9291, 0xA432, 0xA433, 0xA434
MTIME_NS = 1_600_000_000 * 10**9


def facts(
    main: dict[int, Any] | None = None,
    detail: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
    *,
    xmp: str = "",
) -> Facts:
    exif = Image.Exif()
    exif.update(main or {})
    exif.get_ifd(0x8769).update(detail or {})
    exif.get_ifd(0x8825).update(gps or {})
    buffer = io.BytesIO()
    extra = {"xmp": packet(xmp)} if xmp else {}
    Image.new("RGB", (8, 6)).save(buffer, "JPEG", exif=exif, **extra)
    buffer.seek(0)
    return decode(buffer, mtime_ns=MTIME_NS)[1]


def packet(content: str) -> bytes:
    return (
        "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF "
        "xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about='' "
        f"{content}</rdf:Description></rdf:RDF></x:xmpmeta>{' ' * 2000}<?xpacket end='w'?>"
    ).encode()


@pytest.mark.parametrize(
    ("make", "model", "lens_make", "lens", "camera", "shown"),
    [
        ("Canon", "Canon EOS R5", None, "RF24-105mm F4 L IS USM", "Canon EOS R5", "RF24-105mm F4 L IS USM"),
        ("NIKON CORPORATION", "NIKON Z 6", "NIKON", "NIKKOR Z 50mm f/1.8", "NIKON Z 6", "NIKON NIKKOR Z 50mm f/1.8"),
        ("SONY", "ILCE-7M3", None, "FE 28-70mm F3.5-5.6 OSS", "SONY ILCE-7M3", "FE 28-70mm F3.5-5.6 OSS"),
        (
            "Apple", "iPhone 12 mini", "Apple", "iPhone 12 mini back dual wide camera 4.2mm f/1.6",
            "Apple iPhone 12 mini", "Apple iPhone 12 mini back dual wide camera 4.2mm f/1.6",
        ),
        (
            "Google", "Pixel 7", "Google", "Pixel 7 back camera 6.81mm f/1.85",
            "Google Pixel 7", "Google Pixel 7 back camera 6.81mm f/1.85",
        ),
        ("samsung", "SM-G991B", None, "", "samsung SM-G991B", None),
        ("FUJIFILM", "X-T3", "FUJIFILM", "XF35mmF1.4 R", "FUJIFILM X-T3", "FUJIFILM XF35mmF1.4 R"),
        ("OLYMPUS IMAGING CORP.  ", "E-M1            ", None, "M.12-40mm F2.8", "OLYMPUS E-M1", "M.12-40mm F2.8"),
        ("EASTMAN KODAK COMPANY", "KODAK EASYSHARE C813", None, None, "KODAK EASYSHARE C813", None),
        ("RICOH IMAGING COMPANY, LTD.", "GR III", None, None, "RICOH GR III", None),
        ("CASIO COMPUTER CO.,LTD.", "EX-Z750", None, None, "CASIO EX-Z750", None),
        ("Leica Camera AG", "LEICA Q2", None, "SUMMILUX 1:1.7/28 ASPH.", "LEICA Q2", "SUMMILUX 1:1.7/28 ASPH."),
        ("Panasonic", "DC-S5", None, "----", "Panasonic DC-S5", None),
        ("HUAWEI", "HUAWEI P30", None, "0.0 mm f/0.0", "HUAWEI P30", None),
        ("Google", "Pixel 3", "Google", "", "Google Pixel 3", None),
    ],
)  # fmt: skip
def test_cameras_and_lenses(
    make: str, model: str, lens_make: str | None, lens: str | None, camera: str, shown: str | None
) -> None:
    detail = {tag: value for tag, value in ((LENS_MAKE, lens_make), (LENS, lens)) if value is not None}
    found = facts({0x010F: make, 0x0110: model}, detail)
    assert found.camera == camera
    assert found.lens == shown


def rationals(*values: tuple[int, int]) -> tuple[IFDRational, ...]:
    return tuple(IFDRational(*value) for value in values)


@pytest.mark.parametrize(
    ("specification", "lens"),
    [
        (((18, 1), (55, 1), (35, 10), (56, 10)), "18-55mm f/3.5-5.6"),
        (((50, 1), (50, 1), (18, 10), (18, 10)), "50mm f/1.8"),
        (((24, 1), (70, 1), (0, 0), (0, 0)), "24-70mm"),
        (((0, 0), (0, 0), (0, 0), (0, 0)), None),
        (((55, 1), (18, 1), (35, 10), (56, 10)), None),
    ],
)
def test_a_lens_that_says_only_what_it_can(specification: tuple[tuple[int, int], ...], lens: str | None) -> None:
    assert facts(None, {SPECIFICATION: rationals(*specification)}).lens == lens
    assert facts(None, {SPECIFICATION: rationals(*specification), LENS: "Own name"}).lens == "Own name"


DAY = "2021:07:04 12:30:05"


@pytest.mark.parametrize(
    ("main", "detail", "taken"),
    [
        # Pixel, Apple: all dates alike, each with its zone and parts of seconds
        ({MAIN_DATE: DAY}, {ORIGINAL: DAY, ZONE_ORIGINAL: "+02:00", ZONE: "+02:00", SUBSEC_ORIGINAL: "047"}, "+02:00"),
        # Samsung, some Sony: the zone stands beside another of the same dates
        ({MAIN_DATE: DAY}, {ORIGINAL: DAY, ZONE: "-08:00"}, "-08:00"),
        ({}, {ORIGINAL: DAY, DIGITIZED: DAY, ZONE_DIGITIZED: "+05:30"}, "+05:30"),
        # changed by a program somewhere else afterwards: its zone says nothing about the picture
        ({MAIN_DATE: "2022:01:01 00:00:00"}, {ORIGINAL: DAY, ZONE: "-08:00"}, ""),
        # the time zone of TIFF/EP, as old Nikons have it
        ({}, {ORIGINAL: DAY, 0x882A: -3}, "-03:00"),
        ({}, {ORIGINAL: DAY, 0x882A: (2, 1)}, "+02:00"),
        ({}, {ORIGINAL: DAY, 0x882A: 99}, ""),
        # a clock without a zone writes blanks
        ({}, {ORIGINAL: DAY, ZONE_ORIGINAL: "   :  "}, ""),
        ({}, {ORIGINAL: DAY, ZONE_ORIGINAL: "+25:00"}, ""),
        ({}, {ORIGINAL: DAY, ZONE_ORIGINAL: "Z"}, "Z"),
        ({}, {ORIGINAL: DAY + "+01:00", ZONE_ORIGINAL: "+02:00"}, "+01:00"),
    ],
)
def test_dates_and_their_zones(main: dict[int, Any], detail: dict[int, Any], taken: str) -> None:
    found = facts(main, detail)
    assert (found.taken_at, found.taken_from) == ("2021-07-04T12:30:05" + taken, "exif")


def test_taken_before_scanned_before_changed() -> None:
    """A print of 1985, scanned in 2020, worked on in 2022."""
    scanned = {MAIN_DATE: "2022:02:02 02:02:02"}, {DIGITIZED: "2020:01:01 01:01:01"}
    xmp = 'xmp:CreateDate="2020-01-01T01:01:01" photoshop:DateCreated="1985-08-01">'
    assert (facts(*scanned, xmp=xmp).taken_at, facts(*scanned, xmp=xmp).taken_from) == ("1985-08-01T00:00:00", "xmp")
    assert facts(*scanned).taken_at == "2020-01-01T01:01:01"
    assert facts(scanned[0], xmp='xmp:CreateDate="2020-03-03T03:03:03Z">').taken_at == "2020-03-03T03:03:03Z"
    assert facts(scanned[0]).taken_at == "2022-02-02T02:02:02"
    assert facts(None, {ORIGINAL: DAY}, xmp=xmp).taken_at == "2021-07-04T12:30:05"
    year = facts(xmp='photoshop:DateCreated="1985">')  # too little to be a date: the file's time, and that is said
    assert year.taken_from == "file"


@pytest.mark.parametrize(
    ("gps", "place"),
    [
        ({1: "S", 2: ((33, 1), (51, 1), (3600, 100)), 3: "E", 4: ((151, 1), (12, 1), (0, 1))}, (-33.86, 151.2)),
        ({1: "N", 2: ((48, 1), (515166, 10000), (0, 0)), 3: "W", 4: ((0, 1), (75, 10), (0, 0))}, (48.85861, -0.125)),
        ({1: "N", 2: ((0, 0), (0, 0), (0, 0)), 3: "E", 4: ((0, 0), (0, 0), (0, 0))}, None),
        ({1: "N", 2: ((48, 1), (30, 0), (0, 1)), 3: "E", 4: ((2, 1), (0, 1), (0, 1))}, None),
        ({1: "N", 2: ((0, 1), (0, 1), (0, 1)), 3: "E", 4: ((0, 1), (0, 1), (0, 1))}, None),
        ({2: ((48, 1), (30, 1), (0, 1)), 4: ((2, 1), (0, 1), (0, 1))}, (48.5, 2.0)),
        ({1: "S\0", 2: ((48, 1), (30, 1), (0, 1)), 3: "West", 4: ((2, 1), (0, 1), (0, 1))}, (-48.5, -2.0)),
        ({1: "N", 2: ((95, 1), (0, 1), (0, 1)), 3: "E", 4: ((2, 1), (0, 1), (0, 1))}, None),
        ({1: "N", 3: "E"}, None),
    ],
)
def test_places(gps: dict[int, Any], place: tuple[float, float] | None) -> None:
    written = {tag: rationals(*value) if isinstance(value, tuple) else value for tag, value in gps.items()}
    found = facts(gps=written)
    if place is None:
        assert (found.latitude, found.longitude) == (None, None)
    else:
        assert (found.latitude, found.longitude) == (pytest.approx(place[0], abs=1e-6), pytest.approx(place[1]))


LIGHTROOM = (
    'tiff:Make="NIKON CORPORATION" tiff:Model="NIKON D850" aux:Lens="24-70mm f/2.8 &quot;E&quot;" '
    'exif:GPSLatitude="48,51.516N" exif:GPSLongitude="2,17,40.2W" photoshop:DateCreated="2021-07-04T12:30:05.12+02:00">'
)
ELEMENTS = (
    "><tiff:Make>NIKON CORPORATION</tiff:Make>\n <tiff:Model>NIKON D850</tiff:Model><exifEX:LensModel>\n  24-70mm "
    "f/2.8 &#34;E&#34;</exifEX:LensModel><exif:GPSLatitude>48,51.516N</exif:GPSLatitude><exif:GPSLongitude>2,17,40.2W"
    "</exif:GPSLongitude><exif:DateTimeOriginal><rdf:Seq> <rdf:li xml:lang='x'>2021-07-04T12:30:05+02:00</rdf:li>"
    "</rdf:Seq></exif:DateTimeOriginal>"
)


@pytest.mark.parametrize("xmp", [LIGHTROOM, ELEMENTS])
def test_what_only_xmp_says(xmp: str) -> None:
    found = facts(xmp=xmp)
    assert (found.camera, found.lens) == ("NIKON D850", '24-70mm f/2.8 "E"')
    assert (found.taken_at, found.taken_from) == ("2021-07-04T12:30:05+02:00", "xmp")
    assert (found.latitude, found.longitude) == (pytest.approx(48.8586), pytest.approx(-2.2945))
    own = facts({0x010F: "Apple", 0x0110: "iPhone 13"}, xmp=xmp)
    assert own.camera == "Apple iPhone 13"  # EXIF first, fact by fact
    assert own.taken_from == "xmp"


def test_a_screenshot() -> None:
    """As a phone saves one: a PNG, a date in XMP and nothing else; and one turned by XMP alone."""
    written = PngInfo()
    content = 'exif:UserComment="Screenshot" photoshop:DateCreated="2023-01-02T03:04:05" tiff:Orientation="6">'
    written.add_itxt("XML:com.adobe.xmp", packet(content).decode())
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "PNG", pnginfo=written)
    buffer.seek(0)
    picture, found = decode(buffer, mtime_ns=MTIME_NS)
    assert (found.taken_at, found.taken_from) == ("2023-01-02T03:04:05", "xmp")
    assert (found.orientation, found.width, found.height, picture.size) == (6, 6, 8, (6, 8))


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        ("48,30N", "2,15,36E", (48.5, 2.26)),
        ("48.5N", "2E", None),
        ("48,30E", "2,15N", None),
        ("91,0N", "2,0E", None),
        ("0,0N", "0,0E", None),
        ("48N", "2W", (48.0, -2.0)),
        ("", "2,0E", None),
    ],
)
def test_places_in_xmp(latitude: str, longitude: str, place: tuple[float, float] | None) -> None:
    assert xmp_place(f'exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}"') == place


def test_a_packet_made_to_take_long_does_not() -> None:
    started = time.perf_counter()
    for bad in ("tiff:Model>" * 50_000, "tiff:Model>" + " " * 500_000, 'tiff:Model="' * 50_000, "tiff:Model" * 50_000):
        xmp_values(bad, "tiff:Model")
    assert time.perf_counter() - started < 5
    assert xmp_values("<tiff:Model>a</tiff:Model> b <tiff:ModelX>c", "tiff:Model") == ["a"]

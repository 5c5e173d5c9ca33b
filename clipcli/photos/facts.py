"""What a picture's metadata says: when, with what, where. Each fact by itself; a broken one is left out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from clipcli.photos.iptc import iptc_date, iptc_record
from clipcli.photos.xmp import xmp_packet, xmp_place, xmp_values

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

__all__ = ["ORIENTATION", "Facts", "exif_of", "orientation_of", "read_facts"]

# Tags of EXIF 2.32: table 4 (TIFF), tables 7 and 8 (Exif), table 15 (GPS).
ORIENTATION = 0x0112
_MAKE, _MODEL, _DATE_TIME = 0x010F, 0x0110, 0x0132
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_DATE_ORIGINAL, _DATE_DIGITIZED = 0x9003, 0x9004
_OFFSET, _OFFSET_ORIGINAL, _OFFSET_DIGITIZED = 0x9010, 0x9011, 0x9012
_TIME_ZONE = 0x882A  # of TIFF/EP: hours
_LENS_SPECIFICATION, _LENS_MAKE, _LENS_MODEL = 0xA432, 0xA433, 0xA434
_ZONES = {_DATE_ORIGINAL: _OFFSET_ORIGINAL, _DATE_DIGITIZED: _OFFSET_DIGITIZED, _DATE_TIME: _OFFSET}
_MAKE_MODEL = ("Make", "Model")
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4

_DATE = re.compile(r"(\d{4})[:\-/.](\d{1,2})[:\-/.](\d{1,2})(?:[ T]+(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?)?")
_ZONE = re.compile(r"([+-])(\d{2}):?(\d{2})|Z")
# What is left of a maker's name is what people call it.
_COMPANY = re.compile(
    r"[\s,.]+(?:corp|corporation|company|co|ltd|inc|ag|gmbh|imaging|optical|electric|computer|techwin)\.?,?$",
    re.IGNORECASE,
)
_NO_LENS = re.compile(r"[^A-Za-z1-9]*$|0(?:\.0+)? ?mm|unknown\b", re.IGNORECASE)
_EARLIEST_YEAR, _LATEST_YEAR = 1826, 2100  # the oldest surviving photograph; beyond the latest a clock is wrong
_MAX_TEXT = 120

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """`width` and `height` as seen upright. `taken_at` is ISO 8601, with a zone only where one is known.

    `taken_from` says whether the date is the metadata's ("exif"; "xmp", which takes IPTC in) or the file's ("file").
    `frames` is how many can be read of a moving picture or one of several pages, None where nobody counted.
    `truncated`: the file is cut short, and this is what is left of it.
    """

    width: int
    height: int
    format: str
    orientation: int = 1
    taken_at: str | None = None
    taken_from: str | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    frames: int | None = None
    truncated: bool = False

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a picture of {self.width} x {self.height} pixels")
        if self.orientation not in range(1, 9):
            raise ValueError(f"orientation {self.orientation} is not one of 1 to 8")
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude come together")
        if (self.taken_at is None) != (self.taken_from is None):
            raise ValueError("a date has an origin")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"a picture of {self.frames} frames")


def exif_of(image: Image) -> Exif:
    """The picture's EXIF tags, as many of them as can be read."""
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001 - metadata raises anything
        from PIL.Image import Exif

        return Exif()


def orientation_of(exif: Exif) -> int:
    """1 to 8; 1 where the tag is missing or makes no sense."""
    said = _or_else(1, lambda: exif.get(ORIENTATION, 1))
    return said if isinstance(said, int) and said in range(1, 9) else 1


def read_facts(exif: Exif, info: Mapping[Any, Any], *, size: tuple[int, int], format: str, mtime_ns: int) -> Facts:
    """The facts of a picture: `info` is what Pillow keeps beside EXIF, `mtime_ns` 0 means the file's time is unknown.

    EXIF comes before XMP, and that before IPTC, fact by fact. Which way up `width` and `height` are is left to the
    caller, who turns the picture.
    """
    main: Mapping[int, Any] = exif
    detail: Mapping[int, Any] = _or_else({}, lambda: exif.get_ifd(_EXIF_IFD))
    gps: Mapping[int, Any] = _or_else({}, lambda: exif.get_ifd(_GPS_IFD))
    xmp = _or_else("", lambda: xmp_packet(info))
    # pi-heif turns the picture itself and keeps what the file said under a name of its own.
    turned = info.get("original_orientation")
    orientation = turned if isinstance(turned, int) and turned in range(1, 9) else orientation_of(exif)
    iptc = _or_else(b"", lambda: iptc_record(info, main))
    taken_at, taken_from = _taken(xmp, iptc, main, detail, mtime_ns)
    place = _or_else(None, lambda: _place(gps)) or _or_else(None, lambda: xmp_place(xmp))
    return Facts(
        width=size[0],
        height=size[1],
        format=format,
        orientation=orientation,
        taken_at=taken_at,
        taken_from=taken_from,
        camera=_or_else(None, lambda: _maker_and_model(main.get(_MAKE), main.get(_MODEL)))
        or _or_else(None, lambda: _maker_and_model(*(_first(xmp_values(xmp, f"tiff:{name}")) for name in _MAKE_MODEL))),
        lens=_or_else(None, lambda: _lens(detail.get(_LENS_MODEL), detail.get(_LENS_MAKE)))
        or _or_else(None, lambda: _specified_lens(detail.get(_LENS_SPECIFICATION)))
        or _or_else(None, lambda: _first(_lens(text) for text in xmp_values(xmp, "exifEX:LensModel", "aux:Lens"))),
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
    )


def _or_else(default: _T, read: Callable[..., _T], *arguments: object) -> _T:
    try:
        return read(*arguments)
    except Exception:  # noqa: BLE001 - metadata raises anything; one broken tag costs that tag only
        return default


def _taken(
    xmp: str, iptc: bytes, main: Mapping[int, Any], exif: Mapping[int, Any], mtime_ns: int
) -> tuple[str | None, str | None]:
    """When the picture was taken comes before when it was scanned, and that before when the file was changed last.

    The order is that of the Metadata Working Group's guidelines (2.0, 5.3, "Date/Time"). IPTC's DateCreated is the same
    field as XMP's photoshop:DateCreated, and counts as "xmp".
    """
    dates: tuple[tuple[str, Callable[[], str | None]], ...] = (
        ("exif", lambda: _exif_date(main, exif, _DATE_ORIGINAL)),
        ("xmp", lambda: _first(map(parse_date, xmp_values(xmp, "exif:DateTimeOriginal", "photoshop:DateCreated")))),
        ("xmp", lambda: parse_date(iptc_date(iptc))),
        ("exif", lambda: _exif_date(main, exif, _DATE_DIGITIZED)),
        ("xmp", lambda: _first(map(parse_date, xmp_values(xmp, "exif:DateTimeDigitized", "xmp:CreateDate")))),
        ("exif", lambda: _exif_date(main, exif, _DATE_TIME)),
    )
    for source, read in dates:
        found = _or_else(None, read)
        if found:
            return found, source
    if mtime_ns:
        moment = _or_else(None, lambda: datetime.fromtimestamp(mtime_ns // 1_000_000_000, UTC))
        if moment:
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "file"
    return None, None


def _exif_date(main: Mapping[int, Any], exif: Mapping[int, Any], tag: int) -> str | None:
    """A date with its zone. A zone may stand beside another tag with the same date: one clock showed both."""

    def date(of: int) -> str | None:
        return _or_else(None, lambda: parse_date(_text((main if of == _DATE_TIME else exif).get(of))))

    found = date(tag)
    if found is None or len(found) > len("2021-07-04T12:30:05"):  # some programs write the zone into the date
        return found
    beside = sorted(_ZONES, key=lambda each: each != tag)
    for zone in (_ZONES[each] for each in beside if each == tag or date(each) == found):
        written = _or_else(None, lambda zone: _zone(_text(exif.get(zone))), zone)
        if written:
            return found + written
    hours = exif.get(_TIME_ZONE) if tag == _DATE_ORIGINAL else None
    hours = hours[0] if isinstance(hours, tuple) and hours else hours
    if isinstance(hours, int) and -12 <= hours <= 14:
        return f"{found}{hours:+03d}:00"
    return found


def parse_date(text: str | None) -> str | None:
    """`2021:07:04 12:30:05`, and the ways cameras and programs get it slightly wrong, as ISO 8601; None if no date."""
    match = _DATE.match(text or "")
    if not text or match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    if not _EARLIEST_YEAR <= year <= _LATEST_YEAR:
        return None
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59))  # a leap second is written as 60
    except ValueError:
        return None
    return moment.isoformat(timespec="seconds") + (_zone(text[match.end() :]) or "")


def _zone(text: str | None) -> str | None:
    match = _ZONE.search(text or "")
    if match is None:
        return None
    if match.group() == "Z":
        return "Z"
    sign, hours, minutes = match.groups()
    return f"{sign}{hours}:{minutes}" if int(hours) <= 14 and int(minutes) < 60 else None


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _text(value: object) -> str | None:
    """A tag's text without the padding cameras add; None when there is nothing in it."""
    if isinstance(value, tuple) and value:
        value = value[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    kept = "".join(character if character.isprintable() else " " for character in value.split("\0")[0])
    return " ".join(kept.split())[:_MAX_TEXT] or None


def _maker_and_model(make: object, model: object) -> str | None:
    """`Canon EOS 5D`, not `Canon Canon EOS 5D`; `NIKON D90`, not `NIKON CORPORATION NIKON D90`."""
    maker, name = _text(make), _text(model)
    if not maker or not name:
        return name or maker
    if name.split()[0].lower() in maker.lower().split():
        return name
    while (shorter := _COMPANY.sub("", maker)) != maker:
        maker = shorter
    return name if name.lower().startswith(maker.lower().split()[0]) else f"{maker} {name}"


def _lens(model: object, make: object = None) -> str | None:
    """None for what cameras write of a lens they know nothing of: `----`, `0.0 mm f/0.0`, `Unknown`."""
    text = _text(model)
    return None if text is None or _NO_LENS.match(text) else _maker_and_model(make, text)


def _specified_lens(value: Any) -> str | None:
    """`18-55mm f/3.5-5.6` from shortest and longest focal length and the largest aperture at each (EXIF 2.32, A432)."""
    shortest, longest, wide, tele = (float(part) for part in value)
    if not (math.isfinite(shortest) and math.isfinite(longest) and 0 < shortest <= longest):
        return None
    lens = f"{shortest:g}mm" if shortest == longest else f"{shortest:g}-{longest:g}mm"
    if not (math.isfinite(wide) and wide > 0):
        return lens
    return f"{lens} f/{wide:g}" + (f"-{tele:g}" if math.isfinite(tele) and tele > wide else "")


def _place(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    """Degrees, north and east positive. Exactly 0, 0 is what a receiver without a fix writes."""
    latitude = _degrees(gps.get(_LATITUDE), _text(gps.get(_LATITUDE_REF)), "S", 90)
    longitude = _degrees(gps.get(_LONGITUDE), _text(gps.get(_LONGITUDE_REF)), "W", 180)
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None
    return latitude, longitude


def _degrees(parts: Any, reference: str | None, negative: str, limit: int) -> float | None:
    """Degrees, minutes and seconds (or fewer of them) as one number; None when out of range or divided by zero.

    Cameras that write minutes with decimals put 0/0 where the seconds would be.
    """
    values = [float(part) for part in (parts if isinstance(parts, tuple | list) else (parts,))]
    values[2:] = [0.0 if math.isnan(value) else value for value in values[2:]]
    if not 1 <= len(values) <= 3 or not all(math.isfinite(value) for value in values):
        return None
    degrees = float(sum(abs(value) / 60.0**place for place, value in enumerate(values)))
    if degrees > limit:
        return None
    minus = (reference or "").upper().startswith(negative) or values[0] < 0
    return round(-degrees if minus else degrees, 7)

"""What an XMP packet inside a picture says: Lightroom, screenshots and scanning programs often write nothing else.

The packet is searched, not parsed: it may be cut off, and a broken one still has its dates. Properties are written as
attributes or as elements (XMP specification part 1, 7.9.2), with the prefixes that all programs use.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["xmp_packet", "xmp_place", "xmp_values"]

_COORDINATE = re.compile(r"\s*(\d{1,3})(?:,(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?)?\s*([NSEW])\s*", re.IGNORECASE)
_MAX_CHARACTERS = 300
_MAX_PACKET = 4_000_000
# ="…" or ='…' or >…, the last also around the first item of a list. Blanks are counted: a packet may be full of them.
_VALUE = (
    r"\s{0,50}(?:=\s{0,50}(?:\"([^\"]*)\"|'([^']*)')|"
    r">\s{0,200}(?:<rdf:\w{1,9}>\s{0,200}<rdf:li[^<>]{0,200}>\s{0,200})?([^<]+))"
)


def xmp_packet(info: Mapping[Any, Any]) -> str:
    """The packet among what Pillow keeps beside a picture; empty where there is none."""
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    return packet[:_MAX_PACKET] if isinstance(packet, str) else bytes(packet[:_MAX_PACKET]).decode("utf-8", "replace")


def xmp_values(packet: str, *names: str) -> list[str]:
    """The values of properties such as `tiff:Model`, in the order of `names`; the text of a list's first item."""
    found = []
    for name in names:
        for match in re.finditer(rf"(?<!/)\b{re.escape(name)}{_VALUE}", packet):
            text = next((group for group in match.groups() if group), "")
            text = html.unescape(text[:_MAX_CHARACTERS]).strip()
            if text:
                found.append(text)
    return found


def xmp_place(packet: str) -> tuple[float, float] | None:
    """Degrees, north and east positive: `48,51.5N` or `48,51,30N` (EXIF for XMP, 4.4, "GPSCoordinate")."""
    degrees = []
    for name, limit, signs in (("exif:GPSLatitude", 90, "NS"), ("exif:GPSLongitude", 180, "EW")):
        match = next((match for text in xmp_values(packet, name) if (match := _COORDINATE.fullmatch(text))), None)
        if match is None or match[4].upper() not in signs:
            return None
        value = int(match[1]) + float(match[2] or 0) / 60 + float(match[3] or 0) / 3600
        if value > limit:
            return None
        degrees.append(round(-value if match[4].upper() in "SW" else value, 7))
    return (degrees[0], degrees[1]) if any(degrees) else None

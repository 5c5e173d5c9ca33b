"""Files that belong to a picture and lie beside it: XMP side-cars, and the camera's raw file of the same photograph.

A side-car is named after the picture (`boat.jpg.xmp`) or after its name without ending (`boat.xmp`). Of one photograph
there is one picture, with a raw file: what is named `boat` only is nobody's alone where `boat.jpg` and `boat.png` are
both there.
"""

from __future__ import annotations

import os
import stat

from clipcli.photos.formats import IMAGE_SUFFIXES, RAW_SUFFIXES

__all__ = ["companions"]

_SIDECARS = (b".xmp", b".XMP")
_RAW = tuple(sorted(case for suffix in RAW_SUFFIXES for case in (suffix, suffix.upper())))
_READY = tuple(sorted(case for suffix in IMAGE_SUFFIXES - RAW_SUFFIXES for case in (suffix, suffix.upper())))


def companions(picture: bytes) -> list[tuple[bytes, bytes]]:
    """Ordinary files beside the picture, which need not be there any more, each with what takes the place of the
    picture's path without its ending: `(b"…/boat.CR2", b".CR2")`. Names are looked for in small and in capital letters.
    """
    stem, ending = os.path.splitext(picture)
    found: dict[tuple[int, int], bytes] = {}  # where `.xmp` and `.XMP` are one file it is met twice

    def look(*endings: bytes) -> None:
        for each in endings:
            try:
                status = os.lstat(stem + each)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and stem + each != picture:
                found.setdefault((status.st_dev, status.st_ino), each)

    look(*(ending + sidecar for sidecar in _SIDECARS))
    own = len(found)
    raws = () if ending.lower() in RAW_SUFFIXES else _RAW
    look(*_SIDECARS, *raws, *(raw + sidecar for raw in raws for sidecar in _SIDECARS))
    if len(found) > own and _shared(stem, picture):
        return [(stem + each, each) for each in list(found.values())[:own]]
    return [(stem + each, each) for each in found.values()]


def _shared(stem: bytes, picture: bytes) -> bool:
    """Whether another picture has the same name but for its ending."""
    try:
        own = os.lstat(picture)
    except OSError:
        own = None
    for suffix in _READY:
        if stem + suffix != picture:
            try:
                other = os.lstat(stem + suffix)
            except OSError:
                continue
            if own is None or not os.path.samestat(own, other):
                return True
    return False

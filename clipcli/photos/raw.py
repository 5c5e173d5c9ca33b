"""A camera's raw file: the preview the camera put into it, else the sensor's own data developed (extra `raw`)."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from clipcli.errors import ImageError, pip_line

if TYPE_CHECKING:
    import rawpy
    from PIL.Image import Exif
    from PIL.Image import Image as Picture

__all__ = ["NEEDS_RAW", "RawFile", "can_read_raw", "read_raw"]

NEEDS_RAW = "needs-raw"
_LEAST_SIDE = 400  # a smaller preview is a thumbnail; the sensor has more to show
_ORIENTATION = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's `flip` -> orientation of EXIF


@dataclass(frozen=True, kw_only=True, slots=True)
class RawFile:
    """Either `preview`, a JPEG that is still to be turned, or `developed`, an upright picture.

    `size` is the sensor's picture before `orientation` (1 to 8) turns it.
    """

    size: tuple[int, int]
    orientation: int
    exif: Exif
    preview: bytes | None = None
    developed: Picture | None = None


def can_read_raw() -> bool:
    """Whether the extra is installed."""
    from importlib.util import find_spec

    return find_spec("rawpy") is not None


def read_raw(file: IO[bytes], *, least_side: int | None, judge: Callable[[tuple[int, int]], None]) -> RawFile:
    """Read a raw file; `judge` is called with its size before anything is decoded.

    A preview is taken when its shorter side has `least_side` pixels. Raises ImageError without the extra, else what
    rawpy raises.
    """
    try:
        import rawpy
    except ImportError:
        raise ImageError(f"a camera's raw file; {pip_line('raw')} reads it", reason=NEEDS_RAW) from None
    exif = _exif(file)
    file.seek(0)
    with rawpy.imread(cast(BinaryIO, file)) as raw:
        size = (int(raw.sizes.width), int(raw.sizes.height))
        judge(size)
        orientation = _ORIENTATION.get(int(raw.sizes.flip), 1)
        preview = _preview(raw, max(least_side or 0, _LEAST_SIDE))
        if preview is not None:
            return RawFile(size=size, orientation=orientation, exif=exif, preview=preview)
        from PIL import Image

        # Half the size is one pixel for each square of the colour filter: fast, and plenty for a model.
        pixels = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)  # (H, W, 3), upright
        return RawFile(size=size, orientation=orientation, exif=exif, developed=Image.fromarray(pixels))


def _preview(raw: rawpy.RawPy, least_side: int) -> bytes | None:
    import rawpy

    from clipcli.photos.formats import open_with_decoder

    try:
        thumbnail = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    if thumbnail.format != rawpy.ThumbFormat.JPEG or not isinstance(thumbnail.data, bytes):
        return None
    return thumbnail.data if min(open_with_decoder("JPEG", io.BytesIO(thumbnail.data)).size) >= least_side else None


def _exif(file: IO[bytes]) -> Exif:
    """The tags of a raw file that is a TIFF in its bones, as most are; none for the others."""
    from PIL.Image import Exif

    exif = Exif()
    try:
        file.seek(0)
        exif.load_from_fp(io.BytesIO(file.read()))
    except Exception:  # noqa: BLE001 - broken metadata never costs the picture
        return Exif()
    return exif

"""From a file to an upright RGB picture: recognised by content, bounded by its header, oriented exactly once.

Whatever goes wrong with one file is an ImageError that says why in one word; nothing else comes out.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from clipcli.errors import ImageError
from clipcli.photos.colour import to_rgb
from clipcli.photos.facts import Facts, exif_of, orientation_of, read_facts
from clipcli.photos.formats import HEAD_BYTES, RAW, declared_size, identify, open_with_decoder
from clipcli.photos.frames import MOVING, further_frames
from clipcli.photos.memory import fitting_megapixels
from clipcli.photos.quiet import no_warnings
from clipcli.photos.raw import read_raw
from clipcli.photos.refusals import TooLargeError, damage_error, file_error, judge_size
from clipcli.photos.rescue import without_metadata
from clipcli.photos.truncation import is_empty, what_is_there

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile

__all__ = ["DEFAULT_MAX_MEGAPIXELS", "TooLargeError", "decode", "decode_frames", "file_error", "open_image"]

DEFAULT_MAX_MEGAPIXELS = fitting_megapixels()

_T = TypeVar("_T")

# Orientation of EXIF (2.32, 4.6.5.1.2) -> the name of the Pillow transposition that puts the picture upright.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ON_ITS_SIDE = frozenset(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))
_TGA_FOOTER = 26
_NO_PICTURE = "not a picture in a format this program reads"


def open_image(
    source: Path | bytes | str, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS, hint: int | None = None
) -> Picture:
    """An upright RGB picture without metadata. Raises ImageError.

    `source` is a path, or the content of a file as bytes. `hint` is the side the picture will be resized to: a JPEG is
    then decoded smaller, but to at least twice that, which the resized picture does not show.
    """
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), b"", max_megapixels, hint, None, 1, _as_it_is)[0][0]
    path = os.fsencode(source)
    try:
        with open(path, "rb") as file:
            return _decode(file, path, max_megapixels, hint, None, 1, _as_it_is)[0][0]
    except OSError as error:
        raise file_error(error) from error


def decode(
    file: IO[bytes],
    *,
    name: bytes = b"",
    mtime_ns: int = 0,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    hint: int | None = None,
) -> tuple[Picture, Facts]:
    """As `open_image`, from an open file, with the facts of its metadata. `mtime_ns` stands in for a missing date."""
    (picture,), facts = decode_frames(
        file, keep=_as_it_is, name=name, mtime_ns=mtime_ns, max_megapixels=max_megapixels, hint=hint
    )
    return picture, facts


def decode_frames(
    file: IO[bytes],
    *,
    keep: Callable[[Picture], _T],
    name: bytes = b"",
    mtime_ns: int = 0,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    hint: int | None = None,
    frames: int = 1,
    accept_truncated: bool = False,
) -> tuple[list[_T], Facts]:
    """As `decode`, with up to `frames` frames spread over a moving picture; of each what `keep` makes of it.

    With `accept_truncated` a file that was cut short gives what is there of its first frame, and facts that say so;
    where that is nothing, the error's reason is "nothing-left". No other thread may decode at the same time then.
    """
    try:
        kept, facts = _decode(file, name, max_megapixels, hint, mtime_ns, frames, keep)
    except ImageError as error:
        if not accept_truncated or error.reason != "truncated":
            raise
        kept, facts = _remains(file, name, max_megapixels, hint, mtime_ns, keep, error)
    assert facts is not None
    return kept, facts


def _as_it_is(picture: Picture) -> Picture:
    """The picture in an object that carries no metadata, so that nobody can turn it again."""
    from PIL import ImageFile

    picture = picture.copy() if isinstance(picture, ImageFile.ImageFile) else picture
    picture.info = {}
    return picture


def _decode(
    file: IO[bytes],
    name: bytes,
    max_megapixels: float,
    hint: int | None,
    mtime_ns: int | None,
    frames: int,
    keep: Callable[[Picture], _T],
) -> tuple[list[_T], Facts | None]:
    """Without `mtime_ns` there are no facts, and no more than one frame."""
    with no_warnings():
        try:
            format = _identified(file, name, max_megapixels)
            if format == RAW:
                picture, facts = _developed(file, max_megapixels, hint, mtime_ns)
                return [keep(picture)], None if facts is None else replace(facts, frames=1)
            image = _opened(format, file, max_megapixels)
            picture, facts, turn = _loaded(image, hint, mtime_ns)
            first = keep(picture)
            if facts is None or format not in MOVING:
                return [first], None if facts is None else replace(facts, frames=1)
            del picture  # before the next one takes as much memory again

            def read(number: int) -> _T:
                image.seek(number)
                judge_size(image.size, max_megapixels)  # the pages of a TIFF have sizes of their own
                _load(image, hint)
                return keep(_upright(image, turn))

            kept, count = further_frames(image, frames, first, read)
            return kept, replace(facts, frames=count)
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError("not enough memory for it", reason="out-of-memory") from error
        except Exception as error:  # decoders raise anything on a damaged file
            raise damage_error(error, file) from error


def _remains(
    file: IO[bytes],
    name: bytes,
    max_megapixels: float,
    hint: int | None,
    mtime_ns: int,
    keep: Callable[[Picture], _T],
    error: ImageError,
) -> tuple[list[_T], Facts | None]:
    """What is there of a file that was cut short, as `error` said. Raises ImageError where that is nothing."""

    def unless_empty(picture: Picture) -> _T:
        if is_empty(picture):
            raise ImageError("nothing of the picture is there", reason="nothing-left")
        return keep(picture)

    file.seek(0)
    try:
        with what_is_there():
            kept, facts = _decode(file, name, max_megapixels, hint, mtime_ns, 1, unless_empty)
    except ImageError as second:
        if second.reason == "out-of-memory":
            raise
        raise ImageError(f"{error}; nothing of the picture is left", reason="nothing-left") from second
    return kept, None if facts is None else replace(facts, frames=1, truncated=True)


def _loaded(image: ImageFile, hint: int | None, mtime_ns: int | None) -> tuple[Picture, Facts | None, str | None]:
    """The first frame upright, its facts, and how it was turned."""
    size = image.size
    facts = None
    # Pillow turns a TIFF while loading it and forgets how; of a PNG the metadata may come after the pixels.
    early = image.format == "TIFF"
    if early and mtime_ns is not None:
        facts = read_facts(exif_of(image), image.info, size=size, format="TIFF", mtime_ns=mtime_ns)
    _load(image, hint)
    exif = exif_of(image)
    if early:
        size = image.size
    elif mtime_ns is not None:
        facts = read_facts(exif, image.info, size=size, format=image.format or "unknown", mtime_ns=mtime_ns)
    turn = _UPRIGHT.get(orientation_of(exif))
    if facts is not None:
        width, height = reversed(size) if turn in _ON_ITS_SIDE else size
        facts = replace(facts, width=width, height=height)
    return _upright(image, turn), facts, turn


def _developed(
    file: IO[bytes], max_megapixels: float, hint: int | None, mtime_ns: int | None
) -> tuple[Picture, Facts | None]:
    """A camera's raw file: by the preview in it where there is a good one, else developed."""
    raw = read_raw(file, least_side=2 * hint if hint else None, judge=lambda size: judge_size(size, max_megapixels))
    turn = _UPRIGHT.get(raw.orientation)
    if raw.preview is not None:
        preview = open_with_decoder("JPEG", io.BytesIO(raw.preview))
        _load(preview, hint)
        picture = _upright(preview, _UPRIGHT.get(orientation_of(exif_of(preview))) or turn)
    else:
        assert raw.developed is not None
        picture = raw.developed
    if mtime_ns is None:
        return picture, None
    width, height = reversed(raw.size) if turn in _ON_ITS_SIDE else raw.size
    facts = read_facts(raw.exif, {}, size=raw.size, format=RAW, mtime_ns=mtime_ns)
    return picture, replace(facts, width=width, height=height, orientation=raw.orientation)


def _identified(file: IO[bytes], name: bytes, max_megapixels: float) -> str:
    """The format, and the size judged where the first bytes tell it."""
    head = file.read(HEAD_BYTES)
    if not head:
        raise ImageError("the file is empty", reason="empty")
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TGA_FOOTER))
    format = identify(head, tail=file.read(_TGA_FOOTER), name=name)
    if format is None:
        raise ImageError(_NO_PICTURE, reason="not-an-image")
    judge_size(declared_size(format, head), max_megapixels)
    file.seek(0)
    return format


def _opened(format: str, file: IO[bytes], max_megapixels: float) -> ImageFile:
    """The picture with its header read and its size judged, no pixel decoded yet."""
    try:
        image = open_with_decoder(format, file)
    except MemoryError:
        raise
    except Exception as error:
        if format == "TGA":  # its name was all that spoke for it
            raise ImageError(_NO_PICTURE, reason="not-an-image") from error
        image = _rescued(format, file, error)
    judge_size(image.size, max_megapixels)
    return image


def _rescued(format: str, file: IO[bytes], error: Exception) -> ImageFile:
    """The picture opened without its metadata, where that is what the decoder stumbled over; else the error."""
    file.seek(0)
    bare = without_metadata(format, file.read())
    if bare is not None:
        try:
            return open_with_decoder(format, io.BytesIO(bare))
        except Exception:  # noqa: BLE001 - the first complaint is the one to show
            raise error from None
    raise error


def _load(image: ImageFile, hint: int | None) -> None:
    """Decode the pixels in place."""
    if hint and image.format == "JPEG":
        image.draft(None, (2 * hint, 2 * hint))
    try:
        image.load()
    except (OSError, MemoryError):
        raise
    except Exception:
        # Pillow reads a TIFF's metadata once its pixels are there, and trips over what is broken; a second call finds
        # the pixels, or raises again when there are none.
        if image.format != "TIFF" or image.tile:
            raise
        image.load()


def _upright(image: ImageFile, turn: str | None) -> Picture:
    """RGB, turned. Where there was nothing to do it is the opened file itself, which saves a copy of all pixels."""
    from PIL import Image

    picture = to_rgb(image)
    if turn is not None:
        picture = picture.transpose(Image.Transpose[turn])
    if picture is not image:
        picture.info = {}
    return picture

"""Which picture formats there are, how each is recognised by its content, and which decoder reads it.

The list is closed: Pillow knows some forty formats more, a few of which start other programs (EPS runs Ghostscript).
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = [
    "HEAD_BYTES",
    "IMAGE_SUFFIXES",
    "NEVER_PICTURES",
    "RAW",
    "RAW_SUFFIXES",
    "declared_size",
    "ends_early",
    "identify",
    "open_with_decoder",
]

HEAD_BYTES = 64
RAW = "RAW"  # a camera's own format, whichever: `clipcli.photos.raw`

# Format -> Pillow's module and class. `JpegImageFile` reads MPO as well, the first picture of it, and does not trip
# over a damaged MPO index. HEIF is pi-heif's.
_DECODERS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
    "ICO": ("IcoImagePlugin", "IcoImageFile"),
    "TGA": ("TgaImagePlugin", "TgaImageFile"),
    "QOI": ("QoiImagePlugin", "QoiImageFile"),
}

# Most of these begin like a TIFF, which they are in part; it takes the name to tell.
RAW_SUFFIXES = frozenset(
    b".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl "
    b".sr2 .srf .srw .x3f".split()
)

# A file with one of these names is taken for a picture: when it is none, it is reported.
IMAGE_SUFFIXES = RAW_SUFFIXES | frozenset(
    b".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .gif .bmp .dib .avif .avifs .heic .heics .heif "
    b".heifs .hif .jp2 .j2k .j2c .jpc .jpf .jpx .ppm .pgm .pbm .pnm .pfm .ico .tga .icb .vda .vst .qoi".split()
)

# A file with one of these names is never opened to see whether it might be a picture after all. Anything else is.
NEVER_PICTURES = frozenset(
    b".txt .md .rst .csv .tsv .json .jsonl .xml .xmp .yaml .yml .toml .ini .cfg .conf .log .html .htm .css .svg "
    b".pdf .doc .docx .odt .xls .xlsx .ods .ppt .pptx .odp .rtf .epub .tex .ps .eps .ai .psd .xcf .kra .py .pyc "
    b".ipynb .js .ts .c .h .cc .cpp .hpp .rs .go .java .class .jar .sh .bat .ps1 .rb .pl .php .sql .db .sqlite "
    b".sqlite3 .parquet .npy .npz .h5 .pt .pth .onnx .safetensors .bin .so .dll .exe .o .a .mp4 .mov .avi .mkv "
    b".webm .m4v .mpg .mpeg .3gp .mts .m2ts .wmv .flv .mp3 .wav .flac .ogg .oga .opus .m4a .aac .wma .aiff .mid "
    b".zip .gz .bz2 .xz .zst .7z .rar .tar .tgz .iso .dmg .thm .lrv .aae .lnk .url .torrent .part .crdownload "
    b".tmp .bak .lock .ttf .otf .woff .woff2".split()
)

_TGA_SUFFIXES = frozenset((b".tga", b".icb", b".vda", b".vst"))
_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"miaf")
)
_BMP_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))  # the sizes a bitmap header can have


def identify(head: bytes, *, tail: bytes = b"", name: bytes = b"") -> str | None:
    """The format of a file that begins with `head` (64 bytes will do); None when it is no picture we read.

    Targa alone has nothing at its beginning: it is known by its footer (the last 26 bytes, `tail`), and old files
    without one by their name.
    """
    suffix = os.path.splitext(name)[1].lower()
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if _is_raw(head, suffix):
        return RAW
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if head.startswith(b"qoif"):
        return "QOI"
    if head[:1] == b"P" and head[1:2] in b"123456Ff" and head[2:3] in (b"\n", b"\r", b" ", b"\t"):
        return "PPM"
    if head[:4] == b"\0\0\1\0" and head[4:6] != b"\0\0":
        return "ICO"
    if tail.endswith(b"TRUEVISION-XFILE.\0") or suffix in _TGA_SUFFIXES:
        return "TGA"
    return None


def _is_raw(head: bytes, suffix: bytes) -> bool:
    """By a mark of its own where the maker gave it one, else by name and a beginning that goes with it."""
    if head[8:11] == b"CR\2" or head.startswith((b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")):
        return True
    if head[4:12] == b"ftypcrx ":
        return True
    return suffix in RAW_SUFFIXES and head[:2] in (b"II", b"MM", b"\0M")


def _iso_media(head: bytes) -> str | None:
    """AVIF or HEIF, by the brands in the `ftyp` box (ISO/IEC 14496-12, 4.3)."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def declared_size(format: str, head: bytes) -> tuple[int, int] | None:
    """(width, height) straight from the first bytes, for the formats whose decoder wants or allocates more to tell."""
    if format == "PNG" and head[12:16] == b"IHDR" and len(head) >= 24:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if format == "WEBP" and head[12:16] == b"VP8X" and len(head) >= 30:
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def ends_early(head: bytes, tail: bytes, size: int) -> bool:
    """Whether a file that cannot be decoded lacks the end its format has: it was cut short, not damaged inside."""
    format = identify(head)
    if format == "JPEG":
        return b"\xff\xd9" not in tail
    if format == "PNG":
        return b"IEND" not in tail
    if format == "GIF":
        return not tail.rstrip(b"\0").endswith(b";")
    return format == "WEBP" and int.from_bytes(head[4:8], "little") + 8 > size


def open_with_decoder(format: str, file: IO[bytes]) -> ImageFile:
    """The opened, not yet decoded picture. Pillow's own exceptions come through."""
    if format == "HEIF":
        return _open_heif(file)
    module, name = _DECODERS[format]
    decoder: type[ImageFile] = getattr(import_module(f"PIL.{module}"), name)
    return decoder(file)


def _open_heif(file: IO[bytes]) -> ImageFile:
    """pi-heif is imported when the first such file turns up: it costs a library most people's folders never need."""
    from PIL import Image

    if "HEIF" not in Image.OPEN:
        import pi_heif

        pi_heif.register_heif_opener(thumbnails=False)
    opened = Image.OPEN["HEIF"][0](file, "")
    return opened

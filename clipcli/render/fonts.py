"""Which installed fonts have which letters: file names and labels come in every writing there is.

What no font has is spelled out, so that it can still be read: `[cat face]` for a symbol, `\\u65e5` for a letter.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "COLOURED",
    "FIRST",
    "FURTHER",
    "font_files",
    "font_with",
    "missing_letters",
    "spelled_out",
    "stays_with_the_one_before",
]

# By file name, as systems bring them. The first of FIRST that is there writes everything it has letters for.
FIRST = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "segoeui.ttf",
    "Arial.ttf",
    "Helvetica.ttc",
    "LiberationSans-Regular.ttf",
)
FURTHER = (
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "Hiragino Sans GB.ttc",
    "PingFang.ttc",
    "AppleSDGothicNeo.ttc",
    "msyh.ttc",
    "YuGothR.ttc",
    "malgun.ttf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "Nirmala.ttf",
    "LeelawUI.ttf",
    "Arial Unicode.ttf",
    "unifont.otf",
    "NotoSansSymbols2-Regular.ttf",
    "NotoEmoji-Regular.ttf",
    "seguisym.ttf",
    "Symbola.ttf",
)
COLOURED = ("NotoColorEmoji.ttf", "seguiemj.ttf", "Apple Color Emoji.ttc")


_MOST_TOLD = 12
_spelled_letters: dict[str, None] = {}
_in_vain: set[int] = set()  # blocks of 256 characters


@functools.cache
def font_files() -> dict[str, Path]:
    """Every font file of this computer that is named above, by its name."""
    wanted = {*FIRST, *FURTHER, *COLOURED}
    found: dict[str, Path] = {}
    for folder in _folders():
        for place, _, names in os.walk(folder):
            for name in wanted.intersection(names):
                found.setdefault(name, Path(place) / name)
    return found


@functools.lru_cache(maxsize=256)
def font_with(character: str) -> Path | None:
    """Any other font of outlines that is said to have the character, where fontconfig can be asked (Linux, mostly).

    Nobody is asked twice about the same block of writing that no font here has.
    """
    asked = shutil.which("fc-list")
    if asked is None or stays_with_the_one_before(character) or ord(character) >> 8 in _in_vain:
        return None
    pattern = f":charset={ord(character):x}:outline=true:color=false"
    try:
        done = subprocess.run([asked, pattern, "file"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    files = sorted(line.rstrip(b": ") for line in done.stdout.splitlines() if line.strip())
    if not files:
        _in_vain.add(ord(character) >> 8)
        return None
    # Rather a plain one than a slanted or bold one, which have longer names.
    return Path(os.fsdecode(min(files, key=lambda file: (b"Regular" not in file, len(file), file))))


def missing_letters() -> str:
    """Which letters had to be spelled out since this was asked last, for a person; empty for none."""
    letters = "".join(_spelled_letters)
    _spelled_letters.clear()
    return letters if len(letters) <= _MOST_TOLD else f"{letters[:_MOST_TOLD]} and {len(letters) - _MOST_TOLD:,} more"


def _folders() -> Iterator[Path]:
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
        yield Path(os.environ.get("LOCALAPPDATA", "")) / "Microsoft" / "Windows" / "Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts")
    else:
        yield Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "fonts"
        yield home / ".fonts"
        for shared in (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":"):
            yield Path(shared) / "fonts"
    package = find_spec("matplotlib")  # the extra 'plot' brings DejaVu Sans; it is found, not imported
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "mpl-data" / "fonts" / "ttf"


def spelled_out(text: str, has: Callable[[str], bool]) -> str:
    """The text with each character that `has` denies written in plain letters."""
    return "".join(
        each if has(each) or each.isspace() else "" if stays_with_the_one_before(each) else _spelled(each)
        for each in text
    )


def stays_with_the_one_before(character: str) -> bool:
    """Whether it only changes the character before it: accents, joiners, variation selectors, skin tones."""
    return unicodedata.category(character) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= character <= "\U0001f3ff"


def _spelled(character: str) -> str:
    if unicodedata.category(character).startswith("S"):
        name = unicodedata.name(character, "")
        if name:
            return f"[{name.lower()}]"
    _spelled_letters.setdefault(character)
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""What the tests of the page look at: a small library with something of everything, served by the real command."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from tests.tiny_bundle import COLOURS, make_tiny_bundle

__all__ = ["HOSTILE_CAMERA", "HOSTILE_NAMES", "Site", "chromium", "library_of", "serving"]

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Names that would do something on a page that trusted them. None has a slash: these are files.
HOSTILE_NAMES = (
    "<img src=x onerror=hurt()>.png",
    '"><script>hurt()<∕script>.png',
    "' onmouseover='hurt()' x='.png",
    "{{7*7}} ${hurt()} `hurt()` %3Cscript%3E.png",
    "\u202egnp.exe\u202c שלום عالم.png",
    "🏖️👩‍👩‍👧 été\u0301.png",
    "long " + "very " * 44 + "name.png",
)
HOSTILE_CAMERA = "<svg onload=hurt()>"
SHAPES = ((480, 320), (320, 480), (400, 400), (640, 260), (300, 420))
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
MANY = 260  # more than the first answer of a search holds
PARIS = (48.8584, 2.2945)
_DATE, _MAKE, _MODEL, _EXIF, _GPS, _TAKEN = 306, 271, 272, 0x8769, 0x8825, 36867


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A library being served."""

    address: str  # with a slash at the end
    photos: Path
    library: Path


def chromium() -> Path | None:
    """The browser: `CHROMIUM` in the environment, or one of the usual names."""
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return Path(found) if found else None


def launch_arguments() -> list[str]:
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*CHROMIUM_ARGUMENTS, *(["--no-sandbox"] if root else [])]


def _facts(year: int, camera: str, *, place: tuple[float, float] | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[_MODEL] = camera
    exif[_DATE] = f"{year}:07:04 12:30:00"
    exif.get_ifd(_EXIF)[_TAKEN] = f"{year}:07:04 12:30:00"
    if place is not None:
        position = exif.get_ifd(_GPS)
        for number, (value, signs) in enumerate(zip(place, ("NS", "EW"), strict=True)):
            degrees = abs(value)
            minutes = degrees % 1 * 60
            position[1 + 2 * number] = signs[value < 0]
            position[2 + 2 * number] = (int(degrees), int(minutes), round(minutes % 1 * 60, 2))
    return exif


def _made_photos(folder: Path) -> None:
    for colour in COLOURS:
        (folder / "colours" / colour).mkdir(parents=True)
        for number, size in enumerate(SHAPES):
            picture = Image.new("RGB", size, COLOURS[colour])
            picture.paste((128, 128, 128), (8, 8, 20 + number, 20))  # no two of the same content
            place = PARIS if number == 0 else None
            exif = _facts(2015 + number, "Canon EOS 80D" if number % 2 else "Pixel 6", place=place)
            picture.save(folder / "colours" / colour / f"{colour}-{number}.jpg", quality=92, exif=exif)
    (folder / "photographs").mkdir()
    data = Path(skimage.__file__).parent / "data"
    for name in PHOTOGRAPHS:
        shutil.copy(data / name, folder / "photographs" / name)
    (folder / "copies").mkdir()
    shutil.copy(data / "coffee.png", folder / "copies" / "coffee again.png")
    shutil.copy(folder / "colours" / "red" / "red-1.jpg", folder / "copies" / "red again.jpg")
    shutil.copy(folder / "colours" / "blue" / "blue-2.jpg", folder / "copies" / "blue again.jpg")
    (folder / "odd").mkdir()
    generator = np.random.default_rng(5)
    for number, name in enumerate(HOSTILE_NAMES):
        picture = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((240, 180), 0)
        picture.save(folder / "odd" / name, exif=_facts(2012, HOSTILE_CAMERA) if number == 0 else Image.Exif())
    (folder / "many").mkdir()
    for number in range(MANY):
        grey = generator.integers(100, 156, (3, 4, 1), dtype=np.uint8).repeat(3, axis=2)
        Image.fromarray(grey).resize((48, 36), 0).save(folder / "many" / f"grey-{number:03d}.png")


def _environment(home: Path) -> dict[str, str]:
    folders = {name: str(home / name.lower()) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    return {**os.environ, "HOME": str(home), "USERPROFILE": str(home), "CLIP_DB": str(home / "library.db"), **folders}


def library_of(home: Path) -> Path:
    """Photographs below `home`, indexed with the tiny model; returns their folder."""
    photos = home / "photos"
    _made_photos(photos)
    bundle = make_tiny_bundle(home / "tiny")
    command = [sys.executable, "-m", "clipcli", "embed", str(photos), "-m", str(bundle)]
    subprocess.run(command, env=_environment(home), check=True, capture_output=True, timeout=120)
    return photos


@contextmanager
def serving(home: Path, *options: str, library: Path | None = None, port: int = 0) -> Iterator[str]:
    """`clip browse` as a process of its own, as long as the block lasts; gives its address."""
    command = [sys.executable, "-m", "clipcli", "browse", "--no-open", "--port", str(port), *options]
    if library is not None:
        command += ["--db", str(library)]
    with subprocess.Popen(
        command, env=_environment(home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()
            process.wait(20)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    until = time.monotonic() + 60
    while time.monotonic() < until:
        ready, _, _ = select.select([process.stdout], [], [], 0.5)
        if ready:
            line = process.stdout.readline().strip()
            assert line.startswith("http://"), f"clip browse wrote {line!r} and ended with {process.poll()}"
            return line
    raise TimeoutError("clip browse did not say where it is")

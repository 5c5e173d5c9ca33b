"""What the page's server is measured on: a library of many pictures, a model of 512 numbers, the server in a process.

`python -m benchmarks.browse_stage serve FOLDER PORT` is that process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import filled_library, made_photos, made_vectors
from clipcli.browse.model_in_use import ModelInUse
from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import shipped_model
from clipcli.library.store import Library

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DIMENSION", "Doubled", "make_stage", "memory_mib", "peak_memory_mib", "processor_ms", "served"]

DIMENSION = 512
_REAL_PHOTOS = 200  # the first pictures have files, so that there are thumbnails to make


class Doubled(Model):
    """The model that ships, its vectors written twice: what its towers cost, in as many numbers as ViT-B/32 has."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return _twice(super().encode_texts(texts))

    def encode_images(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return _twice(super().encode_images(pixels))


def _twice(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([vectors] * (DIMENSION // vectors.shape[1]), axis=1)


def open_doubled(library: Library) -> ModelInUse:  # noqa: ARG001 - the signature is the server's
    folder = shipped_model()
    assert folder is not None
    model = cast("Doubled", Doubled.load(folder, device="cpu"))
    return ModelInUse(model=model, stored_precision=model.precision)


def make_stage(folder: Path, count: int) -> Path:
    """The library in `folder`, made where it is not there yet: dates, cameras, shapes, tags, and some real files."""
    path = folder / f"{count}.db"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    photos = folder / "photos" / "000"
    made_photos(photos, 8)
    shipped = shipped_model()
    assert shipped is not None
    model = Doubled.load(shipped, device="cpu")
    filled_library(path, model.spec, model.precision, made_vectors(count, DIMENSION))
    random = np.random.default_rng(2)
    with Library.open(path, write=True) as library, library.write() as connection:
        connection.execute("UPDATE models SET dimension = ?", (DIMENSION,))
        connection.execute("UPDATE roots SET path = ?", (str(folder / "photos"),))
        years, sides = random.integers(2005, 2025, count), random.integers(0, 3, count)
        connection.executemany(
            "UPDATE images SET taken_at = ?, taken_from = 'exif', camera = ?, width = ?, height = ? WHERE id = ?",
            (
                (
                    f"{years[n]}-{n % 12 + 1:02d}-{n % 28 + 1:02d}T{n % 24:02d}:30:00",
                    f"Camera {n % 7}",
                    (1600, 1200, 3000)[sides[n]],
                    (1200, 1600, 1000)[sides[n]],
                    n + 1,
                )
                for n in range(count)
            ),
        )
        connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'holiday' FROM images WHERE id % 50 = 0")
        connection.executemany(
            "UPDATE images SET path = ?, width = 1600, height = 1200 WHERE id = ?",
            ((f"000/{number % 8:05d}.jpg#{number}", number + 1) for number in range(_REAL_PHOTOS)),
        )
    for number in range(_REAL_PHOTOS):
        target = photos / f"{number % 8:05d}.jpg#{number}"
        target.hardlink_to(photos / f"{number % 8:05d}.jpg")
    return path


@contextmanager
def served(library: Path, port: int) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, and the process's id."""
    command = [sys.executable, "-m", "benchmarks.browse_stage", "serve", str(library), str(port)]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{address}/api/run", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(10)


def memory_mib(process: int) -> float:
    """What a process and those it has started have in memory of their own, without what they only map from files."""
    return sum(_status(each, "RssAnon") for each in (process, *_children(process)))


def peak_memory_mib(process: int) -> float:
    return _status(process, "VmHWM")


def processor_ms(process: int) -> float:
    """How long a process has been at work on any core; in steps of 10 ms on most systems."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def _children(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text("ascii", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == process:
                found.append(int(path.parent.name))
    return found


def _status(process: int, name: str) -> float:
    with contextlib.suppress(OSError):  # it may just have ended
        for line in Path(f"/proc/{process}/status").read_text("utf-8", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _serve(library: Path, port: int) -> None:
    from clipcli.browse.serving import bind, serve

    bound = bind("127.0.0.1", port)
    serve(library, open_doubled, bound, thumbs=library.parent / "thumbnails", on_ready=lambda: None)


if __name__ == "__main__":
    _serve(Path(sys.argv[2]), int(sys.argv[3]))

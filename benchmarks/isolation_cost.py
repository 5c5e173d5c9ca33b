"""What it costs that pictures are decoded in processes of their own: the same index run with threads instead.

    python -m benchmarks.isolation_cost [--photos 400] [--rounds 5] [-m MODEL]

Whole processes take turns. With threads a crash or a hang of a decoder would be one of the run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.material import made_photos
from clipcli.bundle.preprocess import resize_and_crop
from clipcli.bundle.spec import Preprocess
from clipcli.library import decoders
from clipcli.library.decoder import Opened, Wish
from clipcli.photos.decode import decode_frames
from clipcli.photos.facts import Facts

_WITH = ("threads", "processes")


class InThisProcess:
    """What `DecoderProcess` does, done by the thread that asks."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self._name = b""
        self._mtime_ns = 0
        self._file: IO[bytes] | None = None

    def open(self, path: bytes, *, size: int, limit_s: float, at_once: Wish | None = None) -> Opened:  # noqa: ARG002
        if self._file is not None:
            self._file.close()
        self._name = path
        self._file = open(path, "rb")  # noqa: SIM115
        status = os.fstat(self._file.fileno())
        self._mtime_ns = status.st_mtime_ns
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        return Opened(size=status.st_size, mtime_ns=status.st_mtime_ns, digest=digest)

    def decode(self, wish: Wish) -> tuple[NDArray[np.uint8], Facts]:
        assert self._file is not None
        self._file.seek(0)
        pictures, facts = decode_frames(
            self._file,
            keep=lambda picture: np.asarray(resize_and_crop(picture, self._preprocess)),
            name=self._name,
            mtime_ns=self._mtime_ns,
            max_megapixels=wish.max_megapixels,
            hint=self._preprocess.image_size,
        )
        return np.stack(pictures), facts

    def end(self) -> None:
        """There is nothing to end."""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def embed(how: str, arguments: list[str]) -> None:
    from clipcli.app import main

    if how == "threads":
        decoders.DecoderProcess = InThisProcess  # type: ignore[assignment,misc]
    main(["embed", *arguments])


def main() -> None:
    parser = argparse.ArgumentParser(description="Index with decoding processes and with threads, in turns.")
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-m", "--model")
    chosen = parser.parse_args()
    took: dict[str, list[tuple[float, float]]] = {how: [] for how in _WITH}
    with tempfile.TemporaryDirectory(prefix="clip-isolation-") as name:
        folder, file = Path(name) / "photos", Path(name) / "library.db"
        made_photos(folder, chosen.photos)
        arguments = [os.fspath(folder), "--db", os.fspath(file), *(["-m", chosen.model] if chosen.model else [])]
        for turn in range(chosen.rounds + 1):
            for how in _WITH if turn % 2 else reversed(_WITH):
                file.unlink(missing_ok=True)
                began, used = time.monotonic(), _cpu_s()
                command = [sys.executable, "-m", "benchmarks.isolation_cost", "--child", how, *arguments]
                subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
                if turn:  # the first one warms up
                    took[how].append((time.monotonic() - began, _cpu_s() - used))
    for how in _WITH:
        wall, cpu = (statistics.median(column) for column in zip(*took[how], strict=True))
        best = min(one[0] for one in took[how])
        print(f"{how:10} {wall:6.2f} s (best {best:.2f}), processor {cpu:.2f} s, for {chosen.photos} photographs")
    for line in describe():
        print(line)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        embed(sys.argv[2], sys.argv[3:])
    else:
        main()

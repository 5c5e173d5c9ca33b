"""A folder of 300,000 pictures that a library knows already: how long `clip embed` takes to find that nothing is new,
and how much memory.

    python -m benchmarks.scan_many [--count 300000] [--rounds 3] [--place FOLDER]
    python -m benchmarks.scan_many --memory 10000 100000 1000000

The second command is about memory alone, and how it grows: the peak of a run over pictures that are all known, and that
of a first run up to where it has planned its work, at each of these counts. A million files take 4 GB of disk.

The files are made (a few hundred bytes each, every content another), registered through the library's own writer with
vectors out of nowhere, and then `clip embed` runs over them as a whole process. A second kind of run, in this process,
hears of every file that Python opens, and fails if one of them is a picture.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.index_memory import high_water, peak_bytes
from benchmarks.machine import describe
from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import find_model
from clipcli.library.indexing import IndexOptions, Progress, index_folders
from clipcli.library.jobs import Decoded, Job
from clipcli.library.models import keep_own_model, register_model
from clipcli.library.roots import add_root
from clipcli.library.store import Library
from clipcli.library.writing import Batch, BatchWriter
from clipcli.photos.facts import Facts

__all__ = ["made_library", "opened_pictures", "planned_bytes"]

_FOLDERS_OF = 1000
_AT_ONCE = 1000
_BMP = b"BM:\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\1\0\0\0\1\0\0\0\1\0\x18\0" + bytes(24)


def made_library(place: Path, model: Model, count: int) -> tuple[Path, Path]:
    """A folder with `count` pictures of one pixel, a thousand to a folder, and a library that holds all of them."""
    folder, file = place / "photos", place / "library.db"
    folder.mkdir()
    root = os.fsencode(folder.resolve())
    vector = np.zeros(model.spec.embedding_dim, dtype=np.float32)
    vector[0] = 1
    with Library.open(file, write=True, create=True) as library:
        with library.write() as connection:
            root_id = add_root(library, connection, root)
            model_id = register_model(
                connection,
                identity=model.identity,
                precision=model.precision,
                name=model.name,
                folder=os.fspath(model.folder),
                dimension=model.spec.embedding_dim,
            )
        writer = BatchWriter(library, model_id=model_id, root_ids={root: root_id}, vanished=())
        pictures = _pictures(root, count)
        while part := list(islice(pictures, _AT_ONCE)):
            writer.commit(Batch(outcomes=part, vectors=np.tile(vector, (len(part), 1))))
        with library.write():
            keep_own_model(library, model_id)
    return folder, file


def _pictures(root: bytes, count: int) -> Iterator[Decoded]:
    nothing = np.zeros((1, 3, 1, 1), dtype=np.float32)
    for number in range(count):
        path = f"{number // _FOLDERS_OF:04d}/IMG_{number:06d}.bmp".encode()
        if number % _FOLDERS_OF == 0:
            os.mkdir(os.path.join(root, os.path.dirname(path)))
        content = _BMP + number.to_bytes(4, "little")
        with open(os.path.join(root, path), "wb") as file:
            file.write(content)
        status = os.stat(os.path.join(root, path))
        yield Decoded(
            job=Job(root=root, path=path, size=status.st_size, mtime_ns=status.st_mtime_ns),
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            digest=hashlib.sha256(content).hexdigest(),
            facts=Facts(width=1, height=1, format="BMP", frames=1),
            pixels=nothing,
        )


def opened_pictures(folder: Path, file: Path, model: Model) -> list[str]:
    """What below `folder` a run opens for reading; folders are listed, which is another thing."""
    below = os.path.realpath(folder) + os.sep
    opened: list[str] = []
    listening = True

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "open" and isinstance(arguments[0], str | bytes):
            name = os.fsdecode(arguments[0])
            if os.path.abspath(name).startswith(below):
                opened.append(name)

    sys.addaudithook(hear)  # which cannot be taken away again, so it stops listening
    try:
        with Library.open(file, write=True) as library:
            report = index_folders(library, [os.fsencode(folder)], model, IndexOptions(), _say_nothing)
    finally:
        listening = False
    if report.unchanged != report.considered:
        raise SystemExit(f"{report.considered - report.unchanged} of {report.considered} files were taken for new")
    return opened


def planned_bytes(folder: Path, library: Path) -> int:
    """The most memory that a first run's own process has held when it has made its plan. It is killed there."""
    command = [sys.executable, "-m", "clipcli", "embed", os.fspath(folder), "--db", os.fspath(library)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            if not any(line.startswith("reading ") for line in process.stderr):
                raise SystemExit("clip embed never got as far as reading a picture")
            return high_water(process.pid)
        finally:
            process.kill()


def _memory(counts: Sequence[int], place: Path | None, model: Model) -> None:
    second, first = [], []
    for count in sorted(counts):
        with tempfile.TemporaryDirectory(prefix="clip-scan-", dir=place) as name:
            folder, file = made_library(Path(name), model, count)
            second.append(peak_bytes(folder, file)[1])
            first.append(planned_bytes(folder, Path(name) / "new.db"))
        print(
            f"{count:9,} files: a second run {second[-1] / 2**20:.0f} MiB ({second[-1] / second[0]:.2f} x), "
            f"a first one's plan {first[-1] / 2**20:.0f} MiB ({first[-1] / first[0]:.2f} x)",
            flush=True,
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _say_nothing(progress: Progress) -> None:
    """Only the end matters."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time 'clip embed' over many files that are in the library already.")
    parser.add_argument("--count", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="+", metavar="COUNT", help="peaks at these counts, nothing else")
    parser.add_argument("--place", type=Path, help="folder to make the files in; default: a temporary one")
    chosen = parser.parse_args()
    model = Model.load(find_model(None))
    if chosen.memory:
        _memory(chosen.memory, chosen.place, model)
        return
    with tempfile.TemporaryDirectory(prefix="clip-scan-", dir=chosen.place) as name:
        began = time.monotonic()
        folder, file = made_library(Path(name), model, chosen.count)
        seconds = time.monotonic() - began
        print(f"made {chosen.count:,} files and a library of {file.stat().st_size:,} bytes: {seconds:.0f} s")
        for _ in range(chosen.rounds):
            began, used = time.monotonic(), _cpu_s()
            command = [sys.executable, "-m", "clipcli", "embed", os.fspath(folder), "--db", os.fspath(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            took, cpu = time.monotonic() - began, _cpu_s() - used
            print(f"{took:6.2f} s, processor {cpu:.2f} s: {done.stderr.splitlines()[-1]}", flush=True)
        print(f"at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
        opened = opened_pictures(folder, file, model)
        print(f"pictures opened: {len(opened)}")
    for line in describe():
        print(line)
    if opened:
        raise SystemExit(f"a picture was opened: {opened[0]}")


if __name__ == "__main__":
    main()

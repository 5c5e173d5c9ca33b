"""DATA that comes through a pipe: put down on the disk, as a run goes over it more than once and may be resumed."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipcli.errors import NoSpaceError, UsageError

if TYPE_CHECKING:
    from trainer.options import TrainOptions

__all__ = ["is_pipe", "put_down"]

HEAD = 512  # bytes of a tar file's first header
MAGIC = 257  # where in it "ustar" stands
CHUNK = 1 << 20  # bytes
MEGABYTE = 1_000_000


def is_pipe(name: str) -> bool:
    """`-`, a named pipe, or what a shell makes of `<(curl ...)`."""
    return name == "-" or Path(name).is_fifo()


@contextmanager
def put_down(options: TrainOptions, run: Path | None) -> Iterator[TrainOptions]:
    """The options with a file in the place of each pipe: beside the folder `run`, or for the length of the block.

    Raises:
        UsageError: no tar file comes through the pipe, or several processes would read the same one.
        NoSpaceError: the disk is full.
    """
    if not any(map(is_pipe, options.data)):
        yield options
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("a pipe has one reader: several processes need their pairs in files")
    with tempfile.TemporaryDirectory(prefix="clip-piped-") as passing:
        folder = Path(passing) if run is None else run.absolute().parent
        stem = "pairs" if run is None else f"{run.name}-piped"
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, name in enumerate(options.data):
            if is_pipe(name):
                with sys.stdin.buffer if name == "-" else Path(name).open("rb") as pipe:
                    files.append(str(_put(pipe, name, folder / (f"{stem}-{number}" if number else stem))))
            else:
                files.append(name)
        yield dataclasses.replace(options, data=tuple(files))


def _put(pipe: IO[bytes], name: str, target: Path) -> Path:
    from clipcli.render.notes import say
    from clipcli.render.progress import progress_bar
    from trainer.checkpoints import write_atomically

    head = pipe.read(HEAD)
    packed = head.startswith(b"\x1f\x8b")
    if not packed and head[MAGIC : MAGIC + 5] != b"ustar":
        called = "standard input" if name == "-" else name
        raise UsageError(f"what comes through {called} is no tar file; pairs of other kinds are named as files")
    target = target.with_name(f"{target.name}.tar.gz" if packed else f"{target.name}.tar")

    arrived = len(head)

    def write(file: IO[bytes]) -> None:
        nonlocal arrived
        with progress_bar("putting down what comes through the pipe", unit="MB") as bar:
            file.write(head)
            while block := pipe.read(CHUNK):
                file.write(block)
                bar.advance((arrived + len(block)) // MEGABYTE - arrived // MEGABYTE)
                arrived += len(block)

    try:
        write_atomically(target, write)
    except NoSpaceError as error:
        raise NoSpaceError(
            f"{target.parent} is full after {arrived / MEGABYTE:,.0f} MB of what comes through the pipe: training goes "
            "over its pairs more than once, so all of them have to fit there; send fewer shards, or name another "
            "folder with --output"
        ) from error
    say(f"what came through the pipe lies in {target}, {target.stat().st_size / MEGABYTE:,.1f} MB")
    return target

"""Damaged pictures of every format through index runs: no run may crash, no file may take longer than it is given.

    python -m benchmarks.fuzz_decoding [--count 20000] [--first 0] [--seed 0] [--seconds 10]

Each picture is one of `fuzz_samples`, damaged in one of the ways below. They are indexed a thousand at a time by the
product's own index run, decoding processes and all; every other run takes truncated files and four frames.
A picture that brings down or holds up a decoding process is named at the end: `damaged` makes it again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzz_samples import made_samples
from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import find_model
from clipcli.library.decoder import DecoderProcess
from clipcli.library.indexing import IndexOptions, Progress, index_folders
from clipcli.library.store import Library

__all__ = ["Outcome", "damaged", "fuzz"]

_AT_ONCE = 1000
_CUT_OFF = ("crashed", "too-slow", "out-of-memory")


@dataclass(kw_only=True)
class Outcome:
    """`outcomes`: embedded, or why not, by count. `longest_s` is the longest that a file has taken."""

    pictures: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    cut_off: list[tuple[str, str]] = field(default_factory=list)


def _flip(data: bytearray, luck: random.Random, others: list[bytes]) -> None:  # noqa: ARG001 - one for all
    for _ in range(luck.choice((1, 2, 8, 64))):
        data[luck.randrange(len(data))] ^= 1 << luck.randrange(8)


def _cut(data: bytearray, luck: random.Random, others: list[bytes]) -> None:  # noqa: ARG001
    del data[luck.randrange(1, len(data)) :]


def _head(data: bytearray, luck: random.Random, others: list[bytes]) -> None:  # noqa: ARG001
    """Sizes, offsets and counts live at the beginning, and like to be extreme."""
    for _ in range(luck.randint(1, 3)):
        at = luck.randrange(min(len(data), 200))
        number = luck.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
        width = luck.choice((1, 2, 4))
        data[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, luck.choice(("big", "little")))


def _splice(data: bytearray, luck: random.Random, others: list[bytes]) -> None:
    other = luck.choice(others)
    start = luck.randrange(len(other))
    at = luck.randrange(len(data))
    data[at : at + luck.randint(0, 64)] = other[start : start + luck.randint(1, 256)]


def _stretch(data: bytearray, luck: random.Random, others: list[bytes]) -> None:  # noqa: ARG001
    at = luck.randrange(len(data))
    data[at : at + luck.randint(1, 64)] = bytes([luck.choice((0, 0xFF, luck.randrange(256)))]) * luck.randint(1, 300)


def _move(data: bytearray, luck: random.Random, others: list[bytes]) -> None:  # noqa: ARG001
    start, length = luck.randrange(len(data)), luck.randint(1, 128)
    piece = data[start : start + length]
    del data[start : start + length]
    at = luck.randrange(len(data) + 1)
    data[at:at] = piece * luck.choice((1, 1, 2, 20))


_DAMAGES: tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...] = (
    _flip, _cut, _head, _splice, _stretch, _move,
)  # fmt: skip


def damaged(samples: dict[str, bytes], number: int, seed: int) -> tuple[str, bytes]:
    """The picture with that number: its name and content, the same whenever it is asked for."""
    luck = random.Random(f"{seed}-{number}")
    names = sorted(samples)
    name = names[number % len(names)]
    data = bytearray(samples[name])
    others = [samples[other] for other in names]
    for _ in range(luck.choice((1, 1, 1, 2, 3))):
        if data:
            luck.choice(_DAMAGES)(data, luck, others)
    return f"{number:06d}-{name}", bytes(data)


def fuzz(model: Model, place: Path, *, count: int, seed: int, seconds: float, first: int = 0) -> Outcome:
    """Index `count` damaged pictures from number `first` on; what the runs raise comes out."""
    samples = made_samples()
    found = Outcome()
    for start in range(first, first + count, _AT_ONCE):
        folder = place / "pictures"
        folder.mkdir()
        for number in range(start, min(start + _AT_ONCE, first + count)):
            name, data = damaged(samples, number, seed)
            (folder / name).write_bytes(data)
        _index(model, place / "library.db", folder, found, seconds=seconds, all_of_it=bool(start // _AT_ONCE % 2))
        shutil.rmtree(folder)
    return found


def _index(model: Model, file: Path, folder: Path, found: Outcome, *, seconds: float, all_of_it: bool) -> None:
    options = IndexOptions(
        seconds_per_file=seconds, frames=4 if all_of_it else 1, accept_truncated=all_of_it, max_megapixels=20
    )
    ask = DecoderProcess._ask

    def timed(self: DecoderProcess, request: dict[str, object], *, limit_s: float) -> dict[str, object]:
        began = time.monotonic()
        try:
            return ask(self, request, limit_s=limit_s)
        finally:
            found.longest_s = max(found.longest_s, time.monotonic() - began)

    DecoderProcess._ask = timed  # type: ignore[method-assign]
    try:
        file.unlink(missing_ok=True)
        with Library.open(file, write=True, create=True) as library:
            report = index_folders(library, [os.fsencode(folder)], model, options, _say_nothing)
    finally:
        DecoderProcess._ask = ask  # type: ignore[method-assign]
    written = sum(1 for _ in folder.iterdir())
    assert report.considered == report.indexed + report.skipped
    assert report.considered + report.others == written, (report.considered, report.others, written)
    found.pictures += written
    found.outcomes["a picture, embedded"] += report.embedded + report.recognised
    found.outcomes["no picture any more, by its beginning"] += report.others
    for skip in report.newly_skipped:
        found.outcomes[skip.reason] += 1
        if skip.reason in _CUT_OFF:
            found.cut_off.append((os.path.basename(os.fsdecode(skip.path)), f"{skip.reason}: {skip.detail}"))


def _say_nothing(progress: Progress) -> None:
    """The runs are many and short."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Index damaged pictures of every format.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="time limit per file")
    chosen = parser.parse_args()
    model = Model.load(find_model(None))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clip-fuzz-") as name:
        found = fuzz(
            model, Path(name), count=chosen.count, first=chosen.first, seed=chosen.seed, seconds=chosen.seconds
        )
    print(f"{found.pictures:,} damaged pictures in {time.monotonic() - began:,.0f} s; seed {chosen.seed}")
    for reason, count in found.outcomes.most_common():
        print(f"{count:8,} {reason}")
    print(f"longest: {found.longest_s:.1f} s of {chosen.seconds:g}; runs that crashed: 0")
    for picture, detail in found.cut_off:
        print(f"  cut off: {picture} ({detail})")


if __name__ == "__main__":
    main()

"""The questions of `make bench`, each by its name: what it needs, and what it gives."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare_stages import PHOTOS, Outcome, decoding, image_tower, on_a_gpu, text_tower
from benchmarks.beside_rclip import (
    PHOTO_SIZES,
    helping,
    indexing_beside,
    indexing_more,
    photos_of,
    remembering,
    searching_beside,
)
from benchmarks.cases import Table, searching, starting
from benchmarks.rclip_peer import Rclip
from benchmarks.stages import Absent
from benchmarks.training_beside import training_beside
from benchmarks.vector_search import compared_searches, prepare

__all__ = ["OWN", "PARTS", "Bench", "Found", "parts_of", "prepare_parts"]

SIZES = (10_000, 100_000, 1_000_000)
SMALL, LARGE = PHOTO_SIZES
OWN = "alone"  # without a peer: in the page, not in the picture of ratios
PARTS = (
    "help", "search", "index-small", "index-large", "memory", "decoding", "image-tower", "text-tower", "gpu",
    "vectors", "training", OWN,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a part gives."""

    tables: tuple[Table, ...]
    peers: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What every part is measured with. `rclip_python` and `peers` are interpreters, which may not be there."""

    folder: Path
    rclip_python: Path
    peers: Path
    rounds: int
    quick: bool

    def beside_rclip(self, ask: Callable[[Rclip, Path], list[Table]]) -> Found:
        """A question that rclip is asked as well, with the random model installed for both."""
        if not self.rclip_python.exists():
            raise Absent(f"there is no {self.rclip_python}")
        rclip = Rclip(python=self.rclip_python, data=self.folder / "rclip")
        return Found(tables=tuple(ask(rclip, _prepared(self.folder))), peers=(rclip.version,))

    def photos(self, kind: str) -> int:
        return {SMALL: (384, 48), LARGE: (96, 32)}[kind][self.quick]


def parts_of(bench: Bench) -> dict[str, Callable[[], Found]]:
    """Each part by the name that `--only` knows, in the order of the page."""
    folder, rounds, sizes = bench.folder, bench.rounds, _sizes(bench)

    def index(kind: str) -> Found:
        count = bench.photos(kind)
        return bench.beside_rclip(
            lambda rclip, bundle: [indexing_beside(folder, rclip, bundle, kind, rounds=rounds, photos=count)]
        )

    def decode() -> Found:
        def one(kind: str) -> Outcome:
            return decoding(
                folder, photos_of(folder, kind, PHOTOS), kind, bench.rclip_python, bench.peers, rounds=rounds
            )

        return _joined(one(kind) for kind in PHOTO_SIZES)

    def through(ask: Callable[..., Outcome]) -> Found:
        return _joined([ask(folder, _prepared(folder), bench.peers, rounds=rounds)])

    def vectors() -> Found:
        tables, peers, left_out = compared_searches(folder, bench.peers, rounds=rounds, sizes=sizes)
        return Found(tables=tuple(tables), peers=tuple(peers), left_out=tuple(left_out))

    def train() -> Found:
        return _joined([training_beside(bench.peers, rounds=rounds)])

    few, many = max(1, rounds // 2), 2 * rounds

    def alone() -> Found:
        more = indexing_more(folder, _prepared(folder), SMALL, rounds=few + 1, photos=5 * bench.photos(SMALL))
        own = searching(folder, rounds=rounds, sizes=(1_000,) if bench.quick else SIZES[:2])
        tables = (starting(folder, rounds=rounds), more, *own)
        shutil.rmtree(folder / "cache" / "clip" / "vectors", ignore_errors=True)  # of libraries that are made anew
        return Found(tables=tables)

    return {
        "help": lambda: bench.beside_rclip(lambda rclip, _: [helping(folder, rclip, rounds=many)]),
        "search": lambda: bench.beside_rclip(
            lambda rclip, bundle: searching_beside(folder, rclip, bundle, rounds=rounds, sizes=sizes)
        ),
        "index-small": lambda: index(SMALL),
        "index-large": lambda: index(LARGE),
        "memory": lambda: bench.beside_rclip(
            lambda rclip, _: [remembering(folder, rclip, LARGE, rounds=few, photos=bench.photos(LARGE))]
        ),
        "decoding": decode,
        "image-tower": lambda: through(image_tower),
        "text-tower": lambda: through(text_tower),
        "gpu": lambda: through(on_a_gpu),
        "vectors": vectors,
        "training": train,
        OWN: alone,
    }


def prepare_parts(bench: Bench, names: Iterable[str]) -> None:
    """Make what these parts are measured on, where it is to be found by a later run, and measure nothing."""
    for name in names:
        if name == "vectors":
            for size in _sizes(bench):
                prepare(bench.folder, size)
        elif name == "decoding":
            for kind in PHOTO_SIZES:
                photos_of(bench.folder, kind, PHOTOS)
        elif name != "training":
            _prepared(bench.folder)
        if name in ("index-small", "index-large", "memory"):
            kind = SMALL if name == "index-small" else LARGE
            photos_of(bench.folder, kind, bench.photos(kind))


def _sizes(bench: Bench) -> tuple[int, ...]:
    return SIZES[: 2 if bench.quick else 3]


def _joined(outcomes: Iterable[Outcome]) -> Found:
    found = list(outcomes)
    return Found(
        tables=tuple(table for table, _, _ in found),
        peers=tuple(dict.fromkeys(peer for _, peers, _ in found for peer in peers)),
        left_out=tuple(dict.fromkeys(line for _, _, lines in found for line in lines)),
    )


@functools.cache
def _prepared(folder: Path) -> Path:
    """The bundle of the random model, installed where every process finds it, and rclip's form of the same."""
    from benchmarks.random_model import NAME, install_random_model, place_for_rclip  # late: needs torch

    os.environ["CLIP_MODELS"] = str(folder / "models")
    data = folder / "rclip"
    if not data.exists():
        work = folder / "work"
        work.mkdir(parents=True)
        install_random_model(work)
        place_for_rclip(data)
    return folder / "models" / NAME

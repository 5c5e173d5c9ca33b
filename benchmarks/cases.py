"""The questions that need no other program: how long until something happens, and until a search is answered."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.material import filled_library, made_vectors
from benchmarks.timing import Times, interleaved, process
from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import find_model

__all__ = [
    "BARE_SESSION",
    "BARE_TOWER",
    "CLIP",
    "Row",
    "Table",
    "compared",
    "compiled",
    "searching",
    "starting",
    "surroundings",
]

CLIP = [str(Path(sys.executable).with_name("clip"))]  # as a person starts it

# The whole of what indexing cannot do without: the pixels are there, the tower runs over them, nothing is kept. As
# ONNX Runtime has it, a session with all cores; and as `clip embed` runs it, a part of the batch on each core.
BARE_SESSION = """
import os, sys, numpy
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(given,) = session.get_inputs()
size = given.shape[-1]
pixels = numpy.random.default_rng(0).normal(size=(16, 3, size, size)).astype(numpy.float32)
left = int(sys.argv[2])
while left > 0:
    session.run(None, {given.name: pixels[:left]})
    left -= 16
"""
BARE_TOWER = """
import sys, numpy
from pathlib import Path
from clipcli.bundle.encoder import Model
model = Model.load(Path(sys.argv[1]), precision=sys.argv[3])
size = model.spec.preprocess.image_size
pixels = numpy.random.default_rng(0).normal(size=(16, 3, size, size)).astype(numpy.float32)
left = int(sys.argv[2])
while left > 0:
    model.encode_images(pixels[:left])
    left -= 16
"""

# The whole of what an exact search cannot do without: the matrix lies on disk ready to use, and is multiplied once.
BARE_PRODUCT = """
import sys, numpy
rows = numpy.load(sys.argv[1], mmap_mode="r")
scores = rows @ rows[0]
best = numpy.argpartition(-scores, 10)[:10]
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One candidate. `rate` is what it did per second, where that says more than the time."""

    name: str
    median: str  # with its unit
    value: float  # the same as a number: seconds or bytes
    spread: float
    ratio: float  # of the median to that of the table's first row
    rate: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The rows of one question; each is compared with the first.

    Tables of one `family` ask the same of more and more: of `size` vectors.
    """

    title: str
    note: str
    rows: tuple[Row, ...]
    family: str = ""
    size: int = 0


def starting(folder: Path, *, rounds: int) -> Table:
    """Start-up of the program, against an interpreter that does nothing."""
    model = Model.load(find_model(None))
    library = folder / "small.db"
    filled_library(library, model.spec, model.precision, made_vectors(1000, model.spec.embedding_dim))
    candidates = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "clip --help": [*CLIP, "--help"],
        "clip search, asked before (1,000 pictures)": [*CLIP, "search", "a red motorcycle", "--db", str(library)],
        'python -c "import numpy, onnxruntime"': [sys.executable, "-c", "import numpy, onnxruntime"],
    }
    times = interleaved({name: process(line, surroundings(folder)) for name, line in candidates.items()}, rounds=rounds)
    return Table(title="Starting", note="Whole processes.", rows=compared(times))


def searching(folder: Path, *, rounds: int, sizes: Sequence[int]) -> list[Table]:
    """`clip search` over made-up vectors, against one product of a NumPy file of the same matrix."""
    import numpy as np

    model = Model.load(find_model(None))
    tables = []
    for size in sizes:
        vectors = made_vectors(size, model.spec.embedding_dim)
        library, plain = folder / f"{size}.db", folder / f"{size}.npy"
        filled_library(library, model.spec, model.precision, vectors)
        np.save(plain, vectors)
        candidates = {
            "bare NumPy product": [sys.executable, "-c", BARE_PRODUCT, str(plain)],
            "clip search, asked before": [*CLIP, "search", "a red motorcycle", "--db", str(library)],
        }
        environment = surroundings(folder)
        times = interleaved({name: process(line, environment) for name, line in candidates.items()}, rounds=rounds)
        note = f"Whole processes, {model.spec.embedding_dim} numbers a vector; the cache is filled before counting."
        tables.append(Table(title=f"Searching {size:,} vectors", note=note, rows=compared(times)))
    return tables


def compared(times: dict[str, Times], *, count: int = 0, unit: str = "") -> tuple[Row, ...]:
    """Rows in the order given, each against the first."""
    floor = next(iter(times.values())).median_s
    return tuple(
        Row(
            name=name,
            median=f"{taken.median_s * 1000:,.0f} ms",
            value=taken.median_s,
            spread=taken.spread,
            ratio=taken.median_s / floor,
            rate=f"{count / taken.median_s:,.0f} {unit}" if count else "",
        )
        for name, taken in times.items()
    )


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a measured process: caches in the folder that is thrown away afterwards, bytecode as well."""
    cache = folder / "cache"
    return compiled(os.environ, cache / "bytecode") | {"XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache)}


def compiled(environment: Mapping[str, str], bytecode: Path) -> dict[str, str]:
    """As a person has it: what was imported once is compiled. A checkout that is tested often forbids Python that."""
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(bytecode)}

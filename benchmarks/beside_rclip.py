"""clip and rclip side by side, with the same random ViT-B/32: indexing, memory, searching, starting.

Each question is a table of whole processes that take turns. Its first row is what the others are compared with.
"""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.cases import BARE_SESSION, BARE_TOWER, CLIP, Row, Table, compared, surroundings
from benchmarks.material import filled_library, made_photos, made_vectors
from benchmarks.peak_memory import peak_of
from benchmarks.rclip_peer import Rclip
from benchmarks.timing import interleaved, process
from clipcli.bundle.spec import read_spec

__all__ = ["PHOTO_SIZES", "helping", "indexing_beside", "indexing_more", "photos_of", "remembering", "searching_beside"]

PHOTO_SIZES = {"1.5-megapixel": (1414, 1061), "12-megapixel": (4000, 3000)}
PRECISIONS = ("fp32", "int8")


def indexing_beside(folder: Path, rclip: Rclip, bundle: Path, kind: str, *, rounds: int, photos: int) -> Table:
    """Indexing from nothing, each precision and what is taken by default, and the towers alone over as many images."""
    pictures = photos_of(folder, kind, photos)
    environment = surroundings(folder)
    candidates: dict[str, Callable[[], None]] = {"rclip, 224 pixels": rclip.index(pictures)}
    for precision in ("auto", *PRECISIONS):
        name = "clip embed, by default" if precision == "auto" else f"clip embed, {precision}"
        candidates[name] = _embedding(folder, pictures, precision, photos)
    for variant in (one for one in read_spec(bundle).variants if one.precision in PRECISIONS):
        precision, graph = variant.precision, str(bundle / variant.image)
        line = [sys.executable, "-c", BARE_SESSION, graph, str(photos)]
        candidates[f"bare image tower, {precision}"] = process(line, environment)
        line = [sys.executable, "-c", BARE_TOWER, str(bundle), str(photos), precision]
        candidates[f"the same, a part on each core, {precision}"] = process(line, environment)
    times = interleaved(candidates, rounds=rounds)
    return Table(
        title=f"Indexing {kind} JPEGs",
        note=f"{photos:,} made photographs, whole processes, starting included. The towers alone get ready pixels, "
        "16 at a time, in a session as ONNX Runtime makes it.",
        rows=compared(times, count=photos, unit="images/s"),
    )


def indexing_more(folder: Path, bundle: Path, kind: str, *, rounds: int, photos: int) -> Table:
    """int8 alone, over so many pictures that starting hardly counts: against the bare tower over as many, ours and the
    same model's as exporters and quantisers leave it.
    """
    from benchmarks.random_model import plain_int8  # late: needs torch

    pictures = photos_of(folder, kind, photos)
    (variant,) = (one for one in read_spec(bundle).variants if one.precision == "int8")
    environment = surroundings(folder)
    session = [sys.executable, "-c", BARE_SESSION, str(bundle / variant.image), str(photos)]
    parts = [sys.executable, "-c", BARE_TOWER, str(bundle), str(photos), "int8"]
    plain = [sys.executable, "-c", BARE_SESSION, str(plain_int8(folder)), str(photos)]
    candidates = {
        "bare image tower, int8": process(session, environment),
        "the same, a part on each core, int8": process(parts, environment),
        "clip embed, int8": _embedding(folder, pictures, "int8", photos),
        "bare image tower, plain export, int8": process(plain, environment),
    }
    return Table(
        title=f"Indexing {photos:,} {kind} JPEGs",
        note="Whole processes, as above, over more photographs: what a large folder comes to. The plain export has its "
        "products quantised dynamically, per channel, by ONNX Runtime's tool, and nothing done besides.",
        rows=compared(interleaved(candidates, rounds=rounds), count=photos, unit="images/s"),
    )


def remembering(folder: Path, rclip: Rclip, kind: str, *, rounds: int, photos: int) -> Table:
    """Peak memory of indexing, all processes of each together."""
    pictures = photos_of(folder, kind, photos)
    environment = surroundings(folder)
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        rclip.forget()
        taken.setdefault("rclip, 224 pixels", []).append(
            peak_of(rclip.index_line(), rclip.environment, folder=pictures)
        )
        for precision in PRECISIONS:
            line = _embed_line(_fresh(folder), pictures, precision)
            taken.setdefault(f"clip embed, {precision}", []).append(peak_of(line, environment))
    middle = {name: sorted(peaks)[len(peaks) // 2] for name, peaks in taken.items()}
    least = {name: (max(peaks) - min(peaks)) / 2 / middle[name] for name, peaks in taken.items()}
    first = next(iter(middle.values()))
    rows = tuple(
        Row(name=name, median=f"{peak / 1e6:,.0f} MB", value=peak, spread=least[name], ratio=peak / first)
        for name, peak in middle.items()
    )
    note = f"{photos:,} made photographs; pages that several processes share are counted once (PSS)."
    return Table(title=f"Peak memory while indexing {kind} JPEGs", note=note, rows=rows)


def searching_beside(folder: Path, rclip: Rclip, bundle: Path, *, rounds: int, sizes: Sequence[int]) -> list[Table]:
    """One search in a fresh process, libraries of both filled with the same made-up vectors."""
    spec = read_spec(bundle)
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    environment = surroundings(folder)
    tables = []
    for size in sizes:
        vectors = made_vectors(size, spec.embedding_dim)
        rclip.fill(pictures, vectors)
        phrase = _phrases()
        candidates = {"rclip -n": rclip.search(pictures, phrase)}
        for precision in PRECISIONS:
            library = folder / f"{size}-{precision}.db"
            filled_library(library, spec, precision, vectors, folder=str(bundle))
            candidates[f"clip search, {precision}"] = process(_search_line(library, phrase), environment)
        candidates["clip search, int8, asked before"] = process(
            _search_line(folder / f"{size}-int8.db", lambda: "a red motorcycle"), environment
        )
        candidates["python -c 'import numpy, onnxruntime'"] = process(
            [sys.executable, "-c", "import numpy, onnxruntime"], environment
        )
        del vectors
        times = interleaved(candidates, rounds=rounds)
        note = "A new phrase in a fresh process each time, files in the cache of the system; exact search in both."
        title = f"Searching {size:,} pictures"
        tables.append(Table(title=title, note=note, rows=compared(times), family="searching", size=size))
        for library in folder.glob(f"{size}-*.db*"):
            library.unlink()
        shutil.rmtree(folder / "cache" / "clip" / "vectors", ignore_errors=True)  # 2 GB for each that was a million
        rclip.forget()
    return tables


def helping(folder: Path, rclip: Rclip, *, rounds: int) -> Table:
    """How long a person waits for the first word of help."""
    environment = surroundings(folder)
    candidates = {
        "rclip --help": process([rclip.program, "--help"], rclip.environment),
        "clip --help": process([*CLIP, "--help"], environment),
        "clip search --help": process([*CLIP, "search", "--help"], environment),
        "python -c pass": process([sys.executable, "-c", "pass"], environment),
    }
    return Table(title="Help", note="Whole processes.", rows=compared(interleaved(candidates, rounds=rounds)))


def _phrases() -> Callable[[], str]:
    """A phrase that nobody has asked for before, of five words, each time."""
    numbers = itertools.count(int(time.time()))
    return lambda: f"a red motorcycle number {next(numbers) % 10_000_000}"


def _search_line(library: Path, phrase: Callable[[], str]) -> Callable[[], list[str]]:
    return lambda: [*CLIP, "search", phrase(), "--db", str(library)]


def photos_of(folder: Path, kind: str, count: int) -> Path:
    """A folder of so many made photographs of one size, made when there is none."""
    pictures = folder / f"{kind}-{count}"
    if not pictures.exists():
        made_photos(pictures, count, size=PHOTO_SIZES[kind], distinct=12)
    return pictures


def _fresh(folder: Path) -> Path:
    """A library that is not there yet, in a folder without anything."""
    shutil.rmtree(folder / "new", ignore_errors=True)
    (folder / "new").mkdir()
    return folder / "new" / "x.db"


def _embed_line(library: Path, pictures: Path, precision: str) -> list[str]:
    return [*CLIP, "embed", str(pictures), "--db", str(library), "--precision", precision]


def _embedding(folder: Path, pictures: Path, precision: str, count: int) -> Callable[[], None]:
    library = folder / "new" / "x.db"
    run = process(_embed_line(library, pictures, precision), surroundings(folder))

    def from_nothing() -> None:
        _fresh(folder)
        run()
        with closing(sqlite3.connect(library)) as connection:
            if connection.execute("SELECT count(*) FROM embeddings").fetchone() != (count,):
                raise RuntimeError("clip has not indexed all there is")

    return from_nothing

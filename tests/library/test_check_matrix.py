"""Faults by the dozen: any set of them at once is found, every one, and after a repair nothing is.

Each fault has a picture of its own, so that none can hide another. A check stops at damage of the structure, so what
lies behind it is found in the next round of the repair.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.library import indexing
from clipcli.library.checking import check_library
from clipcli.library.faults import KINDS, Fault
from clipcli.library.indexing import IndexOptions, index_folders
from clipcli.library.repair import Mended, mend_library
from clipcli.library.store import Library
from clipcli.library.vectors import cache_folder, vectors
from tests.library.conftest import integrity, rows
from tests.library.decoding_here import DecodersHere
from tests.library.test_checking import Place as OnePlace
from tests.library.test_checking import break_the_index

PICTURES = 12


@dataclass(frozen=True)
class Place:
    """A library of `PICTURES` with vectors of both models, their caches, and how all of that was when it was sound."""

    folder: Path
    file: Path
    sound: Path
    models: tuple[Model, ...]

    def put_back(self) -> None:
        for what in (self.folder, self.file.parent, cache_folder()):
            shutil.rmtree(what, ignore_errors=True)
        for name, target in (("photos", self.folder), ("library", self.file.parent), ("caches", cache_folder())):
            shutil.copytree(self.sound / name, target)

    def picture(self, image: int) -> Path:
        (name,) = rows(self.file, "SELECT path FROM images WHERE id = ?", image)
        return self.folder / str(name)

    def as_one(self) -> OnePlace:
        return OnePlace(self.file, self.folder, self.models[0])

    def sql(self, *statements: str, values: tuple[object, ...] = ()) -> None:
        """As some other program would, without foreign keys being looked at."""
        with closing(sqlite3.connect(self.file)) as connection, connection:
            for statement in statements:
                connection.execute(statement, values)

    def embed(self) -> None:
        with pytest.MonkeyPatch.context() as patch, Library.open(self.file, write=True, create=True) as library:
            patch.setattr(indexing, "Decoders", DecodersHere)
            for model in self.models:
                index_folders(library, [os.fsencode(self.folder)], model, IndexOptions(workers=1), lambda _: None)

    def check(self) -> list[Fault]:
        with Library.open(self.file) as library:
            return check_library(library, deep=True, on_progress=lambda *_: None)

    def mend(self) -> Mended:
        with Library.open(self.file, write=True) as library:
            return mend_library(library, deep=True, on_progress=lambda *_: None)


Inject = Callable[[Place, int], None]


def vector(change: Callable[[np.ndarray], np.ndarray]) -> Inject:
    def inject(place: Place, image: int) -> None:
        (blob,) = rows(place.file, "SELECT vector FROM embeddings WHERE image_id = ? AND model_id = 1", image)
        changed = change(np.frombuffer(blob, dtype="<f4").copy()).astype("<f4").tobytes()
        where = f"WHERE image_id = {image} AND model_id = 1"
        place.sql(f"UPDATE embeddings SET vector = ? {where}", values=(changed,))

    return inject


def one_number(value: float) -> Inject:
    return vector(lambda numbers: np.concatenate([numbers[:-1], [value]]))


def on_image(statement: str) -> Inject:
    return lambda place, image: place.sql(statement.format(image=image))


def change_unseen(place: Place, image: int) -> None:
    file = place.picture(image)
    status = file.stat()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 255]))  # a colour
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def cache(change: Callable[[Path], None]) -> Inject:
    def inject(place: Place, image: int) -> None:
        found = sorted(cache_folder().glob("*.vectors"))
        change(found[image % len(found)])

    return inject


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 64
    path.write_bytes(content)


NO_ROOT = (
    "INSERT INTO images (root_id, path, size, mtime_ns, digest, width, height, format) "
    f"VALUES (9{{image}}, 'x.jpg', 1, 1, '{'a' * 64}', 1, 1, 'PNG')"
)
# What is injected, and the kinds that say so; with `{image}` in a kind's place the fault has to name the picture.
FAULTS: dict[str, tuple[tuple[str, ...], bool, Inject]] = {
    "NaN": (("not-a-number",), True, one_number(float("nan"))),
    "infinity": (("not-a-number",), True, one_number(float("inf"))),
    "shorter": (("wrong-length",), True, vector(lambda numbers: numbers[:-1])),
    "longer": (("wrong-length",), True, vector(lambda numbers: np.append(numbers, 0))),
    "no vector": (("wrong-length",), True, on_image("UPDATE embeddings SET vector = x'' WHERE image_id = {image}")),
    "text": (("wrong-length",), True, on_image("UPDATE embeddings SET vector = 'text' WHERE image_id = {image}")),
    "not unit": (("not-unit",), True, vector(lambda numbers: numbers * 1.1)),
    "zero": (("not-unit",), True, vector(lambda numbers: numbers * 0)),
    "old vector": (
        ("out-of-date",), True, on_image(f"UPDATE embeddings SET digest = '{'b' * 64}' WHERE image_id = {{image}}"),
    ),
    "odd digest": (("wrong-digest",), True, on_image("UPDATE images SET digest = 'odd' WHERE id = {image}")),
    "odd digest of a vector": (
        ("wrong-digest",), True, on_image("UPDATE embeddings SET digest = 'odd' WHERE image_id = {image}"),
    ),
    "another digest": (
        ("wrong-digest",), True, on_image(f"UPDATE images SET digest = '{'c' * 64}' WHERE id = {{image}}"),
    ),
    "changed unseen": (("wrong-digest",), True, change_unseen),
    "file gone": (("missing-file",), True, lambda place, image: place.picture(image).unlink()),
    "touched": (("changed-file",), True, lambda place, image: os.utime(place.picture(image), ns=(0, image))),
    "no picture": (
        ("orphan",), False, on_image("UPDATE embeddings SET image_id = 99 + {image} WHERE image_id = {image}"),
    ),
    "no model": (
        ("orphan",), False, on_image("UPDATE embeddings SET model_id = 9 WHERE image_id = {image} AND model_id = 2"),
    ),
    "no root": (("orphan",), False, on_image(NO_ROOT)),
    "tag of nothing": (("orphan",), False, on_image("INSERT INTO tags (image_id, label) VALUES (99 + {image}, 'x')")),
    "tag by nobody": (
        ("orphan",), False, on_image("INSERT INTO tags (image_id, label, model_id) VALUES ({image}, 'x', 99)"),
    ),
    "skipped nowhere": (
        ("orphan",),
        False,
        on_image("INSERT INTO skipped (root_id, path, kind, reason, detail, size, mtime_ns) "
                 "VALUES (9, {image}, 'file', '', '', 0, 0)"),
    ),
    # Where a vector is touched as well its cache is of an earlier state, and that is what is found.
    "flipped bit in a cache": (("stale-cache", "old-cache"), False, cache(flip)),
    "cache cut short": (("stale-cache", "old-cache"), False, cache(lambda path: os.truncate(path, 5000))),
    "cache left over": (
        ("old-cache",), False, cache(lambda path: shutil.copy(path, path.with_name(path.name[:-12] + "0.vectors"))),
    ),
    "no trigger": (("schema",), False, on_image("DROP TRIGGER IF EXISTS embeddings_delete")),
    "no index": (("schema",), False, on_image("DROP INDEX IF EXISTS idx_images_digest")),
    "no view": (("schema",), False, on_image("DROP VIEW IF EXISTS pictures")),
    "index without a row": (("integrity",), False, lambda place, image: break_the_index(place.as_one())),
}  # fmt: skip
STRUCTURE = ("integrity", "schema")  # where one of these is found, nothing after it is looked at


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, model: Model, other_bundle: Path) -> Iterator[Place]:
    top = tmp_path_factory.mktemp("matrix")
    models = (model, Model.load(other_bundle, threads=1))
    made = Place(top / "photos", top / "library" / "library.db", top / "sound", models)
    made.folder.mkdir()
    for number in range(1, PICTURES + 1):
        Image.new("RGB", (8, 6), (number * 20, 255 - number * 20, number * 7)).save(made.folder / f"{number:02d}.bmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(top / "cache"))
        made.embed()
        with Library.open(made.file) as library:
            for each in models:
                vectors(library, identity=each.identity)
        assert made.check() == []
        made.sound.mkdir()
        for name, source in (("photos", made.folder), ("library", made.file.parent), ("caches", cache_folder())):
            shutil.copytree(source, made.sound / name)
        yield made


def inject_all(place: Place, names: Sequence[str]) -> dict[str, int]:
    """Every fault into a picture of its own; those of the caches and of the structure last. By name, which picture."""
    place.put_back()
    order = sorted(names, key=lambda name: (FAULTS[name][0][0] in STRUCTURE, "cache" in FAULTS[name][0][0]))
    targets = {name: number for number, name in enumerate(order, start=1)}
    for name, image in targets.items():
        FAULTS[name][2](place, image)
    return targets


def missed(names: Sequence[str], targets: dict[str, int], found: Sequence[Fault]) -> list[str]:
    """The faults that nothing among what was found speaks of."""
    kinds = {fault.kind for fault in found}
    pictures = {(fault.kind, fault.image_id) for fault in found}
    return [
        name
        for name in names
        if not any((kind, targets[name]) in pictures if FAULTS[name][1] else kind in kinds for kind in FAULTS[name][0])
    ]


@given(names=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=PICTURES, unique=True))
def test_any_set_of_faults_is_found_and_mended(names: list[str], place: Place) -> None:
    targets = inject_all(place, names)
    before = place.check()
    by_depth = [[name for name in names if FAULTS[name][0] == (kind,)] for kind in STRUCTURE]
    assert missed(next(filter(None, by_depth), names), targets, before) == []
    mended = place.mend()
    assert mended.left == ()
    assert missed(names, targets, mended.found) == []
    assert place.check() == []
    assert integrity(place.file) == "ok"
    place.embed()  # what was dropped is made again
    count = len(list(place.folder.iterdir()))
    assert rows(place.file, "SELECT count(*) FROM embeddings") == [count * len(place.models)]
    assert [fault for fault in place.check() if fault.kind != "old-cache"] == []


def test_nothing_else_is_touched(place: Place) -> None:
    everything = "SELECT * FROM embeddings ORDER BY 1, 2"
    place.put_back()
    before = rows(place.file, everything)
    names = ["NaN", "shorter", "not unit", "tag of nothing", "cache left over", "no view"]
    targets = inject_all(place, names)
    place.mend()
    dropped = {(targets[name], 1) for name in names[:3]}
    assert rows(place.file, everything) == [row for row in before if row[:2] not in dropped]


def test_every_kind_is_in_the_matrix() -> None:
    assert {kind for kinds, _, _ in FAULTS.values() for kind in kinds} | {"unreadable"} == set(KINDS)

"""A plan is made without holding a library or a list of work as a whole, and says the same as if it were."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.library import planning
from clipcli.library.id_set import IdSet
from clipcli.library.indexing import IndexOptions
from clipcli.library.job_list import JobList
from clipcli.library.jobs import Job
from clipcli.library.known_files import KnownImage
from clipcli.library.known_rows import KnownRows
from clipcli.library.roots import Root, Target
from clipcli.library.schema import migrate
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored
from clipcli.library.vanished import Vanished
from clipcli.library.writing import BatchWriter
from clipcli.photos.scan import FoundFile
from tests.library.conftest import Index, rows
from tests.photos.test_raw import dng

NAMES = st.sampled_from(
    [b"a", b"a/b", b"a b", b"a.jpg", b"b/a.jpg", b"b/\xff", b"\xc3\xa9/1", b"\xff/1", b"a/b/c", b"z"]
)
PATHS = st.lists(st.tuples(NAMES, st.integers(0, 150)).map(lambda two: b"%s%d" % two), max_size=40)
MANY, A_FOLDER = 20_000, 500


@settings(deadline=None, max_examples=60)
@given(known=st.sets(st.tuples(NAMES, st.integers(0, 150)).map(lambda two: b"%s%d" % two)), asked=PATHS)
def test_rows_are_found_in_whatever_order_they_are_asked_for(known: set[bytes], asked: list[bytes]) -> None:
    """Of text and of bytes, near and far, there and not, twice; what was not asked for is what is left."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        connection.execute("INSERT INTO roots (id, path) VALUES (1, '/')")
        numbers = {path: number for number, path in enumerate(sorted(known), 1)}
        connection.executemany(
            "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format) "
            "VALUES (?, 1, ?, ?, 0, '', 1, 1, '')",
            [(number, to_stored(path), number) for path, number in numbers.items()],
        )
        rows = KnownRows(connection, 1, b"", model_id=None, frames=1)
        for path in [*asked, *sorted(asked)]:
            number = numbers.get(path)
            assert rows.image(path) == (number and KnownImage(number, number, 0, False))
        assert dict(rows.unmet()) == {path: number for path, number in numbers.items() if path not in asked}
        assert rows.met == len(known & set(asked))


IDS = st.one_of(st.integers(-3, 20), st.integers(4090, 4100), st.integers(-(2**62), 2**62))


@given(st.lists(st.tuples(st.booleans(), IDS)))
def test_a_set_of_ids_is_a_set(steps: list[tuple[bool, int]]) -> None:
    ids, plain = IdSet(), set[int]()
    for add, number in steps:
        (ids.add if add else ids.discard)(number)
        (plain.add if add else plain.discard)(number)
        assert (len(ids), number in ids) == (len(plain), number in plain)
    assert list(ids) == sorted(plain)


@settings(deadline=None)
@given(
    few=st.lists(
        st.builds(
            Job,
            root=st.sampled_from([b"/", b"/photos/\xff"]),
            path=st.binary(min_size=1, max_size=9).map(lambda path: path.replace(b"\0", b"\n")),
            size=st.integers(0, 2**63 - 1),
            mtime_ns=st.integers(-(2**63), 2**63 - 1),
            image_id=st.none() | st.integers(1, 2**63 - 1),
            known_reason=st.none() | st.sampled_from(["damaged", "too-slow"]),
        ),
        min_size=1,
        max_size=5,
    ),
    times=st.sampled_from([1, 401, 1000]),
)
def test_work_comes_out_as_it_was_put_in(few: list[Job], times: int) -> None:
    jobs = JobList(few * times)
    assert len(jobs) == len(few) * times
    assert list(jobs) == few * times == list(jobs)


def _walk(top: bytes, **_: object) -> Iterator[FoundFile]:
    for number in range(MANY):
        path = b"%04d/IMG_%06d.jpg" % (number // A_FOLDER, number)
        yield FoundFile(path=path, size=number * 7919, mtime_ns=number * 10**9 // 7, named_picture=True)


def _library_of_many(library: Library, root: Root) -> None:
    """As if all that `_walk` finds had been embedded."""
    with library.write() as connection:
        connection.execute("INSERT INTO roots (id, path) VALUES (?, ?)", (root.id, to_stored(root.path)))
        connection.execute("INSERT INTO models (id, identity, precision, name, folder, dimension) VALUES (1,1,1,1,1,1)")
        connection.executemany(
            "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format) "
            "VALUES (?, 1, ?, ?, ?, ?, 1, 1, '')",
            (
                (number, to_stored(each.path), each.size, each.mtime_ns, f"{number // 2:064d}")
                for number, each in enumerate(_walk(b""), 1)
            ),
        )
        connection.execute(
            "INSERT INTO embeddings (image_id, model_id, digest, vector) SELECT id, 1, digest, 1 FROM images"
        )


@pytest.mark.parametrize("kind", ["known", "new", "gone"])
def test_a_plan_does_not_grow_with_the_library(
    kind: str, library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 files: less than 60 bytes each at the peak, where objects and a path take some 300."""
    (tmp_path / "photos" / "0000").mkdir(parents=True)
    root = Root(id=1, path=os.fsencode(tmp_path / "photos"))
    monkeypatch.setattr(planning, "walk", lambda top, **_: islice(_walk(top), A_FOLDER if kind == "gone" else MANY))
    with Library.open(library_file, write=True, create=True) as library:
        if kind != "new":
            _library_of_many(library, root)
        tracemalloc.start()
        try:
            plan = planning.make_plan(
                library,
                [Target(root=root if kind != "new" else Root(id=None, path=root.path), folders=(b"",))],
                model_id=1,
                options=IndexOptions(),
                on_found=lambda _: None,
            )
            vanished = Vanished(library, plan.vanished)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (plan.unchanged, len(plan.jobs), len(plan.vanished)) == {
            "known": (MANY, 0, 0),
            "new": (0, MANY, 0),
            "gone": (A_FOLDER, 0, MANY - A_FOLDER),
        }[kind]
        assert peak < 60 * MANY
        if kind != "gone":
            return
        # Of two with one content the later one is taken over, once; of one that is there none is.
        for number, wanted in ((A_FOLDER // 2 + 1, A_FOLDER + 3), (MANY // 2, MANY), (1, None), (MANY, None)):
            content = f"{number:064d}"
            assert vanished.of_content(library.connection, content, but=()) == wanted
            assert vanished.of_content(library.connection, content, but=(wanted or 0,)) is None
        writer = BatchWriter(library, model_id=1, root_ids={root.path: 1}, vanished=plan.vanished)
        assert writer.forget(skips=(), but={MANY}) == (MANY - A_FOLDER - 1, 0)
        left = [number for (number,) in library.connection.execute("SELECT id FROM images ORDER BY id")]
        assert left == [*range(1, A_FOLDER + 1), MANY]


def test_a_raw_file_counts_where_the_picture_beside_it_does_not(
    index: Index, photo_folder: Callable[..., Path], library_file: Path, tmp_path: Path
) -> None:
    folder = photo_folder(count=1)  # 000.jpg
    for name in ("000", "left-out", "broken", "alone", "linked"):
        shutil.copy(dng(tmp_path / "a.dng"), folder / f"{name}.dng")
    shutil.copy(folder / "000.jpg", folder / "left-out.jpg")
    (folder / "broken.jpg").write_bytes((folder / "000.jpg").read_bytes()[:200])
    shutil.copy(folder / "broken.jpg", tmp_path / "outside.jpg")
    (folder / "linked.jpg").symlink_to(tmp_path / "outside.jpg")  # links come last, after the folder below
    (folder / "sub").mkdir()
    shutil.copy(folder / "000.jpg", folder / "sub" / "one.jpg")
    (folder / ".clipignore").write_text("left-out.jpg\n")
    first = index(folder)
    assert [os.path.basename(skip.path) for skip in first.newly_skipped] == [b"broken.jpg", b"linked.jpg"]
    before = ["000.jpg", "alone.dng", "left-out.dng", "sub/one.jpg"]
    assert rows(library_file, "SELECT path FROM images ORDER BY path") == before
    second = index(folder)  # now it is known that these JPEGs cannot be read
    assert (second.embedded + second.recognised, second.known_bad) == (2, 2)
    assert {"broken.dng", "linked.dng"} <= set(rows(library_file, "SELECT path FROM images"))
    shutil.copy(folder / "000.jpg", folder / "broken.jpg")
    assert index(folder).forgotten == 0

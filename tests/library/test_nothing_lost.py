"""Disks that are away, folders and files that cannot be read, models that are changed midway: no row is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.library import indexing
from clipcli.library.indexing import IndexOptions, preview
from clipcli.library.models import own_model
from clipcli.library.search import nearest
from clipcli.library.store import Library
from tests.library import decoding_here
from tests.library.conftest import Index, integrity, rows
from tests.library.decoding_here import DecodersHere

EVERYTHING = "SELECT image_id, model_id, digest, hex(vector) FROM embeddings ORDER BY 1, 2"


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """The folder cannot be listed, and nothing in it looked at or opened, as the operating system says that."""
    name = os.fsencode(folder)

    def refusing(call: Callable[..., Any], *, itself: bool) -> Callable[..., Any]:
        def answer(path: Any, *rest: Any, **options: Any) -> Any:
            plain = os.fsencode(path) if isinstance(path, str | bytes | os.PathLike) else b""
            if plain.startswith(name + b"/") or (itself and plain == name):
                raise OSError(number, os.strerror(number), path)
            return call(path, *rest, **options)

        return answer

    monkeypatch.setattr(os, "scandir", refusing(os.scandir, itself=True))
    for call in ("lstat", "stat", "open"):
        monkeypatch.setattr(os, call, refusing(getattr(os, call), itself=False))


NUMBERS = [errno.EACCES, errno.EIO, errno.ENOTCONN, errno.ESTALE]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("what", ["root", "folder below"])
def test_a_folder_that_cannot_be_looked_at_loses_nothing(
    what: str, number: int, index: Index, photo_folder: Callable[..., Path], library_file: Path
) -> None:
    """Permission taken away, a failing disk, a network share that went away while it is mounted."""
    folder = photo_folder(count=2)
    deep = photo_folder("photos/deep/below", count=3, seed=1).parent
    index(folder)
    before = rows(library_file, EVERYTHING)
    with pytest.MonkeyPatch.context() as patch:
        refuse(patch, folder if what == "root" else deep, number)
        report = index(folder)
    assert (report.forgotten, report.embedded) == (0, 0)
    assert report.unchanged == (0 if what == "root" else 2)
    (skip,) = report.newly_skipped
    assert skip.path == os.fsencode(folder if what == "root" else deep)
    assert rows(library_file, EVERYTHING) == before
    assert index(folder).unchanged == 5
    assert rows(library_file, "SELECT count(*) FROM skipped") == [0]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])
def test_a_changed_file_that_cannot_be_read_keeps_its_vector(
    number: int, index: Index, photo_folder: Callable[..., Path], library_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photo_folder(count=3)
    index(folder)
    before = rows(library_file, EVERYTHING)
    Image.new("RGB", (20, 20), "red").save(folder / "001.jpg")
    read = decoding_here._Server._read

    def failing(server: Any, path: bytes) -> Any:
        if path.endswith(b"001.jpg"):
            raise OSError(number, os.strerror(number))
        return read(server, path)

    with monkeypatch.context() as patch:
        patch.setattr(decoding_here._Server, "_read", failing)
        assert len(index(folder).newly_skipped) == 1
        assert index(folder).newly_skipped == []  # known, and tried again all the same
    assert rows(library_file, EVERYTHING) == before
    assert rows(library_file, "SELECT path FROM images WHERE stale") == ["001.jpg"]
    assert index(folder).embedded == 1
    assert rows(library_file, "SELECT count(*) FROM images WHERE stale") == [0]
    assert rows(library_file, EVERYTHING) != before


class Stopping:
    """Ctrl-C in the middle of the batch with this number."""

    def __init__(self, model: Model, after: int) -> None:
        self._model, self._left, self.pictures = model, after, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_images(self, pixels: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        self.pictures += len(pixels)
        return self._model.encode_images(pixels)


def test_another_model_is_taken_up_where_it_was_stopped(
    index: Index, photo_folder: Callable[..., Path], library_file: Path, model: Model, other_bundle: Path
) -> None:
    """The old vectors stay, and are what is searched, until the new ones are whole."""
    folder = photo_folder(count=20)
    index(folder)
    old = rows(library_file, EVERYTHING)
    other = Model.load(other_bundle, threads=1)
    done = 0
    for turn in range(2):
        stopping = Stopping(other, 2)
        with pytest.raises(KeyboardInterrupt):
            index(folder, using=stopping, batch_size=6, workers=1)
        done += stopping.pictures
        assert rows(library_file, "SELECT count(*) FROM embeddings WHERE model_id = 2") == [done]
        assert [row for row in rows(library_file, EVERYTHING) if row[1] == 1] == old
        with Library.open(library_file) as library:
            own = own_model(library)
            assert own is not None
            assert own.name == "tiny"
            hits = nearest(library, model.encode_texts(["red"])[0], identity=own.identity, k=None)
            assert len(hits) == 20
            left = preview(library, [os.fsencode(folder)], other, IndexOptions())
            assert (left.pending, left.unchanged) == (20 - done, done)
        assert done == 6 * (turn + 1)
    assert index(folder, using=other).embedded == 20 - done  # nothing twice
    with Library.open(library_file) as library:
        own = own_model(library)
        assert own is not None
        assert own.name == "other"
    assert [row for row in rows(library_file, EVERYTHING) if row[1] == 1] == old
    assert integrity(library_file) == "ok"


def test_embedding_again_by_force_replaces_vectors_batch_by_batch(
    index: Index, photo_folder: Callable[..., Path], library_file: Path, model: Model
) -> None:
    folder = photo_folder(count=12)
    index(folder)
    before = rows(library_file, EVERYTHING)
    with pytest.raises(KeyboardInterrupt):
        index(folder, using=Stopping(model, 2), force=True, batch_size=6, workers=1)
    assert rows(library_file, EVERYTHING) == before  # the same model makes the same vectors
    assert index(folder).unchanged == 12

"""Looking for everything that can be wrong with a library, its vectors, its pictures' files and its caches.

Nothing is changed. Shapes: N vectors, D embedding.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from clipcli.library.absence import is_absent, is_gone
from clipcli.library.columns import columns_file, columns_files, made_columns
from clipcli.library.emptied import emptied_roots
from clipcli.library.faults import Fault
from clipcli.library.models import StoredModel, stored_models
from clipcli.library.mounts import absent_places
from clipcli.library.roots import contains, read_roots
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.structure import integrity_faults, orphan_faults, schema_faults
from clipcli.library.vectors import cache_path, cached_matrix, caches_of

__all__ = ["NOTED", "OnChecked", "check_library"]

_ROWS_AT_ONCE = 2048
NOTED = -1  # for the time of a file that is known to have changed: no file has it, so that `embed` reads it
_LENGTH_OFF = 1e-3  # float32 vectors normalised by the encoder are off by 1e-6; half precision by less than 1e-3
_ODD_DIGEST = "(length({0}) <> 64 OR {0} GLOB '*[^0-9a-f]*')"

OnChecked = Callable[[str, int, int], None]  # what is being looked at, how many are done, of how many


def check_library(library: Library, *, deep: bool, on_progress: OnChecked) -> list[Fault]:
    """Every fault there is. With `deep` the pictures' files are read and hashed as well.

    Where the file's structure is damaged nothing else is looked at, since what it says cannot be trusted. A root that
    is not there at the moment, a disk that is not mounted, is no fault; `absent_places` and `emptied_roots` have them.
    """
    with library.read() as connection:
        on_progress("structure", 0, 1)
        faults = integrity_faults(connection) or schema_faults(connection)
        if faults:
            return faults
        faults += orphan_faults(connection)
        on_progress("structure", 1, 1)
        faults += _digest_faults(connection)
        for model in stored_models(library):
            faults += _vector_faults(connection, model, on_progress)
        faults += _cache_faults(library)
        faults = _with_paths(library, faults)
    return faults + list(_file_faults(library, deep=deep, on_progress=on_progress))


def _digest_faults(connection: sqlite3.Connection) -> list[Fault]:
    """What can be told without reading files: digests that are none, and vectors of another content."""
    images = connection.execute(f"SELECT id FROM images WHERE {_ODD_DIGEST.format('digest')}")
    faults = [Fault(kind="wrong-digest", detail="not a SHA-256 digest", image_id=number) for (number,) in images]
    vectors = connection.execute(
        f"SELECT image_id, model_id, {_ODD_DIGEST.format('embeddings.digest')} FROM embeddings "
        "JOIN images ON images.id = image_id WHERE embeddings.digest <> images.digest "
        f"AND NOT {_ODD_DIGEST.format('images.digest')}"
    )
    for image_id, model_id, odd in vectors:
        kind, detail = ("wrong-digest", "not a SHA-256 digest") if odd else ("out-of-date", "of an older content")
        faults.append(Fault(kind=kind, detail=f"its vector's: {detail}", image_id=image_id, model_id=model_id))
    return faults


def _vector_faults(connection: sqlite3.Connection, model: StoredModel, on_progress: OnChecked) -> Iterator[Fault]:
    cursor = connection.execute("SELECT image_id, vector FROM embeddings WHERE model_id = ?", (model.id,))
    size = 4 * model.dimension
    done = 0
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        whole = []
        for image_id, vector in rows:
            if isinstance(vector, bytes) and len(vector) == size:
                whole.append((image_id, vector))
            else:
                detail = f"{len(vector):,} bytes instead of {size:,}" if isinstance(vector, bytes) else "no bytes"
                yield Fault(kind="wrong-length", detail=detail, image_id=image_id, model_id=model.id)
        block = np.frombuffer(b"".join(vector for _, vector in whole), dtype="<f4")
        block = block.reshape(len(whole), model.dimension)  # (N, D)
        finite = np.isfinite(block).all(axis=1)  # (N,)
        lengths = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        for index in np.flatnonzero(~finite):
            yield Fault(kind="not-a-number", detail="NaN or infinity", image_id=whole[index][0], model_id=model.id)
        for index in np.flatnonzero(finite & (np.abs(lengths - 1) > _LENGTH_OFF)):
            detail = f"length {lengths[index]:.6g} instead of 1"
            yield Fault(kind="not-unit", detail=detail, image_id=whole[index][0], model_id=model.id)
        done += len(rows)
        on_progress("vectors", done, model.pictures)


def _cache_faults(library: Library) -> list[Fault]:
    current = {cache_path(library, model): model for model in stored_models(library)}
    faults = []
    for path in caches_of(library):
        model = current.get(path)
        name = os.fsencode(path)
        if model is None:
            faults.append(Fault(kind="old-cache", detail="of an earlier state", path=name))
        elif not _is_true(library, model):
            faults.append(Fault(kind="stale-cache", detail="not what the library holds", path=name))
    for path in columns_files(library):
        if path != columns_file(library):
            faults.append(Fault(kind="old-cache", detail="of an earlier state", path=os.fsencode(path)))
        elif path.read_bytes() != made_columns(library):
            faults.append(Fault(kind="stale-cache", detail="not what the library holds", path=os.fsencode(path)))
    return faults


def _is_true(library: Library, model: StoredModel) -> bool:
    """Whether the cache holds the same ids and vectors as the database, byte for byte."""
    cached = cached_matrix(cache_path(library, model), model)
    if cached is None:
        return False
    ids, rows = cached
    cursor = library.connection.execute(
        "SELECT image_id, vector FROM embeddings WHERE model_id = ? ORDER BY image_id", (model.id,)
    )
    start = 0
    while found := cursor.fetchmany(_ROWS_AT_ONCE):
        part = slice(start, start + len(found))
        if ids[part].tolist() != [image_id for image_id, _ in found]:
            return False
        if rows[part].tobytes() != b"".join(bytes(vector) for _, vector in found):
            return False
        start += len(found)
    return start == len(ids)


def _with_paths(library: Library, faults: list[Fault]) -> list[Fault]:
    """The faults with the paths of their pictures; a picture whose root is gone has none."""
    roots = {root.id: root.path for root in read_roots(library)}
    found = []
    for fault in faults:
        if fault.image_id is not None:
            row = library.connection.execute(
                "SELECT root_id, path FROM images WHERE id = ?", (fault.image_id,)
            ).fetchone()
            if row is not None and row[0] in roots:
                fault = replace(fault, path=absolute(roots[row[0]], from_stored(row[1])))
        found.append(fault)
    return found


def _file_faults(library: Library, *, deep: bool, on_progress: OnChecked) -> Iterator[Fault]:
    """Pictures of roots that are there, whose files are not; with `deep`, whose content is not what was recorded.

    A file whose size or time has changed is only newer than the library: with `deep` it is listed, and the next `embed`
    reads it.
    """
    roots = {root.id: root.path for root in read_roots(library)}
    there = {number for number, path in roots.items() if not is_absent(path)}
    away = [path for path, _ in absent_places(library)]
    held = {root.id: until for root, until, _ in emptied_roots(library)}
    with library.read() as connection:
        (total,) = connection.execute("SELECT count(*) FROM images").fetchone()
    last, done = 0, 0
    while True:
        with library.read() as connection:  # a short look each time, so that the journal of writers does not grow
            rows = connection.execute(
                "SELECT id, root_id, path, size, mtime_ns, digest, stale FROM images WHERE id > ? ORDER BY id LIMIT ?",
                (last, _ROWS_AT_ONCE),
            ).fetchall()
        if not rows:
            return
        for image_id, root_id, stored, size, mtime_ns, digest, stale in rows:
            if root_id not in there or image_id <= held.get(root_id, 0):
                continue
            path = absolute(roots[root_id], from_stored(stored))
            if any(contains(place, path) for place in away):
                continue
            if is_gone(path):
                yield Fault(kind="missing-file", detail="no such file", image_id=image_id, path=path)
            elif deep and not stale and mtime_ns != NOTED:
                fault = _read_again(path, size, mtime_ns, digest)
                if fault is not None:
                    kind, detail = fault
                    yield Fault(kind=kind, detail=detail, image_id=image_id, path=path)
        last, done = rows[-1][0], done + len(rows)
        on_progress("files", done, total)


def _read_again(path: bytes, size: int, mtime_ns: int, digest: str) -> tuple[str, str] | None:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
                return "changed-file", "size or time is another; 'clip embed' reads it again"
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return "unreadable", error.strerror or str(error)
    return None if found == digest else ("wrong-digest", f"the file's is {found[:12]}…, not {digest[:12]}…")

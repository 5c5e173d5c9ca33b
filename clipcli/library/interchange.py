"""Embeddings out of a library into a file, and from such a file into another library, with tags and decisions.

Shapes: N vectors, B rows of a block, D embedding.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipcli.errors import ClipError, InputError, NoSpaceError, NotFoundError, UsageError, unwritable
from clipcli.library.embedding_files import check_suffix, read_blocks, read_extras, read_origin, write_blocks
from clipcli.library.embedding_rows import COLUMNS, Block, Extras, Origin, TagGiven
from clipcli.library.known_files import has_frames
from clipcli.library.models import StoredModel, keep_own_model, register_model
from clipcli.library.roots import add_root, contains, read_roots, relative_to
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored, to_stored
from clipcli.library.tag_transfer import (
    TagWriter,
    exported_extras,
    exported_tags,
    import_decisions,
    import_kept_tags,
)
from clipcli.photos.facts import Facts

__all__ = ["Imported", "export_embeddings", "import_embeddings", "origin_of", "tagged_without_row"]

_ROWS_AT_ONCE = 2048
_LENGTH_OFF = 1e-3
_FACTS = tuple(name for name in COLUMNS if name in Facts.__dataclass_fields__)
_CURRENT = """
FROM embeddings JOIN images ON images.id = image_id AND images.digest = embeddings.digest
WHERE model_id = ? AND length(vector) = ?"""
_IMAGE = ("size", "mtime_ns", "digest", *_FACTS)

OnRows = Callable[[int], None]  # how many rows are done


@dataclass(kw_only=True, slots=True)
class Imported:
    """`added` vectors brought `pictures` with them. `known` were there; `different` have another content here.

    `tags` are new, and so are the `decisions` about pairs that are no duplicates.
    """

    added: int = 0
    pictures: int = 0
    known: int = 0
    different: int = 0
    tags: int = 0
    decisions: int = 0


def export_embeddings(library: Library, model: StoredModel, target: Path, *, on_progress: OnRows) -> int:
    """All vectors of a model that are of their file's present content, with facts and tags; how many that were.

    Raises UsageError where `target` exists or is of no known kind, MissingExtraError, NotFoundError, NoSpaceError.
    """
    check_suffix(target)
    if os.path.lexists(target):
        raise UsageError(f"{os.fsdecode(target)} is there already")
    origin = Origin(
        identity=model.identity,
        precision=model.precision,
        model=model.name,
        folder=model.folder,
        dimension=model.dimension,
    )
    try:
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except FileNotFoundError:
        raise NotFoundError(f"no such folder: {os.fsdecode(target.parent)}") from None
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        with os.fdopen(handle, "wb") as file, library.read() as connection:
            (rows,) = connection.execute(f"SELECT count(*) {_CURRENT}", _values(model)).fetchone()
            extras, models = exported_extras(connection)
            blocks = _blocks(library, connection, model, models, on_progress)
            write_blocks(file, target.suffix, origin, extras, rows, blocks)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        if isinstance(error, OSError):
            raise _unwritable(target, error) from error
        raise
    return int(rows)


def _unwritable(target: Path, error: OSError) -> ClipError:
    if NoSpaceError.is_meant_by(error):
        return NoSpaceError(f"no space left for {os.fsdecode(target)}; nothing of it was kept")
    return unwritable(os.fsdecode(target), error)


def tagged_without_row(library: Library, model: StoredModel) -> int:
    """How many pictures have tags and no place in an export of this model, which has a row for each vector."""
    with library.read() as connection:
        (count,) = connection.execute(
            f"SELECT count(DISTINCT image_id) FROM tags WHERE image_id NOT IN (SELECT images.id {_CURRENT})",
            _values(model),
        ).fetchone()
    return int(count)


def origin_of(source: Path) -> Origin:
    """The model an export is of. Raises NotFoundError, InputError for a file that is no export, UsageError."""
    check_suffix(source)
    try:
        return read_origin(source)
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {os.fsdecode(source)}") from None


def import_embeddings(library: Library, source: Path, *, on_progress: OnRows) -> Imported:
    """Add what an export has and the library has not. The caller holds the library's `RunLock`.

    Each block is one transaction; a second run goes on where the first was stopped. Raises NotFoundError, InputError
    for a file that is no export or has been damaged, MissingExtraError, UsageError.
    """
    origin, extras = origin_of(source), read_extras(source)
    with library.write() as connection:
        model_id = register_model(
            connection,
            identity=origin.identity,
            precision=origin.precision,
            name=origin.model,
            folder=origin.folder,
            dimension=origin.dimension,
        )
        (dimension,) = connection.execute("SELECT dimension FROM models WHERE id = ?", (model_id,)).fetchone()
        if dimension != origin.dimension:
            raise InputError(
                f"{os.fsdecode(source)} has vectors of {origin.dimension} numbers, the library {dimension}"
            )
    writer = _Writer(library, model_id, extras)
    done = 0
    for block in read_blocks(source, origin.dimension):
        _check_vectors(source, block)
        writer.add(source, block)
        done += len(block.vectors)
        on_progress(done)
    with library.write() as connection:
        keep_own_model(library, model_id)
        writer.imported.decisions = import_decisions(source, connection, extras)
        writer.imported.tags += import_kept_tags(source, connection, extras)
    return writer.imported


def _values(model: StoredModel) -> tuple[int, int]:
    return model.id, 4 * model.dimension


def _blocks(
    library: Library, connection: sqlite3.Connection, model: StoredModel, models: dict[int, int], on_progress: OnRows
) -> Iterator[Block]:
    """`models` says where in the file's list a model stands."""
    roots = {root.id: root.path for root in read_roots(library)}
    columns_here = [f"images.{name}" for name in _IMAGE] + ["embeddings.frames"]
    if not has_frames(connection):  # an older library that may only be read
        later = {"images.frames": "NULL", "images.truncated": "0", "embeddings.frames": "1"}
        columns_here = [later.get(name, name) for name in columns_here]
    cursor = connection.execute(
        f"SELECT image_id, vector, root_id, path, {', '.join(columns_here)} {_CURRENT} ORDER BY image_id",
        _values(model),
    )
    done = 0
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for _, _, root_id, path, *facts in rows:
            for name, value in (("root", roots[root_id]), ("path", from_stored(path))):
                text, exact = _as_text(value)
                columns[name].append(text)
                columns[f"{name}_b64"].append(exact)
            for name, value in zip((*_IMAGE, "vector_frames"), facts, strict=True):
                columns[name].append(value)
        vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4").reshape(len(rows), model.dimension)
        tags = exported_tags(connection, [row[0] for row in rows], models)
        yield Block(columns=columns, vectors=vectors, tags=tags)  # (B, D)
        done += len(rows)
        on_progress(done)


class _Writer:
    def __init__(self, library: Library, model_id: int, extras: Extras) -> None:
        self.imported = Imported()
        self._tags = TagWriter(extras)
        self._library = library
        self._model_id = model_id
        self._roots = {root.path: root.id for root in read_roots(library)}

    def add(self, source: Path, block: Block) -> None:
        with self._library.write() as connection:
            for number, vector in enumerate(block.vectors):
                row = {name: column[number] for name, column in block.columns.items()}
                try:
                    self._add(connection, row, vector.astype("<f4").tobytes(), block.tags[number])
                except (ValueError, TypeError, IndexError) as error:
                    raise InputError(f"{os.fsdecode(source)} is damaged: {row.get('path')!r}: {error}") from error

    def _add(
        self, connection: sqlite3.Connection, row: dict[str, Any], vector: bytes, tags: Sequence[TagGiven]
    ) -> None:
        root_id, path = self._place(connection, _as_bytes(row, "root"), _as_bytes(row, "path"))
        facts = Facts(**{name: row[name] for name in _FACTS} | {"truncated": bool(row["truncated"])})
        if row["vector_frames"] < 1:
            raise ValueError("a vector of no frame")
        if not re.fullmatch("[0-9a-f]{64}", row["digest"]):
            raise ValueError("a digest that is none")
        known = connection.execute(
            "SELECT images.id, images.digest, embeddings.digest FROM images LEFT JOIN embeddings "
            "ON image_id = images.id AND model_id = ? WHERE root_id = ? AND path = ?",
            (self._model_id, root_id, path),
        ).fetchone()
        if known is not None and known[1] != row["digest"]:
            self.imported.different += 1
            return
        image_id: int | None = known[0] if known is not None else None
        if known is not None and known[2] == row["digest"]:
            self.imported.known += 1
            self.imported.tags += self._tags.write(connection, known[0], tags)
            return
        if image_id is None:
            values = (row["size"], row["mtime_ns"], row["digest"], *(getattr(facts, name) for name in _FACTS))
            (image_id,) = connection.execute(
                f"INSERT INTO images (root_id, path, {', '.join(_IMAGE)}) "
                f"VALUES (?, ?, {', '.join('?' * len(_IMAGE))}) RETURNING id",
                (root_id, path, *values),
            ).fetchone()
            self.imported.pictures += 1
        connection.execute(
            "INSERT OR REPLACE INTO embeddings (image_id, model_id, digest, vector, frames) VALUES (?, ?, ?, ?, ?)",
            (image_id, self._model_id, row["digest"], vector, row["vector_frames"]),
        )
        assert image_id is not None
        self.imported.tags += self._tags.write(connection, image_id, tags)
        self.imported.added += 1

    def _place(self, connection: sqlite3.Connection, root: bytes, path: bytes) -> tuple[int, str | bytes]:
        """The deepest root that holds the picture, since it may belong to one only; else its own, added."""
        if not os.path.isabs(root) or not path or path.startswith(b"/") or b".." in path.split(b"/"):
            raise ValueError("a picture that lies in no folder")
        whole = absolute(root, path)
        holding = [known for known in self._roots if contains(known, os.path.dirname(whole))]
        best = max(holding, key=len, default=None)
        if best is None:
            best = root
            self._roots[root] = add_root(self._library, connection, root)
        number = self._roots[best]
        assert number is not None
        return number, to_stored(relative_to(whole, best))


def _check_vectors(source: Path, block: Block) -> None:
    lengths = np.linalg.norm(block.vectors.astype(np.float64), axis=1)  # (B,)
    if not (np.abs(lengths - 1) <= _LENGTH_OFF).all():  # NaN is not less than anything
        raise InputError(f"{os.fsdecode(source)} is damaged: it has vectors that are not of length 1")


def _as_text(value: bytes) -> tuple[str, str | None]:
    try:
        return value.decode("utf-8"), None
    except UnicodeDecodeError:
        return value.decode("utf-8", errors="replace"), base64.b64encode(value).decode("ascii")


def _as_bytes(row: dict[str, Any], name: str) -> bytes:
    exact = row[f"{name}_b64"]
    text: str = row[name]
    return text.encode("utf-8") if exact is None else base64.b64decode(exact, validate=True)

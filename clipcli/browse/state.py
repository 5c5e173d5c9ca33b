"""What the library holds, for the page's filters and its status line; counted again only when something has changed."""

from __future__ import annotations

import os
import secrets
import shlex
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import clipcli
from clipcli.browse.asked import MOST_AT_ONCE, MOST_IDS
from clipcli.browse.thumbs import SIZES
from clipcli.browse.uploads import UPLOAD_BYTES, UPLOAD_MEGAPIXELS
from clipcli.errors import NotFoundError
from clipcli.library.counts import count_library
from clipcli.library.location import own_library
from clipcli.library.roots import read_roots
from clipcli.library.run_lock import running
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.tags import count_labels
from clipcli.render.text import printable

if TYPE_CHECKING:
    from clipcli.browse.library_access import LibraryAccess
    from clipcli.browse.vectors_in_use import VectorsInUse
    from clipcli.library.store import Library

__all__ = ["State"]

_MOST_CAMERAS, _MOST_TAGS = 500, 2000
_FOLDERS_KEPT_S = 10.0  # while a run is at work


@dataclass(kw_only=True, slots=True)
class _Folder:
    """`pictures` anywhere below; `folders` by their paths."""

    pictures: int = 0
    folders: set[bytes] = field(default_factory=set)


class State:
    """The same answer as long as nothing changes."""

    def __init__(self, access: LibraryAccess, vectors: VectorsInUse) -> None:
        self._access = access
        self._vectors = vectors
        self._lock = threading.Lock()
        self._server = secrets.token_urlsafe(6)  # which run of the program this is: the page notices another one
        self._counted: tuple[int, dict[str, Any]] | None = None
        self._sizes: tuple[tuple[int, bool], int, int] | None = None
        self._folders: tuple[int, float, list[bytes], dict[bytes, _Folder]] | None = None

    def state(self) -> dict[str, Any]:
        change = self._vectors.look()
        with self._lock:
            version = self._access.version()
            if self._counted is None or self._counted[0] != version:
                with self._access.reading() as library:
                    self._counted = (version, _counted(library))
            counted = self._counted[1]
        return {
            "version": clipcli.__version__,
            **counted,
            "library": {**counted["library"], "writable": self._access.writable()},
            "model": self._model(),
            "models": [{**one, "in_use": self._is_in_use(one)} for one in counted["models"]],
            "umap": find_spec("umap") is not None,
            "limits": {
                "upload_bytes": UPLOAD_BYTES,
                "megapixels": UPLOAD_MEGAPIXELS,
                "page": MOST_AT_ONCE,
                "thumb_sizes": list(SIZES),
                "ids": MOST_IDS,
            },
            "change": change,
        }

    def run(self) -> dict[str, Any]:
        """Whether the library is being indexed at this moment, and how far that is."""
        change = self._vectors.look()
        pictures, vectors = self._pictures_and_vectors()
        live = running(self._access.path)
        return {
            "server": self._server,
            "live": live is not None,
            "since": None if live is None else live.since,
            "done": None if live is None else live.done,
            "total": None if live is None else live.total,
            "pictures": pictures,
            "vectors": vectors,
            "change": change,
        }

    def _pictures_and_vectors(self) -> tuple[int, int]:
        """How many there are; counted once for each state of the library, as the page asks every second."""
        using = self._vectors.model
        which = (self._access.version(), using is None)
        known = self._sizes
        if known is None or known[0] != which:
            with self._access.reading() as library, library.read() as connection:
                (pictures,) = connection.execute("SELECT count(*) FROM images").fetchone()
                (vectors,) = connection.execute(
                    "SELECT count(*) FROM embeddings JOIN models ON models.id = embeddings.model_id "
                    "WHERE models.identity = ? AND models.precision = ?",
                    ("", "") if using is None else (using.model.identity, using.stored_precision),
                ).fetchone()
            known = self._sizes = (which, pictures, vectors)
        return known[1], known[2]

    def folders(self, key: str | None) -> list[dict[str, Any]]:
        """The folders right below one, or the roots; `key` is a path as given out here. Raises NotFoundError."""
        roots, tree = self._tree()
        if key is None:
            below = roots
        else:
            try:
                below = sorted(tree[os.fsencode(key)].folders)
            except (KeyError, UnicodeEncodeError):
                raise NotFoundError("the library has no such folder") from None
        return [
            {
                "path": os.fsdecode(path),
                "shown": printable(os.fsdecode(path)),
                "name": printable(os.fsdecode(path if key is None else os.path.basename(path))),
                "pictures": tree[path].pictures,
                "folders": len(tree[path].folders),
            }
            for path in below
        ]

    def _tree(self) -> tuple[list[bytes], dict[bytes, _Folder]]:
        with self._lock:
            version = self._access.version()
            known = self._folders
            if known is None or (known[0] != version and time.monotonic() - known[1] > _FOLDERS_KEPT_S):
                with self._access.reading() as library:
                    roots, tree = _folder_tree(library)
                known = self._folders = (version, time.monotonic(), roots, tree)
        return known[2], known[3]

    def _model(self) -> dict[str, Any] | None:
        using, encoding = self._vectors.model, self._vectors.encoding
        if using is None or encoding is None:
            return None
        return {
            "name": using.model.name,
            "precision": using.model.precision,
            "dimension": using.model.spec.embedding_dim,
            "device": encoding.device,
            "pictures": self._vectors.pictures,
        }

    def _is_in_use(self, one: dict[str, Any]) -> bool:
        using = self._vectors.model
        return using is not None and (one["name"], one["precision"]) == (using.model.name, using.stored_precision)


def _counted(library: Library) -> dict[str, Any]:
    with library.read() as connection:
        counts = count_library(library)
        cameras = connection.execute(
            "SELECT camera, count(*) AS pictures FROM images WHERE camera IS NOT NULL GROUP BY camera "
            "ORDER BY pictures DESC, camera LIMIT ?",
            (_MOST_CAMERAS,),
        ).fetchall()
        (places,) = connection.execute("SELECT count(*) FROM images WHERE latitude IS NOT NULL").fetchone()
        by_file = dict(
            connection.execute(
                "SELECT substr(taken_at, 1, 4) AS year, count(*) FROM images WHERE taken_from = 'file' GROUP BY year"
            ).fetchall()
        )
        tags = count_labels(library)[:_MOST_TAGS]
    path = os.fsencode(library.path)
    return {
        "library": {
            "name": printable(os.fsdecode(os.path.basename(path))),
            "path": printable(os.fsdecode(path)),
            "pictures": counts.pictures.count,
            "stale": counts.stale,
            "bytes": counts.pictures.bytes,
            "skipped": sum(one.count for one in counts.skipped),
            "update": _update_command(library, [root.path for root in counts.roots]),
            "review": _command(library, "clip duplicates --delete --dry-run"),
        },
        "models": [
            {
                "name": model.name,
                "precision": model.precision,
                "dimension": model.dimension,
                "pictures": model.pictures,
            }
            for model in counts.models
        ],
        "roots": [
            {
                "id": root.root_id,
                "path": printable(os.fsdecode(root.path)),
                "pictures": root.pictures,
                "present": root.present,
            }
            for root in counts.roots
        ],
        # A filter is given the name as it is; nothing but text is ever made of it.
        "cameras": [{"name": name, "count": count} for name, count in cameras],
        "tags": [{"name": one.label, "count": one.pictures, "by_person": one.by_hand} for one in tags],
        # `by_file` of them only by the date of the file, which may be that of a copy.
        "years": [{"name": one.name, "count": one.count, "by_file": by_file.get(one.name, 0)} for one in counts.years],
        "formats": [{"name": one.name, "count": one.count} for one in counts.formats],
        "places": places,
        "skipped": [{"reason": one.name, "count": one.count} for one in counts.skipped],
    }


def _update_command(library: Library, roots: list[bytes]) -> str:
    """What a person types to have new pictures of the library's own folders taken in."""
    shown = [shlex.quote(printable(os.fsdecode(root))) for root in roots] or ["~/Pictures"]
    return _command(library, " ".join(["clip embed", *shown]))


def _command(library: Library, line: str) -> str:
    """For this library wherever it is typed."""
    own = library.path == own_library()
    return line if own else f"{line} --db {shlex.quote(printable(os.fsdecode(library.path)))}"


def _folder_tree(library: Library) -> tuple[list[bytes], dict[bytes, _Folder]]:
    """The roots, and every folder with pictures anywhere below it."""
    own: dict[bytes, int] = defaultdict(int)
    with library.read() as connection:
        roots = {root.id: root.path for root in read_roots(library)}
        for root_id, path in connection.execute("SELECT root_id, path FROM images"):
            own[absolute(roots[root_id], os.path.dirname(from_stored(path)))] += 1
    tops = sorted(roots.values())
    tree: dict[bytes, _Folder] = {path: _Folder() for path in tops}
    ends = set(tops)
    for folder, count in own.items():
        here = folder
        while True:
            tree.setdefault(here, _Folder()).pictures += count
            if here in ends:
                break
            above = os.path.dirname(here)
            tree.setdefault(above, _Folder()).folders.add(here)
            here = above
    return tops, tree

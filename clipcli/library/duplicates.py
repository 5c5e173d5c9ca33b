"""Pictures that are in the library more than once: exact copies by their digest, near ones by their embeddings.

Which one of a group is kept: the one with most pixels; of those the largest file; then the one with the earliest date;
then the oldest file; then the one with the shortest path below its root; then the first by root, path and id.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipcli.errors import NotFoundError, UsageError
from clipcli.library.known_files import has_frames
from clipcli.library.models import StoredModel
from clipcli.library.search import paths_of
from clipcli.library.store import Library

if TYPE_CHECKING:
    from clipcli.library.filters import Filters

__all__ = ["Copy", "Group", "decide", "find_duplicates", "undecide"]

_KEPT_FIRST = (
    "images.width * images.height DESC, images.size DESC, images.taken_at IS NULL, images.taken_at, "
    "images.mtime_ns, length(images.path), images.root_id, images.path, images.id"
)
_IDS_AT_ONCE = 500

OnProgress = Callable[[int, int], None]  # how many more are done, and of how many


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A picture of a group. `cosine` is with the one that is kept; of an exact copy it is 1."""

    image_id: int
    path: bytes
    digest: str
    size: int
    mtime_ns: int
    width: int
    height: int
    cosine: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The picture to keep, and its copies, the likest first."""

    kept: Copy
    copies: tuple[Copy, ...]

    def __post_init__(self) -> None:
        if not self.copies:
            raise ValueError("a picture alone is no group")

    def is_exact(self, copy: Copy) -> bool:
        return copy.digest == self.kept.digest


def find_duplicates(
    library: Library,
    *,
    model: StoredModel | None = None,
    threshold: float | None = None,
    filters: Filters | None = None,
    on_progress: OnProgress | None = None,
) -> list[Group]:
    """Groups by the path of what is kept. With a threshold and a model, near copies as well, each near to the kept one.

    What a person has decided to be no duplicates is not put together. Pictures that could not be read when last looked
    at count nowhere, nor do vectors that are older than their picture.
    """
    if (threshold is None) != (model is None):
        raise ValueError("near copies need a model and a threshold")
    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(f"the threshold lies between 0 and 1, not at {threshold:g}")
    with library.read():
        allowed = _allowed(library, filters)
        apart = _decisions(library)
        classes = _exact_classes(library, allowed, apart)
        groups: dict[int, dict[int, float]] = {members[0]: dict.fromkeys(members[1:], 1.0) for members in classes}
        if model is not None and threshold is not None:
            again = {copy for members in classes for copy in members[1:]}
            for kept, copy, cosine in _near(library, model, threshold, allowed, again, apart, on_progress):
                copies = groups.setdefault(kept, {})
                copies[copy] = cosine
                copies.update(dict.fromkeys(groups.pop(copy, {}), cosine))  # its own exact copies come with it
        return _described(library, groups)


def decide(library: Library, image_ids: Sequence[int]) -> int:
    """Remember that these pictures are not duplicates of one another, whatever happens to their files; how many pairs.

    It is the contents that are remembered, so that a moved picture stays decided. Raises NotFoundError, UsageError.
    """
    with library.write() as connection:
        pairs = _pairs(library, image_ids)
        connection.executemany("INSERT OR IGNORE INTO not_duplicates (digest, other_digest) VALUES (?, ?)", pairs)
    return len(pairs)


def undecide(library: Library, image_ids: Sequence[int]) -> int:
    """Take that back; how many pairs had been decided."""
    with library.write() as connection:
        return sum(
            connection.execute("DELETE FROM not_duplicates WHERE digest = ? AND other_digest = ?", pair).rowcount
            for pair in _pairs(library, image_ids)
        )


def _pairs(library: Library, image_ids: Sequence[int]) -> list[tuple[str, str]]:
    ids = list(dict.fromkeys(image_ids))
    if len(ids) < 2:
        raise UsageError("it takes two pictures to be duplicates or not")
    found: dict[int, str] = dict(_rows(library, "id, digest", ids))
    if missing := [number for number in ids if number not in found]:
        raise NotFoundError(f"the library has no picture with the id {missing[0]}")
    digests = [found[number] for number in ids]
    return sorted({(min(pair), max(pair)) for pair in itertools.combinations(digests, 2)})


def _decisions(library: Library) -> dict[str, set[str]]:
    """Contents by content; a content may stand beside itself."""
    apart: dict[str, set[str]] = defaultdict(set)
    (there,) = library.connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'not_duplicates'"
    ).fetchone()
    if there:  # else the library is of the first version
        for one, other in library.connection.execute("SELECT digest, other_digest FROM not_duplicates"):
            apart[one].add(other)
            apart[other].add(one)
    return apart


def _allowed(library: Library, filters: Filters | None) -> set[int] | None:
    if not filters:
        return None
    from clipcli.library.filters import chosen_ids

    return set(chosen_ids(library, filters).tolist())


def _exact_classes(library: Library, allowed: set[int] | None, apart: dict[str, set[str]]) -> list[list[int]]:
    """Ids of pictures with the same content, the one to keep first."""
    classes: dict[str, list[int]] = defaultdict(list)
    for image_id, digest in library.connection.execute(
        "SELECT id, digest FROM images WHERE NOT stale AND digest IN "
        "(SELECT digest FROM images WHERE NOT stale GROUP BY digest HAVING count(*) > 1) "
        f"ORDER BY {_KEPT_FIRST}"
    ):
        if (allowed is None or image_id in allowed) and digest not in apart.get(digest, ()):
            classes[digest].append(image_id)
    return [members for members in classes.values() if len(members) > 1]


def _near(
    library: Library,
    model: StoredModel,
    threshold: float,
    allowed: set[int] | None,
    again: set[int],
    apart: dict[str, set[str]],
    on_progress: OnProgress | None,
) -> Iterable[tuple[int, int, float]]:
    """(kept, copy, cosine) of pictures, of exact copies only the one to keep.

    Films are compared with films, stills with stills: each holds something that the other has not.
    """
    import numpy as np

    from clipcli.library.near_copies import taken_by
    from clipcli.library.vectors import matrix

    ids, rows = matrix(library, model)
    stills: list[tuple[int, str]] = []
    films: list[tuple[int, str]] = []
    film = "coalesce(images.frames > 1, 0)" if has_frames(library.connection) else "0"
    for image_id, digest, moving in library.connection.execute(
        f"SELECT images.id, images.digest, {film} FROM images "
        "JOIN embeddings INDEXED BY idx_embeddings_model_id_image_id_digest ON embeddings.image_id = images.id "
        "AND embeddings.model_id = ? AND embeddings.digest = images.digest "
        f"WHERE NOT images.stale ORDER BY {_KEPT_FIRST}",
        (model.id,),
    ):
        if (allowed is None or image_id in allowed) and image_id not in again:
            (films if moving else stills).append((image_id, digest))

    def tell(done: int) -> None:
        if on_progress is not None:
            on_progress(done, len(stills) + len(films))

    found: list[tuple[int, int, float]] = []
    for kind in (stills, films):
        wanted = [image_id for image_id, _ in kind]
        order = np.searchsorted(ids, np.array(wanted, dtype=np.int64))
        taker, cosines = taken_by(rows, order, threshold, _held(kind, apart), tell)
        found += [
            (wanted[taker[place]], wanted[place], float(cosines[place]))
            for place in np.flatnonzero(taker >= 0).tolist()
        ]
    return found


def _held(pictures: Sequence[tuple[int, str]], apart: dict[str, set[str]]) -> dict[int, frozenset[int]]:
    """The places in `pictures` (ids with contents) that each place is held apart from."""
    decided: dict[str, list[int]] = defaultdict(list)  # places by content
    for place, (_, digest) in enumerate(pictures):
        if digest in apart:
            decided[digest].append(place)
    return {
        place: frozenset(other for name in apart[digest] for other in decided.get(name, ()) if other != place)
        for digest, places in decided.items()
        for place in places
    }


def _described(library: Library, groups: dict[int, dict[int, float]]) -> list[Group]:
    ids = [number for kept, copies in groups.items() for number in (kept, *copies)]
    paths = paths_of(library, ids)
    facts = {row[0]: row[1:] for row in _rows(library, "id, digest, size, mtime_ns, width, height", ids)}

    def one(image_id: int, cosine: float) -> Copy:
        digest, size, mtime_ns, width, height = facts[image_id]
        return Copy(
            image_id=image_id,
            path=paths[image_id],
            digest=digest,
            size=size,
            mtime_ns=mtime_ns,
            width=width,
            height=height,
            cosine=cosine,
        )

    made = [
        Group(
            kept=one(kept, 1.0),
            copies=tuple(sorted((one(*each) for each in copies.items()), key=lambda copy: (-copy.cosine, copy.path))),
        )
        for kept, copies in groups.items()
    ]
    return sorted(made, key=lambda group: group.kept.path)


def _rows(library: Library, columns: str, ids: Sequence[int]) -> Iterable[Any]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[start : start + _IDS_AT_ONCE]
        yield from library.connection.execute(
            f"SELECT {columns} FROM images WHERE id IN ({','.join('?' * len(part))})", part
        )

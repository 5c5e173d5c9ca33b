"""Groups of duplicates for a person to look through, and what they decide about them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from clipcli.browse.answers import BAD, NO_MODEL, Refusal
from clipcli.browse.columns import shown_name
from clipcli.library.duplicates import Copy, Group, decide, find_duplicates, undecide
from clipcli.library.models import find_stored
from clipcli.render.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.browse.jobs import Tell
    from clipcli.browse.library_access import LibraryAccess
    from clipcli.browse.model_in_use import ModelInUse
    from clipcli.library.filters import Filters

__all__ = ["decided", "groups_of"]

_MOST_GROUPS = 2000
_LEAST_THRESHOLD, _MOST_THRESHOLD = 0.5, 0.9999


def groups_of(
    access: LibraryAccess, using: ModelInUse | None, threshold: float | None, filters: Filters | None, tell: Tell
) -> dict[str, Any]:
    """Exact copies; with a threshold near ones as well, by the model in use. Raises Refusal, and what `tell` does."""
    if threshold is not None and not _LEAST_THRESHOLD <= threshold <= _MOST_THRESHOLD:
        raise Refusal(*BAD, f"the threshold lies between {_LEAST_THRESHOLD} and {_MOST_THRESHOLD}")
    if threshold is not None and using is None:
        raise Refusal(*NO_MODEL, "near copies are found by embeddings, of which the library has none")
    done = 0

    def told(more: int, total: int) -> None:
        nonlocal done
        done += more
        tell(done, total)

    with access.reading() as library, library.read():
        model = None
        if threshold is not None and using is not None:
            model = find_stored(library, identity=using.model.identity, precision=using.stored_precision)
        found = find_duplicates(library, model=model, threshold=threshold, filters=filters, on_progress=told)
    copies = [copy for group in found for copy in group.copies]
    return {
        "groups": [[_described(group, each) for each in (group.kept, *group.copies)] for group in found[:_MOST_GROUPS]],
        "total": len(found),
        "copies": len(copies),
        "copy_bytes": sum(copy.size for copy in copies),
    }


def decided(access: LibraryAccess, image_ids: Sequence[int], *, distinct: bool) -> int:
    """Remember that pictures are no duplicates of one another, or take it back; how many pairs that was."""
    with access.writing() as library:
        return decide(library, image_ids) if distinct else undecide(library, image_ids)


def _described(group: Group, each: Copy) -> dict[str, Any]:
    return {
        "id": each.image_id,
        "kind": "kept" if each is group.kept else "exact" if group.is_exact(each) else "near",
        "score": round(each.cosine, 6),
        "bytes": each.size,
        "width": each.width,
        "height": each.height,
        "ratio": round(each.width / each.height, 3),
        "name": shown_name(each.path),
        "folder_shown": printable(os.fsdecode(os.path.dirname(each.path))),
    }

"""Side-cars for pictures of the library: which file each is, and what became of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clipcli.errors import NoSpaceError
from clipcli.library.roots import contains, read_roots, relative_to
from clipcli.library.sidecars import SidecarError, write_sidecar
from clipcli.library.store import Library

__all__ = ["Written", "write_sidecars"]


@dataclass(kw_only=True, slots=True)
class Written:
    """How many side-cars there are now that were not, and how many were completed; `refused` with the reason."""

    new: int = 0
    completed: int = 0
    unchanged: int = 0
    refused: list[tuple[bytes, str]] = field(default_factory=list)


def write_sidecars(
    library: Library,
    labels: Mapping[bytes, Sequence[str]],
    *,
    folder: bytes | None = None,
    on_progress: Callable[[], None] = lambda: None,
) -> Written:
    """A side-car for each picture (by its absolute path), beside it, or below `folder` where it would lie below its
    root. Each is written whole or not at all. Raises NoSpaceError.
    """
    written = Written()
    roots = [root.path for root in read_roots(library)]
    taken: dict[bytes, bytes] = {}
    for picture, names in labels.items():
        on_progress()
        path = _place(picture, roots, folder)
        try:
            if taken.setdefault(path, picture) != picture:
                raise SidecarError("the side-car of another picture has that name")
            if folder is None and not os.path.lexists(picture):
                raise SidecarError("its picture is not there")
            if folder is not None:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            what = write_sidecar(path, names)
        except SidecarError as error:
            written.refused.append((path, str(error)))
        except OSError as error:
            if NoSpaceError.is_meant_by(error):
                raise NoSpaceError(f"no space left for {os.fsdecode(path)}; what was written before is whole") from None
            written.refused.append((path, f"it cannot be written ({error.strerror or error})"))
        else:
            written.new += what == "new"
            written.completed += what == "completed"
            written.unchanged += what == "unchanged"
    return written


def _place(picture: bytes, roots: Sequence[bytes], folder: bytes | None) -> bytes:
    if folder is None:
        return picture + b".xmp"
    root = max((root for root in roots if contains(root, picture)), key=len, default=os.path.dirname(picture))
    return os.path.join(folder, relative_to(picture, root)) + b".xmp"

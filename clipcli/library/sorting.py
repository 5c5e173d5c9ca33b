"""Pictures sorted into folders by their tags: first a plan, then file by file, each noted before it is touched.

Where a picture goes is its best tag: a person's own before a model's, then the best score, then the name. A name that
is taken gets a number, nothing is ever replaced or deleted, and the library follows each move. Side-cars and the raw
file of the same photograph go with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from clipcli.errors import UsageError, unwritable
from clipcli.library.following import follow, root_above
from clipcli.library.moving import CannotMoveError, check_movable, move_file
from clipcli.library.pictures import image_at
from clipcli.library.roots import add_root, relative_to
from clipcli.library.sort_log import SortLog
from clipcli.library.store import Library
from clipcli.library.tag_selection import Selection, selected_tags
from clipcli.photos.companions import companions
from clipcli.photos.copies import numbered
from clipcli.photos.ignoring import Ignoring

__all__ = ["Planned", "Sorted", "folder_name", "plan", "sort_pictures"]

_MAX_NAME_BYTES = 200
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')  # of any system: the folder may travel


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A picture, the label it is sorted by, and where it is to be."""

    image_id: int
    label: str
    source: bytes
    target: bytes


@dataclass(kw_only=True, slots=True)
class Sorted:
    """How many pictures were moved or linked, of those how many under another name, and how many were there already.

    `beside` are the files beside them that were moved with them. `refused` pictures are where they were, with
    the reason.
    """

    done: int = 0
    renamed: int = 0
    already: int = 0
    beside: int = 0
    refused: list[tuple[bytes, str]] = field(default_factory=list)


def folder_name(label: str) -> bytes:
    """The name of a label's folder: the label, without what file systems do not take or `clip embed` passes over."""
    name = _NOT_IN_NAMES.sub("_", label).rstrip(" .") or "_"
    if name.startswith((".", "@", "#", "$")) or name.lower() in ("node_modules", "__pycache__", "lost+found"):
        name = "_" + name
    if name.lower() == "system volume information":
        name = "_" + name
    return name.encode("utf-8")[:_MAX_NAME_BYTES].decode("utf-8", errors="ignore").encode("utf-8")


def plan(library: Library, selection: Selection, folder: bytes, *, link: bool) -> list[Planned]:
    """Where each picture is to be; with `link` once for each of its labels. Nothing is touched.

    `folder` is absolute, without links. Raises UsageError where `clip embed` would pass it over.
    """
    _check_folder(library, folder)
    planned: list[Planned] = []
    taken: set[bytes] = set()
    places: set[bytes] = set()
    for _, tags in groupby(selected_tags(library, selection), key=lambda tag: tag.image_id):
        for tag in list(tags)[: None if link else 1]:
            place = os.path.join(folder, folder_name(tag.label))
            if place not in places:
                _check_folder(library, place)
                places.add(place)
            target = os.path.join(place, os.path.basename(tag.path))
            if os.path.dirname(tag.path) != place and not (link and _is_link(target, tag.path)):
                names = (os.path.join(place, name) for name in numbered(os.path.basename(tag.path)))
                target = next(name for name in names if name not in taken and not os.path.lexists(name))
                taken.add(target)
            planned.append(Planned(image_id=tag.image_id, label=tag.label, source=tag.path, target=target))
    return planned


def sort_pictures(
    library: Library,
    planned: Sequence[Planned],
    folder: bytes,
    log: SortLog,
    *,
    link: bool,
    on_progress: Callable[[], None] = lambda: None,
) -> Sorted:
    """Carry the plan out. The caller holds the library's `RunLock` and has it open for writing unless it links.

    Raises LibraryLockedError, ClipError where a folder cannot be made; what was done before is in the log.
    """
    result = Sorted()
    if not link and planned and root_above(library, folder) is None:
        log.note("done", log.intend("root", b"", folder))
        with library.write() as connection:
            add_root(library, connection, folder)
    for each in planned:
        on_progress()
        if each.source == each.target or (link and _is_link(each.target, each.source)):
            result.already += 1
            continue
        try:
            _make_folders(os.path.dirname(each.target), log)
            placed = _link(each, log) if link else _move(library, each, log, result)
        except CannotMoveError as error:
            result.refused.append((each.source, str(error)))
            continue
        result.done += 1
        result.renamed += os.path.basename(placed) != os.path.basename(each.source)
    return result


def _move(library: Library, each: Planned, log: SortLog, result: Sorted) -> bytes:
    """Where it is then."""
    before = check_movable(each.source)
    # A raw file that the library has for itself is sorted by its own tags.
    beside = [(path, ending) for path, ending in companions(each.source) if image_at(library, path) is None]
    for target in _free_names(each):
        stem = os.path.splitext(target)[0]
        if any(os.path.lexists(stem + ending) for _, ending in beside) or image_at(library, target) is not None:
            continue
        facts = {"image_id": each.image_id, "size": before.st_size, "mtime_ns": before.st_mtime_ns}
        number = log.intend("move", each.source, target, **facts)
        moved = False
        try:
            move_file(each.source, target)
            moved = True
        except FileExistsError:  # somebody was quicker: the file there is none of ours
            log.note("undone", number)
            continue
        finally:  # Ctrl-C as well
            if moved or not os.path.lexists(each.source):
                follow(library, each.image_id, before, target)
        log.note("done", number)
        for path, ending in beside:
            _move_beside(path, stem + ending, log)
            result.beside += 1
        return target
    raise AssertionError("numbers do not end")


def _move_beside(source: bytes, target: bytes, log: SortLog) -> None:
    before = check_movable(source)
    number = log.intend("move", source, target, size=before.st_size, mtime_ns=before.st_mtime_ns)
    try:
        move_file(source, target)
    except FileExistsError:
        log.note("undone", number)
        raise CannotMoveError(
            f"is moved, but {os.fsdecode(source)} is not: {os.fsdecode(target)} is there already"
        ) from None
    log.note("done", number)


def _link(each: Planned, log: SortLog) -> bytes:
    if not os.path.lexists(each.source):
        raise CannotMoveError("is not there")
    for target in _free_names(each):
        number = log.intend("link", each.source, target)
        try:
            os.symlink(each.source, target)
        except FileExistsError:
            log.note("undone", number)
            continue
        except OSError as error:
            raise CannotMoveError(f"cannot be linked ({error.strerror or error})") from None
        log.note("done", number)
        return target
    raise AssertionError("numbers do not end")


def _free_names(each: Planned) -> Iterator[bytes]:
    """The planned name, and others should it have been taken meanwhile."""
    place = os.path.dirname(each.target)
    names = (os.path.join(place, name) for name in numbered(os.path.basename(each.source)))
    yield each.target
    yield from (name for name in names if name != each.target and not os.path.lexists(name))


def _make_folders(folder: bytes, log: SortLog) -> None:
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        number = log.intend("folder", b"", each)
        try:
            os.mkdir(each)
        except FileExistsError:
            continue
        except OSError as error:
            raise unwritable(os.fsdecode(each), error) from None
        log.note("done", number)


def _is_link(path: bytes, target: bytes) -> bool:
    return os.path.islink(path) and os.readlink(path) == target


def _check_folder(library: Library, folder: bytes) -> None:
    """Pictures in a folder that `clip embed` passes over would be forgotten by the next run."""
    root = root_above(library, folder)
    if root is None or root == folder:
        return
    parts = relative_to(folder, root).split(b"/")
    for depth, part in enumerate(parts, start=1):
        below = b"/".join(parts[:depth])
        rules = Ignoring(os.path.join(root, below), above=below + b"/").first()  # of the folders above this one
        if part.startswith(b".") or Ignoring(root).leaves_out(rules, below, folder=True):
            name = os.fsdecode(os.path.join(root, below))
            raise UsageError(
                f"'clip embed' passes over {name} (hidden, or in a .clipignore): pictures there would be forgotten"
            )

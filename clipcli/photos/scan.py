"""Walking folders: every file that may be a picture, once, with its size and time; what cannot be listed, with why.

Paths are bytes throughout, since that is what a file name is. Nothing is opened here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace

from clipcli.photos import devices
from clipcli.photos.formats import HEAD_BYTES, IMAGE_SUFFIXES, NEVER_PICTURES, RAW_SUFFIXES, identify
from clipcli.photos.ignoring import IGNORE_FILE, Chain, Ignoring

__all__ = ["FoundFile", "UnreadableFolder", "found_file", "looks_like_picture", "may_be_picture", "walk"]

# Folders that hold copies, thumbnails or a program's own files. Hidden ones are left out as well.
_NOISE = frozenset(
    (
        b"@eaDir",
        b"#recycle",
        b"node_modules",
        b"__pycache__",
        b"System Volume Information",
        b"$RECYCLE.BIN",
        b"lost+found",
    )
)
Link = tuple[bytes, os.DirEntry[bytes], Chain]

_READY_SUFFIXES = frozenset((b".jpg", b".jpeg", b".heic", b".heif", b".hif"))


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """A regular file below the walked folder. `path` is relative to it, with `/` between its parts.

    `named_picture` is whether its name says that it is a picture; otherwise only its content can tell. `beside` is, for
    a camera's raw file, the JPEG or HEIC of the same picture; `beside_later`: that one is a link, which comes later.
    """

    path: bytes
    size: int
    mtime_ns: int
    named_picture: bool
    beside: bytes | None = None
    beside_later: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableFolder:
    """A folder that could not be listed. `path` is relative to the walked folder, empty for that folder itself."""

    path: bytes
    reason: str
    detail: str


def walk(
    top: bytes,
    *,
    leave_out: Set[bytes] = frozenset(),
    ignoring: Ignoring | None = None,
    doubles: bool = False,
    mounts: set[bytes] | None = None,
    within: bytes | None = None,
) -> Iterator[FoundFile | UnreadableFolder]:
    """Every candidate below `top`, folder by folder in the order of their names.

    What `ignoring` and the `.clipignore` files met on the way leave out is left out; a folder whose file of rules
    cannot be read counts as unreadable.

    A camera's raw file is left out where the camera wrote the same picture as a JPEG or HEIC beside it that is not left
    out itself; with `doubles` it is there, and says so.

    Folders below `top` where another disk begins go to `mounts`, each before what lies in it.

    Hidden files and folders are left out, and so are the folders in `leave_out` (absolute paths). A symbolic link is
    followed when it leads out of `within` (a folder around `top`, by default itself) to something not seen before: what
    lies inside is met in its own place, and a folder around it would lead back to it.
    """
    inside = os.path.realpath(within or top).rstrip(b"/") + b"/"
    ignoring = ignoring or Ignoring(top)
    links: list[Link] = []
    disks = _Disks(mounts)
    try:
        first = ignoring.first()
    except OSError as error:
        yield _no_rules(b"", error)
        return
    found_here = _walk(top, b"", first, links, leave_out, ignoring, disks)
    yield from found_here if doubles else _without_doubles(found_here)
    seen: set[tuple[int, int]] = set()
    while links:
        # Links come last and sorted, so that which of two ways to a file counts does not depend on the disk's order.
        later, links = sorted(links, key=lambda link: link[0]), []
        for path, entry, chain in later:
            target = os.path.realpath(entry.path)
            around = target.rstrip(b"/") + b"/"
            if around.startswith(inside) or inside.startswith(around) or target in leave_out:
                continue
            try:
                status = entry.stat()
            except OSError:  # a dangling link is no picture, and nothing is lost with it
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            if ignoring.leaves_out(chain, path, folder=is_folder):
                ignoring.left_out.folders += is_folder
                ignoring.left_out.files += not is_folder and _suffix(path) in IMAGE_SUFFIXES
                continue
            seen.add((status.st_dev, status.st_ino))
            if is_folder:
                found_there = _walk(entry.path, path + b"/", chain, links, leave_out, ignoring, disks)
                once = _only_once(found_there, entry.path, path + b"/", seen)
                yield from once if doubles else _without_doubles(once)
            elif stat.S_ISREG(status.st_mode) and (found := _candidate(path, status)):
                yield found


def _walk(
    folder: bytes,
    prefix: bytes,
    chain: Chain,
    links: list[Link],
    leave_out: Set[bytes],
    ignoring: Ignoring,
    disks: _Disks,
) -> Iterator[FoundFile | UnreadableFolder]:
    todo = [(folder, prefix, chain, disks.around(folder, prefix))]
    while todo:
        here, prefix, chain, around = todo.pop()
        device = disks.look(here, prefix, around)
        entries = _entries(here, prefix)
        if isinstance(entries, UnreadableFolder):
            yield entries
            continue
        try:
            if any(entry.name == IGNORE_FILE and entry.is_file() for entry in entries):
                chain = ignoring.inside(chain, here, prefix)
        except OSError as error:
            yield _no_rules(prefix[:-1], error)
            continue
        below = []
        doubles = _doubles(entries, prefix, chain, ignoring)
        while entries:  # taken off one by one: each entry keeps all that was asked about it
            entry = entries.pop()
            if entry.name.startswith(b".") or entry.name in _NOISE:
                continue
            path = prefix + entry.name
            try:
                if entry.is_symlink():
                    links.append((path, entry, chain))
                elif entry.is_dir():
                    if entry.path in leave_out:
                        continue
                    if ignoring.leaves_out(chain, path, folder=True):
                        ignoring.left_out.folders += 1
                    else:
                        below.append((entry.path, path + b"/", chain, device))
                elif entry.is_file():
                    if ignoring.leaves_out(chain, path, folder=False):
                        ignoring.left_out.files += _suffix(path) in IMAGE_SUFFIXES
                        continue
                    found = _candidate(path, entry.stat())
                    if found:
                        if beside := doubles.get(entry.name):
                            found = replace(found, beside=prefix + beside.name, beside_later=beside.is_symlink())
                        yield found
            except OSError:  # gone since the folder was listed
                continue
        todo.extend(reversed(below))


class _Disks:
    """Notes where disks begin, for whoever wants to know."""

    def __init__(self, mounts: set[bytes] | None) -> None:
        self._mounts = mounts

    def around(self, folder: bytes, prefix: bytes) -> int | None:
        """The device of the folder around the one a walk begins with; for the top of all its own."""
        if self._mounts is None:
            return None
        return devices.device_of(os.path.dirname(folder) if prefix else folder)

    def look(self, folder: bytes, prefix: bytes, around: int | None) -> int | None:
        """The folder's device, which is `around` where it cannot be told."""
        if self._mounts is None:
            return None
        device = devices.device_of(folder)
        if device is None:
            return around
        if prefix and device != around:
            self._mounts.add(prefix[:-1])
        return device


def _only_once(
    there: Iterator[FoundFile | UnreadableFolder], folder: bytes, prefix: bytes, seen: set[tuple[int, int]]
) -> Iterator[FoundFile | UnreadableFolder]:
    """What a linked folder holds; of two links, one to a folder and one to something inside it, the first counts."""
    for found in there:
        if isinstance(found, FoundFile):
            try:
                status = os.stat(folder + b"/" + found.path[len(prefix) :])
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        yield found


def _entries(folder: bytes, prefix: bytes) -> list[os.DirEntry[bytes]] | UnreadableFolder:
    """The entries, the last one in the order of names first."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name, reverse=True)
    except PermissionError:
        return UnreadableFolder(path=prefix[:-1], reason="no-permission", detail="permission denied")
    except OSError as error:
        return UnreadableFolder(path=prefix[:-1], reason="io-error", detail=error.strerror or str(error))


def _no_rules(path: bytes, error: OSError) -> UnreadableFolder:
    """Without its rules, what a person wanted left out would be taken."""
    reason = "no-permission" if isinstance(error, PermissionError) else "io-error"
    return UnreadableFolder(path=path, reason=reason, detail=f"{os.fsdecode(IGNORE_FILE)}: {error.strerror or error}")


def _without_doubles(found: Iterator[FoundFile | UnreadableFolder]) -> Iterator[FoundFile | UnreadableFolder]:
    return (each for each in found if isinstance(each, UnreadableFolder) or each.beside is None)


def _doubles(
    entries: list[os.DirEntry[bytes]], prefix: bytes, chain: Chain, ignoring: Ignoring
) -> Mapping[bytes, os.DirEntry[bytes]]:
    """Names of raw files -> the ready picture beside each, one that is not left out."""
    raw = [entry.name for entry in entries if entry.name[-4:].lower() in RAW_SUFFIXES]  # all of them have four letters
    if not raw:
        return {}
    parts = ((entry, *os.path.splitext(entry.name.lower())) for entry in entries)
    ready = {
        stem: entry
        for entry, stem, suffix in parts
        if suffix in _READY_SUFFIXES
        and not entry.name.startswith(b".")
        and not ignoring.leaves_out(chain, prefix + entry.name, folder=False)
    }
    return {name: ready[name[:-4].lower()] for name in raw if name[:-4].lower() in ready}


def _candidate(path: bytes, status: os.stat_result) -> FoundFile | None:
    suffix = _suffix(path)
    if suffix in NEVER_PICTURES:
        return None
    return FoundFile(
        path=path, size=status.st_size, mtime_ns=status.st_mtime_ns, named_picture=suffix in IMAGE_SUFFIXES
    )


def _suffix(path: bytes) -> bytes:
    # Hidden names are not met here; for the others this is what `splitext` does, in less time.
    _, stop, ending = path[path.rfind(b"/") + 1 :].rpartition(b".")
    return stop + ending.lower() if stop else b""


def found_file(path: bytes, *, relative: bytes) -> FoundFile | None:
    """A file that was named itself: taken for a picture whatever it is called; None when it is no regular file.

    Raises OSError when there is nothing of that name.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return None
    return FoundFile(path=relative, size=status.st_size, mtime_ns=status.st_mtime_ns, named_picture=True)


def may_be_picture(path: bytes) -> bool:
    """Whether `walk` could come by a file or folder of this name, relative to where it begins, or by its rules."""
    *folders, name = path.split(b"/")
    if any(part.startswith(b".") or part in _NOISE for part in folders):
        return False
    if name == IGNORE_FILE:
        return True
    return not (name.startswith(b".") or name in _NOISE or os.path.splitext(name)[1].lower() in NEVER_PICTURES)


def looks_like_picture(path: bytes) -> bool:
    """Whether a file whose name says nothing begins like a picture. One that cannot be read is none."""
    try:
        with open(path, "rb") as file:
            return identify(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False

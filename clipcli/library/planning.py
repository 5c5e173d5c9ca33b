"""What an index run will have to do: the files on disk held against what the library knows. Changes nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import nullcontext

from clipcli.library.absence import is_absent, is_gone
from clipcli.library.emptied import held_back
from clipcli.library.id_set import IdSet
from clipcli.library.jobs import Job, Skip
from clipcli.library.known_files import KnownSkip, looked_at
from clipcli.library.known_rows import KnownRows
from clipcli.library.mounts import Mounts, is_below, remembered_mounts
from clipcli.library.plan import Plan, UnlistedFolder
from clipcli.library.report import IndexOptions
from clipcli.library.roots import Root, Target
from clipcli.library.sqlite_errors import translated
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute
from clipcli.library.stubs import last_seen, stubs
from clipcli.photos.devices import is_mount
from clipcli.photos.ignoring import Ignoring, places_left_out
from clipcli.photos.scan import FoundFile, UnreadableFolder, found_file, looks_like_picture, walk

__all__ = ["make_plan"]

_TELL_EVERY = 500  # files between two calls of `on_found`


def make_plan(
    library: Library | None,
    targets: Sequence[Target],
    *,
    model_id: int | None,
    options: IndexOptions,
    on_found: Callable[[int], None],
    unsettled: Set[bytes] = frozenset(),
) -> Plan:
    """Look through the targets. `library` is None where there is no library yet, `model_id` where the model is new.

    With `force` every file becomes a job, whatever is known of it. `exclude` and `include` are patterns for what is met
    in folders; a file that was named itself is always looked at. `unsettled` are absolute paths of files that are being
    written at the moment: they are passed over, and nothing known of them changes.
    """
    roots = frozenset(target.root.path for target in targets)
    planner = _Planner(library, model_id, options, on_found, unsettled)
    with nullcontext() if library is None else translated(library.path):
        for target in targets:
            for folder in target.folders:
                planner.folder(target.root, folder, leave_out=roots - {target.root.path})
            planner.files(target.root, target.files)
    return planner.plan


class _Planner:
    def __init__(
        self,
        library: Library | None,
        model_id: int | None,
        options: IndexOptions,
        on_found: Callable[[int], None],
        unsettled: Set[bytes],
    ) -> None:
        self.plan = Plan()
        self._library = library
        self._model_id = model_id
        self._options = options
        self._on_found = on_found
        self._unsettled = unsettled
        self._found = 0
        self._unreadable = IdSet()  # of what is known to be, and is not tried again
        self._disks: dict[bytes, int | None] = {}  # where disks were and nothing of before is met yet, with its mark

    def folder(self, root: Root, folder: bytes, *, leave_out: frozenset[bytes]) -> None:
        known = self._known(root, folder)
        top = absolute(root.path, folder)
        if is_absent(top) and not self._is_emptied(root, folder, known):
            self.plan.absent.append(top)
            return
        mounts = self._mounts(root)
        self._disks = {place: mounts.marks.get(place) for place in mounts.remembered}
        self._look_through(root, folder, known, mounts, leave_out)

        def met(place: bytes) -> bool:
            """Something of before, unless a person has taken all of that out of the library."""
            if place not in self._disks:
                return True
            until = self._disks[place]
            return until is not None and is_below(place, folder) and not known.any(place, until=until)

        left = _Left(known)
        self._keep_away(root, mounts.away(folder, met=met), left)
        # What is left was known and not met. It may be hidden or left out now; only what is gone is forgotten.
        gone = IdSet(image_id for path, image_id in left if is_gone(absolute(root.path, path)))
        if places := self._stubs(root, gone):
            mounts.found |= places
            self._keep_away(root, sorted(places), left)
            gone = IdSet(image_id for _, image_id in left if image_id in gone)
        held = IdSet()
        if self._library is not None and root.id is not None:
            self.plan.vanished |= gone
            met_any = known.met > 0 or any(image_id not in gone for _, image_id in left)
            held = held_back(self._library, root, mounts, gone, met=met_any)
            if held:
                kept = self.plan.held.setdefault(root.path, IdSet())
                kept |= held
        left_out = self.plan.left_out
        if (left_out.files or left_out.folders) and not (self._options.exclude or self._options.include):
            self._note_left_in(root, left, gone)
        if not held:
            self.plan.outdated_skips |= IdSet(
                skip_id
                for path, skip_id, kind in known.unmet_skips()
                if not left.is_away(path) and (kind == "folder" or is_gone(absolute(root.path, path)))
            )
        if not (folder or self._options.exclude or self._options.include):
            self.plan.scanned_roots.append(root.path)

    def _look_through(
        self, root: Root, folder: bytes, known: KnownRows, mounts: Mounts, leave_out: frozenset[bytes]
    ) -> None:
        top, prefix = absolute(root.path, folder), folder + b"/" if folder else b""
        options, below = self._options, set[bytes]()
        ignoring = Ignoring(
            top, above=prefix, exclude=options.exclude, include=options.include, left_out=self.plan.left_out
        )
        raw: list[tuple[bytes, FoundFile]] = []
        later: list[tuple[bytes, FoundFile]] = []
        for entry in walk(top, leave_out=leave_out, ignoring=ignoring, doubles=True, mounts=below, within=root.path):
            path = prefix + entry.path if entry.path else folder
            if raw and os.path.dirname(path) != os.path.dirname(raw[-1][0]):
                later += self._rescue(root, raw, known, prefix)
                raw = []
            if isinstance(entry, UnreadableFolder):
                self._unlisted(root, path, entry, known.skip(path))
            elif entry.beside is not None:
                raw.append((path, entry))
            else:
                self._file(root, path, entry, known)
        self._rescue(root, [*later, *raw], known, prefix)
        mounts.found |= {prefix + place for place in below}

    def _rescue(
        self, root: Root, raw: Iterable[tuple[bytes, FoundFile]], known: KnownRows, prefix: bytes
    ) -> list[tuple[bytes, FoundFile]]:
        """A camera's raw file counts where the picture beside it cannot be read. What is left is to be asked again
        later, as that picture is still to come.
        """
        later = []
        for path, found in raw:
            assert found.beside is not None
            bad = known.skip(prefix + found.beside)
            if bad is not None and bad.id in self._unreadable:
                self._file(root, path, found, known)
            elif found.beside_later:
                later.append((path, found))
        return later

    def _note_left_in(self, root: Root, left: _Left, gone: Set[int]) -> None:
        there = (path for path, image_id in left if image_id not in gone)
        with contextlib.suppress(OSError):  # the walk has said so
            for place, count in places_left_out(root.path, there).items():
                self.plan.left_in[absolute(root.path, place)] = count

    def _is_emptied(self, root: Root, folder: bytes, known: KnownRows) -> bool:
        """Whether a folder is there, and nothing in it, because it never had anything or somebody has emptied it."""
        if not os.path.isdir(absolute(root.path, folder)) or (not folder and known.any()):
            return False
        mounts = self._mounts(root)
        mounts.found |= stubs(root.path, last_seen(known.looked_at()))
        return not known.any() or not any(is_below(folder, place) for place in mounts.to_keep)

    def _stubs(self, root: Root, gone: IdSet) -> set[bytes]:
        if self._library is None or not gone:
            return set()
        return stubs(root.path, last_seen(looked_at(self._library, gone)))

    def _mounts(self, root: Root) -> Mounts:
        if root.path not in self.plan.mounts:
            library = self._library
            mounts = Mounts(root=root.path) if library is None else remembered_mounts(library, root)
            if is_mount(root.path):
                mounts.found.add(b"")
            self.plan.mounts[root.path] = mounts
        return self.plan.mounts[root.path]

    def _keep_away(self, root: Root, away: Sequence[bytes], left: _Left) -> None:
        """Take out of what is `left` what lies on disks that are not there."""
        for place in away:
            newest = max((image_id for _, image_id in left.below(place)), default=None)
            if newest is not None:
                self.plan.absent.append(absolute(root.path, place))
                self.plan.mounts[root.path].marks.setdefault(place, newest)
            left.away.append(place)

    def files(self, root: Root, paths: Sequence[bytes]) -> None:
        known = self._known(root, b"")
        for path in paths:
            try:
                found = found_file(absolute(root.path, path), relative=path)
            except OSError:  # it was there a moment ago
                continue
            if found is not None:
                self._file(root, path, found, known)

    def _known(self, root: Root, folder: bytes) -> KnownRows:
        connection = None if self._library is None else self._library.connection
        return KnownRows(connection, root.id, folder, model_id=self._model_id, frames=self._options.frames)

    def _file(self, root: Root, path: bytes, found: FoundFile, rows: KnownRows) -> None:
        self._found += 1
        if self._found % _TELL_EVERY == 0:
            self._on_found(self._found)
        known = rows.image(path)
        if known is not None and self._disks:
            self._is_there(path, known.id)
        if self._unsettled and absolute(root.path, path) in self._unsettled:
            return
        same = known is not None and (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
        if known is not None and same and known.current and not self._options.force:
            self.plan.unchanged += 1
            return
        bad = rows.skip(path)
        retry = bad is not None and (
            self._options.force or bad.is_worth_another_try(found.size, found.mtime_ns, self._options)
        )
        if bad is not None and not retry:
            self._unreadable.add(bad.id)
            self.plan.known_bad += 1
            return
        unheard_of = known is None and bad is None
        if unheard_of and not found.named_picture and not looks_like_picture(absolute(root.path, path)):
            self.plan.others += 1
            return
        same_bad = bad is not None and (bad.size, bad.mtime_ns) == (found.size, found.mtime_ns)
        self.plan.jobs.append(
            Job(
                root=root.path,
                path=path,
                size=found.size,
                mtime_ns=found.mtime_ns,
                image_id=known.id if known is not None else None,
                known_reason=bad.reason if bad is not None and same_bad else None,
            )
        )

    def _is_there(self, path: bytes, image_id: int) -> None:
        for place in [place for place in self._disks if is_below(path, place)]:
            until = self._disks[place]
            if until is None or image_id <= until:
                del self._disks[place]

    def _unlisted(self, root: Root, path: bytes, entry: UnreadableFolder, bad: KnownSkip | None) -> None:
        if bad is not None and (bad.kind, bad.reason) == ("folder", entry.reason):
            self.plan.known_bad += 1
            return
        skip = Skip(path=absolute(root.path, path), reason=entry.reason, detail=f"folder: {entry.detail}")
        self.plan.unlisted.append(UnlistedFolder(root=root.path, path=path, skip=skip))


class _Left:
    """What was known and not met, but for what lies in places that are `away`. Asked for anew each time."""

    def __init__(self, known: KnownRows) -> None:
        self.away: list[bytes] = []
        self._known = known

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        return self.below(b"")

    def below(self, place: bytes) -> Iterator[tuple[bytes, int]]:
        return ((path, image_id) for path, image_id in self._known.unmet(place) if not self.is_away(path))

    def is_away(self, path: bytes) -> bool:
        return any(is_below(path, place) for place in self.away)

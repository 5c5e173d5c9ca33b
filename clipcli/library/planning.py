"""What an index run will have to do: the files on disk held against what the library knows. Changes nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence, Set

from clipcli.library.absence import is_absent, is_gone
from clipcli.library.emptied import held_back
from clipcli.library.jobs import Job, Skip
from clipcli.library.known_files import KnownImage, KnownSkip, digests_of, known_images, known_skips, looked_at
from clipcli.library.mounts import Mounts, is_below, remembered_mounts
from clipcli.library.plan import Plan, UnlistedFolder
from clipcli.library.report import IndexOptions
from clipcli.library.roots import Root, Target
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored, to_stored
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
    planner = _Planner(library, model_id, options, on_found, unsettled)
    roots = frozenset(target.root.path for target in targets)
    for target in targets:
        for folder in target.folders:
            planner.folder(target.root, folder, leave_out=roots - {target.root.path})
        for file in target.files:
            planner.file(target.root, file)
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
        self._unreadable: set[bytes] = set()  # relative to the root that is being looked through

    def folder(self, root: Root, folder: bytes, *, leave_out: frozenset[bytes]) -> None:
        images, skips = self._known(root, folder=folder)
        top = absolute(root.path, folder)
        if is_absent(top) and not self._is_emptied(root, folder, images):
            self.plan.absent.append(top)
            return
        prefix = folder + b"/" if folder else b""
        self._unreadable.clear()
        mounts, below = self._mounts(root), set[bytes]()
        on_disks = {
            key: known.id
            for key, known in images.items()
            if any(is_below(from_stored(key), place) for place in mounts.remembered)
        }
        known_before = len(images)
        left = self.plan.left_out
        ignoring = Ignoring(
            top, above=prefix, exclude=self._options.exclude, include=self._options.include, left_out=left
        )
        doubles: list[tuple[bytes, FoundFile]] = []
        for entry in walk(top, leave_out=leave_out, ignoring=ignoring, doubles=True, mounts=below, within=root.path):
            path = prefix + entry.path if entry.path else folder
            if isinstance(entry, FoundFile) and entry.beside is not None:
                doubles.append((path, entry))
                continue
            key = to_stored(path)
            if isinstance(entry, UnreadableFolder):
                self._unlisted(root, path, entry, skips.pop(key, None))
            else:
                self._file(root, path, entry, images.pop(key, None), skips.pop(key, None))
        for path, found in doubles:  # a raw file counts where the picture beside it cannot be read
            assert found.beside is not None
            if prefix + found.beside in self._unreadable:
                key = to_stored(path)
                self._file(root, path, found, images.pop(key, None), skips.pop(key, None))
        mounts.found |= {prefix + place for place in below}
        met_any = len(images) < known_before
        marks = dict(mounts.marks)

        def met(place: bytes) -> bool:
            """Something of before, unless a person has taken all of that out of the library."""
            before = [
                key
                for key, image_id in on_disks.items()
                if image_id <= marks.get(place, image_id) and is_below(from_stored(key), place)
            ]
            taken_out = not before and place in marks and is_below(place, folder)
            return taken_out or any(key not in images for key in before)

        away = mounts.away(folder, met=met)
        self._keep_away(root, away, images, skips)
        # What is left was known and not met. It may be hidden or left out now; only what is gone is forgotten.
        gone = self._gone(root, images)
        if places := self._stubs(root, gone):
            mounts.found |= places
            self._keep_away(root, sorted(places), images, skips)
            gone = self._gone(root, images)
        if self._library is not None and root.id is not None:
            self.plan.vanished.update(digests_of(self._library, gone))
            held = held_back(self._library, root, mounts, gone, met=met_any or len(gone) < len(images))
            if held:
                self.plan.held.setdefault(root.path, set()).update(held)
                skips = {}
        if (left.files or left.folders) and not (self._options.exclude or self._options.include):
            self._note_left_in(root, images, set(gone))
        self.plan.outdated_skips += [
            known.id
            for key, known in skips.items()
            if known.kind == "folder" or is_gone(absolute(root.path, from_stored(key)))
        ]
        if not (folder or self._options.exclude or self._options.include):
            self.plan.scanned_roots.append(root.path)

    def _note_left_in(self, root: Root, images: dict[str | bytes, KnownImage], gone: Set[int]) -> None:
        there = [from_stored(key) for key, known in images.items() if known.id not in gone]
        with contextlib.suppress(OSError):  # the walk has said so
            for place, count in places_left_out(root.path, there).items():
                self.plan.left_in[absolute(root.path, place)] = count

    def _is_emptied(self, root: Root, folder: bytes, images: dict[str | bytes, KnownImage]) -> bool:
        """Whether a folder is there, and nothing in it, because it never had anything or somebody has emptied it."""
        if not os.path.isdir(absolute(root.path, folder)) or (images and not folder):
            return False
        mounts = self._mounts(root)
        mounts.found |= self._stubs(root, [known.id for known in images.values()])
        return not images or not any(is_below(folder, place) for place in mounts.to_keep)

    def _gone(self, root: Root, images: dict[str | bytes, KnownImage]) -> list[int]:
        return [known.id for key, known in images.items() if is_gone(absolute(root.path, from_stored(key)))]

    def _stubs(self, root: Root, gone: Sequence[int]) -> set[bytes]:
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

    def _keep_away(
        self,
        root: Root,
        away: Sequence[bytes],
        images: dict[str | bytes, KnownImage],
        skips: dict[str | bytes, KnownSkip],
    ) -> None:
        """Take out of `images` and `skips` what lies on disks that are not there."""
        for place in away:
            there = [key for key in images if is_below(from_stored(key), place)]
            if there:
                self.plan.absent.append(absolute(root.path, place))
                self.plan.mounts[root.path].marks.setdefault(place, max(images[key].id for key in there))
            for key in there:
                del images[key]
            for key in [key for key in skips if is_below(from_stored(key), place)]:
                del skips[key]

    def file(self, root: Root, path: bytes) -> None:
        images, skips = self._known(root, file=path)
        key = to_stored(path)
        try:
            found = found_file(absolute(root.path, path), relative=path)
        except OSError:  # it was there a moment ago
            return
        if found is not None:
            self._file(root, path, found, images.get(key), skips.get(key))

    def _known(
        self, root: Root, *, folder: bytes | None = None, file: bytes | None = None
    ) -> tuple[dict[str | bytes, KnownImage], dict[str | bytes, KnownSkip]]:
        if self._library is None or root.id is None:
            return {}, {}
        with self._library.read() as connection:
            return (
                known_images(
                    connection, root.id, self._model_id, folder=folder, file=file, frames=self._options.frames
                ),
                known_skips(connection, root.id, folder=folder, file=file),
            )

    def _file(self, root: Root, path: bytes, found: FoundFile, known: KnownImage | None, bad: KnownSkip | None) -> None:
        self._found += 1
        if self._found % _TELL_EVERY == 0:
            self._on_found(self._found)
        if self._unsettled and absolute(root.path, path) in self._unsettled:
            return
        same = known is not None and (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
        if known is not None and same and known.current and not self._options.force:
            self.plan.unchanged += 1
            return
        retry = bad is not None and (
            self._options.force or bad.is_worth_another_try(found.size, found.mtime_ns, self._options)
        )
        if bad is not None and not retry:
            self._unreadable.add(path)
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

    def _unlisted(self, root: Root, path: bytes, entry: UnreadableFolder, bad: KnownSkip | None) -> None:
        if bad is not None and (bad.kind, bad.reason) == ("folder", entry.reason):
            self.plan.known_bad += 1
            return
        skip = Skip(path=absolute(root.path, path), reason=entry.reason, detail=f"folder: {entry.detail}")
        self.plan.unlisted.append(UnlistedFolder(root=root.path, path=path, skip=skip))

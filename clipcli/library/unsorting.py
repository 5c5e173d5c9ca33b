"""Files that were sorted into folders put back, from the log of it, last step first.

After a kill the log says what was about to be done, and the files themselves say whether it was. What does not fit is
left where it is. Putting back can be interrupted and begun again as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Set
from dataclasses import dataclass, field

from clipcli.library.following import follow, root_above
from clipcli.library.mounts import forget_mounts
from clipcli.library.moving import CannotMoveError, check_movable, clear_partial, move_file
from clipcli.library.pictures import image_at
from clipcli.library.roots import read_roots
from clipcli.library.sort_log import SortLog, Step, Steps
from clipcli.library.store import Library

__all__ = ["PutBack", "put_back"]

_COARSEST_TIME_NS = 2_000_000_000  # FAT's


@dataclass(kw_only=True, slots=True)
class PutBack:
    """How many pictures, files beside them, and links were put back; `refused` are those left where they are."""

    pictures: int = 0
    beside: int = 0
    links: int = 0
    refused: list[tuple[bytes, str]] = field(default_factory=list)


def put_back(
    library: Library | None, steps: Steps, log: SortLog, *, on_progress: Callable[[], None] = lambda: None
) -> PutBack:
    """The caller holds the library's `RunLock`. Without a library only the files are put back. Raises NoSpaceError."""
    result = PutBack()
    for step in reversed(steps.steps):
        on_progress()
        if step.number in steps.undone:
            continue
        try:
            if step.what == "move":
                moved = _move_back(library, step, steps, log)
                result.pictures += moved and step.image_id is not None
                result.beside += moved and step.image_id is None
            elif step.what == "link":
                result.links += _unlink(step, done=step.number in steps.done)
            elif step.what == "folder":
                with contextlib.suppress(OSError):  # something is in it, or it is gone
                    os.rmdir(step.target)
            elif library is not None:
                _drop_root(library, step.target)
        except CannotMoveError as error:
            result.refused.append((step.target, str(error)))
        else:
            log.note("undone", step.number)
    if library is not None:
        folders = {os.path.dirname(step.target) for step in steps.steps if step.what == "move"}
        _drop_unused_roots(library, folders)
    return result


def _move_back(library: Library | None, step: Step, steps: Steps, log: SortLog) -> bool:
    """Whether the file was there, and is back."""
    done, begun = step.number in steps.done, step.number in steps.undoing
    there, back = os.path.lexists(step.target), os.path.lexists(step.source)
    if there or back:
        clear_partial(step.target)
        clear_partial(step.source)
    if not there:
        if not back and done:
            raise CannotMoveError("is not there any more")
        return False
    if begun and back and step.size and not os.lstat(step.source).st_size and os.lstat(step.target).st_size:
        os.unlink(step.source)  # a name held for the file when putting it back was interrupted
        back = False
    if back:
        if os.path.samestat(os.lstat(step.source), os.lstat(step.target)) or (not done and _is_leftover(step)):
            os.unlink(step.target)  # one of two names, or of two copies: the step was interrupted
            return done
        if done:
            raise CannotMoveError(f"there is another file at {os.fsdecode(step.source)}")
        return False  # the name had been taken by somebody else's file
    before = check_movable(step.target)
    if not done and not _is_ours(step, before):
        raise CannotMoveError("is not the file that was to be moved there")
    image_id = None if library is None else image_at(library, step.target)
    try:
        os.makedirs(os.path.dirname(step.source), exist_ok=True)
        log.note("undoing", step.number)
        move_file(step.target, step.source)
    except FileExistsError:
        raise CannotMoveError(f"there is another file at {os.fsdecode(step.source)}") from None
    except OSError as error:
        raise CannotMoveError(f"cannot be put back ({error.strerror or error})") from None
    if library is not None and image_id is not None and image_id == step.image_id:
        follow(library, image_id, before, step.source)
    return True


def _is_ours(step: Step, found: os.stat_result) -> bool:
    return found.st_size == step.size and abs(found.st_mtime_ns - step.mtime_ns) < _COARSEST_TIME_NS


def _is_leftover(step: Step) -> bool:
    """Of a step that was killed: a name held for the file, or a whole copy of it on another disk."""
    found = os.lstat(step.target)
    if found.st_size == 0 and step.size > 0:
        return True
    if not (stat.S_ISREG(found.st_mode) and os.path.isfile(step.source) and _is_ours(step, found)):
        return False
    return _digest(step.target) == _digest(step.source)


def _digest(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _unlink(step: Step, *, done: bool) -> bool:
    if os.path.islink(step.target) and os.readlink(step.target) == step.source:
        os.unlink(step.target)
        return True
    if done and os.path.lexists(step.target):
        raise CannotMoveError("is not the link that was put there")
    return False


def _drop_root(library: Library, folder: bytes, *, also: str = "1") -> None:
    """Take the folder out of the library again, unless it has come to hold something. `also` has to be true of it."""
    for root in read_roots(library):
        if root.path == folder and root.id is not None:
            with library.write() as connection:
                dropped = connection.execute(
                    "DELETE FROM roots WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM images WHERE root_id = ?1) "
                    f"AND ({also})",
                    (root.id,),
                ).rowcount
                if dropped:
                    forget_mounts(connection, root.id)


def _drop_unused_roots(library: Library, folders: Set[bytes]) -> None:
    """Of several logs for one folder only the first has taken it in, and they may be undone in any order."""
    for root in {root_above(library, folder) for folder in folders}:
        if root is not None:
            unused = "scanned_at IS NULL AND NOT EXISTS (SELECT 1 FROM skipped WHERE root_id = ?1)"
            _drop_root(library, root, also=unused)

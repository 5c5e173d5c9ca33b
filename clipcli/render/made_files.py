"""Pages, sheets and figures as files: whole or not at all, and never over something this program did not make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from clipcli.errors import NoSpaceError, NotFoundError, UsageError, unwritable

__all__ = ["MAKER", "check_replaceable", "new_file"]

# Stands near the beginning or the end of each file made here, in the place its format has for such a remark. By it a
# file is known to be replaceable.
MAKER = "made by clip, clipcli"
_LOOKED_AT = 65536  # bytes from each end


def check_replaceable(path: Path) -> None:
    """Nothing, where there is no such file, or one that was made here. Raises UsageError, NotFoundError for the folder.

    A name mistyped must not cost a photograph.
    """
    if not path.parent.is_dir():
        raise NotFoundError(f"no such folder: {path.parent}")
    try:
        with path.open("rb") as file:
            looked_at = file.read(_LOOKED_AT)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LOOKED_AT))
            looked_at += file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be replaced: {error.strerror}") from error
    # A PDF keeps such a remark as UTF-16.
    if size and MAKER.encode() not in looked_at and MAKER.encode("utf-16-be") not in looked_at:
        raise UsageError(f"{path} is there already and was not made by clip, so it stays; name another file")


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when the block has ended well, synced. Raises NotFoundError, NoSpaceError,
    LibraryLockedError, ClipError.
    """
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except FileNotFoundError:
        raise NotFoundError(f"no such folder: {path.parent}") from None
    except OSError as error:
        if NoSpaceError.is_meant_by(error):
            raise NoSpaceError(f"no space left for {path}") from error
        raise unwritable(str(path), error) from error
    finally:
        temporary.unlink(missing_ok=True)

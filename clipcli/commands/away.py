"""Results whose files are not there, said in a line: a library knows more than is on the disks of the moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipcli.library.store import Library

_LOOKED_FOR, _LOOKED_FOR_S = 1000, 0.5  # of a hundred thousand results nobody looks at the last ones


def those_away(paths: Sequence[bytes], library: Library) -> str:
    """A line where some of the first results are not there, else nothing."""
    from clipcli.library.absence import is_absent, not_there
    from clipcli.library.roots import contains, read_roots
    from clipcli.render.notes import counted
    from clipcli.render.text import short_path

    gone = not_there(paths[:_LOOKED_FOR], at_most_s=_LOOKED_FOR_S)
    if not gone:
        return ""
    roots = [root.path for root in read_roots(library)]
    away = [root for root in roots if any(contains(root, path) for path in gone) and is_absent(root)]
    are = counted(len(gone), "of these pictures is not there", "of these pictures are not there")
    if away:
        return f"{are}: is {' and '.join(map(short_path, away))} on a disk not mounted, or has it moved?"
    return f"{are}: deleted, moved, or on a disk not mounted"

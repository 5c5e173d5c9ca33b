"""What to do about a model that is damaged: where it is to be had again depends on where it lies."""

from __future__ import annotations

from pathlib import Path

from clipcli.errors import mending_line

__all__ = ["SHIPPED_FOLDER", "next_step"]

SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "starter"


def next_step(folder: Path) -> str:
    """The end of a message about the damaged model in `folder`."""
    if folder.resolve() == SHIPPED_FOLDER:
        return f"it comes with clip, which has to be installed again: {mending_line(SHIPPED_FOLDER.name)}"
    return "an incomplete download or copy? fetch or import it again, with --replace"

"""Where the details of an unexpected error go: a file of the user's own, so that the screen needs one line only."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path


def keep_details(error: BaseException) -> Path | None:
    """Write the traceback to the log folder and say where; None where it cannot be written. The last one is kept."""
    import clipcli

    try:
        import platformdirs

        folder = platformdirs.user_log_path("clip", appauthor=False)
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(
            [
                f"{datetime.now(UTC).isoformat(timespec='seconds')}  clip {clipcli.__version__}, ",
                f"Python {platform.python_version()}, {platform.platform()}\n",
                f"arguments: {sys.argv[1:]!a}\n\n",
                *traceback.format_exception(error),
            ]
        )
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".last-error-")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        target = folder / "last-error.txt"
        os.replace(temporary, target)
    except (ImportError, OSError):
        return None
    return target

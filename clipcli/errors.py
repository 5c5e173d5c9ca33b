"""The error tree and the public exit codes.

Library code raises these; only `clipcli.app` turns one into a line on stderr and an exit status.

    ClipError                     1   unexpected error
    ├── UsageError                2   the command line or an option makes no sense
    ├── InputError                3   inputs newly skipped in this run, or none could be read
    │   └── ImageError            3   one picture that cannot be decoded (caught and listed by indexing)
    ├── NotFoundError             4   no such file, model, variant of it, root or library
    ├── LibraryLockedError        5   the library is not to be written now
    ├── LibraryDamagedError       6   the library file is damaged, foreign or newer than this program
    ├── NoSpaceError              7   out of disk space
    ├── ModelError                8   a model bundle is damaged, or its parity failed
    ├── NetworkError              9   the network is needed but unreachable or forbidden
    ├── MissingExtraError        10   an optional part is not installed
    ├── DeviceError              11   the device asked for cannot be used
    └── DataError                12   the data is unfit to train on or to measure with

0 is success, an empty result included; 130 is Ctrl-C and 143 is SIGTERM. A fatal code outranks 3.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

__all__ = [
    "ClipError",
    "DataError",
    "DeviceError",
    "ImageError",
    "InputError",
    "LibraryDamagedError",
    "LibraryLockedError",
    "MissingExtraError",
    "ModelError",
    "NetworkError",
    "NoSpaceError",
    "NotFoundError",
    "UsageError",
]


class ClipError(Exception):
    """Anything that ends a command. `str(error)` is one line: what, where, and what to do."""

    exit_code = 1


class UsageError(ClipError):
    """The command line or an option makes no sense."""

    exit_code = 2


class InputError(ClipError):
    """Inputs were newly skipped in this run, or none could be read."""

    exit_code = 3


class ImageError(InputError):
    """One picture cannot be decoded. `reason` is a short stable word, for listing and counting."""

    def __init__(self, message: str, *, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


class NotFoundError(ClipError):
    """No such file, model, variant of it, root or library."""

    exit_code = 4


class LibraryLockedError(ClipError):
    """Another process is writing to the library, or a file or folder may not be written."""

    exit_code = 5


class LibraryDamagedError(ClipError):
    """The library file is damaged, foreign, or written by a newer version."""

    exit_code = 6


class NoSpaceError(ClipError):
    """Out of disk space."""

    exit_code = 7

    @staticmethod
    def is_meant_by(error: OSError) -> bool:
        """Whether the system says so: a full disk, a quota, or a limit on the size of a file."""
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unwritable(where: str, error: OSError) -> ClipError:
    """What to raise where `where` could not be written, and there was room: whether it may not be is told apart."""
    may_not = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return (LibraryLockedError if may_not else ClipError)(f"{where} cannot be written: {error.strerror or error}")


class ModelError(ClipError):
    """A model bundle is damaged, or the parity of a variant is too poor to use."""

    exit_code = 8


class NetworkError(ClipError):
    """The network is needed but unreachable or forbidden (`--offline`)."""

    exit_code = 9


class MissingExtraError(ClipError):
    """An optional part is not installed; the message names it and the pip line."""

    exit_code = 10

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': {pip_line(extra)}")
        self.extra = extra


class DeviceError(ClipError):
    """The device asked for cannot be used."""

    exit_code = 11


class DataError(ClipError):
    """The data is unfit to train on or to measure with."""

    exit_code = 12


def pip_line(extra: str) -> str:
    """What to type to have an extra installed, from wherever this program was installed from (PEP 610)."""
    return _install_line(f"[{extra}]", "")


def mending_line(part: str) -> str:
    """What to type to have `part`, a path below the package's own folder, as it was when it was installed."""
    folder, editable = _folder_installed_from()
    if editable:
        return f"git -C {_quoted(folder)} restore clipcli/{part}"
    return _install_line("", "--force-reinstall --no-deps ")


def _install_line(extras: str, options: str) -> str:
    import shlex

    origin = _origin()
    folder, editable = _folder_installed_from()
    url, source = str(origin.get("url", "")), f"clipcli{extras}"
    if folder:
        source = f"{folder}{extras}"
    elif "vcs_info" in origin:
        source = f"{source} @ {origin['vcs_info'].get('vcs', 'git')}+{url}"
    elif url:
        source = f"{source} @ {url}"
    if "pipx" in sys.prefix.split(os.sep):
        return f"pipx install --force {'--editable ' if editable else ''}{_quoted(source)}"
    # The `pip` of the shell is that of another Python unless this environment is the active one.
    active = sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix
    pip = "pip" if active else f"{shlex.quote(sys.executable)} -m pip"
    return f"{pip} install {options}{'-e ' if editable else ''}{_quoted(source)}"


def _origin() -> dict[str, Any]:
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return dict(json.loads(distribution("clipcli").read_text("direct_url.json") or "{}"))
    except (PackageNotFoundError, ValueError):
        return {}


def _folder_installed_from() -> tuple[str, bool]:
    """The folder, "." where it is this one and empty where it was none; and whether the program runs from there."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    origin = _origin()
    url = str(origin.get("url", ""))
    if not url.startswith("file:"):
        return "", False
    folder = url2pathname(urlsplit(url).path)
    here = os.path.realpath(folder) == os.path.realpath(os.curdir)
    return "." if here else folder, bool(origin.get("dir_info", {}).get("editable"))


def _quoted(text: str) -> str:
    """In quotes always: several shells give brackets a meaning of their own."""
    return f'"{text}"' if os.name == "nt" or "'" in text else f"'{text}'"

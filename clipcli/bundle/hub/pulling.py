"""A repository's model in a folder of its own below the models folder, whole, ready to be installed from.

The folder is named by repository and commit. It stays when a download is broken off, so that the same command goes on
from there; it goes when the model is installed, or when nobody has come back to it for two weeks.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from clipcli.bundle.hub.choosing import Choice, choose, files_of_bundle
from clipcli.bundle.hub.client import Listing, RemoteFile, check_online, list_files
from clipcli.bundle.hub.download import arrived, fetch
from clipcli.bundle.installed import models_folder
from clipcli.bundle.placing import check_writable, writing_in
from clipcli.bundle.spec import read_spec
from clipcli.errors import NoSpaceError, UsageError

__all__ = ["Address", "Pulled", "parse_address", "pulled"]

_ADDRESS = re.compile(r"hf:([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w./-]{0,200}))?")
_STAGES = ".pulls"
_FORGOTTEN_AFTER_S = 14 * 24 * 3600.0
_SPARE = 64 << 20  # bytes left free beside what is needed


class Progress(Protocol):
    """What is told how far the download is."""

    def begin(self, total_bytes: int) -> None: ...

    def moved(self, count_bytes: int) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A repository, and a branch, tag or commit of it; None is its main branch."""

    repository: str
    revision: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """A model that lies complete in `folder`."""

    folder: Path
    listing: Listing


def parse_address(text: str) -> Address:
    """`hf:OWNER/REPO[@REV]`. Raises UsageError."""
    found = _ADDRESS.fullmatch(text)
    if found is None or ".." in text:
        raise UsageError(f"{text!r} is no address of a model: hf:OWNER/REPO, or hf:OWNER/REPO@REVISION")
    return Address(repository=found[1], revision=found[2])


@contextmanager
def pulled(
    address: Address,
    *,
    precisions: tuple[str, ...] = (),
    logits_known: bool = False,
    offline: bool = False,
    ready: Callable[[Choice], None],
    progress: Progress,
) -> Iterator[Pulled]:
    """Fetch the model, hand it over, and throw the folder away once the block has made use of it.

    `ready` hears what it will be before anything large is fetched, and may raise.
    Raises NetworkError, NotFoundError, NoSpaceError, ModelError; UsageError where another process is pulling the same.
    """
    check_online(offline)
    check_writable(models_folder())
    _sweep()
    listing = list_files(address.repository, address.revision)
    choice = choose(listing, precisions=precisions, logits_known=logits_known)
    ready(choice)
    folder = _stages() / f"{address.repository.replace('/', '--')}@{listing.commit[:12]}"
    with _alone(folder):
        files = choice.files
        if choice.kind == "bundle":
            fetch(address.repository, listing.commit, files[0], folder, lambda _: None)
            files = files_of_bundle(listing, read_spec(folder))
        _check_space(folder, files)
        progress.begin(sum(file.size for file in files))
        for file in files:
            fetch(address.repository, listing.commit, file, folder, progress.moved)
        yield Pulled(folder=folder, listing=listing)
        shutil.rmtree(folder, ignore_errors=True)


def _stages() -> Path:
    return models_folder() / _STAGES


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with writing_in(models_folder()):
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"another process is pulling {folder.name.replace('--', '/')}") from None
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            Path(lock.lock_file).unlink()


def _check_space(folder: Path, files: tuple[RemoteFile, ...]) -> None:
    """What is still to come, and a second copy of it all: a model is built beside what it is built from."""
    whole = sum(file.size for file in files)
    needed = 2 * whole - sum(arrived(folder, file) for file in files) + _SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpaceError(
            f"this needs {needed / 1e9:.2f} GB for a while, {folder.parent.parent} has {free / 1e9:.2f} GB free "
            "(CLIP_MODELS may name a folder on another disk)"
        )


def _sweep() -> None:
    """Remove downloads that nobody has come back to."""
    if _stages().is_dir():
        for path in _stages().iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

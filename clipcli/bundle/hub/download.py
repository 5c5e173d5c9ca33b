"""One file from the hub onto the disk: goes on where it stopped, counts for nothing until its digest is right.

`huggingface_hub` itself begins anew in every process, so the bytes are fetched here, over its session and with its
headers. What has arrived lies in `NAME.part`; only a file whose digest is the listing's gets its name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub import get_session, get_token, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import HfHubHTTPError

from clipcli import __version__
from clipcli.bundle.hub import client
from clipcli.bundle.hub.client import RemoteFile
from clipcli.errors import ModelError

__all__ = ["arrived", "fetch"]

_AT_ONCE = 1 << 20  # bytes
_COMPLETE = 416  # bytes behind the end were asked for


def arrived(folder: Path, file: RemoteFile) -> int:
    """How many bytes of it are there already."""
    for path in (folder / file.path, _partial(folder, file)):
        if path.is_file():
            return min(path.stat().st_size, file.size)
    return 0


def fetch(repository: str, commit: str, file: RemoteFile, folder: Path, moved: Callable[[int], None]) -> Path:
    """Have `file` in `folder`, whole and with its digest. `moved` is told the bytes as they come (and go).

    Raises NetworkError where the hub does not give it (what has arrived stays), ModelError where what it gives is
    something else than it says, twice.
    """
    target, partial = folder / file.path, _partial(folder, file)
    if file.sha256 is None and file.git_sha1 is None:
        raise ModelError(f"the hub gives no digest of {file.path}, so that nobody could tell whether it is right")
    if target.is_file():
        if _is_right(target, file):
            moved(file.size)
            return target
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    moved(partial.stat().st_size if partial.is_file() else 0)
    for _ in range(2):
        with client.translated(f"{repository}@{commit[:12]}/{file.path}"):
            _download(repository, commit, file, partial, moved)
        if _is_right(partial, file):
            partial.replace(target)
            return target
        moved(-partial.stat().st_size)
        partial.unlink()
    raise ModelError(
        f"{file.path} of {repository} arrives damaged: its digest is not the one the hub names (try again later, or "
        "another HF_ENDPOINT)"
    )


def _partial(folder: Path, file: RemoteFile) -> Path:
    return folder / f"{file.path}.part"


def _download(repository: str, commit: str, file: RemoteFile, partial: Path, moved: Callable[[int], None]) -> None:
    """Append until all the bytes are there; a broken connection is taken up again, as long as that gets anywhere."""
    url = hf_hub_url(repository, file.path, revision=commit, endpoint=client.endpoint())
    fruitless = 0
    with partial.open("ab") as out:
        while out.tell() < file.size:
            before = out.tell()
            try:
                _stream(url, file, out, moved)
            except (httpx2.TransportError, HfHubHTTPError) as error:
                fruitless = 0 if out.tell() > before else fruitless + 1
                pause = client.wait_after(error, fruitless)
                if pause is None or fruitless >= client.ATTEMPTS:
                    raise
                client.sleep(pause if fruitless else 0.0)
            except _WrongError:
                break
            else:
                if out.tell() == before:
                    break  # it has no more to give; the digest will say what that means
        out.flush()
        os.fsync(out.fileno())


class _WrongError(Exception):
    """What comes cannot be the file."""


def _stream(url: str, file: RemoteFile, out: BinaryIO, moved: Callable[[int], None]) -> None:
    """One request for what is still missing, written as it comes."""
    start = out.tell()
    # No compression: ranges and sizes are those of the file itself.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"clipcli/{__version__}"}
    token = get_token()
    if token:  # the client drops it where the hub sends us on to another host
        headers["Authorization"] = f"Bearer {token}"
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, timeout=client.TIMEOUT_S) as answer:
        if answer.status_code == _COMPLETE:
            raise _WrongError
        hf_raise_for_status(answer)
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and not (answer.status_code == 206 and goes_on):
            out.truncate(0)  # the hub begins anew, and so do we
            out.seek(0)
            moved(-start)
            if answer.status_code == 206:
                raise _WrongError
        for piece in answer.iter_bytes():
            if out.tell() + len(piece) > file.size:
                raise _WrongError
            out.write(piece)
            moved(len(piece))


def _is_right(path: Path, file: RemoteFile) -> bool:
    """Whether size and digest are those of the listing: SHA-256, or git's SHA-1 of what git itself keeps."""
    if path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while piece := content.read(_AT_ONCE):
            digest.update(piece)
    return digest.hexdigest() == (file.sha256 or file.git_sha1)

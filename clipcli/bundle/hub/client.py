"""Questions to the hub: what a repository holds, at which commit, with which digests. Errors come out as one line each.

Mirrors and private repositories by the usual variables, which `huggingface_hub` reads: HF_ENDPOINT, HF_TOKEN, proxies.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from clipcli.errors import ModelError, NetworkError, NotFoundError, UsageError

__all__ = ["Listing", "RemoteFile", "check_online", "endpoint", "list_files", "patiently", "translated"]

Answer = TypeVar("Answer")

TIMEOUT_S = 30.0
ATTEMPTS = 5
LONGEST_WAIT_S = 60.0  # what a hub may ask for before we rather say so and stop
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_YES = ("1", "on", "yes", "true")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file of a repository. Large ones come with a SHA-256, small ones with git's digest of their content."""

    path: str
    size: int
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A repository at one commit."""

    repository: str
    commit: str
    files: dict[str, RemoteFile]
    licence: str | None


def endpoint() -> str:
    """The hub: HF_ENDPOINT, else huggingface.co. Raises UsageError where HF_ENDPOINT is no address."""
    told = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if told and re.fullmatch(r"https?://[^/\s]+(/\S*)?", told) is None:
        raise UsageError(f"HF_ENDPOINT is no address of a hub: {told!r} (https://huggingface.co is one)")
    return told or constants.ENDPOINT


def check_online(offline: bool = False) -> None:
    """Raise NetworkError where the person has forbidden the network."""
    for name in ("CLIP_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").lower() in _YES:
            raise NetworkError(f"this needs the network, and {name} forbids it")
    if offline:
        raise NetworkError("this needs the network, and --offline forbids it")


def list_files(repository: str, revision: str | None) -> Listing:
    """What the repository holds at `revision` (None is its main branch).

    Raises NotFoundError, NetworkError; ModelError where a name in it leads out of its folder.
    """
    where = f"{repository}@{revision}" if revision else repository
    api = HfApi(endpoint=endpoint(), library_name="clipcli")
    with translated(where):
        found = patiently(lambda: api.model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT_S))
    if found.sha is None or re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", found.sha) is None:
        raise NetworkError(f"{endpoint()} names no commit of {where}: is it a hub?")
    files = {}
    for sibling in found.siblings or ():
        name = sibling.rfilename
        if not _is_inside(name):
            raise ModelError(f"{where} is refused: its list of files names {name!r}, which leads out of a folder")
        if sibling.size is not None:
            sha256 = sibling.lfs.sha256 if sibling.lfs is not None else None
            files[name] = RemoteFile(path=name, size=sibling.size, sha256=sha256, git_sha1=sibling.blob_id)
    licence = getattr(found.card_data, "license", None) if found.card_data is not None else None
    return Listing(
        repository=repository, commit=found.sha, files=files, licence=licence if isinstance(licence, str) else None
    )


def _is_inside(name: str) -> bool:
    """Whether a name is a plain path below its folder, on every system."""
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and not name.startswith("/")
        and not any(part in ("..", ".") for part in name.split("/"))
        and "\\" not in name
        and not any(ord(sign) < 32 for sign in name)
        and PureWindowsPath(name).drive == ""
    )


def patiently(ask: Callable[[], Answer], *, attempts: int = ATTEMPTS) -> Answer:
    """`ask`, and again where the fault may pass: the connection, an overloaded hub, one that says how long to wait."""
    for attempt in range(attempts):
        try:
            return ask()
        except (httpx2.TransportError, HfHubHTTPError) as error:
            pause = wait_after(error, attempt)
            if pause is None or attempt == attempts - 1:
                raise
            sleep(pause)
    raise AssertionError("unreachable")


def wait_after(error: Exception, attempt: int) -> float | None:
    """Seconds to wait before trying again; None where that would be no use."""
    pause = min(2.0**attempt, 8.0)
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in _PASSING:
            return None
        asked = error.response.headers.get("Retry-After", "")
        if asked.isdigit():
            pause = float(asked)
    elif isinstance(error, httpx2.ProxyError | httpx2.UnsupportedProtocol):
        return None
    return pause if pause <= LONGEST_WAIT_S else None


def sleep(seconds: float) -> None:
    time.sleep(seconds)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Within, what the hub's client raises comes out as NotFoundError or NetworkError that say what to do."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise NetworkError("this needs the network, and HF_HUB_OFFLINE forbids it") from None
    except HFValidationError as error:
        raise NotFoundError(f"{where} is no name of a repository: {str(error).splitlines()[0]}") from None
    except GatedRepoError as error:
        raise NetworkError(
            f"{where} is only for those who have agreed to its terms: do so at {endpoint()}/{where.partition('@')[0]}, "
            "and set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise NotFoundError(f"{where}: there is no such revision at {endpoint()}") from error
    except RepositoryNotFoundError as error:
        raise NotFoundError(f"{where} is not at {endpoint()}, or it is private ({_token_advice()})") from error
    except HfHubHTTPError as error:
        raise _by_status(where, error) from error
    except httpx2.ConnectError as error:
        raise NetworkError(
            f"{endpoint()} cannot be reached: {_first_line(error)} (try again, or HF_ENDPOINT=mirror)"
        ) from (error)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NetworkError(
            f"the connection to {endpoint()} broke off: {_first_line(error)}; the same command goes on from there"
        ) from error


def _by_status(where: str, error: HfHubHTTPError) -> NotFoundError | NetworkError:
    status = error.response.status_code
    if status == 404:
        return NotFoundError(f"{where} is not at {endpoint()}")
    if status == 401:
        return NetworkError(f"{endpoint()} wants to know who you are for {where}: {_token_advice()}")
    if status == 403:
        return NetworkError(f"{endpoint()} refuses {where}: your HF_TOKEN may not read it")
    if status == 429:
        asked = error.response.headers.get("Retry-After", "")
        when = f"in {asked} s" if asked.isdigit() else "later"
        return NetworkError(f"{endpoint()} has had too many requests from here: try again {when}")
    return NetworkError(f"{endpoint()} answers {status} for {where}: try again later, or HF_ENDPOINT=mirror")


def _token_advice() -> str:
    if get_token():
        return "the token given, by HF_TOKEN or a login, was not accepted for it"
    return "set HF_TOKEN to a token that it takes"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

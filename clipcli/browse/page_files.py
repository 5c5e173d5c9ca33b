"""The page's own files: those that lie in `page/` when the server starts, by name, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from clipcli.browse.answers import NOT_FOUND, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["PAGE_FOLDER", "PageFiles"]

PAGE_FOLDER = Path(__file__).parent / "page"
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A file as it was at the time `changed`, and the same packed."""

    changed: int
    data: bytes
    packed: bytes
    digest: str

    @classmethod
    def of(cls, data: bytes, changed: int) -> _Read:
        digest = hashlib.sha256(data).hexdigest()[:32]
        return cls(changed=changed, data=data, packed=gzip.compress(data, mtime=0), digest=digest)


class PageFiles:
    """A closed list of names. A file is read again when it has changed, so that the page can be worked on."""

    def __init__(self, folder: Path = PAGE_FOLDER) -> None:
        self._files = {path.name: path for path in sorted(folder.iterdir()) if path.suffix in _TYPES and path.is_file()}
        self._read: dict[str, _Read] = {}

    @property
    def names(self) -> list[str]:
        return list(self._files)

    def index(self, request: Request) -> Response:
        return self._answer(_INDEX, request)

    def named(self, request: Request) -> Response:
        return self._answer(request.path_params["name"], request)

    def _answer(self, name: str, request: Request) -> Response:
        path = self._files.get(name)
        if path is None:
            raise Refusal(*NOT_FOUND, "the page has no such file")
        changed = path.stat().st_mtime_ns
        known = self._read.get(name)
        if known is None or known.changed != changed:
            known = self._read[name] = _Read.of(path.read_bytes(), changed)
        packed = "gzip" in request.headers.get("accept-encoding", "")
        tag = f'"{known.digest}{"-gz" if packed else ""}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(known.packed if packed else known.data, headers=headers, media_type=_TYPES[path.suffix])

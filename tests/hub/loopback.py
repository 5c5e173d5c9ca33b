"""A hub on 127.0.0.1 that speaks as huggingface.co does, and can misbehave in every way a test asks for.

`/api/models/OWNER/REPO[/revision/REV]?blobs=true` lists files with sizes and digests; `/OWNER/REPO/resolve/COMMIT/PATH`
gives small files, and sends large ones on to a second server, the CDN, which knows ranges.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["COMMIT", "Faults", "Hub", "serving"]

COMMIT = "c0ffee" + "0" * 34
_LARGE = 2000  # bytes: what a hub keeps outside git


@dataclass
class Faults:
    """What goes wrong. Each is looked at with every request, so that a test may change its mind."""

    cuts: int = 0  # so many times a download breaks off, each at a random byte
    corrupt: set[str] = field(default_factory=set)  # these arrive with a byte changed
    corrupt_once: set[str] = field(default_factory=set)
    longer: dict[str, int] = field(default_factory=dict)  # bytes more (or fewer) than announced
    status: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)  # path or "api" -> answer
    passing: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # answers to the next downloads
    no_ranges: bool = False
    listed: list[dict[str, Any]] = field(default_factory=list)  # siblings beside the real ones


@dataclass
class Hub:
    """One repository, `owner/model`, of what lies in `folder`."""

    folder: Path
    faults: Faults = field(default_factory=Faults)
    token: str | None = None  # who asks without it is not let in
    requests: list[str] = field(default_factory=list)
    told_to_cdn: list[str] = field(default_factory=list)  # Authorization headers the CDN has seen
    url: str = ""
    cdn: str = ""
    dice: random.Random = field(default_factory=lambda: random.Random(11))

    def siblings(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            name = path.relative_to(self.folder).as_posix()
            one: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_digest(content)}
            if len(content) >= _LARGE:
                one["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            found.append(one)
        return found + self.faults.listed


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _handler(hub: Hub, *, is_cdn: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            """Nothing: a test's output is for failures."""

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(("cdn " if is_cdn else "hub ") + path)
            if is_cdn:
                hub.told_to_cdn.append(self.headers.get("Authorization", ""))
                self.content(path.removeprefix("/blobs/"))
            elif hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.answer(401, {"X-Error-Code": "RepoNotFound"})
            elif path.startswith("/api/models/"):
                self.listing(path)
            elif path.startswith(f"/owner/model/resolve/{COMMIT}/"):
                self.resolve(path.removeprefix(f"/owner/model/resolve/{COMMIT}/"))
            else:
                self.answer(404, {"X-Error-Code": "EntryNotFound"})

        def listing(self, path: str) -> None:
            if "api" in hub.faults.status:
                self.answer(*hub.faults.status["api"])
            elif not path.startswith("/api/models/owner/model"):
                self.answer(404, {"X-Error-Code": "RepoNotFound"})
            elif "/revision/" in path and not path.endswith(("/revision/main", f"/revision/{COMMIT}", "/v1")):
                self.answer(404, {"X-Error-Code": "RevisionNotFound"})
            else:
                told = {"id": "owner/model", "modelId": "owner/model", "sha": COMMIT, "siblings": hub.siblings()}
                told["cardData"] = {"license": "apache-2.0"}
                self.answer(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

        def resolve(self, name: str) -> None:
            path = hub.folder / name
            if name in hub.faults.status:
                self.answer(*hub.faults.status[name])
            elif not path.is_file():
                self.answer(404, {"X-Error-Code": "EntryNotFound"})
            elif path.stat().st_size >= _LARGE:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(path.stat().st_size)}
                self.answer(302, {"Location": f"{hub.cdn}/blobs/{name}", "X-Repo-Commit": COMMIT, **linked})
            else:
                self.content(name)

        def content(self, name: str) -> None:
            faults = hub.faults
            if faults.passing:
                self.answer(*faults.passing.pop(0))
                return
            content = bytearray((hub.folder / name).read_bytes())
            if name in faults.corrupt or name in faults.corrupt_once:
                faults.corrupt_once.discard(name)
                content[len(content) // 2] ^= 1
            more = faults.longer.get(name, 0)
            content = content + bytes(more) if more >= 0 else content[:more]
            start = 0
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes=") and not faults.no_ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
                    return
            body = bytes(content[start:])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{git_digest(bytes(content))}"')
            self.end_headers()
            if faults.cuts and len(content) >= _LARGE:
                faults.cuts -= 1
                body = body[: hub.dice.randrange(len(body) // 8 + 1)]
                self.close_connection = True
            self.wfile.write(body)

        def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """Two servers for as long as the block runs, on ports of their own."""
    hub = Hub(folder=folder)
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, is_cdn=is_cdn)) for is_cdn in (False, True)]
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        _stop(servers, threads)


def _stop(servers: list[ThreadingHTTPServer], threads: list[threading.Thread]) -> None:
    close: Callable[[ThreadingHTTPServer], None] = ThreadingHTTPServer.server_close
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        close(server)

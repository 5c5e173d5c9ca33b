"""The server as a process: its address, its end, and what it says to bytes that no browser would send."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clipcli.browse import serving
from clipcli.browse.serving import bind
from clipcli.errors import UsageError, pip_line
from tests.browse.conftest import Stage

Clip = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def running(stage: Stage, *options: str, opening: str = "--no-open") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of `clip browse` in a process of its own, where there is no desktop."""
    command = [
        sys.executable,
        "-m",
        "clipcli",
        "browse",
        "--port",
        "0",
        "-m",
        str(stage.model.folder),
        *opening.split(),
    ]
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    process = subprocess.Popen(
        [*command, "--db", str(stage.library), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def told(address: str, request: bytes) -> bytes:
    """What comes back for bytes as they are."""
    host, _, port = address.removeprefix("http://").strip("/").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        connection.settimeout(10)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # it has closed while more was being sent
            while part := connection.recv(65536):
                answer += part
    return answer


def status(address: str, target: str, *headers: str, host: str = "localhost") -> int:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return int(told(address, "\r\n".join(lines).encode("latin-1")).split(b" ")[1])


def test_one_life_of_the_server(stage: Stage) -> None:
    with running(stage) as (address, process):
        with urllib.request.urlopen(f"{address}api/state", timeout=10) as answer:
            assert b'"pictures":12' in answer.read()
        assert status(address, "/api/state") == 200
        assert status(address, "/api/state", host="evil.example") == 403
        for target in (
            "/page/../guard.py",
            "/page/%2e%2e/guard.py",
            "/page//etc/passwd",
            "/../../etc/passwd",
            "/page/..\\x",
        ):
            assert status(address, target) == 404, target
        assert status(address, "http://evil.example/api/state", host="evil.example") == 403
        assert status(address, "/api/state", "Host: evil.example") in (400, 403)
        endless = b"GET /api/state HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000
        assert told(address, endless).split(b" ")[1:2] in ([], [b"400"], [b"431"])
        assert b"HTTP/1.1 400" in told(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n")  # somebody tried https
        first = b"GET /api/run HTTP/1.1\r\nHost: localhost\r\n\r\n"  # one that is let in opens no door for the next
        second = b"GET /api/run HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert re.findall(rb"HTTP/1.1 (\d+)", told(address, first + second)) == [b"200", b"403"]
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=10)
        assert time.monotonic() - began < 3
        assert process.returncode == 130
        assert errors.splitlines()[-1] == "clip: interrupted"
        assert "Traceback" not in errors


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these have a desktop always")
@pytest.mark.parametrize("opening", ["--open", ""])
def test_where_there_is_no_browser_it_says_so(stage: Stage, opening: str) -> None:
    with running(stage, opening=opening) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert process.stderr is not None
        assert "is at the address below" in process.stderr.readline()
        assert process.stderr.readline() == "no browser can be opened here; open the address yourself\n"


def test_it_ends_at_once_while_it_is_at_work(stage: Stage) -> None:
    """A request that waits for a job, and a body that never comes to an end."""
    with running(stage) as (address, process):
        host, _, port = address.removeprefix("http://").strip("/").partition(":")
        with (
            socket.create_connection((host, int(port))) as waiting,
            socket.create_connection((host, int(port))) as sending,
        ):
            sending.sendall(
                b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                b"Content-Length: 99\r\n\r\nx"
            )
            waiting.sendall(b"GET /api/state HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            process.communicate(timeout=10)
            assert time.monotonic() - began < 3
            assert process.returncode == 143


def test_bound_to_others_it_prints_a_token(stage: Stage) -> None:
    with running(stage, "--host", "0.0.0.0") as (address, _):
        place, _, token = address.partition("?token=")
        assert len(token) >= 40
        port = place.strip("/").rpartition(":")[2]
        here = f"http://127.0.0.1:{port}/"
        assert status(here, "/api/state") == 403
        assert status(here, f"/?token={token}") == 303
        assert status(here, "/api/state", f"Cookie: clip-{port}={token}") == 200
        assert status(here, "/api/state", f"Cookie: clip-{port}={token}", host="evil.example") == 403


def test_a_port_that_is_taken_is_one_clear_line(stage: Stage, run_clip: Clip) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_clip("browse", "--no-open", "--port", port, "--db", stage.library, "-m", stage.model.folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"clip: port {port} is in use; take another with --port, or 0 for any\n"


def test_the_usual_port_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(serving, "DEFAULT_PORT", taken.getsockname()[1])
        bound = bind("127.0.0.1", None)
        assert bound.socket.getsockname()[1] != taken.getsockname()[1]
        bound.socket.close()


def test_what_cannot_be_listened_on() -> None:
    with pytest.raises(UsageError, match="no such address"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(UsageError, match=r"cannot listen on 203\.0\.113\.1"):
        bind("203.0.113.1", 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    try:
        bound = bind(host, 0)
    except UsageError:
        pytest.skip("this machine has no IPv6")
    assert (bound.door.only_here, bound.door.token) == (True, None)
    assert bound.address.startswith(("http://127.0.0.1:", "http://[::1]:"))
    bound.socket.close()


def test_answers_are_not_held_back(stage: Stage) -> None:
    """Nagle's algorithm would cost 40 ms each; asyncio turns it off for sockets that name their protocol."""
    bound = bind("127.0.0.1", 0)
    assert bound.socket.proto == socket.IPPROTO_TCP
    bound.socket.close()


def test_no_library_no_port(run_clip: Clip, tmp_path: Path) -> None:
    done = run_clip("browse", "--no-open", "--db", tmp_path / "none.db")
    assert (done.returncode, done.stdout) == (4, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_model_that_is_not_here(stage: Stage, run_clip: Clip) -> None:
    done = run_clip("browse", "--no-open", "--port", "0", "--db", stage.library, "-m", "none")
    assert (done.returncode, done.stdout) == (4, "")


WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Wall(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ("starlette", "uvicorn") else super().find_spec(name, path, target)

sys.meta_path[:] = [Wall if finder is PathFinder else finder for finder in sys.meta_path]
from clipcli.app import main
main()
"""


def test_without_the_extra_it_says_how_to_get_it(stage: Stage) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "browse", "--no-open", "--db", os.fspath(stage.library)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 10
    assert done.stderr == f"clip: the page in the browser needs the extra 'ui': {pip_line('ui')}\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_others_get_an_address_they_can_use(host: str) -> None:
    try:
        bound = bind(host, 0)
    except UsageError:
        pytest.skip("this machine has no IPv6")
    shown = bound.address.removeprefix("http://").partition("/")[0].rpartition(":")[0]
    assert shown not in ("", "0.0.0.0", "[::]")
    assert bound.door.knows(shown)
    assert bound.door.token is not None
    assert bound.address.endswith(f"/?token={bound.door.token}")
    bound.socket.close()

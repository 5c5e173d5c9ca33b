"""The server itself: a socket that is bound before anything is promised, and the loop that answers on it."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import secrets
import socket
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from clipcli.browse.application import application
from clipcli.browse.guard import Door
from clipcli.browse.parts import Parts
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.browse.model_in_use import OpenModel

__all__ = ["DEFAULT_PORT", "Bound", "bind", "serve"]

DEFAULT_PORT = 8732
_CONNECTIONS = 600  # beyond them a request is told to come again
_BACKLOG = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """A listening socket, the address to open, and what a request has to show. Others can reach it with a token."""

    socket: socket.socket
    address: str
    door: Door


def bind(host: str, port: int | None) -> Bound:
    """Without `port`, the usual one, or a free one where that is taken. Raises UsageError."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UsageError(f"--host {host}: this machine has no such address") from None
    wished = [DEFAULT_PORT, 0] if port is None else [port]
    listening = None
    for number in wished:
        try:
            listening = _listen(family, str(where[0]), number)
            break
        except OSError as error:
            if error.errno == errno.EADDRINUSE and number != wished[-1]:
                continue
            if error.errno == errno.EADDRINUSE:
                raise UsageError(f"port {number} is in use; take another with --port, or 0 for any") from None
            raise UsageError(f"cannot listen on {host}, port {number}: {error.strerror}") from None
    assert listening is not None
    bound, number = listening.getsockname()[:2]
    only_here = ipaddress.ip_address(bound.partition("%")[0]).is_loopback
    token = None if only_here else secrets.token_urlsafe(32)
    names = {"localhost"}
    if not only_here:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower(), host.lower()}
    shown = _shown(bound)
    return Bound(
        socket=listening,
        address=f"http://{shown}:{number}/" + (f"?token={token}" if token else ""),
        door=Door(only_here=only_here, names=frozenset(names), token=token, cookie=f"clip-{number}"),
    )


def serve(library: Path, open_model: OpenModel, bound: Bound, *, thumbs: Path, on_ready: Callable[[], None]) -> None:
    """Answer until a signal ends it. Raises what opening the library and its model does, before `on_ready`."""
    try:
        parts = Parts.of(library, open_model, thumbs)
        logging.getLogger("uvicorn").addHandler(logging.NullHandler())
        config = uvicorn.Config(
            application(parts, bound.door),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
        )
        threading.Thread(target=parts.warm_up, name="clip-warming", daemon=True).start()
        on_ready()
        # Ctrl-C in the moment before the loop turns: nothing is lost with it that a person should hear of.
        warnings.filterwarnings("ignore", message=".*Server.serve.*was never awaited", category=RuntimeWarning)
        try:
            uvicorn.Server(config).run(sockets=[bound.socket])
        finally:
            parts.close()
    finally:
        bound.socket.close()


def _listen(family: int, host: str, port: int) -> socket.socket:
    # asyncio turns off Nagle's algorithm, which would cost 40 ms an answer, only where the protocol is named.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # there it would let two programs have one port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _shown(bound: str) -> str:
    """The host of the address a person opens."""
    address = ipaddress.ip_address(bound.partition("%")[0])
    if address.is_unspecified:
        return _seen_by_others() if address.version == 4 else socket.gethostname()
    return f"[{bound}]" if address.version == 6 else bound


def _seen_by_others() -> str:
    """The address this machine would speak to others from; its name where it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # for documentation (RFC 5737): nobody's, and beyond every near network
        except OSError:
            return socket.gethostname()
        return str(asking.getsockname()[0])

"""A way to the served page that is shut and opened at once, as when the program behind it ends and comes back."""

from __future__ import annotations

import contextlib
import socket
import threading

__all__ = ["Gate"]


class Gate:
    """Hands on what comes to a port of its own. Shut, it refuses, and drops whoever is connected."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._listening: socket.socket | None = None
        self._joined: list[socket.socket] = []
        self._lock = threading.Lock()
        self.port = 0

    def start(self) -> str:
        """The page's address, the same each time."""
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen(64)
        self._listening, self.port = listening, listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return f"http://127.0.0.1:{self.port}/"

    def end(self) -> None:
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
            self._listening.close()
            self._listening = None
        with self._lock:
            joined, self._joined = self._joined, []
        for each in joined:
            _drop(each)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = listening.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._behind))
                with self._lock:
                    self._joined += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_hand_on, args=(source, target), daemon=True).start()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for each in (source, target):
        _drop(each)


def _drop(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

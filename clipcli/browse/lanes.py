"""Threads for what takes a while, in lanes, so that a screen full of thumbnails never keeps a search waiting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from clipcli.browse.answers import BUSY, Refusal

__all__ = ["Lane", "Lanes"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Lane:
    """A few threads with a queue of bounded length before them."""

    def __init__(self, name: str, *, threads: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"clip-{name}")
        self._room = threads + waiting

    async def run(self, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """What `work` returns. Raises Refusal where too many wait already. A request that is gone gives up waiting."""
        if self._room <= 0:
            raise Refusal(*BUSY, "too much at once; try again in a moment")
        self._room -= 1
        loop = asyncio.get_running_loop()
        # A thread that has begun cannot be stopped: its place becomes free when it ends, not when the request does.
        future = self._threads.submit(work, *arguments, **named)
        future.add_done_callback(lambda _: self._leave(loop))
        return await asyncio.wrap_future(future)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._left)
        except RuntimeError:  # the server has ended meanwhile
            self._room += 1

    def _left(self) -> None:
        self._room += 1

    def close(self) -> None:
        """Without waiting for what is at work."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Lanes:
    """`questions` are short: searches, facts, tags. `pictures` decode and encode."""

    def __init__(self) -> None:
        self.questions = Lane("question", threads=3, waiting=600)
        self.pictures = Lane("picture", threads=max(2, min(4, os.cpu_count() or 2)), waiting=600)

    def close(self) -> None:
        self.questions.close()
        self.pictures.close()

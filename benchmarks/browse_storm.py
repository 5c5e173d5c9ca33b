"""What the server of `clip browse` stands: `python -m benchmarks.browse_storm FOLDER`.

200 requests at once for 30 seconds, uploads of a gigabyte, decompression bombs, SVGs, clients that never read; and how
much memory the server takes of its own meanwhile. The library in FOLDER is that of `benchmarks.browse_server`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

from benchmarks.browse_stage import make_stage, memory_mib, served
from benchmarks.machine import describe

_PORT = 8792
_CONNECTIONS = 200
_REAL_PHOTOS = 200
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'


def bomb(side: int) -> bytes:
    """A PNG that says it is `side` x `side`, of black pixels: three bytes each once it is unpacked."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + 3 * side)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class Connection:
    """HTTP/1.1 by hand: as little work as possible beside the server on the same machine."""

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.answer = b""

    async def ask(self, method: str, target: str, body: bytes = b"", kind: str = "application/json") -> int:
        """The status. A connection that was closed is opened again the next time."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", _PORT)
        assert self._reader is not None
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        try:
            answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            self.answer = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._writer = None
            return 0
        if b"connection: close" in answer:
            self._writer.close()
            self._writer = None
        return int(answer.split(b" ")[1])


async def visit(kind: str, number: int, connection: Connection) -> int:
    """One request of a kind."""
    if kind == "search":
        asked = {"terms": [{"text": f"a photo of thing {number % 500}"}], "count": 200}
        return await connection.ask("POST", "/api/search", json.dumps(asked).encode())
    if kind == "all":
        return await connection.ask("POST", "/api/search", b"{}")
    if kind == "thumb":
        return await connection.ask("GET", f"/api/thumb/{number % _REAL_PHOTOS + 1}?size={(160, 320, 640)[number % 3]}")
    if kind == "full":
        return await connection.ask("GET", f"/api/picture/{number % _REAL_PHOTOS + 1}/full")
    if kind == "facts":
        return await connection.ask("GET", f"/api/picture/{number % 5000 + 1}")
    return await connection.ask("GET", "/api/run")


KINDS = ("search", "search", "all", "thumb", "thumb", "thumb", "thumb", "thumb", "full", "facts", "run")


async def storm(seconds: float, process: int) -> None:
    """Each connection asks again as soon as it has its answer."""
    statuses: Counter[int] = Counter()
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    end = time.monotonic() + seconds
    peak = memory_mib(process)
    numbers = itertools.count()

    async def visitor() -> None:
        connection = Connection()
        while time.monotonic() < end:
            kind = random.choice(KINDS)
            began = time.perf_counter()
            statuses[await visit(kind, next(numbers), connection)] += 1
            times[kind].append((time.perf_counter() - began) * 1000)

    async def watch() -> None:
        nonlocal peak
        while time.monotonic() < end:
            peak = max(peak, memory_mib(process))
            await asyncio.sleep(0.1)

    await asyncio.gather(watch(), *(visitor() for _ in range(_CONNECTIONS)))
    answers = sum(statuses.values())
    print(f"{_CONNECTIONS} requests at once for {seconds:.0f} s: {answers:,} answers, by status {dict(statuses)}")
    for kind, taken in times.items():
        print(f"  {kind}: median {statistics.median(taken):.0f} ms, worst {max(taken):.0f} ms, {len(taken):,} answers")
    print(f"  memory of its own, at most: {peak:.0f} MiB")


async def upload(size: int, *, chunked: bool) -> tuple[int, int]:
    """The status of an upload of `size` zero bytes, and how many of them the server took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", _PORT)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = "POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    writer.write(f"{head}{length}\r\n\r\n".encode())
    part = b"\0" * (1 << 20)
    sent = 0
    try:
        while sent < size and not reader.at_eof():
            writer.write(b"100000\r\n" + part + b"\r\n" if chunked else part)
            await asyncio.wait_for(writer.drain(), 5)
            sent += len(part)
            await asyncio.sleep(0)
    except (ConnectionError, TimeoutError):
        pass
    try:
        answer = await asyncio.wait_for(reader.read(100), 5)
    except (ConnectionError, TimeoutError):
        answer = b""
    writer.close()
    return int(answer.split(b" ")[1]) if answer else 0, sent


async def attacks(process: int) -> None:
    """Each many times over; the server has to go on answering."""
    before = memory_mib(process)
    for chunked in (False, True):
        for status, sent in await asyncio.gather(*(upload(1 << 30, chunked=chunked) for _ in range(4))):
            print(f"a gigabyte uploaded{' in chunks' if chunked else ''}: status {status}, {sent >> 20} MiB were sent")
        print(f"  memory of its own: {memory_mib(process):.0f} MiB ({before:.0f} before)")
    bombs = [(f"bomb of {side:,} x {side:,}", bomb(side)) for side in (20_000, 12_000)]
    for name, data in (*bombs, ("SVG", _SVG)):
        peak = 0.0
        done: list[str] = []

        async def one(data: bytes = data, done: list[str] = done) -> None:
            connection = Connection()
            status = await connection.ask("POST", "/api/upload", data, "image/png")
            done.append(f"{status} {json.loads(connection.answer).get('error', {}).get('message', '')}".strip())

        waiting = [asyncio.create_task(one()) for _ in range(8)]
        while not all(task.done() for task in waiting):
            peak = max(peak, memory_mib(process))
            await asyncio.sleep(0.01)
        print(f"{name}, {len(data):,} bytes, 8 at once: {dict(Counter(done))}, at most {peak:.0f} MiB of its own")
    stalled = [await asyncio.open_connection("127.0.0.1", _PORT) for _ in range(100)]
    for number, (_, writer) in enumerate(stalled):  # they ask for all, and read nothing
        writer.write(f"GET /api/picture/{number % _REAL_PHOTOS + 1}/full HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await asyncio.sleep(2)
    began = time.perf_counter()
    status = await Connection().ask("POST", "/api/search", b'{"terms":[{"text":"still there"}]}')
    took = (time.perf_counter() - began) * 1000
    print(f"100 clients that read nothing: a search answers {status} in {took:.0f} ms, {memory_mib(process):.0f} MiB")
    for _, writer in stalled:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30)
    asked = parser.parse_args()
    library = make_stage(asked.folder, asked.pictures)
    print("\n".join(describe()) + "\n")
    with served(library, _PORT) as (_, process):
        asyncio.run(storm(asked.seconds, process))
        asyncio.run(attacks(process))
        asyncio.run(storm(3, process))


if __name__ == "__main__":
    main()

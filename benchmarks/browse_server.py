"""How long the server of `clip browse` takes at 100,000 pictures: `python -m benchmarks.browse_server FOLDER`.

The library is made in FOLDER, which takes a minute, and used again. Times are from sending a request to its whole
answer, over loopback, with nothing else asked meanwhile.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.browse_stage import DIMENSION, make_stage, memory_mib, peak_memory_mib, served
from benchmarks.machine import describe

_PORT = 8791
_TYPED = ("a red motorcycle on a beach at night", "golden retriever in the snow", "two people in front of a church")


class Client:
    """One connection, kept open as a browser keeps it."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        return self._answer(path)

    def post(self, path: str, content: dict[str, Any]) -> Any:
        body = json.dumps(content).encode()
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        return json.loads(self._answer(path))

    def _answer(self, path: str) -> bytes:
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {data[:200]!r}")
        return data


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def shown(name: str, times: list[float]) -> None:
    ordered = sorted(times)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    print(f"| {name} | {statistics.median(ordered):.1f} | {last:.1f} | {ordered[-1]:.1f} | {len(ordered)} |")


def measure(client: Client) -> None:
    """One line a kind of request: median, 95th percentile, maximum, in milliseconds."""

    def search(**asked: Any) -> Any:
        return client.post("/api/search", {"count": 200, **asked})

    search(terms=[{"text": "warm"}])
    prefixes = [text[:end] for text in _TYPED for end in range(2, len(text) + 1) if text[end - 1] != " "]
    print("| request | median ms | 95 % | worst | times |\n| --- | ---: | ---: | ---: | ---: |")
    shown(
        "a phrase typed letter by letter, 200 results",
        [timed(lambda p=p: search(terms=[{"text": p}])) for p in prefixes],
    )
    again = [timed(lambda p=p: search(terms=[{"text": p}])) for p in prefixes]
    shown("the same phrases once more", again)
    shown(
        "sum and difference of three terms",
        [
            timed(lambda n=n: search(terms=[{"text": "dog"}, {"id": n + 1}, {"text": "grass", "weight": -0.5}]))
            for n in range(30)
        ],
    )
    narrow = [{"since": f"{2006 + n % 18}", "camera": [f"camera {n % 7}"]} for n in range(30)]
    shown(
        "a phrase with a filter never asked before (few pass)",
        [timed(lambda f=f: search(terms=[{"text": "dog"}], filters=f)) for f in narrow],
    )
    wide = [{"since": f"2005-01-{n + 1:02d}"} for n in range(20)]
    shown(
        "a phrase with a filter never asked before (nearly all pass)",
        [timed(lambda f=f: search(terms=[{"text": "dog"}], filters=f)) for f in wide],
    )
    shown("the same, asked before", [timed(lambda f=f: search(terms=[{"text": "cat"}], filters=f)) for f in wide])
    shown("with --min-sigma", [timed(lambda: search(terms=[{"text": "dog"}], min_sigma=2.0)) for _ in range(20)])
    shown("no query: all by date", [timed(search) for _ in range(20)])
    shown("a phrase, newest first", [timed(lambda: search(terms=[{"text": "dog"}], order="newest")) for _ in range(10)])
    deep = [search(terms=[{"text": f"dog {n}"}])["search"] for n in range(10)]
    shown(
        "results 50,000 to 50,500 of a search, first time",
        [timed(lambda t=t: client.get(f"/api/search/{t}?from=50000&count=500")) for t in deep],
    )
    shown("the same again", [timed(lambda t=t: client.get(f"/api/search/{t}?from=50000&count=500")) for t in deep])
    fresh = [search(terms=[{"text": f"cat {n}"}])["search"] for n in range(10)]
    shown("all results as binary columns", [timed(lambda t=t: client.get(f"/api/search/{t}/columns")) for t in fresh])
    shown("state, nothing changed", [timed(lambda: client.get("/api/state")) for _ in range(20)])
    shown("run", [timed(lambda: client.get("/api/run")) for _ in range(20)])
    shown("folders", [timed(lambda: client.get("/api/folders")) for _ in range(10)])
    shown("facts of a picture", [timed(lambda n=n: client.get(f"/api/picture/{n + 1}")) for n in range(50)])
    shown("thumbnail 320, made", [timed(lambda n=n: client.get(f"/api/thumb/{n + 1}?size=320")) for n in range(100)])
    shown(
        "thumbnail 320, from the cache",
        [timed(lambda n=n: client.get(f"/api/thumb/{n + 1}?size=320")) for n in range(100)],
    )
    shown(
        "tag 1,000 pictures",
        [
            timed(lambda n=n: client.post("/api/tags", {"ids": list(range(1, 1001)), "add": [f"t{n}"]}))
            for n in range(5)
        ],
    )
    shown(
        "untag them",
        [
            timed(lambda n=n: client.post("/api/tags", {"ids": list(range(1, 1001)), "remove": [f"t{n}"]}))
            for n in range(5)
        ],
    )
    shown("a phrase after a tag was set", [_after_tag(client, search, n) for n in range(5)])
    began = time.perf_counter()
    job = client.post("/api/map", {"method": "pca"})
    while job["state"] == "running":
        job = json.loads(client.get(f"/api/jobs/{job['job']}?wait=10"))
    print(f"\nmap by PCA: {time.perf_counter() - began:.1f} s, {len(job['result']['ids']):,} points")


def _after_tag(client: Client, search: Callable[..., Any], number: int) -> float:
    client.post("/api/tags", {"ids": [number + 1], "add": ["one"]})
    took = timed(lambda: search(terms=[{"text": "dog"}]))
    client.post("/api/tags", {"ids": [number + 1], "remove": ["one"]})
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=100_000)
    asked = parser.parse_args()
    library = make_stage(asked.folder, asked.pictures)
    print("\n".join(describe()))
    print(f"{asked.pictures:,} pictures, {DIMENSION} numbers each\n")
    with served(library, _PORT) as (address, process):
        measure(Client(address))
        print(
            f"memory: {memory_mib(process):.0f} MiB of its own now, "
            f"{peak_memory_mib(process):.0f} MiB at most with what is mapped from files"
        )


if __name__ == "__main__":
    main()

"""How long the server of `clip browse` takes at 100,000 pictures: `python -m benchmarks.browse_server FOLDER`.

The library is made in FOLDER, which takes a minute, and used again. Times are from sending a request to its whole
answer, over loopback, with nothing else asked meanwhile.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.browse_stage import DIMENSION, make_stage, memory_mib, peak_memory_mib, processor_ms, served
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


def cases(client: Client) -> Iterator[tuple[str, Sequence[Callable[[], object]]]]:
    """What is asked, and each time it is."""

    def search(**asked: Any) -> Any:
        return client.post("/api/search", {"count": 200, **asked})

    def phrase(text: str, **more: Any) -> Callable[[], Any]:
        return lambda: search(terms=[{"text": text}], **more)

    def get(path: str) -> Callable[[], bytes]:
        return lambda: client.get(path)

    def tag(change: str, number: int) -> Callable[[], Any]:
        return lambda: client.post("/api/tags", {"ids": list(range(1, 1001)), change: [f"t{number}"]})

    prefixes = [text[:end] for text in _TYPED for end in range(2, len(text) + 1) if text[end - 1] != " "]
    narrow = [{"since": f"{2006 + n % 18}", "camera": [f"camera {n % 7}"]} for n in range(30)]
    wide = [{"since": f"2005-01-{n + 1:02d}"} for n in range(20)]
    three = [[{"text": "dog"}, {"id": n + 1}, {"text": "grass", "weight": -0.5}] for n in range(30)]
    yield "a phrase typed letter by letter, 200 results", [phrase(text) for text in prefixes]
    yield "the same phrases once more", [phrase(text) for text in prefixes]
    yield "sum and difference of three terms", [lambda terms=terms: search(terms=terms) for terms in three]
    yield "a filter never asked before, few pass", [phrase("dog", filters=each) for each in narrow]
    yield "a filter never asked before, nearly all pass", [phrase("dog", filters=each) for each in wide]
    yield "a filter asked before", [phrase("cat", filters=each) for each in wide]
    yield "with min_sigma", [phrase("dog", min_sigma=2.0)] * 20
    yield "no query: all by date", [search] * 20
    yield "a phrase, newest first", [phrase("dog", order="newest")] * 10
    deep = [search(terms=[{"text": f"dog {n}"}])["search"] for n in range(10)]
    yield "results 50,000 to 50,500, first time", [get(f"/api/search/{one}?from=50000&count=500") for one in deep]
    yield "the same again", [get(f"/api/search/{one}?from=50000&count=500") for one in deep]
    fresh = [search(terms=[{"text": f"cat {n}"}])["search"] for n in range(10)]
    yield "all results as binary columns", [get(f"/api/search/{one}/columns") for one in fresh]
    yield "state, nothing changed", [get("/api/state")] * 20
    yield "run", [get("/api/run")] * 20
    yield "folders", [get("/api/folders")] * 10
    yield "facts of a picture", [get(f"/api/picture/{n + 1}") for n in range(50)]
    yield "thumbnail 320, made", [get(f"/api/thumb/{n + 1}?size=320") for n in range(100)]
    yield "thumbnail 320, from the cache", [get(f"/api/thumb/{n + 1}?size=320") for n in range(100)]
    yield "tag 1,000 pictures", [tag("add", n) for n in range(5)]
    yield "untag them", [tag("remove", n) for n in range(5)]
    yield "a phrase after that", [phrase("a phrase after that")]


def measure(client: Client, process: int) -> None:
    """One line a kind of request: median, 95th percentile and maximum; and processor time, which other work on the
    machine does not change.
    """
    client.post("/api/search", {"terms": [{"text": "warm"}]})
    print("| request | median ms | 95 % | worst | processor ms | times |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, calls in cases(client):
        times = []
        before = processor_ms(process)
        for call in calls:
            begin = time.perf_counter()
            call()
            times.append((time.perf_counter() - begin) * 1000)
        busy = (processor_ms(process) - before) / len(times)
        times.sort()
        late = times[min(len(times) - 1, int(len(times) * 0.95))]
        print(f"| {name} | {statistics.median(times):.1f} | {late:.1f} | {times[-1]:.1f} | {busy:.1f} | {len(times)} |")
    began = time.perf_counter()
    job = client.post("/api/map", {"method": "pca"})
    while job["state"] == "running":
        job = json.loads(client.get(f"/api/jobs/{job['job']}?wait=10"))
    print(f"\nmap by PCA: {time.perf_counter() - began:.1f} s, {len(job['result']['ids']):,} points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=100_000)
    asked = parser.parse_args()
    library = make_stage(asked.folder, asked.pictures)
    shutil.rmtree(asked.folder / "thumbnails", ignore_errors=True)  # so that they are made
    print("\n".join(describe()))
    print(f"{asked.pictures:,} pictures, {DIMENSION} numbers each\n")
    with served(library, _PORT) as (address, process):
        measure(Client(address), process)
        print(
            f"memory: {memory_mib(process):.0f} MiB of its own now, "
            f"{peak_memory_mib(process):.0f} MiB at most with what is mapped from files"
        )


if __name__ == "__main__":
    main()

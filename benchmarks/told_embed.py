"""`clip` in a process that writes down what it is doing, to be killed: what benchmarks/kill_embed.py starts.

    python -m benchmarks.told_embed LOG SECONDS embed FOLDER --db FILE …

A line of LOG is `+phase`, `-phase`, `begun N` (pictures handed to the model, which takes SECONDS longer), `writing
DIGEST…` or `written DIGEST…` (the pictures of a batch before and after its commit). Each is one write to a file opened
for appending, so that a kill leaves whole lines.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

# The first of these that has been begun and not ended is where a process is.
PHASES = (
    "migrating", "writing", "forgetting", "closing", "caching", "embedding", "scanning", "loading", "opening",
    "reading", "finishing", "ending", "starting",
)  # fmt: skip


class _Teller:
    def __init__(self, log: str) -> None:
        self._handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self("+starting")

    def __call__(self, line: str) -> None:
        os.write(self._handle, line.encode() + b"\n")

    def around(self, owner: Any, name: str, phase: str) -> None:
        """Have `owner.name` tell when it begins and when it ends."""
        inner = getattr(owner, name)
        bound = hasattr(inner, "__self__")  # a class method, which has its class already

        def told(*arguments: Any, **options: Any) -> Any:
            self(f"+{phase}")
            try:
                return inner(*arguments, **options)
            finally:
                self(f"-{phase}")

        setattr(owner, name, staticmethod(told) if bound else told)


def watch(log: str, seconds: float) -> None:
    """Put tellers around the parts of an index run and of a search, and slow the model down."""
    tell = _Teller(log)
    from clipcli import app
    from clipcli.bundle import encoder
    from clipcli.library import indexing, store, vectors, writing
    from clipcli.library.jobs import Decoded

    encode, commit = encoder.Model.encode_images, writing.BatchWriter.commit

    def slowly(model: Any, pixels: Any) -> Any:
        tell(f"begun {len(pixels)}")
        time.sleep(seconds)
        return encode(model, pixels)

    def told(writer: Any, batch: Any) -> None:
        digests = " ".join(outcome.digest for outcome in batch.outcomes if isinstance(outcome, Decoded))
        tell(f"writing {digests}")
        commit(writer, batch)
        tell(f"written {digests}")

    for owner, name, slow in ((encoder.Model, "encode_images", slowly), (writing.BatchWriter, "commit", told)):
        setattr(owner, name, slow)
    tell.around(encoder.Model, "encode_images", "embedding")
    tell.around(writing.BatchWriter, "commit", "writing")
    tell.around(writing.BatchWriter, "forget", "forgetting")
    tell.around(encoder.Model, "load", "loading")
    tell.around(indexing, "_plan", "scanning")
    tell.around(vectors, "_write", "caching")
    tell.around(store.Library, "close", "closing")
    tell.around(store, "_open_for_writing", "opening")
    tell.around(store, "_create", "opening")
    tell.around(store, "migrate", "migrating")
    tell.around(indexing._Run, "embed", "reading")
    tell.around(indexing._Run, "finish", "finishing")
    leave = app.ClipGroup.main

    def left(*arguments: Any, **options: Any) -> Any:
        try:
            return leave(*arguments, **options)
        finally:
            tell("-starting")
            tell("+ending")

    setattr(app.ClipGroup, "main", left)  # noqa: B010 - what a type checker would not let through


if __name__ == "__main__":
    watch(sys.argv[1], float(sys.argv[2]))
    from clipcli.app import main

    main(sys.argv[3:])

"""`clip embed` with a model that takes its time and writes down what it has embedded: run as a process, to be killed.

python -m tests.library.slow_embed SECONDS LOG EMBED-ARGUMENTS...
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from typing import Any

from clipcli.app import main
from clipcli.bundle.encoder import Model


def slow_down(seconds: float, log: str) -> None:
    encode = Model.encode_images
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def slowly(self: Model, pixels: Any) -> Any:
        os.write(handle, b"begun\n")
        time.sleep(seconds)
        vectors = encode(self, pixels)
        os.write(handle, b"".join(hashlib.sha256(one.tobytes()).hexdigest().encode() + b"\n" for one in pixels))
        return vectors

    Model.encode_images = slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    slow_down(float(sys.argv[1]), sys.argv[2])
    main(["embed", *sys.argv[3:]])

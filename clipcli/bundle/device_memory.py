"""Running a session with its input and its output bound to memory of the GPU (ONNX Runtime's I/O binding).

A plain run takes memory on the device for each batch and gives it back; bound, a batch is copied to where the last one
lay. Batches are as large as the card's memory allows, which is found out by running them: what a graph needs depends on
more than its size, and others use the card as well.
"""

from __future__ import annotations

import re
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as runtime
from numpy.typing import NDArray

from clipcli.bundle.sessions import RUNTIME_ERRORS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["MOST_AT_ONCE", "BoundSession"]

MOST_AT_ONCE = 256  # pictures or texts: more would only take memory from others

# That the memory is not enough, as ONNX Runtime's arena, CUDA, cuBLAS and cuDNN put it.
_TOO_LITTLE = re.compile(
    r"out of memory|failed to allocate memory|available memory of \d+ is smaller|ALLOC_FAILED|ALLOCATION_FAILED",
    re.IGNORECASE,
)


class BoundSession:
    """One graph, whose inputs stay where they are on the device from one batch to the next of the same shape."""

    def __init__(self, session: InferenceSession, output: str, *, device: str, divisible: bool = True) -> None:
        """`divisible` says that the graph takes batches of any size."""
        self._session, self._output, self._device, self._divisible = session, output, device, divisible
        self.at_once = MOST_AT_ONCE  # fewer, once memory ran out
        self._lock = Lock()  # two threads would write to the same memory, and one may make it anew
        self._forget()

    def run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """(B, ...) each -> (B, D) as the graph gives it, in as few parts as memory allows.

        Raises one of `RUNTIME_ERRORS`, also where there is too little memory for a single one.
        """
        with self._lock:
            return self._run_in_parts(feeds) if self._divisible else self._run(feeds)

    def _run_in_parts(self, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        count = len(next(iter(feeds.values())))
        parts: list[NDArray[Any]] = []
        start = 0
        while start < count:
            stop = min(count, start + self.at_once)
            try:
                parts.append(self._run({name: rows[start:stop] for name, rows in feeds.items()}))
            except RUNTIME_ERRORS as error:
                if stop - start == 1 or not _TOO_LITTLE.search(str(error)):
                    raise
                self._forget()  # its memory as well
                self.at_once = (stop - start) // 2
            else:
                start = stop
        return np.concatenate(parts)

    def _run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        for name, rows in feeds.items():
            self._place(name, np.ascontiguousarray(rows))
        self._binding.bind_output(self._output, self._device)  # its length changes with the batch
        self._session.run_with_iobinding(self._binding)
        (outcome,) = self._binding.copy_outputs_to_cpu()
        return np.asarray(outcome)

    def _place(self, name: str, rows: NDArray[Any]) -> None:
        held = self._given.get(name)
        if held is None or tuple(held.shape()) != rows.shape:
            held = runtime.OrtValue.ortvalue_from_shape_and_type(rows.shape, rows.dtype, self._device, 0)
            self._given[name] = held
            self._binding.bind_ortvalue_input(name, held)
        held.update_inplace(rows)

    def _forget(self) -> None:
        self._binding = self._session.io_binding()
        self._given: dict[str, Any] = {}  # by input: an OrtValue on the device

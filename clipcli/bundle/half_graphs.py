"""Graphs that compute in halves, for a GPU: made from a bundle's fp16 variant, and kept in the cache folder.

A bundle's fp16 graphs store halves and compute in fp32, which is what processors are quick at (`export/halves.py`); on
a GPU that leaves the units for products of halves idle. So the same graph is written once more with every operator in
halves. Pixels and embeddings stay fp32, and so does the length of an embedding, whose squares may leave fp16's range.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from clipcli.bundle.ready_graphs import GRAPH, WEIGHTS, make_room
from clipcli.errors import ModelError

__all__ = ["open_halves"]

Opened = TypeVar("Opened")

_STAYS_FP32 = ("ReduceL2", "ReduceSumSquare")
_IN_THE_GRAPH = 1024  # bytes: as in `ready_graphs`


def open_halves(path: Path, folder: Path, opener: Callable[[Path], Opened]) -> Opened | None:
    """What `opener` makes of the graph `path` in halves: the one kept in `folder`, else made and kept there.

    One that is damaged is made once more. None where there is none: no room, no permission, an operator that the
    converter does not know.
    """
    kept = folder / GRAPH
    if kept.is_file():
        with suppress(ModelError):
            opened = opener(kept)
            with suppress(OSError):
                os.utime(folder)  # used last
            return opened
    shutil.rmtree(folder, ignore_errors=True)  # damaged, or of a runtime that calls itself the same
    try:
        _make(path, folder)
    except Exception:  # noqa: BLE001 - the converter is another project's, and raises what it likes; fp32 is slower, not wrong
        return None
    with suppress(ModelError):
        return opener(kept)
    return None


def _make(path: Path, folder: Path) -> None:
    import onnx  # late, as what follows: only a GPU needs it

    made = _converted(onnx.load(os.fspath(path)))
    partial = make_room(folder.parent)
    try:
        onnx.save(
            made,
            os.fspath(partial / GRAPH),
            save_as_external_data=True,
            location=WEIGHTS,
            size_threshold=_IN_THE_GRAPH,
        )
        for file in partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        with suppress(OSError):  # another run was as quick
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _converted(model: Any) -> Any:
    before = list(sys.path)
    try:
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    finally:
        sys.path[:] = before  # that package puts its own folder there
    return convert_float_to_float16(model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_STAYS_FP32])

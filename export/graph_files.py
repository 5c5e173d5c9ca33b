"""Graphs on disk. Protocol buffers end at 2 GiB; the weights of a larger tower lie in a file of their own beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from clipcli.errors import ModelError

__all__ = ["LARGEST", "remove_graph", "save_graph", "weight_bytes"]

LARGEST = 2_000_000_000  # bytes of weights within the graph itself, some room left for the nodes
_SMALL = 1024  # bytes: what is smaller stays in the graph, where shapes and constants are looked for
_ENDING = ".weights"


def weight_bytes(graph: onnx.ModelProto) -> int:
    return sum(len(weight.raw_data) for weight in graph.graph.initializer)


def save_graph(graph: onnx.ModelProto, path: Path) -> tuple[str, ...]:
    """Write and check it; the names of the files beside it that its weights are in, where any are.

    A large graph has lost its weights afterwards. Raises ModelError.
    """
    large = weight_bytes(graph) > LARGEST
    if large:
        onnx.save(
            graph,
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=f"{path.name}{_ENDING}",
            size_threshold=_SMALL,
        )
    else:
        path.write_bytes(graph.SerializeToString())
    try:
        onnx.checker.check_model(str(path))  # by its file: what is large can be checked in no other way
    except onnx.checker.ValidationError as error:
        raise ModelError(f"torch gave a graph that is not valid: {str(error).splitlines()[0]}") from error
    apart = (entry for weight in graph.graph.initializer for entry in weight.external_data if entry.key == "location")
    return tuple(dict.fromkeys(entry.value for entry in apart))


def remove_graph(path: Path) -> None:
    """With what only it has; weights that others share stay."""
    for file in _files(path):
        file.unlink()


def _files(path: Path) -> Iterator[Path]:
    yield path
    beside = path.with_name(f"{path.name}{_ENDING}")
    if beside.exists():
        yield beside

"""fp16 graphs without weights of their own: they point into `weights.safetensors`, which a bundle carries for training.

ONNX keeps large tensors in other files by name, place and length ("external data", onnx/docs/ExternalData.md), and a
safetensors file is a header and then plain numbers. So both graphs and the trainer read the same halves, and fp16
costs a bundle next to nothing. ONNX Runtime maps the file and works out once, when the model is opened, what stands
between the stored tensor and the graph's own: a cast, a transposition, a part of its rows, or a factor for each output
channel (batch normalisation, folded into the convolution before it).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.halves import SMALL, store_as_half

__all__ = ["share_weights"]

_KINDS = {"F16": (TensorProto.FLOAT16, 2), "F32": (TensorProto.FLOAT, 4)}
# Halves are off by at most 2^-11 of the number, or 2^-25 near zero (IEEE 754); a factor of a channel by less.
_RELATIVE, _ABSOLUTE = 2.0**-10, 2.0**-24


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    """A tensor of the file, and where its bytes are."""

    name: str
    tensor: torch.Tensor
    kind: int  # ONNX's number for the type it is stored in
    width: int  # bytes of a number
    offset: int

    @property
    def values(self) -> NDArray[np.float32]:
        """As fp32; not kept, since all of a large model at once would be as much memory again."""
        return self.tensor.float().numpy()

    @property
    def rows(self) -> NDArray[np.float32]:
        return self.values.reshape(len(self.tensor), -1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Match:
    """How a weight of the graph comes from a stored tensor: from row `first` on, perhaps transposed or scaled."""

    stored: _Stored
    first: int = 0
    transposed: bool = False
    factors: NDArray[np.float32] | None = None  # one for each row


def share_weights(graph: onnx.ModelProto, kept: Mapping[str, torch.Tensor], file: Path) -> onnx.ModelProto:
    """A copy of an fp32 graph that takes its weights from `file`, which holds `kept`.

    What is not found there is stored as fp16 in the graph itself; what is small stays fp32.
    """
    shared = onnx.ModelProto()
    shared.CopyFrom(graph)
    stored = _stored_in(file, kept)
    nodes: list[onnx.NodeProto] = []
    for weight in shared.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < SMALL:
            continue
        match = _match(weight.name, numpy_helper.to_array(weight), stored)
        if match is not None:
            nodes += _point(shared.graph, weight, match, file.name)
    after = list(shared.graph.node)
    del shared.graph.node[:]
    shared.graph.node.extend([*nodes, *after])
    return store_as_half(shared)


def _stored_in(file: Path, kept: Mapping[str, torch.Tensor]) -> list[_Stored]:
    """The file begins with the length of its header, eight bytes, little end first (safetensors, "Format")."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    found = []
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] in _KINDS and about["shape"]:
            kind, width = _KINDS[about["dtype"]]
            found.append(
                _Stored(
                    name=name,
                    tensor=kept[name],
                    kind=kind,
                    width=width,
                    offset=8 + length + about["data_offsets"][0],
                )
            )
    return found


def _match(name: str, values: NDArray[np.float32], stored: Iterable[_Stored]) -> _Match | None:
    """The exporter calls a weight as torch does where it left it as it was; one that it has rearranged, by a number."""
    for candidate in sorted(stored, key=lambda one: not name.endswith(one.name)):
        if candidate.tensor.numel() >= values.size and (match := _as_it_is(values, candidate)):
            return match
    return None


def _as_it_is(values: NDArray[np.float32], stored: _Stored) -> _Match | None:
    rows = stored.rows
    if rows.size == values.size:
        if _near(values.reshape(-1), rows.reshape(-1)):
            return _Match(stored=stored)
        if values.ndim == 2 and rows.shape == values.T.shape and _near(values.T, rows):
            return _Match(stored=stored, transposed=True)
        return _scaled(values, stored)
    # Queries, keys and values are parts of one matrix, and a graph may want them one by one.
    for transposed, wanted in ((False, values), (True, values.T)):
        if wanted.ndim == 2 and stored.tensor.ndim == 2 and wanted.shape[1] == rows.shape[1]:
            for first in range(0, len(rows) - len(wanted) + 1, len(wanted)):
                if _near(wanted, rows[first : first + len(wanted)]):
                    return _Match(stored=stored, first=first, transposed=transposed)
    return None


def _near(values: NDArray[np.float32], stored: NDArray[np.float32]) -> bool:
    """Whether they differ by the rounding to halves at most. Most do not in their first numbers already."""
    first = (slice(0, 1),) * (values.ndim - 1) + (slice(0, 16),)
    return _within(values[first], stored[first]) and _within(values, stored)


def _within(values: NDArray[np.float32], stored: NDArray[np.float32]) -> bool:
    return bool(np.all(np.abs(values - stored) <= _RELATIVE * np.abs(values) + _ABSOLUTE))


def _scaled(values: NDArray[np.float32], stored: _Stored) -> _Match | None:
    """A filter whose output channels have each been multiplied by a number; the best one, by least squares."""
    if values.ndim != 4 or values.shape != tuple(stored.tensor.shape):
        return None
    rows, wanted = stored.rows.astype(np.float64), values.reshape(len(values), -1).astype(np.float64)
    squares = np.maximum(np.einsum("ij,ij->i", rows, rows), np.finfo(np.float64).tiny)
    factors = (np.einsum("ij,ij->i", rows, wanted) / squares).astype(np.float32)
    away = np.abs(rows * factors[:, None] - wanted)
    if np.all(away <= _RELATIVE * np.abs(wanted) + _ABSOLUTE * np.abs(factors)[:, None]):
        return _Match(stored=stored, factors=factors)
    return None


def _point(graph: onnx.GraphProto, weight: TensorProto, match: _Match, file: str) -> list[onnx.NodeProto]:
    """Make `weight` the tensor of the file, and the nodes that lead from it to what the graph had under its name."""
    name, stored, shape = weight.name, match.stored, list(weight.dims)
    there = shape[::-1] if match.transposed else shape
    count = int(np.prod(shape))
    weight.ClearField("raw_data")
    del weight.dims[:]
    weight.dims.extend(there)
    weight.data_type = stored.kind
    weight.data_location = TensorProto.EXTERNAL
    across = stored.tensor[0].numel()
    start = stored.offset + match.first * across * stored.width
    for key, value in (("location", file), ("offset", start), ("length", count * stored.width)):
        weight.external_data.add(key=key, value=str(value))
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if stored.kind != TensorProto.FLOAT:
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    if match.transposed:
        steps.append(("Transpose", [], {"perm": [1, 0]}))
    if match.factors is not None:
        factors = match.factors.reshape(-1, *[1] * (len(shape) - 1))
        graph.initializer.append(numpy_helper.from_array(factors, f"{name}.factors"))
        steps.append(("Mul", [f"{name}.factors"], {}))
    if not steps:
        return []
    weight.name = given = f"{name}.stored"
    nodes = []
    for number, (kind, further, attributes) in enumerate(steps, start=1):
        result = name if number == len(steps) else f"{name}.{kind.lower()}"
        nodes.append(helper.make_node(kind, [given, *further], [result], name=f"{name}.{kind.lower()}ed", **attributes))
        given = result
    return nodes

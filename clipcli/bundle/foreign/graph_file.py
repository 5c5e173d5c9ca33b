"""A graph of somebody else's, looked at before anything runs it: its names, and whether its tensors are all there.

An ONNX file may keep weights in other files, named by paths of its own choosing, and may claim tensors of any size.
Here every tensor, however deep inside, is held against the bytes that are there; nothing is allocated for a claim.
ONNX IR specification, "External data": location, offset, length.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from clipcli.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["GraphFile", "Port", "read_graph"]

_LARGEST = (1 << 31) - 1  # bytes: what the format of the file itself can hold
_LARGEST_MADE = 1 << 28  # numbers that a graph may ask to be made from a shape alone; real ones make masks of positions
_BITS = {  # of one number, by ONNX's numbers for the types: TensorProto.DataType
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8,
    25: 2, 26: 2, 27: 6, 28: 6,
}  # fmt: skip
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_STRING = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """An input or output. A size is None where the graph leaves it open."""

    name: str
    kind: int  # ONNX's number for the type of its numbers: 1 float32, 6 int32, 7 int64, 10 float16
    shape: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphFile:
    """A graph that has been looked at."""

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    data: tuple[str, ...]  # locations of the files it keeps weights in, relative to its own

    @property
    def files(self) -> tuple[Path, ...]:
        """The graph, then the files of its weights."""
        return (self.path, *(self.path.parent / name for name in self.data))

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    def place(self, folder: Path, name: str) -> tuple[str, ...]:
        """Copy it into `folder` as `name`, with its weights' files beside it; the names those have there."""
        if not self.data:
            shutil.copyfile(self.path, folder / name)
            return ()
        stem = name.removesuffix(".onnx")
        numbers = [""] if len(self.data) == 1 else [f".{number}" for number in range(len(self.data))]
        renamed = {old: f"{stem}{number}.data" for old, number in zip(self.data, numbers, strict=True)}
        for old, new in renamed.items():
            shutil.copyfile(self.path.parent / old, folder / new)
        model = _parse(self.path)
        for tensor in _tensors(model):
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = renamed[entry.value]
        (folder / name).write_bytes(model.SerializeToString())
        return tuple(renamed.values())


def read_graph(path: Path) -> GraphFile:
    """Raises ModelError where it is no ONNX graph, or is one that must not be run."""
    model = _parse(path)
    where = path.name
    data: dict[str, None] = {}
    sizes: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location == type(tensor).EXTERNAL:
            location = _external(path, tensor, sizes)
            data[location] = None
        else:
            _inline(where, tensor)
    weights = {tensor.name for tensor in model.graph.initializer}
    _refuse_made_giants(where, model)
    return GraphFile(
        path=path,
        inputs=tuple(_port(where, value) for value in model.graph.input if value.name not in weights),
        outputs=tuple(_port(where, value) for value in model.graph.output),
        data=tuple(data),
    )


def _parse(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"{path} is refused: {path.stat().st_size:,} bytes are more than an ONNX file can have")
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is no ONNX graph, or is damaged") from error
    if not model.graph.node:
        raise ModelError(f"{path} is no ONNX graph, or is damaged")
    return model


def _tensors(message: Any) -> Iterator[TensorProto]:
    """Every tensor anywhere inside: weights, constants, those of inner graphs and of functions."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        several = value if not hasattr(value, "ListFields") else (value,)
        for inner in several:
            if field.message_type.name == "TensorProto":
                yield inner
            else:
                yield from _tensors(inner)


def _claimed(where: str, tensor: TensorProto) -> int:
    """The bytes that its type and sizes speak of."""
    if any(size < 0 for size in tensor.dims) or tensor.data_type not in _BITS:
        raise ModelError(f"{where} is refused: the tensor {tensor.name!r} is of no known type or size")
    bits = int(prod(tensor.dims)) * _BITS[tensor.data_type]
    return -(-bits // 8)


def _inline(where: str, tensor: TensorProto) -> None:
    if tensor.data_type == _STRING:
        held, claimed = len(tensor.string_data), prod(tensor.dims)
    elif tensor.HasField("raw_data"):
        held, claimed = len(tensor.raw_data), _claimed(where, tensor)
    else:
        # Numbers in lists: one entry each, but two for complex ones, and one for several of less than a byte.
        entries, numbers = sum(len(getattr(tensor, name)) for name in _TYPED), prod(tensor.dims)
        _claimed(where, tensor)
        if numbers <= 4 * entries and entries <= 2 * numbers:
            return
        held, claimed = entries, numbers
    if held != claimed:
        raise ModelError(f"{where} is refused: the tensor {tensor.name!r} claims {claimed:,} bytes and holds {held:,}")


def _external(graph: Path, tensor: TensorProto, sizes: dict[str, int]) -> str:
    """The file this tensor lies in; `sizes` remembers those looked at."""
    entries: dict[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    refused = f"{graph.name} is refused: the tensor {tensor.name!r}"
    if location not in sizes:
        sizes[location] = _size_inside(graph, location, refused)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
    except ValueError:
        raise ModelError(f"{refused} lies at no readable place of {location!r}") from None
    claimed = _claimed(graph.name, tensor)
    if length not in (-1, claimed) or offset < 0 or offset + claimed > sizes[location]:
        raise ModelError(
            f"{refused} claims {claimed:,} bytes from {offset:,} of {location!r}, which has {sizes[location]:,}"
        )
    return location


def _size_inside(graph: Path, location: str, refused: str) -> int:
    """The size of an ordinary file below the graph's own folder; no other place is ever opened."""
    plain = PurePosixPath(location)
    outside = (
        not location
        or "\x00" in location
        or "\\" in location
        or plain.is_absolute()
        or PureWindowsPath(location).drive != ""
        or ".." in plain.parts
    )
    if outside:
        raise ModelError(f"{refused} is kept outside the model's folder, in {location!r}")
    path = graph.parent
    try:
        for part in plain.parts:
            path /= part
            facts = path.lstat()
            # A hub's cache is made of links, but what is imported or installed is a folder of files.
            if stat.S_ISLNK(facts.st_mode):
                raise ModelError(f"{refused} is kept behind a link, in {location!r}")
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"{graph.name} needs {os.fsdecode(location)!r} beside it, which is missing") from None
    if not stat.S_ISREG(facts.st_mode):
        raise ModelError(f"{refused} is kept in {location!r}, which is no file")
    return facts.st_size


def _refuse_made_giants(where: str, model: ModelProto) -> None:
    """A shape alone can ask for any amount of memory, while the graph is still being opened."""
    import onnx

    small = {
        tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == 7 and len(tensor.dims) < 2
    }
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            small[node.output[0]] = node.attribute[0].t
    for node in model.graph.node:
        shape = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}.get(node.op_type)
        tensor = small.get(node.input[shape]) if shape is not None and len(node.input) > shape else None
        if tensor is None or tensor.data_location == type(tensor).EXTERNAL or tensor.data_type != 7:
            continue
        sizes = onnx.numpy_helper.to_array(tensor).reshape(-1).tolist()
        if prod(max(int(size), 1) for size in sizes) > _LARGEST_MADE:
            raise ModelError(
                f"{where} is refused: {node.name or node.op_type!r} makes a tensor of {sizes} out of nothing"
            )


def _port(where: str, value: Any) -> Port:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"{where}: {value.name!r} is no tensor")
    shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim)
    return Port(name=value.name, kind=kind.elem_type, shape=shape)

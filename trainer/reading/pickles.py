"""The pickles inside PyTorch's files, read without running anything.

A pickle is a program. What a weights file needs of it is small: containers, numbers, texts, and tensors described by
where their bytes lie. So its opcodes are gone through first, and whatever else it wants is refused by name; then a
restricted unpickler builds stand-ins, none of which is a function of somebody else's choosing.

What comes out are plain containers with a `TensorPlan` in the place of each tensor. Whoever has the file's bytes checks
the plans and makes tensors of them.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

import torch

from clipcli.errors import ModelError

__all__ = ["MAX_PICKLE_BYTES", "ScriptedModule", "StoragePlan", "TensorPlan", "read_pickle"]

MAX_PICKLE_BYTES = 64 << 20  # a training checkpoint with its optimiser has some; weights alone less than one
_MAX_MEMO = 10_000_000  # the unpickler makes room for the largest number it is told
_MEMO_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_REFUSED_OPCODES = frozenset(
    {"INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER"}
)

_STORAGES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _STORAGES.values()}


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """Bytes of the file under `key`: `count` numbers of `dtype`, as the file claims."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """A view of a storage. Sizes are claims, to be checked by who has the bytes."""

    storage: StoragePlan
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class ScriptedModule:
    """What TorchScript writes for a module: its attributes by name. Its code is never looked at."""

    __slots__ = ("attributes",)

    def __new__(cls) -> ScriptedModule:
        made = super().__new__(cls)
        made.attributes = {}
        return made

    attributes: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.attributes = {str(name): value for name, value in state.items()}


class _Opaque:
    """What a training checkpoint keeps beside its weights and nobody asks for here: options, a scalar of NumPy's."""

    __slots__ = ()

    def __init__(self, *given: object) -> None:
        del given

    def __setstate__(self, state: object) -> None:
        del state


class _RebuildTensor:
    """Stands for `torch._utils._rebuild_tensor` and its second form."""

    __slots__ = ()

    def __call__(self, storage: object, offset: object, shape: object, stride: object, *rest: object) -> TensorPlan:
        del rest  # whether a gradient is wanted, and hooks
        sizes, strides = _counts(shape), _counts(stride)
        if not isinstance(storage, StoragePlan) or not _is_count(offset) or sizes is None or strides is None:
            raise pickle.UnpicklingError("a tensor is not described as PyTorch does")
        return TensorPlan(storage, cast(int, offset), sizes, strides)


class _First:
    """Stands for what only wraps its first argument: a parameter, a typed list of TorchScript's."""

    __slots__ = ()

    def __call__(self, value: object, *rest: object) -> object:
        del rest
        return value


_ALLOWED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch", "device"): _Opaque,
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _First(),
    ("torch.jit._pickle", "build_intlist"): _First(),
    ("torch.jit._pickle", "build_doublelist"): _First(),
    ("torch.jit._pickle", "build_boollist"): _First(),
    ("torch.jit._pickle", "build_tensorlist"): _First(),
    ("torch.jit._pickle", "restore_type_tag"): _First(),
    ("argparse", "Namespace"): _Opaque,
    ("_codecs", "encode"): _Opaque,
    ("numpy", "dtype"): _Opaque,
    ("numpy.core.multiarray", "scalar"): _Opaque,
    ("numpy._core.multiarray", "scalar"): _Opaque,
    **{("torch", name): dtype for name, dtype in (_STORAGES | _DTYPES).items()},
}


def _find(module: str, name: str) -> object:
    """The stand-in for a global. Raises UnpicklingError."""
    if module == "__torch__" or module.startswith("__torch__."):
        return ScriptedModule
    try:
        return _ALLOWED[module, name]
    except KeyError:
        raise pickle.UnpicklingError(f"it calls {module}.{name}, which no weights need") from None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _find(module, name)

    def persistent_load(self, pid: object) -> StoragePlan:
        """Where PyTorch keeps a tensor's bytes: ("storage", type, key, device, count)."""
        match pid:
            case ("storage", torch.dtype() as dtype, str() as key, str(), int() as count, *rest) if not any(rest):
                if _is_count(count):
                    return StoragePlan(key, dtype, count)
        raise pickle.UnpicklingError("it refers to something outside of itself that is no tensor")


def read_pickle(data: bytes, where: str) -> tuple[Any, int]:
    """What the pickle at the beginning of `data` describes, and how many bytes it is long.

    Raises:
        ModelError: it is damaged, or wants something that weights do not need; the message says what.
    """
    try:
        length = _scan(data)
        return _Reader(io.BytesIO(data[:length])).load(), length
    except pickle.UnpicklingError as error:
        raise ModelError(f"{where} is refused: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever its first wrong byte leads to
        raise ModelError(f"{where} is damaged: {type(error).__name__}: {error}") from error


def _scan(data: bytes) -> int:
    """Go through the opcodes without obeying them; the length of the pickle. Raises UnpicklingError, ValueError."""
    stream = io.BytesIO(data)
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in _REFUSED_OPCODES:
            raise pickle.UnpicklingError(f"it uses {opcode.name}, which no weights need")
        if opcode.name in _MEMO_OPCODES and int(cast(int, argument)) > _MAX_MEMO:
            raise pickle.UnpicklingError(f"it claims to remember {argument} things")
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            _find(module, name)
    return stream.tell()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


def _counts(values: object) -> tuple[int, ...] | None:
    if isinstance(values, tuple | list) and len(values) <= 16 and all(_is_count(value) for value in values):
        return tuple(values)
    return None

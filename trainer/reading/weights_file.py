"""The tensors of a weights file, whatever its kind: safetensors, PyTorch's zip or its older stream, TorchScript.

Tensors are views of the mapped file: nothing is allocated because a header claims it, and what a header claims is held
against the bytes that are there.
"""

from __future__ import annotations

import json
import math
import mmap
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipcli.errors import ModelError, NotFoundError
from trainer.reading.pickles import MAX_PICKLE_BYTES, ScriptedModule, StoragePlan, TensorPlan, read_pickle

__all__ = ["is_torchscript", "read_tensors", "tensors_in"]

_MAGIC = 0x1950A86A20F9469CFC6C  # the first of the pickles in PyTorch's older files
_MAX_DEPTH = 64  # of containers in one another
_MAX_ENTRIES = 100_000  # of a zip, and of tensors
_LOCAL_HEADER = 30  # bytes before the name (PKWARE's APPNOTE 4.3.7)
_LONGEST_HEADER = 100_000_000  # bytes: no safetensors file has more
_AGAIN = "download it again"
# What a download leaves behind where it fetched something else, by how it begins.
_NO_WEIGHTS = {
    b"version https://": "a pointer of Git LFS, not the weights: 'git lfs pull' fetches those",
    b"<!doctype": f"a web page, not weights: {_AGAIN}, with the link to the file itself",
    b"<html": f"a web page, not weights: {_AGAIN}, with the link to the file itself",
}

Storage = Callable[[StoragePlan], Tensor]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file by its dotted name, as it is stored. They go on reading from the file.

    Raises:
        NotFoundError: there is no such file.
        ModelError: it is damaged, claims what is not there, is no weights file, or wants to do more than describe some.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}") from error
    if start.startswith(b"PK"):
        return _tensors(*_read_zip(path), path)
    if start[8:9] == b"{":  # first, as the length before it may begin like anything
        return _read_safetensors(path)
    if start.startswith(b"\x80"):
        return _tensors(*_read_stream(path), path)
    raise ModelError(f"{path} is {_told(start)}")


def _told(start: bytes) -> str:
    """What a file is that begins like this and is no weights file."""
    for beginning, what in _NO_WEIGHTS.items():
        if start.lstrip().lower().startswith(beginning):
            return what
    return "empty: download it again" if not start else "no weights file (neither safetensors nor PyTorch's)"


def is_torchscript(path: Path) -> bool:
    """Whether the file is a program with weights, as the original release is published."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The library checks the header against the size of the file before anything else."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, safetensors.SafetensorError) as error:
        missing = _missing_end(path)
        if missing:
            raise ModelError(f"{path} is incomplete: {missing}; {_AGAIN}") from error
        raise ModelError(f"{path} is damaged: {str(error).splitlines()[0]}; {_AGAIN}") from error


def _missing_end(path: Path) -> str:
    """How much of a safetensors file is missing by what its own header says; empty where nothing is."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LONGEST_HEADER:
                return ""
            if 8 + length > size:
                return f"it has {size:,} bytes, its header alone {length:,}"
            header = json.loads(file.read(length))
        ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return ""
    return f"it has {size:,} of {whole:,} bytes" if isinstance(whole, int) and whole > size else ""


def _read_zip(path: Path) -> tuple[Any, Storage]:
    """PyTorch's format since 1.6, and TorchScript's: `data.pkl`, and a file for each storage beside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1 or len(entries) > _MAX_ENTRIES:
                raise ModelError(f"{path} is a zip file, but not one of PyTorch's")
            folder = pickles[0].removesuffix("data.pkl")
            if entries[pickles[0]].file_size > MAX_PICKLE_BYTES:
                raise ModelError(f"{path}: {pickles[0]} claims {entries[pickles[0]].file_size} bytes")
            order = entries.get(f"{folder}byteorder")
            if order is not None and archive.read(order)[:3] == b"big":
                raise ModelError(f"{path} was written on a big-endian machine")
            content, _ = read_pickle(archive.read(pickles[0]), f"{path}: {pickles[0]}")
    except zipfile.BadZipFile as error:
        if zipfile.is_zipfile(path):
            raise ModelError(f"{path} is damaged: {error}; {_AGAIN}") from error
        # The index of a zip file is the last thing in it.
        raise ModelError(f"{path} is incomplete, its end is missing: {_AGAIN}") from error
    except (OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}; {_AGAIN}") from error
    mapped = _map(path)

    def storage(plan: StoragePlan) -> Tensor:
        info = entries.get(f"{folder}data/{plan.key}")
        if info is None:
            raise ModelError(f"{path} is damaged: the bytes of {plan.key} are missing")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ModelError(f"{path} is refused: {info.filename} is compressed, which PyTorch never does")
        header = mapped[info.header_offset : info.header_offset + _LOCAL_HEADER]
        if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise ModelError(f"{path} is damaged: {info.filename} is not where the index says")
        skipped = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        begin = info.header_offset + _LOCAL_HEADER + skipped
        return _numbers(mapped, begin, info.file_size, plan, path)

    return content, storage


def _read_stream(path: Path) -> tuple[Any, Storage]:
    """PyTorch's format before 1.6: magic number, version, machine, content and keys as pickles, then the storages."""
    with path.open("rb") as file:
        start = file.read(MAX_PICKLE_BYTES)
    position, parts = 0, []
    for _ in range(5):
        part, length = read_pickle(start[position:], str(path))
        parts.append(part)
        position += length
        if parts[0] != _MAGIC:
            raise ModelError(f"{path} is a pickle, but not one of PyTorch's")
    content, keys = parts[3], parts[4]
    mapped = _map(path)
    counts: dict[str, tuple[int, int]] = {}  # key -> where, how many numbers
    sizes = {plan.storage.key: plan.storage.dtype.itemsize for plan in _walk(content).values()}
    if not isinstance(keys, list) or len(keys) > _MAX_ENTRIES:
        raise ModelError(f"{path} is damaged: no list of its storages")
    for key in keys:
        count = int.from_bytes(mapped[position : position + 8], "little")
        position += 8
        counts[str(key)] = (position, count)
        position += count * sizes.get(str(key), 1)

    def storage(plan: StoragePlan) -> Tensor:
        if plan.key not in counts:
            raise ModelError(f"{path} is damaged: the bytes of {plan.key} are missing")
        begin, count = counts[plan.key]
        return _numbers(mapped, begin, count * plan.dtype.itemsize, plan, path)

    return content, storage


def _map(path: Path) -> mmap.mmap:
    # A copy on writing: PyTorch takes no memory that it may not write to, and nobody writes to it.
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _numbers(mapped: mmap.mmap, begin: int, size: int, plan: StoragePlan, path: Path) -> Tensor:
    """The storage as one row of numbers, where the file really has what its pickle claims."""
    wanted = plan.count * plan.dtype.itemsize
    if wanted > size or begin + wanted > len(mapped):
        there = max(0, min(size, len(mapped) - begin))
        raise ModelError(f"{path} claims {wanted} bytes for a tensor and has {there}: incomplete or damaged, {_AGAIN}")
    if wanted == 0:
        return torch.empty(0, dtype=plan.dtype)
    if begin % plan.dtype.itemsize:  # old files know no alignment
        return torch.frombuffer(bytearray(mapped[begin : begin + wanted]), dtype=plan.dtype)
    return torch.frombuffer(mapped, dtype=plan.dtype, count=plan.count, offset=begin)


def _tensors(content: Any, storage: Storage, path: Path) -> dict[str, Tensor]:
    made: dict[str, Tensor] = {}
    rows: dict[StoragePlan, Tensor] = {}
    for name, plan in _walk(content).items():
        spread = sum((size - 1) * step for size, step in zip(plan.shape, plan.stride, strict=True))
        # A step of 0 would make a huge tensor of one number.
        if math.prod(plan.shape) > plan.storage.count or plan.offset + spread >= max(plan.storage.count, 1):
            raise ModelError(f"{path} claims {list(plan.shape)} numbers for {name} and has {plan.storage.count}")
        if plan.storage not in rows:
            rows[plan.storage] = storage(plan.storage)
        made[name] = torch.as_strided(rows[plan.storage], plan.shape, plan.stride, plan.offset)
    return made


def _walk(content: Any) -> dict[str, TensorPlan]:
    """Every tensor in nested containers, by dotted name."""
    found: dict[str, TensorPlan] = {}
    seen: set[int] = set()

    def visit(value: Any, name: str, depth: int) -> None:
        if isinstance(value, TensorPlan):
            if len(value.shape) != len(value.stride) or len(found) >= _MAX_ENTRIES:
                raise ModelError(f"the tensor {name} is not described as PyTorch does")
            found[name] = value
            return
        if isinstance(value, ScriptedModule):
            value = value.attributes
        if not isinstance(value, Mapping) or id(value) in seen or depth > _MAX_DEPTH:
            return
        seen.add(id(value))
        for key, inner in value.items():
            visit(inner, f"{name}.{key}" if name else str(key), depth + 1)

    visit(content, "", 0)
    return found


def tensors_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the model, where a training run has wrapped them: `state_dict`, `model`, `module.` in front of each."""
    chosen = dict(tensors)
    for wrapping in ("state_dict.", "model.", "module."):
        inside = {name.removeprefix(wrapping): one for name, one in chosen.items() if name.startswith(wrapping)}
        if inside:
            chosen = inside
    return chosen

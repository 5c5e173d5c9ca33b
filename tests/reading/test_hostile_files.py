"""Weights files that want to do something, or claim what is not there."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipcli.errors import ClipError, ModelError
from tests.reading.lively import load
from tests.reading.public_formats import write
from trainer.reading.found import Choices
from trainer.reading.importing import read_model
from trainer.reading.pickles import read_pickle
from trainer.reading.weights_file import read_tensors

CALLS = [("os", "system"), ("builtins", "eval"), ("builtins", "exec"), ("torch.hub", "load"), ("builtins", "bytearray")]
CALLS += [
    ("torch.storage", "_load_from_bytes"),
    ("torch", "load"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
]
CALLS += [("builtins", "getattr"), ("torch._utils", "_rebuild_wrapper_subclass"), ("torch.serialization", "load")]


def call(module: str, name: str, argument: str, protocol: int) -> bytes:
    """A pickle that calls `module.name(argument)` when it is obeyed."""
    text = argument.encode()
    if protocol < 4:
        found = f"c{module}\n{name}\n".encode()
    else:
        found = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)) + b"\x93"
    return b"\x80" + bytes([protocol]) + found + b"X" + struct.pack("<I", len(text)) + text + b"\x85R."


def zipped(path: Path, content: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return path


class _Storage:
    def __init__(self, key: str, count: int) -> None:
        self.key, self.count = key, count


def state_pickle(shape: tuple[int, ...], stride: tuple[int, ...], count: int, offset: int = 0) -> bytes:
    """As torch.save writes {"a": tensor}, with sizes of one's own."""

    class Writer(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            kept = isinstance(value, _Storage)
            return ("storage", torch.FloatStorage, value.key, "cpu", value.count) if kept else None

        def reducer_override(self, value: Any) -> Any:
            if value is _Tensor:
                return NotImplemented
            if isinstance(value, _Tensor):
                rebuild = torch._utils._rebuild_tensor_v2
                return rebuild, (_Storage("0", count), offset, shape, stride, False, {})
            return NotImplemented

    class _Tensor:
        pass

    out = io.BytesIO()
    Writer(out, protocol=2).dump({"a": _Tensor()})
    return out.getvalue()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("layout", ["zip", "stream"])
@pytest.mark.parametrize(("module", "name"), CALLS, ids=lambda part: part)
def test_a_pickle_that_calls_something_is_refused(
    module: str, name: str, layout: str, protocol: int, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    content = call(module, name, f"touch {touched}", protocol)
    path = tmp_path / "model.pt"
    if layout == "zip":
        zipped(path, content, {})
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"is refused: it calls {module}\.{name}, which no weights need"):
        read_tensors(path)
    assert not touched.exists()


def test_the_same_pickle_would_have_run(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    touched = tmp_path / "touched"
    pickle.loads(call("os", "system", f"touch '{touched}'", 2))
    assert touched.exists()


@pytest.mark.parametrize(
    ("shape", "stride", "count", "offset", "says"),
    [
        ((50_000, 50_000), (50_000, 1), 2_500_000_000, 0, "claims 10000000000 bytes"),
        ((50_000, 50_000), (0, 0), 1, 0, "claims"),
        ((2, 2), (2, 1), 4, 3, "claims"),
        ((2, 2), (1000, 1), 4, 0, "claims"),
        ((2, 2), (2, 1), 1 << 60, 0, "refers to something outside"),
        ((-1, 2), (2, 1), 4, 0, "not described as PyTorch does"),
    ],
)
def test_claims_beyond_the_file_are_refused(
    shape: tuple[int, ...], stride: tuple[int, ...], count: int, offset: int, says: str, tmp_path: Path
) -> None:
    path = zipped(tmp_path / "m.pt", state_pickle(shape, stride, count, offset), {"0": b"\0" * 16})
    began = time.monotonic()
    with pytest.raises(ModelError, match=says):
        read_tensors(path)
    assert time.monotonic() - began < 2
    good = zipped(tmp_path / "good.pt", state_pickle((2, 2), (2, 1), 4), {"0": np.arange(4, dtype="<f4").tobytes()})
    assert read_tensors(good)["a"].tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    content = state_pickle((5_000_000,), (1,), 5_000_000)
    path = zipped(tmp_path / "tensors.pt", content, {"0": b"\0" * 20_000_000}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match="compressed, which PyTorch never does"):
        read_tensors(path)
    path = zipped(tmp_path / "pickle.pt", b"N" * (65 << 20), {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="claims 68157440 bytes"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x80\x02Nr\xff\xff\xff\xff.", "claims to remember 4294967295 things"),
        (b"\x80\x05\x96\x00\x00\x00\x00\x02\x00\x00\x00.", "damaged|BYTEARRAY8"),
        (b"\x80\x02\x82\x01.", "uses EXT1"),
        (b"\x80\x02Pabc\n.", "outside of itself"),
        (b"\x80\x02" + b"]" * 5, "damaged"),
        (b"", "damaged"),
    ],
)
def test_other_tricks(content: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        read_pickle(content, "it")


def test_a_header_of_safetensors_that_claims_too_much(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[50000,50000],"data_offsets":[0,10000000000]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)
    with pytest.raises(ModelError, match="is incomplete: it has 146 of 10,000,000,082 bytes"):
        read_tensors(path)
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{" + b"\0" * 64)
    with pytest.raises(ModelError, match="is damaged"):
        read_tensors(path)


def test_an_index_that_leads_outside_is_refused(tmp_path: Path) -> None:
    folder = write(load("transformers-clip"), tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../outside.safetensors"}}')
    with pytest.raises(ModelError, match=r"is refused: '\.\./outside\.safetensors' is no plain file name"):
        read_model(folder, Choices())
    os.rename(tmp_path / "outside.safetensors", folder / "part-1.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "part-1.safetensors"}}')
    assert read_model(folder, Choices()).config.embedding_dim == 24


@pytest.mark.parametrize("name", ["openai-vit-quick", "openclip-vit-quick"])
def test_damage_anywhere_is_an_error_of_ours(name: str, tmp_path: Path) -> None:
    """Cut off, or with bytes turned: one line, never another kind of exception."""
    path = write(load(name), tmp_path)
    file = path if path.is_file() else path / "open_clip_model.safetensors"
    whole = file.read_bytes()
    ends = [place for place in (0, 1, 7, 9, 100) if place < len(whole)] + [len(whole) // 2, len(whole) - 1]
    for end in ends:
        file.write_bytes(whole[:end])
        with pytest.raises(ClipError):
            read_model(path, Choices())
    random = np.random.RandomState(5)
    tail = len(whole) - 30_000  # where a zip keeps its index
    for place in [*random.randint(0, 2000, 30), *random.randint(max(tail, 0), len(whole), 30)]:
        turned = bytearray(whole)
        turned[place] ^= 0xFF
        file.write_bytes(turned)
        with contextlib.suppress(ClipError):
            read_model(path, Choices())


@pytest.mark.parametrize("name", ["openai-vit-quick", "openclip-vit-quick", "transformers-clip"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_download_that_broke_off_says_so(name: str, share: float, tmp_path: Path) -> None:
    path = write(load(name), tmp_path)
    file = path if path.is_file() else next(path.glob("*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"is incomplete.* download it again$"):
        read_model(path, Choices())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty: download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605143284\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html>\n<html><title>Sign in</title>", "a web page, not weights"),
        (b"hello", "no weights file"),
    ],
)
def test_a_download_of_something_else_says_so(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ModelError, match=says):
        read_tensors(tmp_path / "model.pt")

"""Small models written as other projects publish them, without those projects."""

from __future__ import annotations

import json
import sys
import types
import zipfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from tests.reading.lively import Reference, weights

MERGES = 48_894


CODE = """class QuickGELU(Module):
  def forward(self: __torch__.model.QuickGELU,
    x: Tensor) -> Tensor:
    _0 = torch.sigmoid(torch.mul(x, 1.702))
    return torch.mul(x, _0)
"""


def write(reference: Reference, folder: Path) -> Path:
    """What is to be imported: a file, or the folder itself."""
    folder.mkdir(parents=True, exist_ok=True)
    state = weights(reference.shapes)
    if reference.format == "openai":
        write_merges(folder / "merges.txt")
        return write_torchscript(state, folder / "small.pt")
    if reference.format == "transformers":
        safetensors.torch.save_file(state, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(reference.config))
        sizes: dict[str, Any] = {"size": {"height": reference.size, "width": reference.size}, "resample": 2}
        if reference.config["model_type"] == "clip":
            sizes = {"size": {"shortest_edge": reference.size}, "crop_size": reference.size, "resample": 3}
        (folder / "preprocessor_config.json").write_text(
            json.dumps({**sizes, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]})
        )
    else:
        safetensors.torch.save_file(state, folder / "open_clip_model.safetensors")
        prepared = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"}
        values = {"model_cfg": reference.config, "preprocess_cfg": {**prepared, "resize_mode": "squash"}}
        (folder / "open_clip_config.json").write_text(json.dumps(values))
    if "siglip" in reference.name:
        write_siglip_tokenizer(folder)
    else:
        write_merges(folder / "merges.txt")
    return folder


def write_torchscript(state: Mapping[str, Tensor], path: Path) -> Path:
    """A tree of modules with their program beside it, matrices in half precision, as the original release.

    TorchScript's own writer warns of its removal; what it writes is a pickle of objects of classes of `__torch__`.
    """
    program = types.ModuleType("__torch__")
    program.Branch = type("Branch", (), {"__module__": "__torch__"})  # type: ignore[attr-defined]
    root = program.Branch()
    for name, tensor in state.items():
        *places, last = name.split(".")
        module = root
        for place in places:
            module = vars(module).setdefault(place, program.Branch())
        vars(module)[last] = tensor.half() if tensor.ndim > 1 else tensor
    vars(root).update(input_resolution=torch.tensor(32), training=False)
    sys.modules["__torch__"] = program
    try:
        torch.save(root, path)
    finally:
        del sys.modules["__torch__"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{path.stem}/constants.pkl", b"\x80\x02).")
        archive.writestr(f"{path.stem}/code/__torch__/model.py", CODE)
    return path


def write_merges(path: Path) -> None:
    """As many merges as the original has, beginning with the same one."""
    letters = [chr(number) for number in range(0x21, 0x100) if number != 0xAD and not 0x7F <= number <= 0xA0]
    letters += [chr(0x100 + number) for number in range(68)]  # of the bytes that cannot be seen
    pairs: list[Sequence[str]] = [("i", "n")]
    pairs += [pair for pair in product(letters, letters) if pair != ("i", "n")][: MERGES - 1]
    path.write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in pairs), "utf-8")


def write_siglip_tokenizer(folder: Path) -> None:
    """No start marker, an end marker of number 1, which fills rows as well."""
    words = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in ("a", "photo", "of", "cat", "dog", "red"))]
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "</s>"}))

"""Reference models of open_clip and transformers with random weights, written in each public format.

Only for environments that have the peers (docs/experiments.md says how one is made). The weights are random but lively:
norms, biases and running statistics are moved away from the zeros and ones that would hide a mistake.
Shapes: N images, T texts, D embedding, L tokens.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import safetensors.torch
import torch
import transformers
from numpy.typing import NDArray
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, default_bpe
from PIL.Image import Image as Picture
from torch import nn

from benchmarks.peer_tokenizers import clip_tokenizer_of_transformers, learnt_tokenizer
from tests.reading.mobileclip_in_training import SIZES, TrainedMobileClip

__all__ = ["Peer", "apple_file", "openai_file", "openclip_folder", "transformers_folder"]

Floats = NDArray[np.float32]
Change = Callable[[dict[str, Any]], None]  # takes layers away in a configuration, where memory forbids the whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """What was written, and the embeddings that the peer itself computes from what was written."""

    path: Path
    images: Floats  # (N, D)
    texts: Floats  # (T, D)
    tokens: NDArray[np.int64]  # (T, L)
    library: str


def openclip_folder(name: str, folder: Path, pictures: Sequence[Picture], texts: Sequence[str], change: Change) -> Peer:
    """`open_clip_config.json`, safetensors and the tokenizer."""
    config = open_clip.get_model_config(name)
    change(config)
    prepared = _preprocess_of(name)
    transform = open_clip.image_transform(config["vision_cfg"]["image_size"], is_train=False, **prepared)
    pixels = torch.stack([transform(one) for one in pictures])
    model = _openclip_model(config, pixels)
    folder.mkdir(parents=True)
    safetensors.torch.save_file(
        {key: tensor.contiguous() for key, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": prepared}))
    length, text = config["text_cfg"]["context_length"], config["text_cfg"]
    if "hf_tokenizer_name" in text:
        learnt_tokenizer().save_pretrained(folder)
        tokens = HFTokenizer(str(folder), context_length=length, **text.get("tokenizer_kwargs", {}))(list(texts))
    else:
        shutil.copy(default_bpe(), folder)
        tokens = SimpleTokenizer(context_length=length)(list(texts))
    return _embed(model, folder, pixels, tokens, f"open_clip {open_clip.__version__}")


def openai_file(name: str, file: Path, pictures: Sequence[Picture], texts: Sequence[str], change: Change) -> Peer:
    """A TorchScript file of half precision, as the original release, read back by OpenCLIP's own reader of those."""
    config = open_clip.get_model_config(f"{name.replace('/', '-').replace('@336px', '-336')}-quickgelu")
    change(config)
    size = config["vision_cfg"]["image_size"]
    transform = open_clip.image_transform(size, is_train=False)
    pixels = torch.stack([transform(one) for one in pictures])
    model = _openclip_model(config, pixels)
    open_clip.model.convert_weights_to_fp16(model)
    model = model.float()  # rounded to halves; the trace itself runs in single precision
    model.attn_mask = model._buffers.pop("attn_mask")  # the original keeps no mask, but three sizes
    for key, value in {"input_resolution": size, "context_length": 77, "vocab_size": 49_408}.items():
        vars(model).pop(key, None)
        model.register_buffer(key, torch.tensor(value))
    inputs = {"encode_image": (torch.zeros(1, 3, size, size),), "encode_text": (torch.zeros(1, 77, dtype=torch.long),)}
    with _quiet():
        traced = torch.jit.trace_module(model, inputs, check_trace=False).half()
        file.parent.mkdir(parents=True)
        torch.jit.save(traced, file)
        del model, traced
        loaded = open_clip.load_openai_model(str(file), precision="fp32")
    shutil.copy(default_bpe(), file.parent)
    tokens = SimpleTokenizer()(list(texts))
    return _embed(loaded.eval(), file, pixels, tokens, f"open_clip {open_clip.__version__}")


def apple_file(name: str, file: Path, pictures: Sequence[Picture], texts: Sequence[str]) -> Peer:
    """MobileCLIP as Apple publishes it, branches and all, by this project's own reading of it: there is no package."""
    torch.manual_seed(1)
    model = TrainedMobileClip(**SIZES[name])
    size = 224 if name == "B" else 256
    transform = open_clip.image_transform(
        size, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="bilinear", resize_mode="shortest"
    )
    file.parent.mkdir(parents=True)
    pixels = torch.stack([transform(one) for one in pictures])
    settle(model, pixels)
    torch.save(model.state_dict(), file)
    shutil.copy(default_bpe(), file.parent)
    return _embed(model, file, pixels, SimpleTokenizer()(list(texts)), "as published")


def transformers_folder(config: Any, folder: Path, pictures: Sequence[Picture], texts: Sequence[str]) -> Peer:
    """`CLIPModel` or `SiglipModel` with its processor and tokenizer, each written by itself."""
    size, length = config.vision_config.image_size, config.text_config.max_position_embeddings
    if config.model_type == "clip":
        kind, tokenizer = transformers.CLIPModel, clip_tokenizer_of_transformers()
        processor = transformers.CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        )
    else:
        kind, tokenizer = transformers.SiglipModel, learnt_tokenizer()
        processor = transformers.SiglipImageProcessorPil(size={"height": size, "width": size})
    with _quiet():
        model = enliven(kind(config))
        for part in (model, processor, tokenizer):
            part.save_pretrained(folder)
    pixels = processor(list(pictures), return_tensors="pt").pixel_values
    given = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    tokens = tokenizer(list(texts), **given).input_ids
    return _embed(_Transformers(model), folder, pixels, tokens, f"transformers {transformers.__version__}")


class _Transformers:
    """The two methods that open_clip's models have."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixels))

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return _pooled(self.model.get_text_features(input_ids=tokens))


def _pooled(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def enliven(model: nn.Module, seed: int = 1) -> Any:
    """Random weights that leave no branch silent."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.startswith("logit_"):
                continue
            noise = torch.randn(tensor.shape, generator=random)
            if "gamma" in name or tensor.ndim <= 1:
                tensor.add_(0.2 * noise)
            elif "embed" in name or "probe" in name or "latent" in name:
                tensor.add_(0.05 * noise)
            else:
                tensor.mul_(1.0 + 0.1 * noise)
    return model.eval()


def settle(model: Any, pixels: torch.Tensor) -> None:
    """Running statistics that fit the weights: with others a random ResNet sees the same in every picture."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of what is seen
        norm.train()
    if norms:
        with torch.no_grad():
            model.encode_image(pixels)
    model.eval()


def _openclip_model(config: dict[str, Any], pixels: torch.Tensor) -> Any:
    depth = config["vision_cfg"].pop("timm_depth", None)
    custom = config.get("custom_text")
    kind = open_clip.model.CustomTextCLIP if custom else open_clip.model.CLIP
    with _quiet():
        model = kind(**{key: value for key, value in config.items() if key != "custom_text"})
        if depth is not None:
            model.visual.trunk.blocks = model.visual.trunk.blocks[:depth]
        enliven(model)
        settle(model, pixels)
    return model


def _embed(encoder: Any, path: Path, pixels: torch.Tensor, tokens: torch.Tensor, library: str) -> Peer:
    with torch.no_grad():
        images = torch.cat([encoder.encode_image(one[None]) for one in pixels])
        texts = encoder.encode_text(tokens)
    return Peer(
        path=path,
        images=nn.functional.normalize(images.float(), dim=-1).numpy(),
        texts=nn.functional.normalize(texts.float(), dim=-1).numpy(),
        tokens=tokens.numpy(),
        library=library,
    )


def _preprocess_of(name: str) -> dict[str, Any]:
    """As the pretrained weights of that name were published with."""
    if "SigLIP" in name:
        return {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    if "MobileCLIP" in name:
        return {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    return {"mean": list(mean), "std": list(std), "interpolation": "bicubic", "resize_mode": "shortest"}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)

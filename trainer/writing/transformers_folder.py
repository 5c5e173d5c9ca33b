"""A model of ours as a folder that `CLIPModel` or `SiglipModel` of transformers loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from clipcli.bundle.spec import TOKENIZER_FILE, ModelSpec
from clipcli.errors import UsageError
from trainer.config import Activation, ArchConfig, MobileConfig, ResNetConfig, TextConfig, ViTConfig
from trainer.writing.names import to_transformers
from trainer.writing.tokenizer_config import marker_ids, padding_id, write_tokenizer

__all__ = ["write_transformers"]

_HIDDEN_ACT: dict[Activation, str] = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_tanh": "gelu_pytorch_tanh"}
_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers


def write_transformers(
    folder: Path, spec: ModelSpec, config: ArchConfig, state: Mapping[str, Tensor], source: Path
) -> None:
    """Fill `folder`. `source` is the bundle. Raises UsageError where transformers has no such model."""
    if config.text.form == "bag":
        raise UsageError("transformers has no text tower that is a bag of words")
    if isinstance(config.image, ResNetConfig):
        raise UsageError("transformers has no CLIP with a ResNet; --to open-clip writes one")
    if isinstance(config.image, MobileConfig) or config.image.form == "mobile":
        raise UsageError("transformers has no CLIP with a tower of MobileCLIP")
    siglip = config.image.form == "siglip"
    if siglip != (config.text.form == "siglip") or (not siglip and (not config.text.causal or config.sigmoid)):
        raise UsageError("transformers has no CLIP or SigLIP whose towers are of these forms")
    start, end = marker_ids(source / TOKENIZER_FILE, spec)
    text = _tower(config.text, config.activation_of_text) | {
        "max_position_embeddings": config.text.context_length,
        "vocab_size": config.text.vocab_size,
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": padding_id(spec, end),
    }
    vision = _tower(config.image, config.activation) | {
        "image_size": config.image.image_size,
        "patch_size": config.image.patch_size,
    }
    text["projection_size" if siglip else "projection_dim"] = config.embedding_dim
    values: dict[str, Any] = {
        "architectures": ["SiglipModel" if siglip else "CLIPModel"],
        "model_type": "siglip" if siglip else "clip",
        "text_config": text,
        "vision_config": vision,
    }
    if not siglip:
        values["projection_dim"] = vision["projection_dim"] = config.embedding_dim
    _write(folder / "config.json", values)
    _write(folder / "preprocessor_config.json", _preprocessor(spec, siglip))
    named = {name: tensor.contiguous() for name, tensor in to_transformers(state, config).items()}
    safetensors.torch.save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder, source / TOKENIZER_FILE, spec, clean=True)


def _tower(tower: ViTConfig | TextConfig, activation: Activation) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": tower.hidden_width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "hidden_act": _HIDDEN_ACT[activation],
        "layer_norm_eps": 1e-6 if tower.form == "siglip" else 1e-5,
    }


def _preprocessor(spec: ModelSpec, siglip: bool) -> dict[str, Any]:
    prepared, size = spec.preprocess, spec.preprocess.image_size
    both = {"height": size, "width": size}
    values: dict[str, Any] = {
        "image_processor_type": "SiglipImageProcessor" if siglip else "CLIPImageProcessor",
        "do_resize": True,
        "size": both if prepared.resize == "squash" else {"shortest_edge": size},
        "resample": _RESAMPLE[prepared.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(prepared.mean),
        "image_std": list(prepared.std),
        "do_convert_rgb": True,
    }
    if siglip and prepared.resize != "squash":
        raise UsageError("SigLIP's image processor in transformers squashes pictures, this model crops them")
    if not siglip:
        values |= {"do_center_crop": prepared.resize == "shortest", "crop_size": both}
    return values


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")

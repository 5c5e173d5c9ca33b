"""A model of ours as a folder that `open_clip.create_model("local-dir:FOLDER")` loads."""

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
from trainer.writing.names import to_openclip
from trainer.writing.tokenizer_config import write_tokenizer

__all__ = ["write_openclip"]

_ORIGINAL_VOCABULARY = 49_408
# SigLIP's image towers in timm, whose activation is part of their name.
_TIMM: dict[str, tuple[str, Activation]] = {
    **{f"768/16/{pixels}": ("base", "gelu") for pixels in (224, 256, 384, 512)},
    "768/32/256": ("base", "gelu_tanh"),
    **{f"1024/16/{pixels}": ("large", "gelu") for pixels in (256, 384)},
    "1024/16/512": ("large", "gelu_tanh"),
    **{f"1152/14/{pixels}": ("so400m", "gelu") for pixels in (224, 378, 384)},
    **{f"1152/16/{pixels}": ("so400m", "gelu_tanh") for pixels in (256, 384, 512)},
    **{f"1536/16/{pixels}": ("giantopt", "gelu_tanh") for pixels in (256, 384)},
}


def write_openclip(
    folder: Path, spec: ModelSpec, config: ArchConfig, state: Mapping[str, Tensor], source: Path
) -> None:
    """Fill `folder`. `source` is the bundle. Raises UsageError where OpenCLIP has no such model."""
    if config.text.form == "bag":
        raise UsageError("OpenCLIP has no text tower that is a bag of words")
    siglip = isinstance(config.image, ViTConfig) and config.image.form == "siglip"
    quick = "quick_gelu" in (config.activation, config.activation_of_text)
    if quick and config.activation != config.activation_of_text:
        raise UsageError("OpenCLIP has one switch for QuickGELU, and these towers differ in it")
    text = _text(config.text, config.activation_of_text)
    if siglip != (config.text.form == "siglip"):
        raise UsageError("OpenCLIP has no pair of an image tower and a text tower of these two forms")
    if spec.text_cleaning != "lower" or config.text.vocab_size != _ORIGINAL_VOCABULARY:
        cleaning = "whitespace" if spec.text_cleaning == "none" else spec.text_cleaning
        text |= {"hf_tokenizer_name": spec.name, "tokenizer_kwargs": {"clean": cleaning}}
    model: dict[str, Any] = {"embed_dim": config.embedding_dim, "vision_cfg": _vision(config), "text_cfg": text}
    if quick:
        model["quick_gelu"] = True
    if config.sigmoid:
        model["init_logit_bias"] = -10
    if siglip:
        model["custom_text"] = True
    prepared = spec.preprocess
    values = {
        "model_cfg": model,
        "preprocess_cfg": {
            "mean": list(prepared.mean),
            "std": list(prepared.std),
            "interpolation": prepared.interpolation,
            "resize_mode": prepared.resize,
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    named = {name: tensor.contiguous() for name, tensor in to_openclip(state, config).items()}
    safetensors.torch.save_file(named, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder, source / TOKENIZER_FILE, spec, clean=False)


def _vision(config: ArchConfig) -> dict[str, Any]:
    image = config.image
    if isinstance(image, ResNetConfig):
        if len(image.layers) != 4 or not image.stem_pool or image.heads * 64 != image.width * 32:
            raise UsageError(
                f"OpenCLIP's ResNets have four stages, a pooled stem and a head for each two channels; {config.name} "
                "is another"
            )
        return {"image_size": image.image_size, "layers": list(image.layers), "width": image.width, "patch_size": None}
    if isinstance(image, MobileConfig) or image.form == "mobile":
        raise UsageError("a tower of MobileCLIP is kept folded here, and OpenCLIP knows it in its training form only")
    if image.form == "siglip":
        key = f"{image.width}/{image.patch_size}/{image.image_size}"
        size, activation = _TIMM.get(key, ("", config.activation))
        if not size:
            raise UsageError(f"OpenCLIP has SigLIP's towers by name alone, and none of these sizes ({config.name})")
        if activation != config.activation:
            raise UsageError(
                f"OpenCLIP's tower for {config.name} computes {activation}, this model was trained with "
                f"{config.activation}; --to transformers can say so"
            )
        name = f"vit_{size}_patch{image.patch_size}_siglip_{image.image_size}"
        timm = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
        return {"image_size": image.image_size, **timm}
    vision: dict[str, Any] = {
        "image_size": image.image_size,
        "layers": image.layers,
        "width": image.width,
        "head_width": image.width // image.heads,
        "patch_size": image.patch_size,
    }
    return vision | _mlp(image) | _tanh(config.activation)


def _text(text: TextConfig, activation: Activation) -> dict[str, Any]:
    values: dict[str, Any] = {
        "context_length": text.context_length,
        "vocab_size": text.vocab_size,
        "width": text.width,
        "heads": text.heads,
        "layers": text.layers,
    }
    if not text.causal:
        values["no_causal_mask"] = True
    if text.form == "siglip":
        values |= {"proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    return values | _mlp(text) | _tanh(activation)


def _mlp(tower: ViTConfig | TextConfig) -> dict[str, float]:
    """OpenCLIP cuts width times ratio down to a whole number; half a number more keeps clear of the edge."""
    return {} if tower.hidden_width == 4 * tower.width else {"mlp_ratio": (tower.hidden_width + 0.5) / tower.width}


def _tanh(activation: Activation) -> dict[str, Any]:
    return {"act_kwargs": {"approximate": "tanh"}} if activation == "gelu_tanh" else {}

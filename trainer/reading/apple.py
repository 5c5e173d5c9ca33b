"""MobileCLIP's weights as Apple publishes them: names of their own, and S0's text tower, which OpenCLIP has not.

Image towers are given timm's names, which `trainer.reading.mobile` folds. The branches of S0's two text blocks are
folded here, by the same rules.

Shapes: C width, L context.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from clipcli.errors import ModelError
from trainer.reading.mobile import identity, norm_as_sum, norm_convolution

__all__ = ["from_apple", "is_apple"]

State = dict[str, Tensor]
Rule = tuple[str, str]

_IMAGE, _TEXT = "image_encoder.model.", "text_encoder."
_STAGES = {0: 0, 2: 1, 4: 2, 7: 3}  # place in the flat row of parts -> stage
_DOWN = {1: 1, 3: 2, 5: 3}  # what halves the side -> the stage behind it
_POSITIONS = 6

# A block of Apple's transformers as timm and as the original release call it.
_TIMM_BLOCK: tuple[Rule, ...] = (
    (r"pre_norm_mha\.0\.", "norm1."),
    (r"pre_norm_mha\.1\.qkv_proj\.", "attn.qkv."),
    (r"pre_norm_mha\.1\.out_proj\.", "attn.proj."),
    (r"pre_norm_ffn\.0\.", "norm2."),
    (r"pre_norm_ffn\.1\.", "mlp.fc1."),
    (r"pre_norm_ffn\.4\.", "mlp.fc2."),
)
_CLIP_BLOCK: tuple[Rule, ...] = (
    (r"pre_norm_mha\.0\.", "ln_1."),
    (r"pre_norm_mha\.1\.qkv_proj\.", "attn.in_proj_"),
    (r"pre_norm_mha\.1\.out_proj\.", "attn.out_proj."),
    (r"pre_norm_ffn\.0\.", "ln_2."),
    (r"pre_norm_ffn\.1\.", "mlp.c_fc."),
    (r"pre_norm_ffn\.4\.", "mlp.c_proj."),
)
_CONVOLUTIONAL: tuple[Rule, ...] = (
    (r"^patch_embed\.", "stem."),
    (r"^conv_exp\.", "final_conv."),
    (r"\brbr_conv\b", "conv_kxk"),
    (r"\brbr_scale\b", "conv_scale"),
    (r"\brbr_skip\b", "identity"),
    (r"\blkb_origin\b", "large_conv"),
    (r"\bconvffn\b", "mlp"),
    (r"\bse\.reduce\b", "se.fc1"),
    (r"\bse\.expand\b", "se.fc2"),
    (r"\b(layer_scale(?:_\d)?)$", r"\1.gamma"),
)
_VIT: tuple[Rule, ...] = (
    (r"^patch_emb\.(\d)\.block\.norm\.", r"patch_embed.backbone.\1.bn."),
    (r"^patch_emb\.(\d)\.block\.", r"patch_embed.backbone.\1."),
    (r"^post_transformer_norm\.", "norm."),
    (r"^transformer\.", "blocks."),
    *_TIMM_BLOCK,
)


def is_apple(tensors: Mapping[str, Tensor]) -> bool:
    return f"{_TEXT}embedding_layer.weight" in tensors and any(name.startswith(_IMAGE) for name in tensors)


def from_apple(tensors: Mapping[str, Tensor]) -> State:
    """OpenCLIP's names; under our own already what OpenCLIP has not. Raises ModelError where a tensor is missing."""
    image = {name.removeprefix(_IMAGE): one for name, one in tensors.items() if name.startswith(_IMAGE)}
    text = {name.removeprefix(_TEXT): one for name, one in tensors.items() if name.startswith(_TEXT)}
    rest = {name: one for name, one in tensors.items() if not name.startswith((_IMAGE, _TEXT))}
    try:
        towers = _vit(image) if "cls_token" in image else _convolutional(image)
        return rest | {f"visual.trunk.{name}": one for name, one in towers.items()} | _text(text)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"the towers are not as MobileCLIP's are: {error!r}") from error


def _named(name: str, rules: tuple[Rule, ...]) -> str:
    for pattern, becomes in rules:
        name = re.sub(pattern, becomes, name)
    return name


def _with_bias(projection: Tensor) -> tuple[Tensor, Tensor]:
    """(outputs, inputs) and zeros: Apple's projections have no bias, timm's have."""
    return projection.t(), torch.zeros(projection.shape[1], dtype=projection.dtype)


def _convolutional(image: State) -> State:
    out: State = {}
    for name, tensor in image.items():
        if name == "head.proj":
            out["head.fc.weight"], out["head.fc.bias"] = _with_bias(tensor)
            continue
        found = re.fullmatch(r"network\.(\d+)\.(.+)", name)
        if found is not None:
            place, part = int(found[1]), found[2]
            if place in _STAGES:
                name = f"stages.{_STAGES[place]}.blocks.{part}"
            elif place in _DOWN:
                name = f"stages.{_DOWN[place]}.downsample.{part}"
            elif place == _POSITIONS:
                name = f"stages.3.pos_emb.pos_enc.{part.removeprefix('pe.')}"
            else:
                raise KeyError(name)
        out[_named(name, _CONVOLUTIONAL)] = tensor
    return out


def _vit(image: State) -> State:
    out = {_named(name, _VIT): tensor for name, tensor in image.items()}
    out["head.weight"], out["head.bias"] = _with_bias(out.pop("classifier.proj"))
    out["pos_embed"] = out.pop("pos_embed.pos_embed.pos_embed")[0]  # (1, 1, patches, C)
    return out


def _text(text: State) -> State:
    out = {
        "token_embedding.weight": text["embedding_layer.weight"],
        "positional_embedding": text["positional_embedding.pos_embed.pos_embed"][0, 0],  # (L, C)
        "ln_final.weight": text["final_layer_norm.weight"],
        "ln_final.bias": text["final_layer_norm.bias"],
        "text_projection": text["projection_layer"],
    }
    numbers = {int(found[1]) for name in text if (found := re.match(r"transformer\.(\d+)\.", name))}
    mixing = {number for number in numbers if f"transformer.{number}.layer_scale" in text}
    if mixing not in (set(), {0, max(numbers)}):
        raise KeyError("transformer")
    for name, tensor in text.items():
        found = re.fullmatch(r"transformer\.(\d+)\.(.+)", name)
        if found is not None and int(found[1]) not in mixing:
            block = int(found[1]) - (1 if mixing else 0)
            out[f"transformer.resblocks.{block}.{_named(found[2], _CLIP_BLOCK)}"] = tensor
    for number, ours in zip(sorted(mixing), ("before", "behind"), strict=False):
        out |= {f"{ours}.{name}": one for name, one in _mixing(text, f"transformer.{number}").items()}
    return {f"text.{name}": tensor for name, tensor in out.items()}


def _mixing(text: State, name: str) -> State:
    """x + s (mixer(x) - norm(x)) as one convolution; the scale behind the feed-forward layer goes into its weights."""
    weight, bias = norm_convolution(text, f"{name}.token_mixer.mixer.rbr_conv.0")
    same = identity(weight)
    factors, shifts = norm_as_sum(text, f"{name}.token_mixer.mixer.rbr_skip")
    other_factors, other_shifts = norm_as_sum(text, f"{name}.token_mixer.norm.rbr_skip")
    gain = text[f"{name}.token_mixer.layer_scale"].double().flatten()
    weight = same + gain[:, None, None, None] * (weight + (factors - other_factors)[:, None, None, None] * same)
    made = {"mixer": (weight, gain * (bias + shifts - other_shifts))}
    made["conv"] = norm_convolution(text, f"{name}.convffn.conv")
    gain = text[f"{name}.layer_scale"].double().flatten()
    out: State = {}
    for ours, (weight, bias) in made.items():
        out[f"{ours}.weight"], out[f"{ours}.bias"] = weight[:, :, 0].float(), bias.float()  # (C, 1, 11)
    for theirs, ours, scale in (("fc1", "c_fc", torch.ones(())), ("fc2", "c_proj", gain)):
        weight = text[f"{name}.convffn.{theirs}.weight"][:, :, 0, 0].double()
        out[f"mlp.{ours}.weight"] = (weight * scale.reshape(-1, 1)).float()
        out[f"mlp.{ours}.bias"] = (text[f"{name}.convffn.{theirs}.bias"].double() * scale).float()
    return out

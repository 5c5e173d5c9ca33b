"""MobileCLIP's image towers as OpenCLIP keeps them (timm's names), folded into the convolutions that run.

A branch is a convolution and a batch norm, or a batch norm alone; branches that are added make one convolution (Ding et
al. 2021, "RepVGG", section 3.3). Done in float64, so that nothing is lost but the last digit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from clipcli.errors import ModelError

__all__ = ["fold_mobile", "identity", "is_mobile", "norm_as_sum", "norm_convolution"]

State = dict[str, Tensor]
_EPS = 1e-5  # of the batch norms
_TRUNK = "visual.trunk."


def is_mobile(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith((f"{_TRUNK}stem.0.", f"{_TRUNK}patch_embed.backbone.")) for name in tensors)


def fold_mobile(tensors: Mapping[str, Tensor]) -> State:
    """Every tensor of the image tower under our name. Raises ModelError where one is missing."""
    trunk = {name.removeprefix(_TRUNK): one for name, one in tensors.items() if name.startswith(_TRUNK)}
    try:
        folded = _vit(trunk) if "cls_token" in trunk else _convolutional(trunk)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"the image tower is not as MobileCLIP's are: {error!r}") from error
    return {f"image_tower.{name}": tensor.float() for name, tensor in folded.items()}


def _convolutional(trunk: State) -> State:
    out: State = {}
    for number in range(3):
        _put(out, f"stem.{number}", _branches(trunk, f"stem.{number}"))
    stages = 1 + max(int(name.split(".")[1]) for name in trunk if name.startswith("stages."))
    for stage in range(stages):
        theirs, ours = f"stages.{stage}", f"stages.{stage}"
        if stage:
            large = _add(
                norm_convolution(trunk, f"{theirs}.downsample.proj.0.large_conv"),
                norm_convolution(trunk, f"{theirs}.downsample.proj.0.small_conv"),
            )
            _put(out, f"{ours}.down.large", large)
            _copy(trunk, f"{theirs}.downsample.proj.0.se", out, f"{ours}.down.gate")
            _put(out, f"{ours}.down.point", _branches(trunk, f"{theirs}.downsample.proj.1"))
        if f"{theirs}.pos_emb.pos_enc.weight" in trunk:
            weight = trunk[f"{theirs}.pos_emb.pos_enc.weight"].double()
            bias = trunk[f"{theirs}.pos_emb.pos_enc.bias"].double()
            _put(out, f"{ours}.positions", (weight + identity(weight), bias))
        numbers = {found[1] for name in trunk if (found := re.match(rf"{theirs}\.blocks\.(\d+)\.", name))}
        for block in numbers:
            _block(trunk, f"{theirs}.blocks.{block}", out, f"{ours}.blocks.{block}")
    _put(out, "final", _branches(trunk, "final_conv"))
    _copy(trunk, "final_conv.se", out, "gate")
    _copy(trunk, "head.fc", out, "head")
    return out


def _block(trunk: State, theirs: str, out: State, ours: str) -> None:
    if f"{theirs}.token_mixer.qkv.weight" in trunk:
        scale, shift = norm_as_sum(trunk, f"{theirs}.norm")
        weight = trunk[f"{theirs}.token_mixer.qkv.weight"].double()
        _put(out, f"{ours}.qkv", (weight * scale, weight @ shift))
        gain = trunk[f"{theirs}.layer_scale_1.gamma"].double().flatten()
        weight = trunk[f"{theirs}.token_mixer.proj.weight"].double()
        bias = trunk[f"{theirs}.token_mixer.proj.bias"].double()
        _put(out, f"{ours}.proj", (weight * gain[:, None], bias * gain))
        gain = trunk[f"{theirs}.layer_scale_2.gamma"].double().flatten()
    else:
        mixer = _branches(trunk, f"{theirs}.token_mixer.mixer")
        norm = _branches(trunk, f"{theirs}.token_mixer.norm", like=mixer[0])
        gain = trunk[f"{theirs}.token_mixer.layer_scale.gamma"].double().flatten()
        weight = identity(mixer[0]) + gain[:, None, None, None] * (mixer[0] - norm[0])
        _put(out, f"{ours}.mixer", (weight, gain * (mixer[1] - norm[1])))
        gain = trunk[f"{theirs}.layer_scale.gamma"].double().flatten()
    _put(out, f"{ours}.mlp.conv", norm_convolution(trunk, f"{theirs}.mlp.conv"))
    _copy(trunk, f"{theirs}.mlp.fc1", out, f"{ours}.mlp.fc1")
    weight, bias = trunk[f"{theirs}.mlp.fc2.weight"].double(), trunk[f"{theirs}.mlp.fc2.bias"].double()
    _put(out, f"{ours}.mlp.fc2", (weight * gain[:, None, None, None], bias * gain))


def _branches(trunk: State, name: str, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All branches of one block, added: convolutions, one of 1 x 1, and the norm of what came in."""
    made: tuple[Tensor, Tensor] | None = None
    number = 0
    while f"{name}.conv_kxk.{number}.conv.weight" in trunk:
        made = _add(made, norm_convolution(trunk, f"{name}.conv_kxk.{number}"))
        number += 1
    if f"{name}.conv_scale.conv.weight" in trunk:
        made = _add(made, norm_convolution(trunk, f"{name}.conv_scale"))
    if f"{name}.identity.weight" in trunk:
        scale, shift = norm_as_sum(trunk, f"{name}.identity")
        shape = made[0] if made is not None else like
        if shape is None:
            raise KeyError(name)
        made = _add(made, (identity(shape) * scale[:, None, None, None], shift))
    if made is None:
        raise KeyError(name)
    return made


def norm_convolution(trunk: State, name: str) -> tuple[Tensor, Tensor]:
    scale, shift = norm_as_sum(trunk, f"{name}.bn")
    return trunk[f"{name}.conv.weight"].double() * scale[:, None, None, None], shift


def norm_as_sum(trunk: State, name: str) -> tuple[Tensor, Tensor]:
    """A batch norm as a factor and a sum."""
    scale = trunk[f"{name}.weight"].double() / (trunk[f"{name}.running_var"].double() + _EPS).sqrt()
    return scale, trunk[f"{name}.bias"].double() - trunk[f"{name}.running_mean"].double() * scale


def identity(like: Tensor) -> Tensor:
    """The convolution of this shape that changes nothing, whatever its groups."""
    made = torch.zeros(like.shape, dtype=torch.float64)
    channels = torch.arange(like.shape[0])
    made[channels, channels % like.shape[1], like.shape[2] // 2, like.shape[3] // 2] = 1
    return made


def _add(left: tuple[Tensor, Tensor] | None, right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two convolutions of one input, the smaller with zeros around it."""
    if left is None:
        return right
    room = (left[0].shape[-1] - right[0].shape[-1]) // 2
    return left[0] + F.pad(right[0], [room] * 4), left[1] + right[1]


def _put(out: State, name: str, made: tuple[Tensor, Tensor]) -> None:
    out[f"{name}.weight"], out[f"{name}.bias"] = made


def _copy(trunk: State, theirs: str, out: State, ours: str) -> None:
    for name, tensor in trunk.items():
        if name.startswith(f"{theirs}."):
            out[ours + name.removeprefix(theirs)] = tensor


_BLOCK_NAMES = {"norm": "ln_", "attn.qkv.": "attn.in_proj_", "attn.proj": "attn.out_proj"}
_BLOCK_NAMES |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def _vit(trunk: State) -> State:
    """MobileCLIP-B: a Vision Transformer behind three convolutions."""
    out: State = {
        "class_embedding": trunk["cls_token"].flatten(),
        "positional_embedding": trunk["pos_embed"][0],
        "proj": trunk["head.weight"].t(),
        "projection_bias": trunk["head.bias"],
    }
    for number in range(2):
        _put(out, f"stem.{2 * number}", norm_convolution(trunk, f"patch_embed.backbone.{number}"))
    _copy(trunk, "patch_embed.backbone.2.conv", out, "stem.4")
    _copy(trunk, "norm", out, "ln_post")
    for name, tensor in trunk.items():
        if found := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
            theirs = next(start for start in _BLOCK_NAMES if found[2].startswith(start))
            part = _BLOCK_NAMES[theirs] + found[2].removeprefix(theirs)
            out[f"transformer.resblocks.{found[1]}.{part}"] = tensor
    return out

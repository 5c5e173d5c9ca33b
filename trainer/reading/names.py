"""Names of tensors in other projects' files -> names in our towers.

Our own follow the original release, so that most of OpenCLIP's need only another beginning. A rule is a pattern of the
whole name and what it becomes; a tensor that no rule knows is an error, for a model with parts unread is another model.

Shapes: C width, D embedding, P patches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from clipcli.errors import ModelError
from trainer.reading.apple import from_apple, is_apple
from trainer.reading.mobile import fold_mobile, is_mobile

__all__ = ["from_openclip", "from_transformers"]

Rule = tuple[str, str]
State = dict[str, Tensor]

_BLOCK = r"transformer.resblocks.\1"
# What stands in files and is no weight: sizes the original release keeps as tensors, masks and counters made anew.
_NO_WEIGHTS = re.compile(r"input_resolution|context_length|vocab_size|(.*\.)?(attn_mask|position_ids)")

_OPENCLIP: tuple[Rule, ...] = (
    (r"logit_scale|logit_bias", r"\g<0>"),
    (r"visual\.(?!trunk|head)(.+)", r"image_tower.\1"),
    (r"(?:text\.)?text_projection\.weight", r"text_tower.text_projection^T"),
    (r"(?:text\.)?text_projection\.bias", r"text_tower.projection_bias"),
    (
        r"(?:text\.)?((?:transformer|token_embedding|ln_final|before|behind)\..+|positional_embedding|text_projection)",
        r"text_tower.\1",
    ),
)
# timm's Vision Transformer, which OpenCLIP builds SigLIP with.
_TIMM_SIGLIP: tuple[Rule, ...] = (
    (r"visual\.trunk\.patch_embed\.proj\.(weight|bias)", r"image_tower.conv1.\1"),
    (r"visual\.trunk\.pos_embed", r"image_tower.positional_embedding^0"),
    (r"visual\.trunk\.blocks\.(\d+)\.norm([12])\.(.+)", rf"image_tower.{_BLOCK}.ln_\2.\3"),
    (r"visual\.trunk\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)", rf"image_tower.{_BLOCK}.attn.in_proj_\2"),
    (r"visual\.trunk\.blocks\.(\d+)\.attn\.proj\.(.+)", rf"image_tower.{_BLOCK}.attn.out_proj.\2"),
    (r"visual\.trunk\.blocks\.(\d+)\.mlp\.fc1\.(.+)", rf"image_tower.{_BLOCK}.mlp.c_fc.\2"),
    (r"visual\.trunk\.blocks\.(\d+)\.mlp\.fc2\.(.+)", rf"image_tower.{_BLOCK}.mlp.c_proj.\2"),
    (r"visual\.trunk\.norm\.(.+)", r"image_tower.ln_post.\1"),
    (r"visual\.trunk\.attn_pool\.latent", r"image_tower.head.probe"),
    (r"visual\.trunk\.attn_pool\.q\.(weight|bias)", r"image_tower.head.in_proj_\1+0"),
    (r"visual\.trunk\.attn_pool\.kv\.(weight|bias)", r"image_tower.head.in_proj_\1+1"),
    (r"visual\.trunk\.attn_pool\.proj\.(.+)", r"image_tower.head.out_proj.\1"),
    (r"visual\.trunk\.attn_pool\.norm\.(.+)", r"image_tower.head.norm.\1"),
    (r"visual\.trunk\.attn_pool\.mlp\.fc1\.(.+)", r"image_tower.head.mlp.c_fc.\1"),
    (r"visual\.trunk\.attn_pool\.mlp\.fc2\.(.+)", r"image_tower.head.mlp.c_proj.\1"),
)


def _encoder(theirs: str, ours: str) -> tuple[Rule, ...]:
    """The blocks of a tower in transformers, where query, key and value are three matrices."""
    layer = rf"{theirs}\.encoder\.layers\.(\d+)"
    block = f"{ours}.{_BLOCK}"
    return (
        (rf"{layer}\.self_attn\.q_proj\.(weight|bias)", rf"{block}.attn.in_proj_\2+0"),
        (rf"{layer}\.self_attn\.k_proj\.(weight|bias)", rf"{block}.attn.in_proj_\2+1"),
        (rf"{layer}\.self_attn\.v_proj\.(weight|bias)", rf"{block}.attn.in_proj_\2+2"),
        (rf"{layer}\.self_attn\.out_proj\.(.+)", rf"{block}.attn.out_proj.\2"),
        (rf"{layer}\.layer_norm([12])\.(.+)", rf"{block}.ln_\2.\3"),
        (rf"{layer}\.mlp\.fc1\.(.+)", rf"{block}.mlp.c_fc.\2"),
        (rf"{layer}\.mlp\.fc2\.(.+)", rf"{block}.mlp.c_proj.\2"),
    )


_TRANSFORMERS: tuple[Rule, ...] = (
    (r"logit_scale|logit_bias", r"\g<0>"),
    *_encoder("vision_model", "image_tower"),
    *_encoder("text_model", "text_tower"),
    (r"vision_model\.embeddings\.class_embedding", "image_tower.class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding\.(weight|bias)", r"image_tower.conv1.\1"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "image_tower.positional_embedding"),
    (r"vision_model\.pre_layrnorm\.(.+)", r"image_tower.ln_pre.\1"),  # spelt so there
    (r"vision_model\.post_layernorm\.(.+)", r"image_tower.ln_post.\1"),
    (r"visual_projection\.weight", "image_tower.proj^T"),
    (r"vision_model\.head\.probe", "image_tower.head.probe"),
    (r"vision_model\.head\.attention\.in_proj_(weight|bias)", r"image_tower.head.in_proj_\1"),
    (r"vision_model\.head\.attention\.out_proj\.(.+)", r"image_tower.head.out_proj.\1"),
    (r"vision_model\.head\.layernorm\.(.+)", r"image_tower.head.norm.\1"),
    (r"vision_model\.head\.mlp\.fc1\.(.+)", r"image_tower.head.mlp.c_fc.\1"),
    (r"vision_model\.head\.mlp\.fc2\.(.+)", r"image_tower.head.mlp.c_proj.\1"),
    (r"text_model\.embeddings\.token_embedding\.weight", "text_tower.token_embedding.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "text_tower.positional_embedding"),
    (r"text_model\.final_layer_norm\.(.+)", r"text_tower.ln_final.\1"),
    (r"text_projection\.weight|text_model\.head\.weight", "text_tower.text_projection^T"),
    (r"text_model\.head\.bias", "text_tower.projection_bias"),
)


def from_openclip(tensors: Mapping[str, Tensor]) -> State:
    """The original release's names, Apple's and OpenCLIP's, whatever its text tower. Raises ModelError."""
    if is_apple(tensors):
        tensors = from_apple(tensors)
    if not is_mobile(tensors):
        return _rename(tensors, (*_OPENCLIP, *_TIMM_SIGLIP))
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("visual.")}
    return fold_mobile(tensors) | _rename(rest, _OPENCLIP)


def from_transformers(tensors: Mapping[str, Tensor]) -> State:
    """`CLIPModel` and `SiglipModel` of transformers. Raises ModelError."""
    return _rename(tensors, _TRANSFORMERS)


def _rename(tensors: Mapping[str, Tensor], rules: Sequence[Rule]) -> State:
    """By the first rule that knows the whole name.

    The end of what it becomes may say how: `^T` transposed, `^0` without its first axis of 1, `+N` the part number N of
    a tensor that is put together along its first axis.
    """
    compiled = [(re.compile(pattern), becomes) for pattern, becomes in rules]
    state: State = {}
    parts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        if _NO_WEIGHTS.fullmatch(name):
            continue
        ours = next((found.expand(becomes) for rule, becomes in compiled if (found := rule.fullmatch(name))), None)
        if ours is None:
            raise ModelError(f"the weights hold {name}, which no architecture known here has")
        if "+" in ours:
            whole, _, number = ours.partition("+")
            parts.setdefault(whole, {})[int(number)] = tensor
        else:
            ours, _, change = ours.partition("^")
            state[ours] = _CHANGES[change](tensor)
    for name, pieces in parts.items():
        state[name] = torch.cat([pieces[number] for number in sorted(pieces)])
    return {name: _scalar(tensor) if name.startswith("logit_") else tensor for name, tensor in state.items()}


def _scalar(tensor: Tensor) -> Tensor:
    """Some keep the logit scale as a row of one."""
    if tensor.numel() != 1:
        raise ModelError(f"the logit scale has {tensor.numel()} values")
    return tensor.reshape(())


def _first(tensor: Tensor) -> Tensor:
    if tensor.ndim < 2 or tensor.shape[0] != 1:
        raise ModelError(f"the positions have the shape {list(tensor.shape)}")
    return tensor[0]


_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {"": lambda tensor: tensor, "T": Tensor.t, "0": _first}

"""Names in our towers -> names of OpenCLIP and of transformers: `trainer.reading.names` the other way round."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from trainer.config import ArchConfig, ResNetConfig, ViTConfig

__all__ = ["to_openclip", "to_transformers"]

State = dict[str, Tensor]

_BLOCK = re.compile(r"(image|text)_tower\.transformer\.resblocks\.(\d+)\.(.+)")
_TIMM_BLOCK = {
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj": "attn.proj",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TRANSFORMERS_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TIMM = {
    "image_tower.conv1": "visual.trunk.patch_embed.proj",
    "image_tower.ln_post": "visual.trunk.norm",
    "image_tower.head.probe": "visual.trunk.attn_pool.latent",
    "image_tower.head.out_proj": "visual.trunk.attn_pool.proj",
    "image_tower.head.norm": "visual.trunk.attn_pool.norm",
    "image_tower.head.mlp.c_fc": "visual.trunk.attn_pool.mlp.fc1",
    "image_tower.head.mlp.c_proj": "visual.trunk.attn_pool.mlp.fc2",
}
_TRANSFORMERS = {
    "image_tower.class_embedding": "vision_model.embeddings.class_embedding",
    "image_tower.conv1": "vision_model.embeddings.patch_embedding",
    "image_tower.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "image_tower.ln_pre": "vision_model.pre_layrnorm",  # spelt so there
    "image_tower.ln_post": "vision_model.post_layernorm",
    "image_tower.head.probe": "vision_model.head.probe",
    "image_tower.head.in_proj_weight": "vision_model.head.attention.in_proj_weight",
    "image_tower.head.in_proj_bias": "vision_model.head.attention.in_proj_bias",
    "image_tower.head.out_proj": "vision_model.head.attention.out_proj",
    "image_tower.head.norm": "vision_model.head.layernorm",
    "image_tower.head.mlp.c_fc": "vision_model.head.mlp.fc1",
    "image_tower.head.mlp.c_proj": "vision_model.head.mlp.fc2",
    "text_tower.token_embedding": "text_model.embeddings.token_embedding",
    "text_tower.positional_embedding": "text_model.embeddings.position_embedding.weight",
    "text_tower.ln_final": "text_model.final_layer_norm",
    "text_tower.projection_bias": "text_model.head.bias",
}


def to_openclip(state: Mapping[str, Tensor], config: ArchConfig) -> State:
    """The names of OpenCLIP's `CLIP`, and of its `CustomTextCLIP` for SigLIP's form."""
    if isinstance(config.image, ViTConfig) and config.image.form == "siglip":
        return _to_custom(state)
    named = {}
    for name, tensor in state.items():
        named[name.replace("image_tower.", "visual.").removeprefix("text_tower.")] = tensor
    if not isinstance(config.image, ResNetConfig):
        return named
    return {name.replace(".downsample.-1", ""): tensor for name, tensor in named.items()}


def _to_custom(state: Mapping[str, Tensor]) -> State:
    named: State = {}
    for name, tensor in state.items():
        block = _BLOCK.fullmatch(name)
        if block and block[1] == "image":
            named[f"visual.trunk.blocks.{block[2]}.{_part(block[3], _TIMM_BLOCK)}"] = tensor
        elif name == "image_tower.positional_embedding":
            named["visual.trunk.pos_embed"] = tensor[None]
        elif name.startswith("image_tower.head.in_proj_"):
            width, kind = tensor.shape[0] // 3, name.removeprefix("image_tower.head.in_proj_")
            named[f"visual.trunk.attn_pool.q.{kind}"] = tensor[:width]
            named[f"visual.trunk.attn_pool.kv.{kind}"] = tensor[width:]
        elif name == "text_tower.text_projection":
            named["text.text_projection.weight"] = tensor.t()
        elif name == "text_tower.projection_bias":
            named["text.text_projection.bias"] = tensor
        elif name.startswith("text_tower."):
            named[name.replace("text_tower.", "text.", 1)] = tensor
        else:
            named[_part(name, _TIMM)] = tensor
    return named


def to_transformers(state: Mapping[str, Tensor], config: ArchConfig) -> State:
    """The names of `CLIPModel` or `SiglipModel`."""
    named: State = {}
    for name, tensor in state.items():
        block = _BLOCK.fullmatch(name)
        if block:
            layer = f"{'vision' if block[1] == 'image' else 'text'}_model.encoder.layers.{block[2]}"
            if block[3].startswith("attn.in_proj_"):
                kind = block[3].removeprefix("attn.in_proj_")
                for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                    named[f"{layer}.self_attn.{letter}_proj.{kind}"] = part
            else:
                named[f"{layer}.{_part(block[3], _TRANSFORMERS_BLOCK)}"] = tensor
        elif name == "image_tower.proj":
            named["visual_projection.weight"] = tensor.t()
        elif name == "text_tower.text_projection":
            named["text_model.head.weight" if config.text.form == "siglip" else "text_projection.weight"] = tensor.t()
        elif name in ("logit_scale", "logit_bias"):
            named[name] = tensor if config.text.form == "clip" else tensor.reshape(1)
        else:
            named[_part(name, _TRANSFORMERS)] = tensor
    return named


def _part(name: str, names: Mapping[str, str]) -> str:
    """`name` with its beginning, up to the parameter's own, as the table says."""
    if name in names:
        return names[name]
    whole, _, last = name.rpartition(".")
    return f"{names[whole]}.{last}" if whole in names else name

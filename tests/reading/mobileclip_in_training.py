"""MobileCLIP as it is trained, branch by branch and under the names Apple publishes weights with.

Written from the papers (Vasu et al. 2023 and 2024) and the published names, for comparison with what importing folds.
Sizes are free; those of the published models are in `SIZES`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SIZES", "TrainedMobileClip"]

# Widths and blocks of the stages (None: a Vision Transformer), text layers, whether its ends mix, whether it is causal.
SIZES: dict[str, dict[str, Any]] = {
    "S0": {"widths": (64, 128, 256, 512), "blocks": (2, 6, 10, 2), "layers": 4, "mixing": True},
    "S1": {"widths": (64, 128, 256, 512), "blocks": (4, 12, 20, 4), "layers": 12},
    "S2": {"widths": (80, 160, 320, 640), "blocks": (4, 12, 24, 4), "layers": 12},
    "B": {"widths": None, "blocks": (), "layers": 12, "causal": True},
}


def _normed(inputs: int, outputs: int, size: Any, **how: Any) -> nn.Sequential:
    made = nn.Sequential()
    made.add_module("conv", nn.Conv2d(inputs, outputs, size, bias=False, **how))
    made.add_module("bn", nn.BatchNorm2d(outputs))
    return made


class Squeeze(nn.Module):
    def __init__(self, channels: int, hidden: int, names: tuple[str, str]) -> None:
        super().__init__()
        self.names = names
        self.add_module(names[0], nn.Conv2d(channels, hidden, 1))
        self.add_module(names[1], nn.Conv2d(hidden, channels, 1))

    def forward(self, x: Tensor) -> Any:
        first, second = (self.get_submodule(name) for name in self.names)
        return x * torch.sigmoid(second(F.relu(first(x.mean((2, 3), keepdim=True)))))


class Branches(nn.Module):
    """A convolution, one of a single position, and what comes in, each with a norm of its own, added."""

    def __init__(
        self, inputs: int, outputs: int, size: Any, *, stride: int = 1, groups: int = 1, conv: bool = True,
        scale: bool = True, act: bool = True, squeeze: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        room = size // 2 if isinstance(size, int) else tuple(one // 2 for one in size)
        self.rbr_skip = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.rbr_conv = (
            nn.ModuleList([_normed(inputs, outputs, size, stride=stride, padding=room, groups=groups)])
            if conv
            else None
        )
        wide = isinstance(size, int) and size > 1
        self.rbr_scale = _normed(inputs, outputs, 1, stride=stride, groups=groups) if wide and scale else None
        self.se = Squeeze(outputs, outputs // 16, ("reduce", "expand")) if squeeze else nn.Identity()
        self.act = act

    def forward(self, x: Tensor) -> Any:
        parts = [self.rbr_skip, self.rbr_scale, *(self.rbr_conv or ())]
        out = self.se(torch.stack([part(x) for part in parts if part is not None]).sum(0))
        return F.gelu(out) if self.act else out


class FeedForward(nn.Module):
    def __init__(self, channels: int, hidden: int, size: tuple[int, int]) -> None:
        super().__init__()
        room = (size[0] // 2, size[1] // 2)
        self.conv = _normed(channels, channels, size, padding=room, groups=channels)
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Any:
        return self.fc2(F.gelu(self.fc1(self.conv(x))))


class Mixer(nn.Module):
    def __init__(self, channels: int, size: Any) -> None:
        super().__init__()
        self.norm = Branches(channels, channels, size, groups=channels, conv=False, scale=False, act=False)
        self.mixer = Branches(channels, channels, size, groups=channels, act=False)
        self.layer_scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Any:
        return x + self.layer_scale * (self.mixer(x) - self.norm(x))


class MixingBlock(nn.Module):
    def __init__(self, channels: int, ratio: int, mixing: Any, wide: tuple[int, int]) -> None:
        super().__init__()
        self.token_mixer = Mixer(channels, mixing)
        self.convffn = FeedForward(channels, ratio * channels, wide)
        self.layer_scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Any:
        x = self.token_mixer(x)
        return x + self.layer_scale * self.convffn(x)


class Mixing1d(MixingBlock):
    """Over tokens: (B, L, C) as pictures one pixel high."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 4, (1, 11), (1, 11))

    def forward(self, x: Tensor) -> Any:
        return super().forward(x.transpose(1, 2)[:, :, None]).squeeze(2).transpose(1, 2)


class SelfAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(channels, 3 * channels, bias=False), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Any:
        batch, channels, height, width = x.shape
        rows = self.qkv(x.flatten(2).transpose(1, 2)).reshape(batch, height * width, 3, channels // 32, 32)
        query, key, value = rows.permute(2, 0, 3, 1, 4)
        shares = (query * 32**-0.5 @ key.transpose(2, 3)).softmax(-1)
        out = self.proj((shares @ value).transpose(1, 2).reshape(batch, height * width, channels))
        return out.transpose(1, 2).reshape(x.shape)


class AttentionBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.token_mixer = SelfAttention(channels)
        self.convffn = FeedForward(channels, 3 * channels, (7, 7))
        self.layer_scale_1 = nn.Parameter(torch.rand(channels, 1, 1))
        self.layer_scale_2 = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Any:
        x = x + self.layer_scale_1 * self.token_mixer(self.norm(x))
        return x + self.layer_scale_2 * self.convffn(x)


class LargeKernel(nn.Module):
    def __init__(self, inputs: int, outputs: int, squeeze: bool) -> None:
        super().__init__()
        self.lkb_origin = _normed(inputs, outputs, 7, stride=2, padding=3, groups=inputs)
        self.small_conv = _normed(inputs, outputs, 3, stride=2, padding=1, groups=inputs)
        self.se = Squeeze(outputs, outputs // 4, ("fc1", "fc2")) if squeeze else nn.Identity()

    def forward(self, x: Tensor) -> Any:
        return F.gelu(self.se(self.lkb_origin(x) + self.small_conv(x)))


class Positions(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pe = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)

    def forward(self, x: Tensor) -> Any:
        return x + self.pe(x)


class Projection(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Parameter(inputs**-0.5 * torch.randn(inputs, outputs))

    def forward(self, x: Tensor) -> Any:
        return (x.mean((2, 3)) if x.ndim == 4 else x) @ self.proj


class Convolutional(nn.Module):
    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...], dim: int) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        self.patch_embed = nn.Sequential(
            Branches(3, first, 3, stride=2),
            Branches(first, first, 3, stride=2, groups=first),
            Branches(first, first, 1),
        )
        parts: list[nn.Module] = []
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if number:
                down = nn.Module()
                down.proj = nn.Sequential(
                    LargeKernel(widths[number - 1], width, number >= 2), Branches(width, width, 1)
                )
                parts.append(down)
            if number == len(widths) - 1:
                parts.append(Positions(width))
                parts.append(nn.Sequential(*(AttentionBlock(width) for _ in range(count))))
            else:
                parts.append(nn.Sequential(*(MixingBlock(width, 3, 3, (7, 7)) for _ in range(count))))
        self.network = nn.ModuleList(parts)
        self.conv_exp = Branches(last, 2 * last, 3, groups=last, squeeze=True)
        self.head = Projection(2 * last, dim)

    def forward(self, x: Tensor) -> Any:
        x = self.patch_embed(x)
        part: Any
        for part in self.network:
            x = part.proj(x) if hasattr(part, "proj") else part(x)
        return self.head(self.conv_exp(x))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, hidden: Tensor | None) -> Any:
        batch, length, width = x.shape
        query, key, value = self.qkv_proj(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = query * (width // self.heads) ** -0.5 @ key.transpose(2, 3)
        shares = (scores if hidden is None else scores + hidden).softmax(-1)
        return self.out_proj((shares @ value).transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.pre_norm_mha = nn.Sequential(nn.LayerNorm(width), Attention(width, heads), nn.Identity())
        self.pre_norm_ffn = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Any:
        x = x + self.pre_norm_mha[1](self.pre_norm_mha[0](x), hidden)
        return x + self.pre_norm_ffn(x)


def _places(count: int, width: int) -> Any:
    """A parameter three names deep."""
    inner, outer = nn.Module(), nn.Module()
    inner.pos_embed = nn.Parameter(0.1 * torch.randn(1, 1, count, width))
    outer.pos_embed = inner
    return outer


class Vit(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        parts = []
        for inputs, outputs, size in ((3, width // 4, 4), (width // 4, width // 4, 2), (width // 4, width, 2)):
            part, block = nn.Module(), nn.Sequential()
            last = outputs == width
            block.add_module("conv", nn.Conv2d(inputs, outputs, size, stride=size, bias=last))
            if not last:
                block.add_module("norm", nn.BatchNorm2d(outputs))
                block.add_module("act", nn.GELU())
            part.block = block
            parts.append(part)
        self.patch_emb = nn.ModuleList(parts)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embed: Any = _places(196, width)
        self.transformer = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.post_transformer_norm = nn.LayerNorm(width)
        self.classifier = Projection(width, dim)

    def forward(self, x: Tensor) -> Any:
        part: Any
        for part in self.patch_emb:
            x = part.block(x)
        x = x.flatten(2).transpose(1, 2) + self.pos_embed.pos_embed.pos_embed[0]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        return self.classifier(self.post_transformer_norm(self.transformer(x))[:, 0])


class Text(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, dim: int, vocabulary: int, *, mixing: bool, causal: bool):
        super().__init__()
        self.causal = causal
        self.embedding_layer = nn.Embedding(vocabulary, width)
        self.positional_embedding: Any = _places(77, width)
        ends = [Mixing1d(width), Mixing1d(width)] if mixing else []
        self.transformer = nn.ModuleList([*ends[:1], *(Block(width, heads) for _ in range(layers)), *ends[1:]])
        self.final_layer_norm = nn.LayerNorm(width)
        self.projection_layer = nn.Parameter(width**-0.5 * torch.randn(width, dim))

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding_layer(tokens) + self.positional_embedding.pos_embed.pos_embed[0]
        hidden = torch.full((77, 77), -torch.inf).triu(1) if self.causal else None
        for layer in self.transformer:
            x = layer(x, hidden) if isinstance(layer, Block) else layer(x)
        return self.final_layer_norm(x)[torch.arange(len(x)), tokens.argmax(1)] @ self.projection_layer


class TrainedMobileClip(nn.Module):
    """Pixels and tokens to embeddings, not normalised, with random weights that leave no branch silent."""

    def __init__(
        self, *, widths: tuple[int, ...] | None, blocks: tuple[int, ...], layers: int, mixing: bool = False,
        causal: bool = False, text_width: int = 512, heads: int = 8, dim: int = 512, vocabulary: int = 49_408,
    ) -> None:  # fmt: skip
        super().__init__()
        tower = Vit(768, 12, 12, dim) if widths is None else Convolutional(widths, blocks, dim)
        self.image_encoder: Any = nn.Module()
        self.image_encoder.model = tower
        self.text_encoder = Text(text_width, layers, heads, dim, vocabulary, mixing=mixing, causal=causal)
        self.logit_scale = nn.Parameter(torch.tensor(4.0))
        module: Any
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    nn.init.normal_(tensor, mean=0.3, std=0.3)
                nn.init.uniform_(module.running_var, 0.5, 2)
            elif isinstance(module, nn.LayerNorm):
                nn.init.normal_(module.weight, mean=1, std=0.2)
                nn.init.normal_(module.bias, std=0.2)
        self.eval().requires_grad_(False)

    def encode_image(self, pixels: Tensor) -> Any:
        return self.image_encoder.model(pixels)

    def encode_text(self, tokens: Tensor) -> Any:
        return self.text_encoder(tokens)

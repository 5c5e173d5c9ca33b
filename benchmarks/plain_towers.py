"""The towers as reference implementations write them, exported as rclip's own conversion does (`torch.onnx.export`,
`dynamo=False`, opset 18): what our exporter does for ONNX Runtime is not to be given to the peer.

Shapes: B batch, L positions, C width, D embedding.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.text_transformer import TextTransformer
from trainer.towers import Clip
from trainer.transformer import ResidualAttentionBlock, Transformer
from trainer.vision_transformer import VisionTransformer

__all__ = ["export_plain"]


class _Block(nn.Module):
    """A block of ours with torch's own attention in it; the other parts are the very modules."""

    def __init__(self, block: ResidualAttentionBlock, mask: Tensor | None) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(block.ln_1.normalized_shape[0], block.attn.heads, batch_first=True)
        self.attn.load_state_dict(block.attn.state_dict())
        self.ln_1, self.ln_2, self.mlp = block.ln_1, block.ln_2, block.mlp
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=self.mask)[0]
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


def _blocks(transformer: Transformer, mask: Tensor | None) -> nn.Sequential:
    blocks = (block for block in transformer.resblocks if isinstance(block, ResidualAttentionBlock))
    return nn.Sequential(*(_Block(block, mask) for block in blocks))


class _Image(nn.Module):
    """Pixels (B, 3, S, S) -> (B, D)."""

    def __init__(self, tower: VisionTransformer) -> None:
        super().__init__()
        assert tower.ln_pre is not None  # CLIP's form
        self.conv, self.ln_pre, self.ln_post = tower.conv1, tower.ln_pre, tower.ln_post
        self.start, self.positions, self.proj = tower.class_embedding, tower.positional_embedding, tower.proj
        self.blocks = _blocks(tower.transformer, None)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv(pixels).flatten(2).permute(0, 2, 1)
        start = self.start.view(1, 1, -1).expand(x.shape[0], -1, -1)
        x = self.blocks(self.ln_pre(torch.cat([start, x], dim=1) + self.positions))
        out: Tensor = self.ln_post(x)[:, 0] @ self.proj
        return out


class _Text(nn.Module):
    """Tokens (B, L) -> (B, D)."""

    def __init__(self, tower: TextTransformer) -> None:
        super().__init__()
        self.words, self.positions = tower.token_embedding, tower.positional_embedding
        self.ln_final, self.proj = tower.ln_final, tower.text_projection
        length = tower.positional_embedding.shape[0]
        self.blocks = _blocks(tower.transformer, torch.full((length, length), float("-inf")).triu(1))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.ln_final(self.blocks(self.words(tokens) + self.positions))
        out: Tensor = x[torch.arange(x.shape[0]), tokens.argmax(dim=-1)] @ self.proj
        return out


def export_plain(model: Clip, image: Path, text: Path) -> None:
    """Both graphs, input "input", output "output", as rclip looks for them."""
    size, length = model.config.image.image_size, model.config.text.context_length
    assert isinstance(model.image_tower, VisionTransformer)
    assert isinstance(model.text_tower, TextTransformer)
    towers: tuple[tuple[nn.Module, Tensor, Path], ...] = (
        (_Image(model.image_tower), torch.zeros(1, 3, size, size), image),
        (_Text(model.text_tower), torch.zeros(1, length, dtype=torch.int64), text),
    )
    for tower, example, target in towers:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this exporter is an old one
            torch.onnx.export(
                tower.eval(), (example,), str(target), input_names=["input"], output_names=["output"],
                dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}}, opset_version=18, dynamo=False,
            )  # fmt: skip

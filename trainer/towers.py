"""The two towers together, and the learned logit scale between them (Radford et al. 2021, sections 2.3 to 2.5).

Shapes: B batch, S image side, L tokens, D embedding.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.bag_text_tower import BagTextTower
from trainer.config import ArchConfig, MobileConfig, ResNetConfig
from trainer.mobile_tower import MobileTower
from trainer.resnet import ModifiedResNet
from trainer.text_transformer import TextTransformer
from trainer.vision_transformer import VisionTransformer

__all__ = ["MAX_LOGIT_SCALE", "Clip"]

INITIAL_LOGIT_SCALE = 1 / 0.07  # section 2.5
INITIAL_SIGMOID = (10.0, -10.0)  # scale and bias (Zhai et al. 2023, section 3.2): at first nearly no pair is right
MAX_LOGIT_SCALE = 100.0  # section 2.5: more proved to make training unstable


class Clip(nn.Module):
    """Image tower, text tower, the logarithm of the logit scale, and for sigmoid models the bias beside it."""

    def __init__(self, config: ArchConfig) -> None:
        super().__init__()
        self.config = config
        self.image_tower: ModifiedResNet | MobileTower | VisionTransformer
        if isinstance(config.image, ResNetConfig):
            self.image_tower = ModifiedResNet(config.image, config.embedding_dim)
        elif isinstance(config.image, MobileConfig):
            self.image_tower = MobileTower(config.image, config.embedding_dim)
        else:
            self.image_tower = VisionTransformer(config.image, config.embedding_dim, config.activation)
        self.text_tower: BagTextTower | TextTransformer
        if config.text.form == "bag":
            self.text_tower = BagTextTower(config.text, config.embedding_dim)
        else:
            self.text_tower = TextTransformer(config.text, config.embedding_dim, config.activation_of_text)
        scale, bias = INITIAL_SIGMOID if config.sigmoid else (INITIAL_LOGIT_SCALE, None)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(bias))

    def encode_image(self, pixels: Tensor, normalise: bool = True) -> Tensor:
        """(B, 3, S, S) to (B, D) in float32, of length 1 unless told otherwise."""
        features = _at_least_float32(self.image_tower(pixels))
        return F.normalize(features, dim=-1) if normalise else features

    def encode_text(self, tokens: Tensor, normalise: bool = True) -> Tensor:
        """(B, L) token ids to (B, D) in float32, of length 1 unless told otherwise."""
        features = _at_least_float32(self.text_tower(tokens))
        return F.normalize(features, dim=-1) if normalise else features

    def clamped_logit_scale(self) -> Tensor:
        """The multiplier of the cosines, at most 100."""
        # Cut before the exponential, which in float32 exceeds 100 at ln 100: cut behind it, a scale at the limit would
        # get no gradient and never come down again.
        return self.logit_scale.clamp(max=math.log(MAX_LOGIT_SCALE)).exp()

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keep the parameter itself in range after a step, so that its gradient never dies at the limit."""
        self.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))


def _at_least_float32(features: Tensor) -> Tensor:
    return features if features.dtype == torch.float64 else features.float()

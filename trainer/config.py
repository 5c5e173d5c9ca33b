"""What a pair of towers looks like, and the table of named architectures.

An `ArchConfig` travels inside `model.json` (`towers`), so that a bundle can be trained further without its recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from clipcli.errors import ModelError, NotFoundError, UsageError

__all__ = ["ARCHITECTURES", "Activation", "ArchConfig", "ResNetConfig", "TextConfig", "ViTConfig", "architecture"]

Activation = Literal["gelu", "quick_gelu"]
PAPER_VOCABULARY = 49_408  # of the original release: 512 bytes and byte ends, 48,894 merges, two markers


def _whole(**values: object) -> None:
    """Every one is a whole number above 0. Raises UsageError."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} must be a whole number above 0, not {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTConfig:
    """Vision Transformer (Dosovitskiy et al. 2020) with CLIP's extra layer norm before the blocks."""

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        _whole(
            image_size=self.image_size,
            patch_size=self.patch_size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
        )
        if self.image_size % self.patch_size:
            raise UsageError(f"image size {self.image_size} is not a multiple of the patch size {self.patch_size}")
        if self.width % self.heads:
            raise UsageError(f"width {self.width} is not a multiple of {self.heads} heads")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetConfig:
    """CLIP's modified ResNet. Each stage has twice the channels of the one before."""

    image_size: int
    width: int  # channels after the stem
    layers: tuple[int, ...]  # bottleneck blocks per stage; each stage but the first halves the side
    heads: int  # of the attention pool
    stem_pool: bool = True  # the paper's average pooling after the stem; without it maps stay twice as large

    def __post_init__(self) -> None:
        _whole(image_size=self.image_size, width=self.width, heads=self.heads)
        if not self.layers:
            raise UsageError("a ResNet has at least one stage")
        for blocks in self.layers:
            _whole(layers=blocks)
        if self.width % 2:
            raise UsageError(f"the stem begins with half of the width, and {self.width} is odd")
        reduction = 2 * (2 if self.stem_pool else 1) * 2 ** (len(self.layers) - 1)
        if self.image_size % reduction:
            raise UsageError(f"image size {self.image_size} is not a multiple of the total stride {reduction}")
        if self.channels_out % self.heads:
            raise UsageError(f"{self.channels_out} channels are not a multiple of {self.heads} heads")

    @property
    def final_side(self) -> int:
        """Positions along one side of the last feature map."""
        return int(self.image_size // (2 * (2 if self.stem_pool else 1) * 2 ** (len(self.layers) - 1)))

    @property
    def channels_out(self) -> int:
        return int(self.width * 2 ** (len(self.layers) - 1) * 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """Causal transformer (Radford et al. 2019); the feature is taken at the end token."""

    width: int
    layers: int
    heads: int
    context_length: int = 77  # both markers counted
    vocab_size: int = PAPER_VOCABULARY

    def __post_init__(self) -> None:
        _whole(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            context_length=self.context_length,
            vocab_size=self.vocab_size,
        )
        if self.width % self.heads:
            raise UsageError(f"text width {self.width} is not a multiple of {self.heads} heads")
        if self.context_length < 3:
            raise UsageError("a context holds at least the two markers and one token")


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchConfig:
    """Two towers that end in the same space."""

    name: str
    embedding_dim: int
    image: ViTConfig | ResNetConfig
    text: TextConfig
    activation: Activation = "quick_gelu"  # of both transformers; the paper's weights were trained with it

    def __post_init__(self) -> None:
        _whole(embedding_dim=self.embedding_dim)
        if not isinstance(self.name, str) or not self.name:
            raise UsageError("an architecture needs a name")
        if self.activation not in get_args(Activation):
            raise UsageError(f"the activation is one of {', '.join(get_args(Activation))}, not {self.activation!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `image.kind` tells the two image towers apart."""
        plain = asdict(self)
        plain["image"]["kind"] = "vit" if isinstance(self.image, ViTConfig) else "resnet"
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ArchConfig:
        """The inverse of `to_dict`.

        Raises:
            ModelError: a field is missing, unknown or out of range.
        """
        try:
            image = dict(plain["image"])
            kind = image.pop("kind")
            if kind == "resnet":
                image["layers"] = tuple(image["layers"])
            towers = {"vit": ViTConfig, "resnet": ResNetConfig}
            return cls(
                name=plain["name"],
                embedding_dim=plain["embedding_dim"],
                image=towers[kind](**image),
                text=TextConfig(**plain["text"]),
                activation=plain["activation"],
            )
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise ModelError(f"the description of the towers cannot be read: {error!r}") from error


def _resnet(size: int, width: int, layers: tuple[int, ...], heads: int) -> ResNetConfig:
    return ResNetConfig(image_size=size, width=width, layers=layers, heads=heads)


def _vit(size: int, patch: int, width: int, layers: int, heads: int) -> ViTConfig:
    return ViTConfig(image_size=size, patch_size=patch, width=width, layers=layers, heads=heads)


def _text(width: int, layers: int, heads: int, context_length: int = 77) -> TextConfig:
    return TextConfig(width=width, layers=layers, heads=heads, context_length=context_length)


# Names end in their image size in pixels where it is not 224. ViT-B/32 and RN50 are those of the paper's tables 19 and
# 20; the smaller ones are ours, made for data and machines that the paper's would be too large for.
ARCHITECTURES: dict[str, ArchConfig] = {
    arch.name: arch
    for arch in (
        ArchConfig(
            name="RN-nano-64", embedding_dim=256, image=_resnet(64, 48, (2, 3, 3), 12), text=_text(192, 3, 4, 40)
        ),
        ArchConfig(
            name="RN-small-128", embedding_dim=384, image=_resnet(128, 48, (2, 3, 4, 2), 24), text=_text(320, 6, 5)
        ),
        ArchConfig(name="RN50", embedding_dim=1024, image=_resnet(224, 64, (3, 4, 6, 3), 32), text=_text(512, 12, 8)),
        ArchConfig(name="ViT-nano-64/8", embedding_dim=256, image=_vit(64, 8, 192, 6, 3), text=_text(192, 3, 4, 40)),
        ArchConfig(name="ViT-tiny-128/16", embedding_dim=256, image=_vit(128, 16, 192, 12, 3), text=_text(256, 6, 4)),
        ArchConfig(name="ViT-S/32", embedding_dim=384, image=_vit(224, 32, 384, 12, 6), text=_text(384, 12, 6)),
        ArchConfig(name="ViT-S/16", embedding_dim=384, image=_vit(224, 16, 384, 12, 6), text=_text(384, 12, 6)),
        ArchConfig(name="ViT-B/32", embedding_dim=512, image=_vit(224, 32, 768, 12, 12), text=_text(512, 12, 8)),
    )
}


def architecture(name: str) -> ArchConfig:
    """The named architecture, whatever the case of the letters.

    Raises:
        NotFoundError: no such name; the message lists those there are.
    """
    for known, arch in ARCHITECTURES.items():
        if known.lower() == name.lower():
            return arch
    raise NotFoundError(f"no architecture is called {name!r}; there are: {', '.join(ARCHITECTURES)}")

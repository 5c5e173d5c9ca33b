"""What a pair of towers looks like; `architectures.py` has the table of those with a name.

An `ArchConfig` travels inside `model.json` (`towers`), so that a bundle can be trained further without its recipe. What
was added after the first version has a default that means what it meant before: older bundles keep loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from clipcli.errors import ModelError, UsageError

__all__ = [
    "Activation",
    "ArchConfig",
    "ImageForm",
    "MobileConfig",
    "ResNetConfig",
    "TextConfig",
    "TextForm",
    "ViTConfig",
]

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
ImageForm = Literal["clip", "mobile", "siglip"]
TextForm = Literal["bag", "clip", "mobile", "siglip"]
PAPER_VOCABULARY = 49_408  # of the original release: 512 bytes and byte ends, 48,894 merges, two markers


def _whole(**values: object) -> None:
    """Every one is a whole number above 0. Raises UsageError."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} must be a whole number above 0, not {value!r}")


def _one_of(value: object, kind: Any, what: str) -> None:
    """Raises UsageError."""
    if value not in get_args(kind):
        raise UsageError(f"{what} is one of {', '.join(get_args(kind))}, not {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTConfig:
    """Vision Transformer (Dosovitskiy et al. 2020), in one of these forms.

    clip    a class token, CLIP's extra layer norm before the blocks; the class token is projected linearly
    siglip  no class token, patches with a bias, layer norms with an epsilon of 1e-6; the feature is what a learnt query
            gathers from all positions (Zhai et al. 2022, "Scaling Vision Transformers", section 3.2), not projected
    mobile  MobileCLIP-B (Vasu et al. 2024): patches by three convolutions, a class token without a position, projected
            with a bias, layer norms with an epsilon of 1e-6
    """

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int | None = None  # of the hidden layer; None is four times the width
    form: ImageForm = "clip"

    def __post_init__(self) -> None:
        _whole(
            image_size=self.image_size,
            patch_size=self.patch_size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            mlp_width=self.hidden_width,
        )
        _one_of(self.form, ImageForm, "the form of an image tower")
        if self.patch_size > self.image_size:
            raise UsageError(f"image size {self.image_size} holds no patch of {self.patch_size}")
        # SigLIP's So400m has 27 patches of 14 pixels in 384: what is left over at two edges goes unseen.
        if self.image_size % self.patch_size and self.form != "siglip":
            raise UsageError(f"image size {self.image_size} is not a multiple of the patch size {self.patch_size}")
        if self.width % self.heads:
            raise UsageError(f"width {self.width} is not a multiple of {self.heads} heads")

    @property
    def hidden_width(self) -> int:
        return 4 * self.width if self.mlp_width is None else self.mlp_width

    @property
    def side(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


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
class MobileConfig:
    """The convolutional towers of MobileCLIP-S. Each stage but the first halves the side; the last has attention."""

    image_size: int
    widths: tuple[int, ...]  # channels per stage
    layers: tuple[int, ...]  # blocks per stage

    def __post_init__(self) -> None:
        _whole(image_size=self.image_size)
        if len(self.widths) != len(self.layers) or not self.layers:
            raise UsageError("a mobile tower has at least one stage, each with a width and a number of blocks")
        for width, blocks in zip(self.widths, self.layers, strict=True):
            _whole(width=width, layers=blocks)
        if self.widths[-1] % 32:
            raise UsageError(f"{self.widths[-1]} channels are not a multiple of heads of 32")
        reduction = 4 * 2 ** (len(self.layers) - 1)
        if self.image_size % reduction:
            raise UsageError(f"image size {self.image_size} is not a multiple of the total stride {reduction}")

    @property
    def width(self) -> int:
        return self.widths[0]

    @property
    def heads(self) -> int:
        return self.widths[-1] // 32


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """Transformer over tokens (Radford et al. 2019), or their mean, in one of these forms.

    bag     no transformer: the mean of the tokens' embeddings, projected (`bag_text_tower.py`); one layer, one head
    clip    the feature is taken at the end token, the largest id, and projected
    mobile  clip's between two convolutional blocks (MobileCLIP-S0, `text_mixing.py`), without a causal mask
    siglip  no causal mask, layer norms with an epsilon of 1e-6; the feature is taken at the last position, whatever
            stands there, and projected with a bias
    """

    width: int
    layers: int
    heads: int
    context_length: int = 77  # both markers counted
    vocab_size: int = PAPER_VOCABULARY
    mlp_width: int | None = None  # of the hidden layer; None is four times the width
    form: TextForm = "clip"
    causal: bool = True  # tokens see only what stands before them

    def __post_init__(self) -> None:
        _whole(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            context_length=self.context_length,
            vocab_size=self.vocab_size,
            mlp_width=self.hidden_width,
        )
        _one_of(self.form, TextForm, "the form of a text tower")
        if not isinstance(self.causal, bool):
            raise UsageError(f"causal is true or false, not {self.causal!r}")
        if self.causal and self.form in ("mobile", "siglip"):
            raise UsageError(f"a text tower of the form {self.form} has no causal mask")
        if self.form == "bag" and ((self.layers, self.heads, self.mlp_width) != (1, 1, None) or not self.causal):
            raise UsageError("a text tower of the form bag is one layer with one head, and causal")
        if self.width % self.heads:
            raise UsageError(f"text width {self.width} is not a multiple of {self.heads} heads")
        if self.context_length < 3:
            raise UsageError("a context holds at least the two markers and one token")

    @property
    def hidden_width(self) -> int:
        return 4 * self.width if self.mlp_width is None else self.mlp_width


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchConfig:
    """Two towers that end in the same space."""

    name: str
    embedding_dim: int
    image: ViTConfig | ResNetConfig | MobileConfig
    text: TextConfig
    activation: Activation = "quick_gelu"  # of both transformers; the paper's weights were trained with it
    text_activation: Activation | None = None  # where the text tower has another one
    sigmoid: bool = False  # trained pair by pair (Zhai et al. 2023, "Sigmoid Loss"): a bias stands beside the scale

    def __post_init__(self) -> None:
        _whole(embedding_dim=self.embedding_dim)
        if not isinstance(self.name, str) or not self.name:
            raise UsageError("an architecture needs a name")
        _one_of(self.activation, Activation, "the activation")
        if self.text_activation is not None:
            _one_of(self.text_activation, Activation, "the activation of the text tower")
        if not isinstance(self.sigmoid, bool):
            raise UsageError(f"sigmoid is true or false, not {self.sigmoid!r}")
        if isinstance(self.image, ViTConfig) and self.image.form == "siglip" and self.embedding_dim != self.image.width:
            raise UsageError(
                f"an image tower of the form siglip is not projected: its width {self.image.width} is the embedding, "
                f"not {self.embedding_dim}"
            )

    @property
    def activation_of_text(self) -> Activation:
        return self.text_activation or self.activation

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `image.kind` tells the two image towers apart."""
        plain = asdict(self)
        plain["image"]["kind"] = {ViTConfig: "vit", ResNetConfig: "resnet", MobileConfig: "mobile"}[type(self.image)]
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
            for name in ("layers", "widths"):
                if kind != "vit" and name in image:
                    image[name] = tuple(image[name])
            towers: dict[str, Any] = {"vit": ViTConfig, "resnet": ResNetConfig, "mobile": MobileConfig}
            return cls(
                name=plain["name"],
                embedding_dim=plain["embedding_dim"],
                image=towers[kind](**image),
                text=TextConfig(**plain["text"]),
                activation=plain["activation"],
                text_activation=plain.get("text_activation"),
                sigmoid=plain.get("sigmoid", False),
            )
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise ModelError(f"the description of the towers cannot be read: {error!r}") from error

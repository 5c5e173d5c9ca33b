"""What the towers look like, from the shapes of their weights and from what only a configuration can say.

Shapes say everything but the number of heads, the activation and the causal mask: two models that differ in those have
the same tensors, and give nonsense when taken for each other. Where a source is silent on them, a table of the
published architectures may answer for the heads; for the activation nobody can, and it has to be told.

Shapes: C width, D embedding, L context, P patches.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clipcli.errors import ModelError, UsageError
from trainer.architectures import ARCHITECTURES
from trainer.config import Activation, ArchConfig, MobileConfig, ResNetConfig, TextConfig, ViTConfig
from trainer.towers import Clip

__all__ = ["Known", "check_stated", "describe"]

State = Mapping[str, Tensor]
_HEAD = 64  # numbers per head, in every model of the original release


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What a source says beside its weights; None where it is silent."""

    activation: Activation | None = None
    text_activation: Activation | None = None  # None as that of the image tower
    image_heads: int | None = None
    text_heads: int | None = None
    causal: bool | None = None
    image_size: int | None = None  # pixels, where patches do not fill the picture
    heads_of_64: bool = False  # as the original release, whatever the width


def describe(state: State, known: Known) -> ArchConfig:
    """The architecture of a state with our names.

    Raises:
        UsageError: something is open that the caller could tell.
        ModelError: the weights are of no architecture that can be built here.
    """
    try:
        return _named(_describe(state, known))
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"the weights are of no architecture known here: {error!r}") from error


def check_stated(
    config: ArchConfig, vision: Mapping[str, Any], text: Mapping[str, Any], *, width: str, layers: str, where: str
) -> None:
    """Hold the weights against the sizes that the configuration of each tower states under these names.

    Raises ModelError: where the two differ, heads and activation are not those of these weights either, or the last
    blocks are missing.
    """
    for tower, found, stated in (("image", config.image, vision), ("text", config.text, text)):
        if isinstance(found, MobileConfig):
            continue
        for name, is_in_weights in ((width, found.width), (layers, found.layers)):
            said = stated.get(name, is_in_weights)
            if (tuple(said) if isinstance(said, list) else said) != is_in_weights:
                raise ModelError(
                    f"{where} says that the {tower} tower's {name} is {said}, in the weights it is {is_in_weights}: "
                    "one of the two files is of another model or incomplete"
                )


def _describe(state: State, known: Known) -> ArchConfig:
    sigmoid = "logit_bias" in state
    siglip = "text_tower.projection_bias" in state
    context, text_width = state["text_tower.positional_embedding"].shape
    text_layers = _layers(state, "text_tower")
    embedding_dim = state["text_tower.text_projection"].shape[1]
    if "image_tower.stages.0.blocks.0.mixer.weight" in state or "image_tower.stem.0.weight" in state:
        return _mobile(state, known)
    is_resnet = "image_tower.layer1.0.conv1.weight" in state
    layers = _stages(state) if is_resnet else (_layers(state, "image_tower"),)
    width = state["image_tower.layer1.0.conv1.weight" if is_resnet else "image_tower.conv1.weight"].shape[0]
    table = _of_the_same_shape(width, layers, text_width, text_layers)
    text = TextConfig(
        width=text_width,
        layers=text_layers,
        heads=_heads("text", text_width, known.text_heads, known, table),
        context_length=context,
        vocab_size=state["text_tower.token_embedding.weight"].shape[0],
        mlp_width=_hidden(state, "text_tower", text_width),
        form="siglip" if siglip else "clip",
        causal=not siglip if known.causal is None else known.causal,
    )
    image: ResNetConfig | ViTConfig
    if is_resnet:
        side = math.isqrt(state["image_tower.attnpool.positional_embedding"].shape[0] - 1)
        reduction = 4 * 2 ** (len(layers) - 1)
        image = ResNetConfig(image_size=side * reduction, width=width, layers=layers, heads=width * 32 // _HEAD)
    else:
        image = _vit(state, known, table, width, layers[0])
    if known.activation is None:
        raise UsageError(
            "the weights do not say which activation they were trained with: give --activation quick_gelu (OpenAI's, "
            "and what was trained on from there), gelu (most of OpenCLIP's) or gelu_tanh (SigLIP's)"
        )
    other = known.text_activation
    return ArchConfig(
        name=f"{'ResNet' if is_resnet else 'SigLIP' if siglip else 'ViT'} of other sizes",
        embedding_dim=embedding_dim,
        image=image,
        text=text,
        activation=known.activation,
        text_activation=None if other == known.activation else other,
        sigmoid=sigmoid,
    )


def _mobile(state: State, known: Known) -> ArchConfig:
    """MobileCLIP's towers are those of the table: their shapes say nothing of the picture's size."""
    shapes = {name: tensor.shape for name, tensor in state.items() if name not in ("logit_scale", "logit_bias")}
    for arch in ARCHITECTURES.values():
        if isinstance(arch.image, MobileConfig) or (isinstance(arch.image, ViTConfig) and arch.image.form == "mobile"):
            with torch.device("meta"):
                theirs = Clip(arch).state_dict()
            if {name: tensor.shape for name, tensor in theirs.items() if name in shapes} == shapes:
                causal = arch.text.causal if known.causal is None else known.causal
                text = dataclasses.replace(arch.text, causal=causal)
                return dataclasses.replace(arch, text=text)
    raise ModelError("the weights are of no MobileCLIP known here")


def _vit(state: State, known: Known, table: ArchConfig | None, width: int, layers: int) -> ViTConfig:
    siglip = "image_tower.head.probe" in state
    patch = state["image_tower.conv1.weight"].shape[-1]
    side = math.isqrt(state["image_tower.positional_embedding"].shape[0] - (0 if siglip else 1))
    pixels = side * patch
    if known.image_size is not None:
        if known.image_size // patch != side:
            raise ModelError(
                f"the configuration speaks of pictures of {known.image_size} pixels, the weights of {side} x {side} "
                f"patches of {patch}: positions are not stretched here"
            )
        pixels = known.image_size
    return ViTConfig(
        image_size=pixels,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=_heads("image", width, known.image_heads, known, table),
        mlp_width=_hidden(state, "image_tower", width),
        form="siglip" if siglip else "clip",
    )


def _heads(tower: str, width: int, told: int | None, known: Known, table: ArchConfig | None) -> int:
    if told is not None:
        return told
    if known.heads_of_64:
        return width // _HEAD
    if table is None:
        raise UsageError(
            "the weights do not say how many heads their attention has, and no published architecture has these sizes: "
            "import the folder with the model's configuration instead"
        )
    config = table.image if tower == "image" else table.text
    return config.heads


def _of_the_same_shape(width: int, layers: tuple[int, ...], text_width: int, text_layers: int) -> ArchConfig | None:
    for arch in ARCHITECTURES.values():
        if isinstance(arch.image, MobileConfig):
            continue
        found = arch.image.layers if isinstance(arch.image, ResNetConfig) else (arch.image.layers,)
        if (arch.image.width, found, arch.text.width, arch.text.layers) == (width, layers, text_width, text_layers):
            return arch
    return None


def _named(arch: ArchConfig) -> ArchConfig:
    """With the name of the table where it is one of the table's; a vocabulary or an activation of its own is said."""
    own = dataclasses.replace(arch.text, vocab_size=1)
    for vocabulary, activation in ((True, True), (False, True), (True, False), (False, False)):
        for published in map(_as_described, ARCHITECTURES.values()):
            wanted, given = published, dataclasses.replace(arch, name=published.name)
            if not vocabulary:
                wanted = dataclasses.replace(wanted, text=dataclasses.replace(wanted.text, vocab_size=1))
                given = dataclasses.replace(given, text=own)
            if not activation:
                given = dataclasses.replace(
                    given, activation=published.activation, text_activation=published.text_activation
                )
            if wanted == given:
                other = [] if vocabulary else ["a vocabulary of its own"]
                other += [] if activation else [arch.activation]
                name = published.name + (f" with {' and '.join(other)}" if other else "")
                return dataclasses.replace(arch, name=name)
    return arch


def _as_described(arch: ArchConfig) -> ArchConfig:
    """Four times the width is left unsaid."""
    text = arch.text
    if text.mlp_width == 4 * text.width:
        text = dataclasses.replace(text, mlp_width=None)
    image = arch.image
    if isinstance(image, ViTConfig) and image.mlp_width == 4 * image.width:
        image = dataclasses.replace(image, mlp_width=None)
    return dataclasses.replace(arch, image=image, text=text)


def _layers(state: State, tower: str) -> int:
    pattern = re.compile(rf"{tower}\.transformer\.resblocks\.(\d+)\.ln_1\.weight")
    numbers = {int(found[1]) for name in state if (found := pattern.fullmatch(name))}
    if not numbers or numbers != set(range(len(numbers))):
        raise ModelError(f"the blocks of the {tower.replace('_', ' ')} are not all there")
    return len(numbers)


def _stages(state: State) -> tuple[int, ...]:
    found: dict[int, set[int]] = {}
    for name in state:
        if place := re.fullmatch(r"image_tower\.layer(\d+)\.(\d+)\.conv1\.weight", name):
            found.setdefault(int(place[1]), set()).add(int(place[2]))
    return tuple(len(found[stage]) for stage in sorted(found))


def _hidden(state: State, tower: str, width: int) -> int | None:
    hidden = state[f"{tower}.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    return None if hidden == 4 * width else hidden

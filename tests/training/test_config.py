"""Descriptions of towers: what may be built, and what a damaged bundle says."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from clipcli.errors import ModelError, NotFoundError, UsageError
from tests.training.tiny import RESNET, VIT
from trainer.architectures import ARCHITECTURES, architecture
from trainer.config import ArchConfig, ResNetConfig, TextConfig, ViTConfig


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_survives_json(name: str) -> None:
    arch = ARCHITECTURES[name]
    assert ArchConfig.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    assert name == arch.name


def test_names_are_found_whatever_their_case() -> None:
    assert architecture("vit-b/32") is ARCHITECTURES["ViT-B/32"]
    with pytest.raises(NotFoundError, match=r"no architecture is called 'ViT-Z'; there are: .*RN50"):
        architecture("ViT-Z")


def changed(arch: ArchConfig, *path: str, to: Any) -> dict[str, Any]:
    """The description with one value changed, or left out where `to` is ..."""
    plain = copy.deepcopy(arch.to_dict())
    place = plain
    for name in path[:-1]:
        place = place[name]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return plain


DAMAGE: list[tuple[ArchConfig, tuple[str, ...], Any]] = [
    (VIT, ("image",), ...),
    (VIT, ("image",), "vit"),
    (VIT, ("image", "kind"), ...),
    (VIT, ("image", "kind"), "mlp"),
    (VIT, ("image", "patch_size"), 0),
    (VIT, ("image", "patch_size"), 7),
    (VIT, ("image", "heads"), 0),
    (VIT, ("image", "width"), "16"),
    (VIT, ("image", "colour"), 3),
    (VIT, ("text", "vocab_size"), -1),
    (VIT, ("text", "vocab_size"), True),
    (VIT, ("text", "context_length"), 2),
    (VIT, ("text",), None),
    (VIT, ("activation",), "relu"),
    (VIT, ("activation",), ...),
    (VIT, ("embedding_dim",), 0),
    (VIT, ("embedding_dim",), 2.5),
    (VIT, ("name",), ""),
    (VIT, ("name",), ...),
    (RESNET, ("image", "layers"), []),
    (RESNET, ("image", "layers"), 3),
    (RESNET, ("image", "layers"), [1, 0]),
    (RESNET, ("image", "width"), 9),
    (RESNET, ("image", "heads"), 5),
    (RESNET, ("image", "image_size"), 30),
]


@pytest.mark.parametrize(("arch", "path", "to"), DAMAGE, ids=[f"{'.'.join(path)}={to}" for _, path, to in DAMAGE])
def test_damaged_descriptions_are_refused(arch: ArchConfig, path: tuple[str, ...], to: Any) -> None:
    with pytest.raises(ModelError, match="the description of the towers cannot be read"):
        ArchConfig.from_dict(changed(arch, *path, to=to))


@pytest.mark.parametrize("plain", [[], "towers", None, 3])
def test_what_is_no_description_at_all(plain: Any) -> None:
    with pytest.raises(ModelError):
        ArchConfig.from_dict(plain)


def test_sizes_that_do_not_divide() -> None:
    with pytest.raises(UsageError, match="image size 30 is not a multiple of the patch size 16"):
        ViTConfig(image_size=30, patch_size=16, width=16, layers=1, heads=2)
    with pytest.raises(UsageError, match="width 16 is not a multiple of 3 heads"):
        ViTConfig(image_size=32, patch_size=16, width=16, layers=1, heads=3)
    with pytest.raises(UsageError, match="not a multiple of the total stride 8"):
        ResNetConfig(image_size=36, width=8, layers=(1, 1), heads=4)
    with pytest.raises(UsageError, match="text width 10 is not a multiple of 4 heads"):
        TextConfig(width=10, layers=1, heads=4)


@pytest.mark.parametrize(
    ("layers", "stem_pool", "side", "channels"),
    [((1,), True, 16, 32), ((1, 1, 1), True, 4, 128), ((1, 1), False, 16, 64)],
)
def test_last_map_of_a_resnet(layers: tuple[int, ...], stem_pool: bool, side: int, channels: int) -> None:
    config = ResNetConfig(image_size=64, width=8, layers=layers, heads=4, stem_pool=stem_pool)
    assert (config.final_side, config.channels_out) == (side, channels)

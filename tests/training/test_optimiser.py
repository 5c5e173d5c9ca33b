"""Which numbers decay, and the learning rate over time."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.training.tiny import RESNET, VIT, options
from trainer.config import ArchConfig
from trainer.optimiser import LearningRate, make_optimiser
from trainer.towers import Clip

BLOCK = (
    "attn.in_proj_bias", "attn.out_proj.bias", "ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias",
    "mlp.c_fc.bias", "mlp.c_proj.bias",
)  # fmt: skip
PLAIN = {
    VIT.name: {
        "logit_scale",
        *(f"image_tower.{name}.{part}" for name in ("ln_pre", "ln_post") for part in ("weight", "bias")),
        *(f"{tower}.transformer.resblocks.0.{name}" for tower in ("image_tower", "text_tower") for name in BLOCK),
        "text_tower.ln_final.weight",
        "text_tower.ln_final.bias",
        "head.bias",
    }
}


@pytest.mark.parametrize("arch", [VIT, RESNET], ids=lambda arch: arch.name)
def test_gains_and_biases_do_not_decay(arch: ArchConfig) -> None:
    model, head = Clip(arch), nn.Linear(4, 3)
    optimiser = make_optimiser([model, head], options(Path("x"), weight_decay=0.3))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    names |= {id(parameter): f"head.{name}" for name, parameter in head.named_parameters()}
    decayed, plain = ({names.pop(id(parameter)) for parameter in group["params"]} for group in optimiser.param_groups)
    assert not names  # every parameter is in one group
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.3, 0.0]
    assert "head.weight" in decayed
    assert {"text_tower.token_embedding.weight", "text_tower.positional_embedding"} <= decayed
    if arch is VIT:
        assert plain == PLAIN[arch.name]
    else:
        image = {name for name in plain if name.startswith("image_tower")}
        assert {"image_tower.bn1.weight", "image_tower.layer1.0.downsample.1.weight"} <= image
        assert all(".bn" in f".{name}" or "downsample.1" in name or name.endswith("bias") for name in image)
        assert all(
            "conv" in name or "attnpool" in name or "downsample.0" in name for name in decayed if "image" in name
        )


def test_what_is_frozen_is_left_out() -> None:
    model = Clip(VIT)
    model.logit_scale.requires_grad_(False)
    optimiser = make_optimiser([model], options(Path("x")))
    assert not any(parameter is model.logit_scale for group in optimiser.param_groups for parameter in group["params"])


def test_numbers_of_the_paper() -> None:
    """Table 18: beta1 0.9, beta2 0.98, epsilon 1e-6."""
    optimiser = make_optimiser([nn.Linear(2, 2)], options(Path("x"), lr=3e-4))
    assert isinstance(optimiser, torch.optim.AdamW)
    assert {group["betas"] for group in optimiser.param_groups} == {(0.9, 0.98)}
    assert {(group["eps"], group["lr"]) for group in optimiser.param_groups} == {(1e-6, 3e-4)}


def test_learning_rate_at_its_ends() -> None:
    rate = LearningRate(peak=0.5, steps=110, warmup=1 / 11)
    assert rate.warmup_steps == 10
    assert rate(0) == pytest.approx(0.05)  # the first step already moves
    assert rate(4) == pytest.approx(0.25)
    assert rate(9) == rate(10) == pytest.approx(0.5)
    assert rate(60) == pytest.approx(0.25)
    assert rate(35) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)) / 2)
    assert 0 < rate(109) < 0.001
    assert rate(110) == pytest.approx(0.0, abs=1e-12)
    assert rate(500) == pytest.approx(0.0, abs=1e-12)


@given(st.integers(1, 400), st.floats(0, 0.99))
def test_learning_rate_rises_then_falls_and_never_leaves_its_range(steps: int, warmup: float) -> None:
    rate = LearningRate(peak=1.0, steps=steps, warmup=warmup)
    values = [rate(step) for step in range(steps)]
    assert all(0 < value <= 1 for value in values)
    assert max(values) == pytest.approx(1.0)
    top = rate.warmup_steps
    assert values[:top] == sorted(values[:top])
    assert values[top:] == sorted(values[top:], reverse=True)

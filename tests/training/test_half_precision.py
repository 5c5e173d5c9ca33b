"""Moments and weights in 16 bits: no bias, nearly the same training, resumed bit for bit; and recomputing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clipcli.errors import UsageError
from tests.training.test_gradients import batch, learn, objective
from tests.training.tiny import VIT, Told, equal, options, state, stop_at
from trainer.checkpoints import load_run
from trainer.half_precision import HalfAdamW, round_at_random
from trainer.run import resume, train
from trainer.step import plain_gradient
from trainer.stopping import Interrupted
from trainer.transformer import Transformer


def luck(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("value", [1.001, -1.001, 3.14159, 1e-20, -7.3e8, 1 / 3])
def test_rounding_has_no_bias(value: float) -> None:
    """Both neighbours, each as often as it is near: the mean of 40,000 lies within five standard errors."""
    exact = torch.full((40_000,), value)
    rounded = round_at_random(exact, luck()).double()
    found = sorted(rounded.unique().tolist())
    assert len(found) == 2
    assert found[0] < exact[0].item() < found[1]
    gap = found[1] - found[0]
    assert gap <= abs(value) * 2**-7
    nearest = abs(exact[0].bfloat16().double().item() - exact[0].item())
    assert abs(rounded.mean().item() - exact[0].item()) < 5 * gap / 2 / math.sqrt(len(exact))
    assert nearest > 10 * gap / 2 / math.sqrt(len(exact))  # so that rounding to the nearest would be found out


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, math.inf, -math.inf])
def test_what_fits_is_not_rounded(value: float) -> None:
    assert round_at_random(torch.full((999,), value), luck()).unique().tolist() == [value]
    assert round_at_random(torch.tensor([math.nan]), luck()).isnan().all()


def test_without_halves_it_is_adamw() -> None:
    models = [nn.Linear(5, 3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    made = {"lr": 1e-2, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.2}
    pair: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(models[0].parameters(), **made),
        HalfAdamW(models[1].parameters(), **made, half_moments=False),
    ]
    for step in range(20):
        data = torch.randn(8, 5, generator=luck(step))
        for model, optimiser in zip(models, pair, strict=True):
            optimiser.zero_grad()
            model(data).square().sum().backward()
            optimiser.step()
    torch.testing.assert_close(models[0].weight, models[1].weight, rtol=1e-5, atol=1e-7)


def test_steps_smaller_than_a_digit_are_not_lost() -> None:
    """A weight of 1 in bfloat16 moves in steps of 1/128; a hundred of 1/1,000 are about a tenth all the same."""
    weight = nn.Parameter(torch.ones(2_000, dtype=torch.bfloat16))
    optimiser = HalfAdamW([weight], lr=1e-3, weight_decay=0.0)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimiser.step()
    assert weight.float().mean().item() == pytest.approx(0.9, abs=0.003)
    assert optimiser.state[weight]["exp_avg"].dtype == torch.bfloat16


def test_training_in_halves_is_close_to_training_without(tmp_path: Path, pairs: Path) -> None:
    told = Told(), Told()
    for name, half, each in (("whole", False, told[0]), ("half", True, told[1])):
        chosen = options(pairs, arch="tiny-vit", epochs=8.0, precision="bf16", half_moments=half, half_text=half)
        train(chosen, tmp_path / name, each)
    saved = state(tmp_path / "half")
    moments = saved["optimiser"]["state"][0]
    assert (moments["exp_avg"].dtype, moments["exp_avg_sq"].dtype) == (torch.bfloat16, torch.bfloat16)
    kept = {name: tensor.dtype for name, tensor in saved["model"].items()}
    assert kept["text_tower.token_embedding.weight"] == kept["text_tower.text_projection"] == torch.bfloat16
    assert kept["text_tower.ln_final.weight"] == kept["image_tower.proj"] == kept["logit_scale"] == torch.float32
    assert told[0].losses != told[1].losses
    assert list(told[1].losses.values()) == pytest.approx(list(told[0].losses.values()), rel=0.02)
    model, _ = load_run(tmp_path / "half")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_halves_are_resumed_bit_for_bit(tmp_path: Path, pairs: Path) -> None:
    chosen = options(pairs, arch="tiny-vit", precision="bf16", half_moments=True, half_text=True, ema_decay=0.9)
    straight, halting = tmp_path / "straight", tmp_path / "halting"
    train(chosen, straight, Told())
    with pytest.raises(Interrupted):
        train(chosen, halting, stop_at(4))
    resume(halting, Told())
    assert equal(state(straight), state(halting))
    assert (straight / "best.safetensors").read_bytes() == (halting / "best.safetensors").read_bytes()


def test_half_of_the_text_tower_needs_half_precision(tmp_path: Path, pairs: Path) -> None:
    with pytest.raises(UsageError, match=r"half_text .* needs --precision bf16 or fp16"):
        train(options(pairs, half_text=True), tmp_path / "run", Told())


def test_recomputing_changes_memory_and_nothing_else() -> None:
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes[-1] += tensor.numel()
        return tensor

    found = []
    for recompute in (False, True):
        made = objective(VIT, torch.float32)
        for part in made.model.modules():
            if isinstance(part, Transformer):
                part.recompute = recompute
        sizes.append(0)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = made.loss(batch()).total
        found.append((loss.item(), learn(made, batch(), plain_gradient)[1]))
    assert equal(found[0], found[1])
    assert sizes[1] < 0.8 * sizes[0]  # with one layer in each tower

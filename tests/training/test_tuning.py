"""What `--tune` changes and what it leaves; low-rank changes, merged and not; rates by layer."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clipcli.errors import UsageError
from tests.training.conftest import clip
from tests.training.tiny import RESNET, VIT, Told, equal, noise, options, state, stop_at
from trainer import locked_texts
from trainer.checkpoints import load_run, load_weights
from trainer.config import ArchConfig, MobileConfig, ViTConfig
from trainer.lora import adapt, merged
from trainer.optimiser import make_optimiser
from trainer.run import resume, train
from trainer.stopping import Interrupted
from trainer.text_transformer import TextTransformer
from trainer.towers import Clip
from trainer.tuning import choose_parameters, layer_scales, train_mode, trained_numbers

MOBILE = ArchConfig(
    name="tiny-mobile",
    embedding_dim=16,
    image=MobileConfig(image_size=32, widths=(8, 32), layers=(1, 1)),
    text=VIT.text,
)
ARCHITECTURES = pytest.mark.parametrize("arch", [VIT, RESNET, MOBILE], ids=lambda arch: arch.name)
TUNES = ("full", "lora", "head", "image", "text")


def stirred(model: Clip) -> Clip:
    """With low-rank parts that are no longer zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".0.b"):
                parameter.normal_(std=0.1)
    return model


def embeddings(model: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    model.eval()
    tokens = torch.tensor([[1, 5, 7, 9], [1, 3, 9, 0]])
    pixels = torch.from_numpy(noise(3)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return model.encode_image(pixels), model.encode_text(tokens)


@ARCHITECTURES
def test_low_rank_changes_begin_at_nothing_and_merge_into_the_same_model(arch: ArchConfig) -> None:
    torch.manual_seed(0)
    plain = Clip(arch)
    adapted = copy.deepcopy(plain)
    adapt(adapted, 2)
    for one, other in zip(embeddings(plain), embeddings(adapted), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    changed = embeddings(stirred(adapted))
    again = Clip(arch)
    again.load_state_dict(merged(adapted), strict=True)  # ordinary names, nothing left over
    for before, one, other in zip(embeddings(plain), changed, embeddings(again), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
        assert (before - one).abs().max() > 1e-3


@ARCHITECTURES
def test_every_matrix_is_adapted_and_nothing_else_is_trained(arch: ArchConfig) -> None:
    model = Clip(arch)
    adapt(model, 2)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "logit_scale" in trained
    assert all(name.endswith((".0.a", ".0.b")) for name in trained - {"logit_scale"})
    adapted = {name.split(".parametrizations")[0] for name in trained}
    assert {
        "text_tower",
        "text_tower.transformer.resblocks.0.attn",
        "text_tower.transformer.resblocks.0.mlp.c_fc",
    } < adapted
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            assert (name in adapted) == (module.groups == 1 and module.in_channels > 3), name
    assert trained_numbers(model) == sum(model.get_parameter(name).numel() for name in trained)


def test_the_rank_is_that_asked_for_and_never_more_than_the_matrix_has() -> None:
    model = Clip(VIT)
    adapt(model, 4)
    change = merged(stirred(model))["text_tower.transformer.resblocks.0.mlp.c_fc.weight"] - model.get_parameter(
        "text_tower.transformer.resblocks.0.mlp.c_fc.parametrizations.weight.original"
    )
    assert torch.linalg.matrix_rank(change, atol=1e-5) == 4
    large = Clip(VIT)
    adapt(large, 1000)
    assert large.get_parameter("text_tower.parametrizations.text_projection.0.a").shape == (16, 16)


@ARCHITECTURES
def test_head_is_the_projections_and_the_scale(arch: ArchConfig) -> None:
    model = Clip(arch)
    choose_parameters(model, options(Path("x"), start="m", tune="head"))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    image = {
        "tiny-vit": {"image_tower.proj"},
        "tiny-resnet": {"image_tower.attnpool.c_proj.weight", "image_tower.attnpool.c_proj.bias"},
        "tiny-mobile": {"image_tower.head.weight", "image_tower.head.bias"},
    }
    assert trained == image[arch.name] | {"text_tower.text_projection", "logit_scale"}


def test_the_head_of_siglip() -> None:
    model = Clip(siglip())
    choose_parameters(model, options(Path("x"), start="m", tune="head"))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"logit_bias", "logit_scale", "text_tower.projection_bias", "image_tower.head.probe"} < trained
    assert not any("transformer" in name or "conv1" in name for name in trained)


def siglip() -> ArchConfig:
    image = ViTConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2, form="siglip")
    return replace(VIT, image=image, text=replace(VIT.text, form="siglip", causal=False), sigmoid=True)


def test_what_is_locked_keeps_no_graph_and_its_statistics() -> None:
    model = Clip(RESNET)
    choose_parameters(model, options(Path("x"), start="m", tune="text"))
    train_mode(model, freeze_batch_norm=False)
    before = {name: tensor.clone() for name, tensor in model.image_tower.named_buffers()}
    pixels = torch.from_numpy(noise(3)).permute(0, 3, 1, 2).float()
    assert not model.encode_image(pixels).requires_grad
    assert model.encode_text(torch.tensor([[1, 5, 9]])).requires_grad
    assert equal(before, dict(model.image_tower.named_buffers()))
    choose_parameters(model, options(Path("x"), start="m", tune="image"))
    train_mode(model, freeze_batch_norm=False)
    assert model.encode_image(pixels).requires_grad
    assert not model.encode_text(torch.tensor([[1, 5, 9]])).requires_grad
    assert not equal(before, dict(model.image_tower.named_buffers()))


def tuned(pairs: Path, start: Path, tune: str, **chosen: Any) -> Any:
    return options(pairs, start=str(start), tune=tune, rank=2, lr=1e-2, freeze_batch_norm=True, **chosen)


@pytest.mark.parametrize("tune", TUNES)
def test_a_run_changes_what_it_is_told_to_and_goes_on_where_it_stopped(
    tmp_path: Path, pairs: Path, trained: Path, tune: str
) -> None:
    start = trained / "models" / "seed-model"
    straight, stopped, told = tmp_path / "straight", tmp_path / "stopped", Told()
    train(tuned(pairs, start, tune), straight, told)
    with pytest.raises(Interrupted):
        train(tuned(pairs, start, tune), stopped, stop_at(2))
    resume(stopped, Told())
    assert equal(state(straight), state(stopped))
    assert (straight / "best.safetensors").read_bytes() == (stopped / "best.safetensors").read_bytes()

    before, after = load_weights(start / "weights.safetensors"), load_weights(straight / "best.safetensors")
    assert before.keys() == after.keys()
    assert (straight / "start.safetensors").read_bytes() == (start / "weights.safetensors").read_bytes()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    image, text = ({name for name in changed if name.startswith(tower)} for tower in ("image_tower", "text_tower"))
    assert bool(image) == (tune != "text")
    assert bool(text) == (tune != "image")
    if tune == "head":
        assert changed - {"logit_scale"} <= {
            "image_tower.attnpool.c_proj.weight", "image_tower.attnpool.c_proj.bias", "text_tower.text_projection",
        }  # fmt: skip
    line = next(line for line in told.lines if line.startswith("tiny-resnet"))
    if tune == "full":
        assert "numbers trained" not in line
    else:
        count = int(line.split(" parameters, ")[1].split(" numbers")[0].replace(",", ""))
        model, _ = load_run(straight)
        torch.manual_seed(0)
        choose_parameters(model, tuned(pairs, start, tune))
        assert count == trained_numbers(model)
        assert f"({tune}" in line


def test_what_low_rank_training_exports_is_an_ordinary_model(pairs: Path, models: Path, in_folder: Path) -> None:
    done = clip(
        "train", pairs, "--from", "seed-model", "--name", "thin", "--epochs", 1, "--device", "cpu", "--tune", "lora",
        "--rank", 2,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    weights = load_weights(models / "thin" / "weights.safetensors")
    assert weights.keys() == load_weights(models / "seed-model" / "weights.safetensors").keys()
    assert "numbers trained (lora, rank 2)" in done.stderr


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tune", "some", "--tune is one of full, lora, head, image, text"),
        ("rank", 0, "rank of low-rank changes"),
        ("layer_decay", 0.0, "decay by layers"),
        ("layer_decay", 1.5, "decay by layers"),
        ("patience", -1, "patience is a number of epochs"),
    ],
)
def test_values_that_make_no_sense(field: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(Path("/a"), start="/model", **{field: value})


def test_from_scratch_everything_is_trained() -> None:
    with pytest.raises(UsageError, match="--tune chooses what fine-tuning changes"):
        options(Path("/a"), tune="lora")


def test_rates_fall_from_the_end_of_each_tower_to_its_beginning() -> None:
    names = [name for name, _ in Clip(RESNET).named_parameters()]
    scales = layer_scales(names, 0.5)
    assert scales["logit_scale"] == scales["image_tower.attnpool.c_proj.weight"] == 1
    assert scales["image_tower.layer2.0.conv1.weight"] == 0.5
    assert scales["image_tower.layer1.0.conv1.weight"] == 0.25
    assert scales["image_tower.conv1.weight"] == scales["image_tower.bn3.bias"] == 0.125
    assert scales["text_tower.text_projection"] == scales["text_tower.ln_final.weight"] == 1
    assert scales["text_tower.transformer.resblocks.0.mlp.c_fc.weight"] == 0.5
    assert scales["text_tower.token_embedding.weight"] == scales["text_tower.positional_embedding"] == 0.25
    vit = layer_scales([name for name, _ in Clip(VIT).named_parameters()], 0.5)
    assert (
        vit["image_tower.conv1.weight"] == vit["image_tower.class_embedding"] == vit["image_tower.ln_pre.bias"] == 0.25
    )
    mobile = layer_scales([name for name, _ in Clip(MOBILE).named_parameters()], 0.5)
    ends = [
        mobile[f"image_tower.{name}.weight"]
        for name in ("stem.0", "stages.0.blocks.0.mixer.large", "stages.1.down.large", "stages.1.blocks.0.qkv", "head")
        if f"image_tower.{name}.weight" in mobile
    ]
    assert ends == sorted(ends)
    assert (ends[0], ends[-1]) == (0.5**4, 1)
    assert set(layer_scales(names, 1.0).values()) == {1.0}


def test_groups_of_the_optimiser_carry_their_rates() -> None:
    model = Clip(VIT)
    optimiser = make_optimiser([model], options(Path("x"), layer_decay=0.5, weight_decay=0.3))
    scales = layer_scales([name for name, _ in model.named_parameters()], 0.5)
    found = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert found[id(parameter)]["lr_scale"] == scales[name]
    assert found[id(model.get_parameter("text_tower.token_embedding.weight"))]["weight_decay"] == 0.3
    assert found[id(model.get_parameter("text_tower.ln_final.weight"))]["weight_decay"] == 0.0
    assert {group["lr_scale"] for group in make_optimiser([model], options(Path("x"))).param_groups} == {1.0}


def test_a_locked_text_tower_is_asked_once_and_says_what_it_always_says(
    tmp_path: Path, pairs: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tuned(pairs, trained / "models" / "seed-model", "image", epochs=3.0, precision="fp32")
    asked: list[int] = []
    forward = TextTransformer.forward

    def counted(self: TextTransformer, tokens: torch.Tensor) -> torch.Tensor:
        asked.append(len(tokens))
        return forward(self, tokens)

    monkeypatch.setattr(TextTransformer, "forward", counted)
    train(chosen, tmp_path / "once", Told())
    once = len(asked)
    monkeypatch.setattr(locked_texts, "SHARE", 0.0)  # no memory for it
    train(chosen, tmp_path / "each", Told())
    assert len(asked) - once > once + 3
    for name, weights in load_weights(tmp_path / "each" / "best.safetensors").items():
        assert torch.allclose(weights, load_weights(tmp_path / "once" / "best.safetensors")[name], atol=1e-4), name

"""A text tower that is a bag of words: what counts in it, and that its export agrees with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import UsageError
from export.bundle import export_bundle
from tests.export.towers import PREPROCESS, make_towers, samples, save_vocabulary
from trainer.architectures import architecture
from trainer.bag_text_tower import BagTextTower
from trainer.config import ArchConfig, TextConfig
from trainer.towers import Clip

BAG = TextConfig(width=32, layers=1, heads=1, context_length=12, vocab_size=10, form="bag")


def test_the_order_of_words_and_what_stands_behind_the_end_change_nothing() -> None:
    torch.manual_seed(0)
    tower = BagTextTower(BAG, 24)
    tokens = torch.tensor([[8, 1, 2, 9, 0, 0], [8, 2, 1, 9, 5, 6], [8, 1, 3, 9, 0, 0]])
    with torch.inference_mode():
        one, other, third = tower(tokens)
        assert torch.allclose(one, other, atol=1e-6)
        assert not torch.allclose(one, third, atol=1e-3)
        assert torch.allclose(one, tower(tokens[:1, :4])[0], atol=1e-6)
        mean = tower.token_embedding(tokens[0, :4]).mean(dim=0)
        assert torch.allclose(one, tower.ln_final(mean) @ tower.text_projection, atol=1e-6)


def test_layers_that_a_bag_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="bag"):
        dataclasses.replace(BAG, layers=2)
    config = architecture("RN-nano-64-bag")
    assert ArchConfig.from_dict(config.to_dict()) == config
    assert isinstance(Clip(config).text_tower, BagTextTower)


def test_the_export_agrees_with_the_towers(tmp_path: Path) -> None:
    tokenizer: Tokenizer = save_vocabulary(tmp_path / "tokenizer.json")
    like = make_towers("vit", tokenizer.vocab_size).config
    torch.manual_seed(0)
    text = dataclasses.replace(BAG, vocab_size=tokenizer.vocab_size)
    spec = export_bundle(
        Clip(dataclasses.replace(like, name="tiny-bag", text=text)),
        folder=tmp_path / "bundle",
        name="tiny-bag",
        tokenizer_file=tmp_path / "tokenizer.json",
        preprocess=PREPROCESS,
        samples=samples(),
        licence="MIT",
        precisions=("fp32",),
    )
    assert spec.causal_text
    assert spec.towers is not None
    assert spec.towers["text"]["form"] == "bag"
    parity = spec.variants[0].parity
    assert parity is not None
    assert parity["text_min_cosine"] >= 0.99999

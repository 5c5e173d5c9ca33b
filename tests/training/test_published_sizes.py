"""Parameter counts of the named architectures against those of the models as published."""

from __future__ import annotations

import pytest
import torch

from trainer.architectures import ARCHITECTURES
from trainer.towers import Clip

# As open_clip 3.3.0 builds them (logit scale included; for sigmoid models the bias too), which is what was published.
COUNTS = {
    "RN50": 102_007_137,
    "RN101": 119_688_033,
    "RN50x4": 178_300_601,
    "RN50x16": 290_979_217,
    "RN50x64": 623_258_305,
    "ViT-B/32": 151_277_313,
    "ViT-B/16": 149_620_737,
    "ViT-L/14": 427_616_513,
    "ViT-L/14@336px": 427_944_193,
    "ViT-H/14": 986_109_441,
    "ViT-g/14": 1_366_678_273,
    "ViT-bigG/14": 2_539_567_105,
    "SigLIP-B/16": 203_155_970,
    "SigLIP-B/16-512": 203_791_874,
    "SigLIP-L/16-256": 652_150_786,
    "SigLIP-L/16-384": 652_478_466,
    "SigLIP-So400m/14": 877_360_306,
    "SigLIP-So400m/14-384": 877_960_498,
    "SigLIP2-B/32-256": 376_856_066,
    "SigLIP2-B/16": 375_187_970,
    "SigLIP2-L/16-512": 882_313_218,
    "SigLIP2-So400m/14": 1_135_463_602,
    "SigLIP2-So400m/16-256": 1_135_670_962,
    "SigLIP2-g/16-256": 1_871_393_906,
}
# Millions, image and text tower: Vasu et al. 2024, table 1, counts them as trained; folded they have a little less.
MOBILE = {
    "MobileCLIP-S0": (11.4, 42.4),
    "MobileCLIP-S1": (21.5, 63.4),
    "MobileCLIP-S2": (35.7, 63.4),
    "MobileCLIP-B": (86.3, 63.4),
}


def towers(name: str) -> Clip:
    with torch.device("meta"):
        return Clip(ARCHITECTURES[name])


@pytest.mark.parametrize("name", COUNTS)
def test_as_published(name: str) -> None:
    assert sum(parameter.numel() for parameter in towers(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", MOBILE)
def test_mobileclip_to_a_tenth_of_a_million(name: str) -> None:
    model = towers(name)
    counts = [sum(one.numel() for one in tower.parameters()) / 1e6 for tower in (model.image_tower, model.text_tower)]
    assert counts == pytest.approx(MOBILE[name], abs=0.1)


def test_openclip_forms_differ_in_the_activation_alone() -> None:
    for name in ("RN50", "ViT-B/32", "ViT-L/14@336px"):
        paper, other = ARCHITECTURES[name], ARCHITECTURES[f"{name}-gelu"]
        assert (paper.activation, other.activation) == ("quick_gelu", "gelu")
        assert (paper.image, paper.text, paper.embedding_dim) == (other.image, other.text, other.embedding_dim)

"""MobileCLIP under Apple's names: what is folded computes what the branches of training compute."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clipcli.bundle.probe import smallest_cosine
from clipcli.errors import ModelError
from tests.reading.mobileclip_in_training import TrainedMobileClip
from tests.reading.public_formats import write_merges
from trainer.architectures import ARCHITECTURES
from trainer.config import MobileConfig, TextConfig
from trainer.reading.found import Choices
from trainer.reading.importing import read_model
from trainer.reading.names import from_openclip
from trainer.towers import Clip

WIDTHS, BLOCKS, VOCABULARY = (32, 32, 64, 64), (1, 2, 1, 2), 60


def tokens() -> Tensor:
    rows = torch.randint(0, VOCABULARY - 1, (5, 77), generator=torch.Generator().manual_seed(1))
    for row, end in zip(rows, (1, 3, 20, 75, 76), strict=True):
        row[end], row[end + 1 :] = VOCABULARY - 1, 0
    return rows


@pytest.mark.parametrize("mixing", [True, False])
def test_small_towers(mixing: bool) -> None:
    torch.manual_seed(2)
    peer = TrainedMobileClip(
        widths=WIDTHS, blocks=BLOCKS, layers=2, mixing=mixing, text_width=24, heads=3, dim=40, vocabulary=VOCABULARY
    )
    text = TextConfig(
        width=24, layers=2, heads=3, vocab_size=VOCABULARY, causal=False, form="mobile" if mixing else "clip"
    )
    arch = dataclasses.replace(
        ARCHITECTURES["MobileCLIP-S0"],
        embedding_dim=40,
        image=MobileConfig(image_size=64, widths=WIDTHS, layers=BLOCKS),
        text=text,
    )
    ours = Clip(arch).eval().requires_grad_(False)
    state = from_openclip(peer.state_dict())
    assert state.keys() == ours.state_dict().keys()
    ours.load_state_dict(state)
    pixels = torch.randn(3, 3, 64, 64)
    for one, other in (
        (ours.encode_image(pixels, normalise=False), peer.encode_image(pixels)),
        (ours.encode_text(tokens(), normalise=False), peer.encode_text(tokens())),
    ):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-5)


def test_s0_is_found_out_and_prepared_as_apple_does(tmp_path: Path) -> None:
    torch.manual_seed(3)
    peer = TrainedMobileClip(widths=(64, 128, 256, 512), blocks=(2, 6, 10, 2), layers=4, mixing=True)
    torch.save(peer.state_dict(), tmp_path / "mobileclip_s0.pt")
    write_merges(tmp_path / "merges.txt")
    found = read_model(tmp_path / "mobileclip_s0.pt", Choices())
    assert found.config == ARCHITECTURES["MobileCLIP-S0"]
    prepared = found.preprocess
    assert (prepared.image_size, prepared.resize, prepared.interpolation) == (256, "shortest", "bilinear")
    assert (prepared.mean, prepared.std) == ((0.0,) * 3, (1.0,) * 3)
    ours = Clip(found.config).eval()
    ours.load_state_dict(found.state)
    row = torch.zeros(1, 77, dtype=torch.long)
    row[0, :4] = torch.tensor([49406, 320, 2368, 49407])
    with torch.no_grad():
        text = ours.encode_text(row)
    expected = torch.nn.functional.normalize(peer.encode_text(row), dim=-1)
    assert smallest_cosine(text.numpy(), expected.numpy()) > 0.999999
    (tmp_path / "folder").mkdir()
    for name in ("mobileclip_s0.pt", "merges.txt"):
        (tmp_path / name).rename(tmp_path / "folder" / name)
    assert read_model(tmp_path / "folder", Choices()).config == ARCHITECTURES["MobileCLIP-S0"]


@pytest.mark.parametrize(
    "name", ["text_encoder.transformer.0.layer_scale", "image_encoder.model.network.0.0.token_mixer.norm.rbr_skip.bias"]
)
def test_parts_that_are_missing(name: str) -> None:
    peer = TrainedMobileClip(
        widths=WIDTHS, blocks=BLOCKS, layers=1, mixing=True, text_width=24, heads=3, dim=40, vocabulary=VOCABULARY
    )
    state = {key: tensor for key, tensor in peer.state_dict().items() if key != name}
    with pytest.raises(ModelError, match="not as MobileCLIP's are"):
        from_openclip(state)

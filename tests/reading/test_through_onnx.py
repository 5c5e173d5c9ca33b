"""What a peer computes, through import, a bundle and ONNX Runtime; and each form of tower as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.probe import smallest_cosine
from export.graph import image_graph, text_graph
from export.importing import import_model
from tests.reading.lively import load, pixels
from tests.reading.public_formats import write
from trainer.config import ArchConfig, MobileConfig, TextConfig, TextForm, ViTConfig
from trainer.reading.found import Choices
from trainer.towers import Clip

EXACT = 0.99999  # measured: 1 - 2e-7 and better


@pytest.mark.parametrize("name", ["openai-vit-quick", "openclip-resnet-quick", "openclip-siglip2", "transformers-clip"])
def test_embeddings_are_the_peers(name: str, tmp_path: Path) -> None:
    reference = load(name)
    found = import_model(write(reference, tmp_path / "source"), name="it", choices=Choices(), say=lambda _: None)
    model = Model.load(found.folder, device="cpu")
    assert smallest_cosine(model.encode_images(pixels(reference.size).numpy()), reference.images) >= EXACT
    assert smallest_cosine(model.encode_tokens(reference.tokens.numpy()), reference.texts) >= EXACT


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (MobileConfig(image_size=64, widths=(32, 32, 64, 64), layers=(1, 1, 1, 1)), "mobile"),
        (ViTConfig(image_size=32, patch_size=16, width=64, layers=2, heads=2, form="mobile"), "clip"),
        (ViTConfig(image_size=33, patch_size=8, width=48, layers=2, heads=2, form="siglip"), "siglip"),
    ],
    ids=["convolutional", "mobile", "siglip"],
)
def test_each_form_of_tower_as_a_graph(image: MobileConfig | ViTConfig, text: TextForm) -> None:
    torch.manual_seed(4)
    words = TextConfig(width=48, layers=2, heads=2, context_length=12, vocab_size=50, form=text, causal=False)
    model = Clip(ArchConfig(name="small", embedding_dim=48, image=image, text=words, activation="gelu")).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    shown = torch.randn(3, 3, image.image_size, image.image_size)
    tokens = torch.randint(0, 49, (4, 12))
    for row, end in enumerate((1, 4, 10, 11)):
        tokens[row, end], tokens[row, end + 1 :] = 49, 0
    with torch.no_grad():
        expected = model.encode_image(shown).numpy(), model.encode_text(tokens).numpy()
    graphs = image_graph(model, image.image_size), text_graph(model, 12)
    for graph, given, wanted in zip(graphs, (shown, tokens), expected, strict=True):
        assert smallest_cosine(run(graph, given.numpy()), wanted) >= EXACT


def run(graph: onnx.ModelProto, given: NDArray[Any]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {graph.graph.input[0].name: given})[0]
    return found

"""Graphs are written so that ONNX Runtime fuses what it can: by what is left after its own optimisation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from export.graph import image_graph, text_graph
from export.quantise import quantise
from tests.export.towers import CONTEXT
from trainer.config import ArchConfig, TextConfig, ViTConfig
from trainer.towers import Clip

LAYERS = 3


@pytest.fixture(scope="module")
def model() -> Clip:
    torch.manual_seed(0)
    image = ViTConfig(image_size=32, patch_size=8, width=48, layers=LAYERS, heads=2)
    text = TextConfig(width=32, layers=LAYERS, heads=2, context_length=CONTEXT, vocab_size=60)
    return Clip(ArchConfig(name="tiny", embedding_dim=24, image=image, text=text, activation="gelu")).eval()


@pytest.fixture(scope="module")
def image(model: Clip) -> onnx.ModelProto:
    return image_graph(model, 32)


@pytest.fixture(scope="module")
def text(model: Clip) -> onnx.ModelProto:
    return text_graph(model, CONTEXT)


def optimised(graph: onnx.ModelProto, folder: Path) -> Counter[str]:
    """How many of each operation are left."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def run(graph: onnx.ModelProto, given: NDArray[np.generic]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: given})[0])


def test_an_image_tower_is_products_with_their_bias_and_whole_activations(
    image: onnx.ModelProto, tmp_path: Path
) -> None:
    left = optimised(image, tmp_path)
    assert left["Gelu"] + left["BiasGelu"] == LAYERS
    assert left["Erf"] == left["Conv"] == left["Sigmoid"] == 0
    # Input, output and two layers of each block, one more in the last, where the query is of one position.
    assert left["Gemm"] >= 4 * LAYERS + 1
    assert left["FusedMatMul"] == LAYERS  # scores with their scale
    eight_bits = optimised(quantise(image), tmp_path)
    assert eight_bits["DynamicQuantizeMatMul"] >= 4 * LAYERS + 1
    assert eight_bits["MatMulInteger"] == 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_pictures_and_texts_of_any_length(
    model: Clip, image: onnx.ModelProto, text: onnx.ModelProto, count: int
) -> None:
    torch.manual_seed(count)
    pixels = torch.randn(count, 3, 32, 32)
    with torch.no_grad():
        expected = model.encode_image(pixels, normalise=True).numpy()
    assert np.allclose(run(image, pixels.numpy()), expected, atol=1e-6)
    for length in (3, CONTEXT):
        tokens = torch.randint(1, 58, (count, length))
        tokens[torch.arange(count), torch.randint(1, length, (count,))] = 59  # the end, at a place of each one's own
        with torch.no_grad():
            expected = model.encode_text(tokens, normalise=True).numpy()
        assert np.allclose(run(text, tokens.numpy()), expected, atol=1e-6)


def test_what_stands_behind_the_end_changes_nothing(text: onnx.ModelProto) -> None:
    tokens = np.array([[1, 7, 9, 59, 0, 0, 0, 0]])
    other = np.array([[1, 7, 9, 59, 33, 2, 58, 4]])
    assert np.allclose(run(text, tokens), run(text, other), atol=1e-6)
    assert np.allclose(run(text, tokens), run(text, tokens[:, :4]), atol=1e-6)

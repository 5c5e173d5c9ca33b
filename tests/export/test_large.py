"""Towers beyond what one file of protocol buffers holds, with the limit brought down to where small ones meet it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from clipcli.bundle.encoder import Model
from clipcli.bundle.installed import install
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.bundle.verify import verify
from export import bundle, graph, graph_files
from export.bundle import export_bundle
from tests.export.towers import CONTEXT, PREPROCESS, make_towers, samples, save_vocabulary


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bundle, graph, graph_files):
        monkeypatch.setattr(module, "LARGEST", 20_000)


def test_weights_lie_beside_the_graph_and_the_bundle_stays_whole(
    low_limit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP_MODELS", str(tmp_path / "models"))
    tokenizer_file = tmp_path / "tokenizer.json"
    save_vocabulary(tokenizer_file)
    model = make_towers("vit", Tokenizer.load(tokenizer_file, CONTEXT).vocab_size)
    said: list[str] = []
    folder = tmp_path / "bundle"
    spec = export_bundle(
        model,
        folder=folder,
        name="large",
        tokenizer_file=tokenizer_file,
        preprocess=PREPROCESS,
        samples=samples(8),
        precisions=("fp16", "fp32", "int8"),
        say=said.append,
    )
    assert said == ["int8 is not made: a tower has 0.0 GB of weights, and the quantiser ends at 2"]
    assert {variant.precision for variant in spec.variants} == {"fp16", "fp32"}
    assert "text.fp32.onnx.weights" in spec.files
    assert (folder / "image.onnx").stat().st_size < (folder / "image.fp32.onnx.weights").stat().st_size
    assert onnx.load(str(folder / "text.onnx"), load_external_data=False).graph.initializer
    installed = install(folder, name="large")
    assert all(check.passed for check in verify(installed, device="cpu"))
    texts = Model.load(installed, device="cpu", precision="fp32").encode_texts(["a cat", ""])
    assert np.allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)


def test_a_refused_variant_takes_its_weights_along(tmp_path: Path) -> None:
    for name in ("image.onnx", "image.onnx.weights", "text.onnx"):
        (tmp_path / name).write_bytes(b"x")
    graph_files.remove_graph(tmp_path / "image.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]

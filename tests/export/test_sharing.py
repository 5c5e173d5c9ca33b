"""fp16 graphs point into the weights for training: the same numbers, found however the exporter has turned them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from clipcli.bundle import first_use
from clipcli.bundle.encoder import Model
from clipcli.bundle.foreign.bundles import check_graphs
from clipcli.bundle.installed import install
from clipcli.bundle.spec import WEIGHTS_FILE, read_spec
from clipcli.bundle.verify import verify
from clipcli.errors import ModelError
from export.halves import SMALL
from export.sharing import share_weights
from export.weights import stored, write_weights
from tests.export.conftest import Done
from tests.export.test_parts import product

LUCK = np.random.default_rng(5)


def external(graph: onnx.ModelProto) -> dict[str, dict[str, str]]:
    """Place and length of the tensors that lie elsewhere."""
    return {
        weight.name: {entry.key: entry.value for entry in weight.external_data}
        for weight in graph.graph.initializer
        if weight.data_location == TensorProto.EXTERNAL
    }


def test_halves_are_not_written_twice(done: Done) -> None:
    variant = done.spec.variant("fp16")
    assert variant.data == (WEIGHTS_FILE,)
    for name in (variant.image, variant.text):
        graph = onnx.load(str(done.folder / name), load_external_data=False)
        inside = [w for w in graph.graph.initializer if w.data_location != TensorProto.EXTERNAL]
        assert external(graph)
        assert [weight.name for weight in inside if np.prod(weight.dims) >= SMALL] == []


def test_numbers_are_those_of_the_towers_with_halves(done: Done) -> None:
    """Cosine 1 within 1e-6: a batch norm's factor is found by least squares, and off in its last digits."""
    from export.source import open_source
    from tests.export.towers import PREPROCESS, samples

    rounded = open_source(done.folder).model
    pixels = samples().pixels(PREPROCESS)
    with torch.no_grad():
        expected = rounded.encode_image(torch.from_numpy(pixels)).numpy()
    found = Model.load(done.folder, device="cpu", precision="fp16", threads=1).encode_images(pixels)
    assert np.abs(found - expected).max() < 5e-4  # 1e-6 where the weights were halves to begin with


def test_an_installed_copy_is_whole_and_may_come_from_elsewhere(
    done_vit: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP_MODELS", str(tmp_path / "models"))
    copy = install(done_vit.folder, name="copy")
    spec = read_spec(copy)
    check_graphs(copy, spec)
    assert all(check.passed for check in verify(copy, device="cpu"))
    strange = tuple(dataclasses.replace(variant, data=()) for variant in spec.variants)
    with pytest.raises(ModelError, match=r"keeps weights in weights\.safetensors"):
        check_graphs(copy, dataclasses.replace(spec, variants=strange))


def test_cut_weights_are_noticed_before_anything_runs(done_vit: Done, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(done_vit.folder, folder)
    (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"weights\.safetensors has \d+ bytes"):
        Model.load(folder, device="cpu", precision="fp16")
    Model.load(folder, device="cpu", precision="fp32")  # which has its own


def test_other_weights_are_another_graph_to_caches(done_vit: Done) -> None:
    spec, halves = done_vit.spec, done_vit.spec.variant("fp16")
    other = dataclasses.replace(spec, files={**spec.files, WEIGHTS_FILE: {"sha256": "0" * 64, "bytes": 1}})
    for tower in ("image", "text"):
        assert spec.graph_digest(halves, tower) != other.graph_digest(halves, tower)
        assert first_use._key(spec, halves, tower, "cpu") != first_use._key(other, halves, tower, "cpu")
    own = spec.variant("fp32")
    assert spec.graph_digest(own, "image") == spec.files[own.image]["sha256"]


def computed(graph: onnx.ModelProto, folder: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    onnx.save(graph, str(folder / "graph.onnx"))
    onnx.checker.check_model(str(folder / "graph.onnx"))
    session = onnxruntime.InferenceSession(str(folder / "graph.onnx"), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def kept_in(folder: Path, *, exact: bool = False, **tensors: NDArray[np.float32]) -> dict[str, torch.Tensor]:
    kept = stored({name: torch.from_numpy(values) for name, values in tensors.items()}, exact=exact)
    write_weights(folder, kept)
    return kept


@pytest.mark.parametrize("way", ["as it is", "transposed", "rows", "rows transposed", "float32"])
def test_products(way: str, tmp_path: Path) -> None:
    weight = LUCK.normal(size=(40, 60)).astype(np.float32)
    before = LUCK.normal(size=(3, 40) if way == "rows" else (7,)).astype(np.float32)
    others = LUCK.normal(size=(40, 60)).astype(np.float32)
    whole = {
        "as it is": weight,
        "transposed": weight.T.copy(),
        "rows": np.concatenate([others, weight, others]),
        "rows transposed": np.concatenate([others.T, others.T, weight.T]),
        "float32": weight,
    }[way]
    kept = kept_in(tmp_path, exact=way == "float32", a=before, b=whole, c=others)
    bias = np.zeros(60, dtype=np.float32)
    shared = share_weights(product(weight, bias), kept, tmp_path / WEIGHTS_FILE)
    (place,) = external(shared).values()
    assert int(place["length"]) == weight.size * (4 if way == "float32" else 2)
    x = LUCK.normal(size=(5, 40)).astype(np.float32)
    used = weight if way == "float32" else weight.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(computed(shared, tmp_path, x), x @ used, atol=2e-5)


def test_what_is_not_there_stays_inside_as_halves(tmp_path: Path) -> None:
    weight = LUCK.normal(size=(40, 60)).astype(np.float32)
    near = weight.copy()
    near[-1, -1] += 0.01
    kept = kept_in(tmp_path, a=near, b=weight[:, :50].copy(), c=-weight)
    shared = share_weights(product(weight, weight[0]), kept, tmp_path / WEIGHTS_FILE)
    assert external(shared) == {}
    assert {w.name for w in shared.graph.initializer} == {"w.half", "b"}


def test_channels_of_a_filter_may_be_scaled_but_not_bent(tmp_path: Path) -> None:
    filters = LUCK.normal(size=(12, 16, 3, 3)).astype(np.float32)
    filters[4] = 0
    factors = LUCK.normal(size=12).astype(np.float32)
    folded = filters * factors[:, None, None, None]
    kept = kept_in(tmp_path, conv=filters)
    for values, found in ((folded, 1), (folded + np.float32(0.01) * (filters > 1), 0)):
        node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
        sizes: list[str | int] = ["batch", 16, 3, 3]
        given = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
        out = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 12, 1, 1])
        weights = [onnx.numpy_helper.from_array(values, "w")]
        graph = onnx.helper.make_graph([node], "conv", [given], [out], weights)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
        shared = share_weights(model, kept, tmp_path / WEIGHTS_FILE)
        assert len(external(shared)) == found
        x = LUCK.normal(size=(2, 16, 3, 3)).astype(np.float32)
        expected = np.einsum("nchw,kchw->nk", x, values)
        np.testing.assert_allclose(computed(shared, tmp_path, x)[:, :, 0, 0], expected, atol=0.02, rtol=2e-3)

"""The parts of an export: stored halves, int8 tables and convolutions, weights, identity, samples, parity figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from clipcli.bundle.preprocess import resize_and_crop
from clipcli.bundle.probe import COSINE_FLOORS
from clipcli.errors import DataError, NotFoundError
from export.halves import store_as_half
from export.parity import RECALL_LIMITS, Embeddings, compare, faults
from export.quantise import quantise
from export.samples import SENTENCES, Samples, made_samples, read_samples
from export.weights import identity, stored
from tests.export.conftest import Done
from tests.export.towers import PREPROCESS, write_pairs

# --- fp16 --------------------------------------------------------------------------------------------------------


def product(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> onnx.ModelProto:
    """y = x @ weight + bias."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", weight.shape[0]])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", weight.shape[1]])
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "product", [given], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto, **given: NDArray[np.generic]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, given)[0])


def types(model: onnx.ModelProto) -> dict[str, int]:
    return {weight.name: weight.data_type for weight in model.graph.initializer}


def test_large_weights_are_stored_as_halves_and_small_ones_stay_exact() -> None:
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(40, 30)).astype(np.float32), random.normal(size=30).astype(np.float32)
    model = product(weight, bias)
    halved = store_as_half(model)
    onnx.checker.check_model(halved, full_check=True)
    assert types(halved) == {"w.half": TensorProto.FLOAT16, "b": TensorProto.FLOAT}
    assert types(model) == {"w": TensorProto.FLOAT, "b": TensorProto.FLOAT}  # the one given is not touched
    x = random.normal(size=(3, 40)).astype(np.float32)
    expected = x @ weight.astype(np.float16).astype(np.float32) + bias
    assert np.allclose(run(halved, x=x), expected, atol=1e-5)


def test_weights_that_halves_cannot_hold_stay() -> None:
    weight = np.ones((40, 30), dtype=np.float32)
    weight[0, 0] = 1e6
    assert types(store_as_half(product(weight, weight[0])))["w"] == TensorProto.FLOAT


# --- int8 --------------------------------------------------------------------------------------------------------


def test_a_large_table_keeps_a_scale_per_row() -> None:
    """Rows a thousand times apart: one scale for all would wipe the small ones out."""
    random = np.random.default_rng(0)
    table = random.normal(size=(2000, 64)).astype(np.float32) * np.logspace(-3, 0, 2000, dtype=np.float32)[:, None]
    table[5] = 0
    nodes = [helper.make_node("Gather", ["table", "ids"], ["y"], axis=0)]
    given = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 64])
    graph = helper.make_graph(nodes, "lookup", [given], [out], [numpy_helper.from_array(table, "table")])
    small = quantise(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    onnx.checker.check_model(small)
    assert TensorProto.INT8 in types(small).values()
    assert small.ByteSize() < 0.3 * table.nbytes
    ids = random.integers(0, 2000, (3, 50))
    rows, wanted = run(small, ids=ids), table[ids]
    off = np.abs(rows - wanted).max(axis=2)
    assert (off <= np.abs(wanted).max(axis=2) / 127 / 2 + 1e-9).all()
    assert (run(small, ids=np.array([[5]])) == 0).all()


def operators(path: Path) -> list[onnx.NodeProto]:
    return list(onnx.load(str(path)).graph.node)


def test_inner_convolutions_are_static_and_the_one_on_pixels_is_not(done_resnet: Done, done_vit: Done) -> None:
    nodes = operators(done_resnet.folder / "image.int8.onnx")
    made_by = {name: node for node in nodes for name in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    on_pixels = [node for node in convolutions if node.input[0] == "pixels"]
    assert len(on_pixels) == 1
    for node in convolutions:
        if node not in on_pixels:
            assert made_by[node.input[0]].op_type == "DequantizeLinear"
            assert made_by[node.input[1]].op_type == "DequantizeLinear"
    assert len(convolutions) > 5
    assert [node.op_type for node in operators(done_vit.folder / "image.int8.onnx")].count("QuantizeLinear") == 0


def test_products_with_weights_are_in_eight_bits(done: Done) -> None:
    for name in ("image.int8.onnx", "text.int8.onnx"):
        kinds = [node.op_type for node in operators(done.folder / name)]
        assert "MatMulInteger" in kinds
        assert "Gemm" not in kinds


def test_without_calibration_the_convolutions_stay_as_they_are(done_resnet: Done) -> None:
    small = quantise(onnx.load(str(done_resnet.folder / "image.onnx")))
    kinds = [node.op_type for node in small.graph.node]
    assert "QuantizeLinear" not in kinds
    assert "MatMulInteger" in kinds


# --- weights -----------------------------------------------------------------------------------------------------


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "b.weight": torch.randn(4, 6),
        "a.conv": torch.randn(2, 3, 3, 3),
        "bn.running_var": torch.full((4,), 1e-9),
        "bn.num_batches_tracked": torch.tensor(7),
        "logit_scale": torch.tensor(2.659),
        "huge": torch.full((2, 2), 1e6),
    }


def test_matrices_are_halves_and_what_is_small_stays_exact() -> None:
    kept = stored(state())
    assert list(kept) == sorted(state())
    assert {name: value.dtype for name, value in kept.items()} == {
        "a.conv": torch.float16,
        "b.weight": torch.float16,
        "bn.num_batches_tracked": torch.int64,
        "bn.running_var": torch.float32,
        "huge": torch.float32,
        "logit_scale": torch.float32,
    }
    assert torch.equal(kept["bn.running_var"], state()["bn.running_var"])


def test_tensors_that_share_memory_or_are_transposed_can_be_stored() -> None:
    base = torch.randn(6, 6)
    kept = stored({"a": base, "b": base, "c": base.T})
    assert kept["a"].data_ptr() != kept["b"].data_ptr()
    assert kept["c"].is_contiguous()


def test_the_identity_is_over_all_that_decides_the_vectors() -> None:
    def make(tensors: dict[str, torch.Tensor], **changes: object) -> str:
        values: dict[str, object] = {"preprocess": PREPROCESS, "tokenizer": b"{}", "context_length": 12, **changes}
        return identity(stored(tensors), **values)  # type: ignore[arg-type]

    first = make(state())
    assert len(first) == 64
    assert make(state()) == first
    assert make(stored(state())) == first  # weights read back from a bundle
    assert make(dict(reversed(state().items()))) == first
    others = [
        make({**state(), "b.weight": state()["b.weight"] * 1.01}),
        make({**state(), "b.weight": state()["b.weight"].reshape(6, 4)}),
        make({name if name != "huge" else "vast": value for name, value in state().items()}),
        make(state(), preprocess=dataclasses.replace(PREPROCESS, interpolation="bilinear")),
        make(state(), tokenizer=b"[]"),
        make(state(), context_length=13),
    ]
    assert len({first, *others}) == 7


# --- samples -----------------------------------------------------------------------------------------------------


def test_made_pictures_are_always_the_same_and_differ_from_one_another() -> None:
    first, again = made_samples(PREPROCESS), made_samples(PREPROCESS)
    assert np.array_equal(first.images, again.images)
    assert first.images.shape == (12, 32, 32, 3)
    assert len({image.tobytes() for image in first.images}) == 12
    assert 40 < first.images.std() < 90  # as photographs: neither grey nor all black and white
    assert first.texts == SENTENCES


def test_pairs_are_read_with_their_captions(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path)
    found = read_samples([pairs], PREPROCESS)
    assert found.images.shape == (8, 32, 32, 3)
    expected = resize_and_crop(Image.open(tmp_path / "3.png").convert("RGB"), PREPROCESS)
    assert np.array_equal(found.images[3], np.asarray(expected))
    assert found.texts[3].endswith(" 3")
    assert found.text_to_image is not None
    assert found.text_to_image.tolist() == list(range(8))


def test_a_line_a_caption_is_one_picture_with_several(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, count=4)
    lines = [f"{number % 4}.png;said {number}" for number in range(10)]
    pairs.write_text("\n".join(["scan;legend", *lines]), "utf-8")
    found = read_samples([pairs], PREPROCESS, limit=3, columns=("scan", "legend"))
    assert len(found.images) == 3
    assert found.texts == ("said 0", "said 4", "said 8", "said 1", "said 5", "said 9", "said 2", "said 6")
    assert found.text_to_image is not None
    assert found.text_to_image.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_an_unreadable_picture_is_left_out_with_its_captions(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path)
    (tmp_path / "2.png").write_bytes(b"no picture")
    found = read_samples([pairs], PREPROCESS)
    assert len(found.images) == 7
    assert not any(text.endswith(" 2") for text in found.texts)
    assert found.text_to_image is not None
    assert found.text_to_image.tolist() == list(range(7))


def test_a_limit_is_shared_among_the_sources(tmp_path: Path) -> None:
    sources = [write_pairs(tmp_path / name) for name in ("one", "two")]
    assert len(read_samples(sources, PREPROCESS, limit=6).images) == 6


def test_a_folder_of_pictures_needs_no_captions(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    found = read_samples([tmp_path], PREPROCESS)
    assert len(found.images) == 8
    assert found.texts == SENTENCES
    assert found.text_to_image is None


def test_a_folder_of_classes_is_asked_by_its_labels(tmp_path: Path) -> None:
    for label in ("cat", "golden_retriever"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (40, 40), "red").save(tmp_path / label / "a.png")
    assert read_samples([tmp_path], PREPROCESS).texts == ("a photo of a cat.", "a photo of a golden retriever.")


def test_no_picture_at_all_is_an_error(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, count=1)
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no picture that can be read"):
        read_samples([pairs], PREPROCESS)
    with pytest.raises(NotFoundError):
        read_samples([tmp_path / "missing.csv"], PREPROCESS)
    with pytest.raises(DataError):
        Samples(images=np.empty((0, 32, 32, 3), dtype=np.uint8), texts=("a",))


# --- parity ------------------------------------------------------------------------------------------------------


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_figures_are_the_worst_cosines_and_the_change_of_recall() -> None:
    random = np.random.default_rng(0)
    count = 250
    images, texts = unit(random.normal(size=(count, 8))), unit(random.normal(size=(count, 8)))
    samples = Samples(
        images=np.zeros((count, 2, 2, 3), dtype=np.uint8), texts=("x",) * count, text_to_image=np.arange(count)
    )
    reference = Embeddings(images=images, texts=images)  # every text finds its picture first
    same = compare(reference, reference, samples)
    assert same == {
        "image_min_cosine": 1.0,
        "text_min_cosine": 1.0,
        "images": 250,
        "texts": 250,
        "recall10_change": 0.0,
        "top10_overlap": 1.0,
    }
    worse = compare(reference, Embeddings(images=images, texts=texts), samples)
    assert worse["image_min_cosine"] == 1.0
    assert worse["text_min_cosine"] == pytest.approx(float((images * texts).sum(axis=1).min()), abs=1e-5)
    assert worse["recall10_change"] > 80
    assert 0 < worse["top10_overlap"] < 0.1  # by chance 10 of 250
    swapped = images.copy()
    swapped[:, -1] *= -1
    here, there = images @ images.T, images @ swapped.T
    shares = [len(set(np.argsort(-a)[:10]) & set(np.argsort(-b)[:10])) / 10 for a, b in zip(here, there, strict=True)]
    other = compare(reference, Embeddings(images=swapped, texts=images), samples)
    assert other["top10_overlap"] == pytest.approx(np.mean(shares), abs=1e-4)


def test_recall_says_nothing_about_a_handful() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(20, 8)))
    samples = Samples(images=np.zeros((20, 2, 2, 3), dtype=np.uint8), texts=("x",) * 20, text_to_image=np.arange(20))
    both = Embeddings(images=rows, texts=rows)
    assert "recall10_change" not in compare(both, both, samples)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_figure_can_refuse_a_variant(precision: str) -> None:
    floor, limit = COSINE_FLOORS[precision], RECALL_LIMITS[precision]
    good = {"image_min_cosine": floor, "text_min_cosine": floor, "recall10_change": limit, "texts": 5000}
    assert faults(precision, good) == ""
    assert "image cosine" in faults(precision, {**good, "image_min_cosine": floor - 1e-5})
    assert "text cosine" in faults(precision, {**good, "text_min_cosine": -1.0})
    assert "recall@10 changes" in faults(precision, {**good, "recall10_change": limit + 0.01})


def test_three_near_ties_among_few_texts_refuse_nothing() -> None:
    good = {"image_min_cosine": 1.0, "text_min_cosine": 1.0, "texts": 200}
    assert faults("fp32", {**good, "recall10_change": 1.5}) == ""
    assert faults("fp32", {**good, "recall10_change": 2.0}) != ""

"""Graphs that claim, hide and point: refused before anything is allocated or run, and nothing outside is touched."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clipcli.bundle.foreign import graph_file
from clipcli.bundle.foreign.bundles import check_graphs
from clipcli.bundle.foreign.graph_source import Answers
from clipcli.bundle.foreign.importing import import_graphs
from clipcli.bundle.installed import models_folder
from clipcli.bundle.probe import read_probe
from clipcli.bundle.spec import read_spec
from clipcli.errors import ModelError
from tests.foreign_layouts import make_transformers_js
from tests.tiny_bundle import make_tiny_bundle

GRAPH = "onnx/vision_model.onnx"
Change = Callable[[onnx.ModelProto], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_transformers_js(tmp_path / "model", external=True)


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Two gigabytes more than now: who believes in ten is out of memory, and fails the test."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def changed(folder: Path, change: Change) -> Path:
    path = folder / GRAPH
    model = onnx.load(str(path), load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def refused(folder: Path, told: str) -> None:
    before = sorted(path for path in folder.parent.rglob("*"))
    with pytest.raises(ModelError, match=told) as caught:
        import_graphs(folder, name="theirs", answers=Answers(), say=lambda _: None)
    assert "\n" not in str(caught.value)
    assert not models_folder().exists() or not any(models_folder().iterdir())
    assert sorted(path for path in folder.parent.rglob("*")) == before


def weight(model: onnx.ModelProto) -> TensorProto:
    return next(one for one in model.graph.initializer if one.data_location == TensorProto.EXTERNAL)


def said(tensor: TensorProto, key: str, value: str) -> None:
    for entry in tensor.external_data:
        if entry.key == key:
            entry.value = value
            return
    tensor.external_data.add(key=key, value=value)


@pytest.mark.parametrize(
    "location",
    [
        "../secret",
        "/etc/passwd",
        "a/../../secret",
        "..\\secret",
        "C:\\secret",
        "C:secret",
        "\\\\host\\share",
        "",
        "x\x00y",
    ],
)
def test_weights_outside_the_folder(folder: Path, location: str) -> None:
    (folder / "secret").write_bytes(bytes(100_000))
    changed(folder, lambda model: said(weight(model), "location", location))
    refused(folder, "is kept outside the model's folder")


def test_weights_behind_a_link(folder: Path, tmp_path: Path) -> None:
    data = folder / f"{GRAPH}_data"
    elsewhere = tmp_path / "elsewhere"
    data.rename(elsewhere)
    data.symlink_to(elsewhere)
    refused(folder, "is kept behind a link")
    data.unlink()
    (folder / "onnx" / "linked").symlink_to(tmp_path)
    changed(folder, lambda model: said(weight(model), "location", "linked/elsewhere"))
    refused(folder, "is kept behind a link")


def test_weights_that_are_no_file_or_missing(folder: Path) -> None:
    (folder / f"{GRAPH}_data").unlink()
    refused(folder, "which is missing")
    (folder / f"{GRAPH}_data").mkdir()
    refused(folder, "which is no file")


@pytest.mark.parametrize(
    ("key", "value"), [("length", "10000000000"), ("offset", "10000000000"), ("offset", "-1"), ("offset", "soon")]
)
def test_weights_at_places_that_are_not_there(folder: Path, key: str, value: str) -> None:
    changed(folder, lambda model: said(weight(model), key, value))
    refused(folder, "claims .* bytes from|lies at no readable place")


def test_ten_gigabytes_claimed_outside(folder: Path) -> None:
    def claim(model: onnx.ModelProto) -> None:
        weight(model).dims[:] = [50_000, 50_000]

    changed(folder, claim)
    refused(folder, "claims 10,000,000,000 bytes")


def test_ten_gigabytes_claimed_inside(folder: Path) -> None:
    def claim(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(TensorProto(name="big", data_type=1, dims=[50_000, 50_000], raw_data=b"1234"))

    changed(folder, claim)
    refused(folder, "'big' claims 10,000,000,000 bytes and holds 4")


@pytest.mark.parametrize("dims", [[-5], [1 << 40, 1 << 40]])
def test_sizes_beyond_reason(folder: Path, dims: list[int]) -> None:
    def claim(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(TensorProto(name="big", data_type=1, dims=dims, float_data=[1.0]))

    changed(folder, claim)
    refused(folder, "'big'")


def test_a_claim_hidden_in_an_inner_graph(folder: Path) -> None:
    """A constant in a branch of a branch is found as well."""
    tensor = TensorProto(name="deep", data_type=1, dims=[50_000, 50_000], data_location=TensorProto.EXTERNAL)
    said(tensor, "location", "../../secret")

    def hide(model: onnx.ModelProto) -> None:
        inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])
        outer = helper.make_graph([helper.make_node("If", ["x"], ["y"], then_branch=inner)], "outer", [], [])
        model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=outer))

    changed(folder, hide)
    refused(folder, "'deep' is kept outside")


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand"])
def test_a_giant_made_from_a_shape(folder: Path, operator: str) -> None:
    """Such a node would be carried out while the graph is being opened."""
    shape = numpy_helper.from_array(np.array([100_000, 100_000], dtype=np.int64), "shape")

    def make(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(shape)
        given = ["shape"] if operator == "ConstantOfShape" else ["last", "shape"]
        model.graph.node.append(helper.make_node(operator, given, ["giant"]))

    changed(folder, make)
    refused(folder, "makes a tensor of")


@pytest.mark.parametrize("content", [b"", b"not a graph", b"PK\x03\x04" + bytes(100), bytes(1000)])
def test_no_graph_at_all(folder: Path, content: bytes) -> None:
    (folder / GRAPH).write_bytes(content)
    refused(folder, "is no ONNX graph, or is damaged")


def test_a_graph_larger_than_there_can_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_file, "_LARGEST", 1000)
    refused(folder, "more than an ONNX file can have")


@pytest.mark.parametrize("port", ["sequence", "strange"])
def test_inputs_that_are_not_known(folder: Path, port: str) -> None:
    def add(model: onnx.ModelProto) -> None:
        given = helper.make_tensor_value_info("strange", TensorProto.FLOAT, [1])
        if port == "sequence":
            given.type.CopyFrom(helper.make_sequence_type_proto(given.type))
        model.graph.input.append(given)

    changed(folder, add)
    refused(folder, "'strange'")


def test_a_bundle_with_weights_it_does_not_name(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle")
    check_graphs(folder, read_spec(folder))
    onnx.save(
        onnx.load(str(folder / "image.onnx")),
        str(folder / "image.onnx"),
        save_as_external_data=True,
        location="hidden",
        size_threshold=100,
    )
    with pytest.raises(ModelError, match="keeps weights in hidden"):
        check_graphs(folder, read_spec(folder))


def test_a_probe_that_unpacks_to_ten_gigabytes(tmp_path: Path) -> None:
    """A zip bomb, and a header that claims what is not there."""
    import zipfile

    folder = make_tiny_bundle(tmp_path / "bundle")
    spec = read_spec(folder)
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 100000), }".ljust(117)
        + b"\n"
    )
    for length in (1 << 26, 0):
        with (
            zipfile.ZipFile(folder / "probe.npz", "w", zipfile.ZIP_DEFLATED) as bomb,
            bomb.open("images.npy", "w") as out,
        ):
            out.write(header)
            for _ in range(length >> 20):
                out.write(bytes(1 << 20))
        with pytest.raises(ModelError, match=r"probe\.npz"):
            read_probe(folder, spec)

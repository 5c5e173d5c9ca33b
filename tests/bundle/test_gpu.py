"""What a GPU gets: graphs in halves, bound memory, batches as large as fit. Shown on the processor, which runs the same
graphs and bindings; only the name of the device is made up."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as native

from clipcli.bundle import device_memory, encoder, first_use, half_graphs, ready_graphs, sessions, tower
from clipcli.bundle.choosing import IN_HALVES, choose_variant
from clipcli.bundle.device_memory import MOST_AT_ONCE, BoundSession
from clipcli.bundle.encoder import Model
from clipcli.bundle.half_graphs import open_halves
from clipcli.bundle.installed import shipped_model
from clipcli.bundle.probe import smallest_cosine
from clipcli.bundle.spec import read_spec
from clipcli.errors import DeviceError, ModelError
from clipcli.library.indexing import IndexOptions, workers_for
from tests.bundle.test_encoder import promise_cuda

TEXTS = ["a red motorcycle", "two dogs running on grass", "blue"]


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache" / "clip")
    return tmp_path / "cache" / "clip" / "graphs"


@pytest.fixture
def starter() -> Path:
    """Its only precision is fp16."""
    folder = shipped_model()
    assert folder is not None
    return folder


@pytest.fixture
def opened(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sessions that say they are on a GPU. The graphs opened, by file name, in order."""
    seen: list[str] = []

    class OnTheProcessor(onnxruntime.InferenceSession):
        def __init__(self, path: str, sess_options: Any, providers: list[Any]) -> None:
            self.asked = [one[0] if isinstance(one, tuple) else one for one in providers]
            if self.asked[0] != "CPUExecutionProvider":
                seen.append("halves" if Path(path).is_relative_to(graphs) else "stored")
            super().__init__(path, sess_options=sess_options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return self.asked

    promise_cuda(monkeypatch, OnTheProcessor)
    monkeypatch.setattr(sessions, "_preload_cuda", lambda: None)

    class Bound(BoundSession):
        def __init__(self, session: Any, output: str, *, device: str, divisible: bool) -> None:
            assert device == "cuda"
            super().__init__(session, output, device="cpu", divisible=divisible)

    monkeypatch.setattr(device_memory, "BoundSession", Bound)
    return seen


def pictures(size: int, count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, 3, size, size)).astype(np.float32)


def same(graph: Path) -> Path:
    """Opens nothing."""
    return graph


# --- graphs in halves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["image.onnx", "text.onnx"])
def test_every_product_is_in_halves_and_nothing_else_of_a_graph_changes(starter: Path, graphs: Path, name: str) -> None:
    made = open_halves(starter / name, graphs / "one", same)
    assert made is not None
    assert made.is_relative_to(graphs)
    graph = onnx.shape_inference.infer_shapes(onnx.load(made)).graph
    before = onnx.load(starter / name).graph
    assert [one.type.tensor_type.elem_type for one in graph.input] == [
        one.type.tensor_type.elem_type for one in before.input
    ]
    assert [one.type.tensor_type.elem_type for one in graph.output] == [TensorProto.FLOAT]
    kinds = {one.name: one.type.tensor_type.elem_type for one in graph.value_info}
    products = [node for node in graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    assert len(products) == sum(node.op_type in ("Conv", "MatMul", "Gemm") for node in before.node)
    assert {kinds[node.output[0]] for node in products} == {TensorProto.FLOAT16}


def test_it_is_made_once(starter: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_halves(starter / "text.onnx", graphs / "one", same)

    def again(*_: object) -> None:
        raise AssertionError("made once more")

    monkeypatch.setattr(half_graphs, "_make", again)
    assert open_halves(starter / "text.onnx", graphs / "one", same) == first
    assert [one.name for one in graphs.iterdir()] == ["one"]


@pytest.mark.parametrize("damage", ["graph.onnx", "graph.weights"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_damaged_one_is_made_once_more(starter: Path, opened: list[str], graphs: Path, damage: str, how: str) -> None:
    before = Model.load(starter, device="cuda").encode_texts(TEXTS)
    (folder,) = graphs.iterdir()
    file = folder / damage
    if how == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    else:
        file.unlink()
    np.testing.assert_allclose(Model.load(starter, device="cuda").encode_texts(TEXTS), before, atol=1e-6)
    assert opened[-1] == "halves"
    count = len(opened)
    Model.load(starter, device="cuda").encode_texts(TEXTS)
    assert opened[count:] == ["halves"]


def test_where_it_cannot_be_kept_or_made_the_stored_graph_is_used(starter: Path, graphs: Path, tmp_path: Path) -> None:
    graphs.parent.mkdir(parents=True)
    graphs.write_bytes(b"a file where the folder should be")
    assert open_halves(starter / "text.onnx", graphs / "one", same) is None
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    assert open_halves(broken, tmp_path / "graphs" / "one", same) is None
    assert list((tmp_path / "graphs").glob("*")) == []


def test_a_model_on_a_gpu_computes_in_halves_as_exactly_as_asked(starter: Path, opened: list[str]) -> None:
    """Measured for the shipped model: cosines of 0.9999997 and more."""
    on_gpu, plain = Model.load(starter, device="cuda"), Model.load(starter, device="cpu")
    assert smallest_cosine(on_gpu.encode_texts(TEXTS), plain.encode_texts(TEXTS)) > 0.99999
    pixels = pictures(plain.spec.preprocess.image_size, 5)
    assert smallest_cosine(on_gpu.encode_images(pixels), plain.encode_images(pixels)) > 0.99999
    assert on_gpu.device == "cuda"
    assert opened == ["halves", "halves"]
    known = first_use.known_cosines(on_gpu.spec, on_gpu.variant, IN_HALVES)
    assert len(known) == 2
    assert min(known) > 0.9999
    assert first_use.known_cosines(on_gpu.spec, on_gpu.variant, "cuda") == []


def test_where_there_are_no_halves_the_stored_graph_is_measured_as_what_it_is(
    starter: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(half_graphs, "_make", fails)
    model = Model.load(starter, device="cuda")
    model.encode_texts(TEXTS)
    assert opened == ["stored"]
    assert first_use.known_cosines(model.spec, model.variant, IN_HALVES) == []
    assert len(first_use.known_cosines(model.spec, model.variant, "cuda")) == 1


def test_a_gpu_that_cannot_be_used_after_all_leaves_no_halves_to_the_processor(
    starter: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver and CUDA's libraries are there, and no card: ONNX Runtime falls back without a word."""
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"])
    model = Model.load(starter, device="auto")
    model.encode_texts(TEXTS)
    assert (model.device, opened) == ("cpu", ["halves"])  # and then, on the processor, the stored one
    assert first_use.known_cosines(model.spec, model.variant, IN_HALVES) == []
    assert first_use.known_cosines(model.spec, model.variant, "cpu")[0] > 0.999999  # halves have less


def test_halves_that_are_not_exact_enough_on_this_card_are_left(
    starter: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([0.99, 0.999999])
    monkeypatch.setattr(encoder, "tower_cosine", lambda *_: next(measured))
    for _ in range(2):  # the second time both are known
        assert Model.load(starter, device="cuda").encode_texts(TEXTS).shape == (3, 256)
    assert opened == ["halves", "stored"] * 2
    assert list(measured) == []


def test_halves_that_this_card_cannot_run_are_left(
    starter: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, runs = BoundSession._run, iter([True])

    def lacks_one(self: BoundSession, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        if next(runs, False):
            raise native.NotImplemented("Could not find an implementation for Gemm(13)")
        return plain(self, feeds)

    monkeypatch.setattr(BoundSession, "_run", lacks_one)
    assert Model.load(starter, device="cuda").encode_texts(TEXTS).shape == (3, 256)
    assert opened == ["halves", "stored"]


def test_a_stored_graph_that_is_not_exact_enough_either_is_an_error(
    starter: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "tower_cosine", lambda *_: 0.5)
    with pytest.raises(ModelError, match="not exact enough on this machine"):
        Model.load(starter, device="cuda").encode_texts(TEXTS)
    assert opened == ["halves", "stored"]


def test_a_query_alone_does_not_wait_for_a_gpu(starter: Path, opened: list[str]) -> None:
    assert Model.load(starter, device="auto").encode_texts(["red"]).shape == (1, 256)
    assert len(opened) == 1
    model = Model.load(starter, device="auto", brief=True)
    assert (model.encode_texts(["red"]).shape, model.device, len(opened)) == ((1, 256), "cpu", 1)
    Model.load(starter, device="cuda", brief=True).encode_texts(["red"])
    assert len(opened) == 2


# --- memory --------------------------------------------------------------------------------------------------------


def test_bound_runs_give_the_same_numbers_whatever_came_before(starter: Path) -> None:
    session = onnxruntime.InferenceSession(str(starter / "image.onnx"), providers=["CPUExecutionProvider"])
    names = session.get_inputs()[0].name, session.get_outputs()[0].name
    bound = BoundSession(session, names[1], device="cpu")
    for seed, count in enumerate((3, 3, 1, 4, 3)):
        pixels = pictures(read_spec(starter).preprocess.image_size, count, seed)
        (plain,) = session.run([names[1]], {names[0]: pixels})
        np.testing.assert_array_equal(bound.run({names[0]: pixels}), plain)
        turned = pixels[:, :, ::-1]  # does not lie in memory as it is read
        (plain,) = session.run([names[1]], {names[0]: np.ascontiguousarray(turned)})
        np.testing.assert_array_equal(bound.run({names[0]: turned}), plain)


class _SmallCard:
    """A session that has room for five rows at once, and gives each row's sum."""

    def __init__(self, room: int = 5, says: str = "Failed to allocate memory for requested buffer of size 77070336"):
        self.room, self.says, self.sizes = room, says, list[int]()

    def io_binding(self) -> _SmallCard:
        return self

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        assert name == "rows"
        self.value = value

    def bind_output(self, name: str, device: str) -> None:
        assert (name, device) == ("sums", "cpu")

    def run_with_iobinding(self, binding: object) -> None:
        assert binding is self
        rows = self.value.numpy()
        self.sizes.append(len(rows))
        if len(rows) > self.room:
            raise native.RuntimeException(self.says)
        self.found = rows.sum(axis=1, keepdims=True)

    def copy_outputs_to_cpu(self) -> list[NDArray[np.float32]]:
        return [self.found]


def test_threads_that_share_a_model_get_each_their_own_rows_though_memory_runs_out() -> None:
    card = _SmallCard(room=7)
    bound = BoundSession(card, "sums", device="cpu")  # type: ignore[arg-type]

    def one(seed: int) -> bool:
        rows = np.random.default_rng(seed).random((20 + seed, 3)).astype(np.float32)
        return np.array_equal(bound.run({"rows": rows}), rows.sum(axis=1, keepdims=True))

    with ThreadPoolExecutor(5) as pool:
        assert all(pool.map(one, range(40)))


@pytest.mark.parametrize(
    "says",
    [
        "Failed to allocate memory for requested buffer of size 77070336",
        "Available memory of 1048576 is smaller than requested bytes of 77070336",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
    ],
)
def test_what_is_too_much_for_the_card_is_run_in_parts_from_then_on(says: str) -> None:
    card = _SmallCard(says=says)
    bound = BoundSession(card, "sums", device="cpu")  # type: ignore[arg-type]
    rows = np.arange(36, dtype=np.float32).reshape(12, 3)
    np.testing.assert_array_equal(bound.run({"rows": rows}), rows.sum(axis=1, keepdims=True))
    assert card.sizes == [12, 6, 3, 3, 3, 3]
    np.testing.assert_array_equal(bound.run({"rows": rows[:7]}), rows[:7].sum(axis=1, keepdims=True))
    assert card.sizes[6:] == [3, 3, 1]


def test_a_large_batch_goes_in_parts_anyway() -> None:
    card = _SmallCard(room=10_000)
    count = 2 * MOST_AT_ONCE + 1
    assert BoundSession(card, "sums", device="cpu").run({"rows": np.ones((count, 2), np.float32)}).shape == (count, 1)  # type: ignore[arg-type]
    assert card.sizes == [MOST_AT_ONCE, MOST_AT_ONCE, 1]


@pytest.mark.parametrize(
    ("card", "divisible", "tried"),
    [
        (_SmallCard(room=0), True, [4, 2, 1]),
        (_SmallCard(room=0), False, [4]),
        (_SmallCard(says="an illegal memory access was encountered", room=3), True, [4]),
    ],
)
def test_no_memory_at_all_and_other_failures_are_errors(card: _SmallCard, divisible: bool, tried: list[int]) -> None:
    bound = BoundSession(card, "sums", device="cpu", divisible=divisible)  # type: ignore[arg-type]
    with pytest.raises(native.RuntimeException):
        bound.run({"rows": np.ones((4, 2), np.float32)})
    assert card.sizes == tried


def test_a_failure_on_a_gpu_is_one_of_the_device(
    starter: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.load(starter, device="cuda")
    model.encode_texts(["red"])
    assert model._towers["text"].bound is not None

    def fails(*_: object) -> None:
        raise native.Fail("CUDA failure 719: unspecified launch failure\nGPU=0")

    monkeypatch.setattr(BoundSession, "_run", fails)
    with pytest.raises(
        DeviceError, match=r"the text tower of .* failed: CUDA failure 719: unspecified launch failure$"
    ):
        model.encode_texts(["red"])


# --- which precision -----------------------------------------------------------------------------------------------


def test_auto_takes_halves_on_a_gpu_until_they_prove_poor(starter: Path, opened: list[str]) -> None:
    spec = read_spec(starter)
    halves = dataclasses.replace(spec.variants[0], parity={"image_min_cosine": 0.99995, "text_min_cosine": 0.99999})
    exact = dataclasses.replace(halves, precision="fp32", parity=None)
    both = dataclasses.replace(spec, variants=(exact, halves), default_precision="fp32")
    assert choose_variant(both, "auto", device="cuda").precision == "fp16"
    assert choose_variant(both, "auto", device="auto").precision == "fp16"  # there is a GPU
    assert choose_variant(both, "auto", device="cpu").precision == "fp32"
    with pytest.raises(ModelError):
        first_use.check_first_use(both, halves, "image", IN_HALVES, lambda: 0.9)
    assert choose_variant(both, "auto", device="cuda").precision == "fp32"


def test_kept_graphs_of_both_kinds_have_folders_of_their_own() -> None:
    assert ready_graphs.graph_folder("a" * 64) != ready_graphs.graph_folder("a" * 64, "-halves")


def test_nothing_is_bound_on_the_processor(starter: Path) -> None:
    model = Model.load(starter, device="cpu")
    model.encode_texts(["red"])
    opened: tower.Tower = model._towers["text"]
    assert opened.bound is None


def test_more_files_are_decoded_side_by_side_for_a_gpu(
    starter: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert [Model.load(starter, device=device).may_use_gpu for device in ("cpu", "auto", "cuda")] == [False, True, True]
    assert opened == []
    options = IndexOptions()
    assert workers_for(10_000, options) == 8
    assert workers_for(10_000, options, gpu=True) == 32
    assert workers_for(7, options, gpu=True) == 2
    assert workers_for(10_000, IndexOptions(workers=3), gpu=True) == 3
    monkeypatch.setattr(sessions, "_driver_present", lambda: False)
    assert not Model.load(starter, device="auto").may_use_gpu

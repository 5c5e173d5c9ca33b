"""The towers through ONNX Runtime: right vectors, any batch, lazily opened, honest about device and damage."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from clipcli.bundle import encoder, sessions
from clipcli.bundle.encoder import Model
from clipcli.bundle.probe import read_probe, tower_cosine
from clipcli.bundle.sessions import open_session
from clipcli.bundle.spec import read_spec, write_spec
from clipcli.errors import DeviceError, ModelError, NotFoundError, UsageError, pip_line
from tests.tiny_bundle import COLOURS, CONTEXT, DIM, SIZE, make_tiny_bundle, solid_pixels


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def model(bundle: Path) -> Model:
    return Model.load(bundle, device="cpu", threads=1)


def colour_pixels() -> np.ndarray:
    return np.stack([solid_pixels(name) for name in COLOURS])


def test_words_find_the_pictures_they_name(model: Model) -> None:
    images, texts = model.encode_images(colour_pixels()), model.encode_texts([f"a {name} thing" for name in COLOURS])
    assert (texts @ images.T).argmax(axis=1).tolist() == list(range(len(COLOURS)))


def test_vectors_are_those_that_numpy_computed(model: Model, bundle: Path) -> None:
    """The probe of the tiny bundle was written without ONNX."""
    probe = read_probe(bundle, model.spec)
    assert tower_cosine(model, probe, "image") > 0.999999
    assert tower_cosine(model, probe, "text") > 0.999999


@pytest.mark.parametrize("count", [1, 2, encoder._IMAGES_AT_ONCE, encoder._IMAGES_AT_ONCE + 1])
def test_a_batch_of_any_size_gives_unit_float32_rows_in_order(model: Model, count: int) -> None:
    pixels = np.random.default_rng(0).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)
    vectors = model.encode_images(pixels)
    assert vectors.dtype == np.float32
    assert vectors.shape == (count, DIM)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([model.encode_images(pixels[i : i + 1]) for i in (0, count - 1)])
    assert np.allclose(vectors[[0, -1]], alone, atol=1e-6)


def test_nothing_in_nothing_out(model: Model) -> None:
    assert model.encode_texts([]).shape == (0, DIM)
    assert model.encode_images(np.empty((0, 3, SIZE, SIZE), dtype=np.float32)).shape == (0, DIM)


@pytest.mark.parametrize("shape", [(3, SIZE, SIZE), (1, 3, SIZE, SIZE + 1), (1, 1, SIZE, SIZE), (2, SIZE, SIZE, 3)])
def test_pixels_of_another_shape_are_refused(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        model.encode_images(np.zeros(shape, dtype=np.float32))


def test_more_texts_than_fit_at_once_come_back_in_order(model: Model) -> None:
    texts = [f"{'red' if i % 2 else 'blue'} thing {i}" for i in range(encoder._TEXTS_AT_ONCE + 3)]
    vectors = model.encode_texts(texts)
    assert np.allclose(vectors[-1], model.encode_texts(texts[-1:])[0], atol=1e-6)


def test_padding_is_cut_off_and_changes_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = model.tokenizer(["red", "a photo of a red thing."])
    given: list[tuple[int, ...]] = []
    inner = model._run

    def watched(tower: str, batch: np.ndarray) -> np.ndarray:
        given.append(batch.shape)
        return inner(tower, batch)

    monkeypatch.setattr(model, "_run", watched)
    cut = model.encode_tokens(tokens)
    uncut_spec = dataclasses.replace(model.spec, causal_text=False)
    monkeypatch.setattr(model, "spec", uncut_spec)
    whole = model.encode_tokens(tokens)
    assert given == [(2, int(model.tokenizer.lengths(tokens).max())), (2, CONTEXT)]
    assert np.array_equal(cut, whole)


def test_a_text_search_never_opens_the_image_tower(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def watched(path: Path, **options: object) -> object:
        opened.append(path.name)
        return open_session(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "open_session", watched)
    model = Model.load(bundle)
    assert opened == []
    model.encode_texts(["red"])
    model.encode_texts(["blue"])
    assert opened == ["text.onnx"]
    assert model.device == "cpu"
    assert opened == ["text.onnx"]


def test_threads_may_share_a_model(bundle: Path) -> None:
    model = Model.load(bundle, device="cpu", threads=1)
    pixels = colour_pixels()
    expected = Model.load(bundle, device="cpu", threads=1).encode_images(pixels)
    results: list[bool] = []

    def work() -> None:
        results.extend(np.array_equal(model.encode_images(pixels), expected) for _ in range(10))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [True] * 40


def test_precision_is_a_choice_among_the_variants(bundle: Path) -> None:
    assert Model.load(bundle).precision == "fp32"
    half = Model.load(bundle, precision="fp16", device="cpu")
    assert half.precision == "fp16"
    whole = Model.load(bundle, device="cpu").encode_images(colour_pixels())
    assert ((half.encode_images(colour_pixels()) * whole).sum(axis=1) > 0.9999).all()
    with pytest.raises(NotFoundError, match="no int8 variant"):
        Model.load(bundle, precision="int8")


def test_name_and_identity_come_from_the_bundle(model: Model) -> None:
    assert (model.name, model.identity) == ("tiny", f"{0:064x}")


# --- devices -----------------------------------------------------------------------------------------------------


def test_an_unknown_device_and_no_threads_are_usage_errors(bundle: Path) -> None:
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        open_session(bundle / "image.onnx", device="tpu")
    with pytest.raises(UsageError, match="at least 1"):
        open_session(bundle / "image.onnx", device="cpu", threads=0)


def test_cuda_that_this_runtime_lacks_is_an_error_only_when_asked_for(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="built without it"):
        Model.load(bundle, device="cuda").encode_texts(["red"])
    assert Model.load(bundle, device="auto").device == "cpu"


class _FellBack:
    """What ONNX Runtime hands out when a CUDA library is missing: a session, silently on the CPU."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.asked = options["providers"]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


def promise_cuda(monkeypatch: pytest.MonkeyPatch, session: type) -> None:
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: sys.stderr.write("noise"), raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(sessions, "_driver_present", lambda: True)
    monkeypatch.setattr(sessions, "_cuda_loads", lambda: True)


def test_a_silent_fallback_is_an_error_when_cuda_was_asked_for(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    promise_cuda(monkeypatch, _FellBack)
    with pytest.raises(DeviceError, match="CUDA cannot be used"):
        open_session(bundle / "image.onnx", device="cuda")
    session, device = open_session(bundle / "image.onnx", device="auto")
    assert device == "cpu"
    (cuda, options), last = session.asked  # type: ignore[attr-defined]
    assert (cuda, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["use_tf32"] == "0"  # fp32 is fp32
    assert capfd.readouterr() == ("", "")


def test_cuda_that_works_is_said_so(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Works(_FellBack):
        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    promise_cuda(monkeypatch, Works)
    assert open_session(bundle / "image.onnx", device="auto")[1] == "cuda"
    assert open_session(bundle / "image.onnx", device="cuda")[1] == "cuda"


def test_the_reason_is_a_missing_driver_or_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_driver_present", lambda: False)
    assert sessions._why_no_cuda() == "no NVIDIA driver is installed"
    monkeypatch.setattr(sessions, "_driver_present", lambda: True)

    def missing(name: str) -> None:
        raise OSError("libcublasLt.so.13: cannot open shared object file\nmore")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    why = f"libcublasLt.so.13: cannot open shared object file ({pip_line('cuda')} brings CUDA's libraries)"
    assert sessions._why_no_cuda() == why
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    assert "fell back" in sessions._why_no_cuda()


@pytest.mark.parametrize("missing", ["_driver_present", "_cuda_loads"])
def test_without_a_driver_or_its_libraries_auto_does_not_even_try(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    promise_cuda(monkeypatch, _FellBack)
    monkeypatch.setattr(sessions, missing, lambda: False)
    session, device = open_session(bundle / "image.onnx", device="auto")
    assert device == "cpu"
    assert session.asked == ["CPUExecutionProvider"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_nothing_but_the_answer_is_printed(bundle: Path, device: str) -> None:
    """ONNX Runtime writes below Python, to the file descriptor; only a process of its own shows what it really says."""
    code = (
        "import sys; from pathlib import Path\n"
        "from clipcli.bundle.encoder import Model; from clipcli.errors import ClipError\n"
        "try: print(Model.load(Path(sys.argv[1]), device=sys.argv[2]).encode_texts(['red']).shape)\n"
        "except ClipError as error: print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle), device], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in {f"(1, {DIM})", "DeviceError"}


# --- damage ------------------------------------------------------------------------------------------------------


def copy_of(bundle: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in bundle.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def one_line(error: BaseException) -> str:
    message = str(error)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["image.onnx", "text.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(bundle: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(bundle, tmp_path / "copy")
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing") as caught:
        Model.load(folder)
    one_line(caught.value)


def test_a_file_cut_short_is_found_on_load(bundle: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path / "copy")
    content = (folder / "image.onnx").read_bytes()
    (folder / "image.onnx").write_bytes(content[:-10])
    with pytest.raises(ModelError, match=rf"image\.onnx has {len(content) - 10} bytes, not {len(content)}"):
        Model.load(folder)


def test_a_graph_that_is_none_is_one_line(bundle: Path, tmp_path: Path) -> None:
    """Same size, other bytes, and no stamp to tell: ONNX Runtime finds out."""
    folder = copy_of(bundle, tmp_path / "copy")
    (folder / "image.onnx").write_bytes(b"\x07" * (folder / "image.onnx").stat().st_size)
    with pytest.raises(ModelError, match="cannot load") as caught:
        Model.load(folder, device="cpu").encode_images(colour_pixels())
    one_line(caught.value)


def test_a_graph_of_another_model_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path / "copy")
    spec = read_spec(folder)
    write_spec(folder, dataclasses.replace(spec, embedding_dim=DIM + 1))
    with pytest.raises(ModelError, match=r"text tower of tiny gives \(1, 24\)"):
        Model.load(folder, device="cpu").encode_texts(["red"])


def test_text_and_image_tower_exchanged_is_one_line(bundle: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path / "copy")
    spec = read_spec(folder)
    (variant, *others) = spec.variants
    swapped = dataclasses.replace(variant, image=variant.text, text=variant.image)
    write_spec(folder, dataclasses.replace(spec, variants=(swapped, *others)))
    with pytest.raises(ModelError, match="image graph has the inputs tokens, not") as caught:
        Model.load(folder, device="cpu").encode_images(colour_pixels())
    one_line(caught.value)


def test_a_file_that_is_not_recorded_is_not_run(bundle: Path, tmp_path: Path) -> None:
    folder = copy_of(bundle, tmp_path / "copy")
    spec = read_spec(folder)
    files = {name: facts for name, facts in spec.files.items() if name != "text.onnx"}
    write_spec(folder, dataclasses.replace(spec, files=files))
    with pytest.raises(ModelError, match=r"text\.onnx is not recorded"):
        Model.load(folder)


def test_numbers_that_are_not_finite_are_refused(model: Model) -> None:
    pixels = np.full((1, 3, SIZE, SIZE), np.nan, dtype=np.float32)
    with pytest.raises(ModelError, match="not finite"):
        model.encode_images(pixels)

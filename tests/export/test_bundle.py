"""torch to a bundle, end to end: both kinds of towers, every precision, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from clipcli.bundle.encoder import Model
from clipcli.bundle.probe import COSINE_FLOORS, smallest_cosine
from clipcli.bundle.spec import read_spec
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.bundle.verify import verify
from clipcli.errors import ModelError, UsageError
from export import bundle as bundle_module
from export.bundle import export_bundle
from export.samples import made_samples
from export.source import open_source
from export.weights import identity, stored
from tests.export.conftest import Done
from tests.export.towers import CONTEXT, PREPROCESS, make_towers, samples, save_vocabulary
from tests.structure.source import ROOT
from trainer.config import ArchConfig
from trainer.vocabulary import learn_vocabulary

TEXTS = ["a red car", "", "two dogs in the snow by the sea " * 5, "Übergröße 🚗"]


def test_the_bundle_is_whole_and_says_what_it_is(done: Done) -> None:
    assert read_spec(done.folder) == done.spec
    assert {path.name for path in done.folder.iterdir()} == {*done.spec.files, "model.json"}
    assert set(done.spec.files) == {
        *("image.onnx", "image.fp16.onnx", "image.int8.onnx", "text.onnx", "text.fp16.onnx", "text.int8.onnx"),
        *("probe.npz", "tokenizer.json", "weights.safetensors"),
    }
    assert [path.name for path in done.folder.parent.iterdir() if path.name.endswith(".part")] == []
    assert done.spec.logit_scale == pytest.approx(1 / 0.07)
    assert done.spec.context_length == CONTEXT
    assert ArchConfig.from_dict(done.spec.towers) == done.model.config
    assert all(check.passed for check in verify(done.folder, device="cpu"))


def test_nothing_is_printed_on_the_way(done: Done) -> None:
    assert done.printed == ""


def test_the_parity_of_each_variant_is_recorded(done: Done) -> None:
    assert [variant.precision for variant in done.spec.variants] == ["fp32", "fp16", "int8"]
    for variant in done.spec.variants:
        assert variant.parity is not None
        assert (variant.parity["images"], variant.parity["texts"]) == (24, 6)
        for tower in ("image", "text"):
            assert COSINE_FLOORS[variant.precision] <= variant.parity[f"{tower}_min_cosine"] <= 1.0
    int8 = done.spec.variant("int8").parity
    assert int8 is not None
    assert int8["image_min_cosine"] < 1  # it really is another arithmetic


@pytest.mark.parametrize(("precision", "floor"), [("fp32", 0.999999), ("fp16", 0.9999), ("int8", 0.98)])
@pytest.mark.parametrize("count", [1, 3, 70])
def test_other_pictures_in_batches_of_any_size_agree_with_torch(
    done: Done, precision: str, floor: float, count: int
) -> None:
    pixels = made_samples(PREPROCESS, count=count, seed=77).pixels(PREPROCESS)
    with torch.no_grad():
        expected = done.model.encode_image(torch.from_numpy(pixels)).numpy()
    model = Model.load(done.folder, device="cpu", precision=precision, threads=1)
    assert smallest_cosine(model.encode_images(pixels), expected) >= floor


@pytest.mark.parametrize(("precision", "floor"), [("fp32", 0.999999), ("fp16", 0.9999), ("int8", 0.98)])
def test_texts_of_any_length_agree_with_torch(done: Done, precision: str, floor: float) -> None:
    model = Model.load(done.folder, device="cpu", precision=precision, threads=1)
    tokens = torch.from_numpy(Tokenizer.load(done.tokenizer_file, CONTEXT)(TEXTS))
    with torch.no_grad():
        expected = done.model.encode_text(tokens).numpy()
    assert smallest_cosine(model.encode_texts(TEXTS), expected) >= floor  # 12 tokens, the longest
    alone = np.concatenate([model.encode_texts([text]) for text in TEXTS])  # 2 to 12 tokens
    assert smallest_cosine(alone, expected) >= floor


def test_inputs_and_outputs_are_as_agreed(done: Done) -> None:
    for file, given, shape in (
        ("image.onnx", "pixels", ["batch", 3, 32, 32]),
        ("text.int8.onnx", "tokens", ["batch", "length"]),
    ):
        graph = onnx.load(str(done.folder / file)).graph
        assert [value.name for value in graph.input] == [given]
        dims = [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
        assert dims == shape
        assert [value.name for value in graph.output] == ["embedding"]
        dims = [dim.dim_param or dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim]
        assert dims == ["batch", 24]


def test_graphs_say_nothing_of_the_machine_they_were_made_on(done: Done) -> None:
    for path in done.folder.glob("*.onnx"):
        content = path.read_bytes()
        for trace in (str(ROOT).encode(), b"transformer.py", b"resnet.py", b"towers.py"):
            assert trace not in content


def test_graphs_need_no_operators_beyond_the_runtimes_own(done: Done) -> None:
    for path in done.folder.glob("*.onnx"):
        domains = {opset.domain for opset in onnx.load(str(path)).opset_import}
        assert domains <= ({"", "com.microsoft"} if "int8" in path.name else {""})


def test_lower_precisions_take_less_space(done: Done) -> None:
    size = {
        variant.precision: sum((done.folder / name).stat().st_size for name in (variant.image, variant.text))
        for variant in done.spec.variants
    }
    weights = sum(value.numel() for value in done.model.state_dict().values())
    assert size["fp16"] < size["fp32"] - 1.6 * weights
    assert size["int8"] < size["fp32"]


def test_the_weights_make_the_same_model_again(done: Done) -> None:
    again = open_source(done.folder)
    assert identity(stored(again.model.state_dict()), again.preprocess, again.tokenizer_file.read_bytes(), CONTEXT) == (
        done.spec.identity
    )
    pixels = torch.from_numpy(made_samples(PREPROCESS, count=4).pixels(PREPROCESS))
    with torch.no_grad():
        expected, got = done.model.encode_image(pixels).numpy(), again.model.encode_image(pixels).numpy()
    assert smallest_cosine(got, expected) > 0.9999


def test_weights_can_be_read_by_whoever_may_read_the_folder(done: Done) -> None:
    modes = {path.stat().st_mode & 0o777 for path in done.folder.iterdir()}
    assert len(modes) == 1


def test_the_model_given_is_left_as_it_was(done: Done) -> None:
    assert not done.model.training
    assert next(done.model.parameters()).dtype == torch.float32


# --- on one kind, with the exporter's work reused ------------------------------------------------------------------


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    save_vocabulary(tmp_path / "tokenizer.json")
    return tmp_path / "tokenizer.json"


def export(folder: Path, tokenizer_file: Path, **changes: object) -> object:
    model = make_towers("vit", Tokenizer.load(tokenizer_file, CONTEXT).vocab_size)
    values: dict[str, object] = {
        "folder": folder,
        "name": "tiny",
        "tokenizer_file": tokenizer_file,
        "preprocess": PREPROCESS,
        "samples": samples(8),
        "precisions": ("fp16",),
    }
    return export_bundle(model, **{**values, **changes})  # type: ignore[arg-type]


def spoiled(graph: onnx.ModelProto, *given: object) -> onnx.ModelProto:
    """The graph with noise on its weights, as a careless quantiser would leave it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    random = np.random.default_rng(0)
    for weight in copy.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim >= 2:
            noisy = values + random.normal(0, 2 * values.std(), values.shape).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(noisy, weight.name))
    return copy


def test_a_poor_variant_is_refused_and_said_why(
    fast: None, tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "quantise", spoiled)
    said: list[str] = []
    folder = tmp_path / "bundle"
    export(folder, tokenizer_file, precisions=("int8", "fp32"), default_precision="int8", say=said.append)
    spec = read_spec(folder)
    assert [variant.precision for variant in spec.variants] == ["fp32"]
    assert spec.default_precision == "fp32"
    assert not list(folder.glob("*int8*"))
    assert len(said) == 1
    assert said[0].startswith("int8 is refused: image cosine ")
    assert "at least 0.98 wanted" in said[0]
    assert spec.provenance["refused"]["int8"] in said[0]


def test_with_no_good_variant_nothing_is_written_and_the_old_bundle_stays(
    fast: None, tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    export(folder, tokenizer_file)
    before = (folder / "model.json").read_bytes()
    monkeypatch.setattr(bundle_module, "quantise", spoiled)
    with pytest.raises(ModelError, match="no variant of tiny is exact enough"):
        export(folder, tokenizer_file, precisions=("int8",))
    assert (folder / "model.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "tokenizer.json"}


def test_a_variant_that_is_poor_on_the_made_pictures_alone_is_refused_too(
    fast: None, tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a bundle is verified with later must hold when it is written."""
    from export.parity import compare

    def only_probe_is_poor(reference: object, other: object, measured: object) -> dict[str, float]:
        figures = compare(reference, other, measured)  # type: ignore[arg-type]
        return figures if figures["images"] == 8 else {**figures, "text_min_cosine": 0.5}

    monkeypatch.setattr(bundle_module, "compare", only_probe_is_poor)
    with pytest.raises(ModelError, match=r"text cosine 0\.500000"):
        export(tmp_path / "bundle", tokenizer_file)


def test_the_default_variant_has_the_plain_file_names(fast: None, tmp_path: Path, tokenizer_file: Path) -> None:
    export(tmp_path / "bundle", tokenizer_file, precisions=("fp32", "fp16"), default_precision="fp16")
    spec = read_spec(tmp_path / "bundle")
    assert spec.default_precision == "fp16"
    assert spec.variant("fp16").image == "image.onnx"
    assert spec.variant("fp32").text == "text.fp32.onnx"
    assert all(check.passed for check in verify(tmp_path / "bundle", device="cpu"))


def test_a_model_in_training_on_half_precision_is_exported_in_evaluation_mode(
    fast: None, tmp_path: Path, tokenizer_file: Path
) -> None:
    model = make_towers("vit", Tokenizer.load(tokenizer_file, CONTEXT).vocab_size).train()
    export_bundle(
        model,
        folder=tmp_path / "bundle",
        name="tiny",
        tokenizer_file=tokenizer_file,
        preprocess=PREPROCESS,
        samples=samples(8),
        precisions=("fp32",),
    )
    assert model.training


@pytest.mark.parametrize(
    ("precisions", "default", "complaint"),
    [
        (("fp8",), None, "unknown precision 'fp8'"),
        ((), None, "name each precision once"),
        (("fp32", "fp32"), None, "name each precision once"),
        (("fp32",), "int8", "not among those"),
    ],
)
def test_precisions_that_make_no_sense(
    tmp_path: Path, tokenizer_file: Path, precisions: tuple[str, ...], default: str | None, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        export(tmp_path / "bundle", tokenizer_file, precisions=precisions, default_precision=default)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, tokenizer_file: Path) -> None:
    model = make_towers("vit", Tokenizer.load(tokenizer_file, CONTEXT).vocab_size)
    other = tmp_path / "other.json"
    learn_vocabulary(["many more words than the other one has seen", "more words, many more words"] * 3).save(
        str(other)
    )
    with pytest.raises(ModelError, match="does not belong to these towers"):
        export_bundle(
            model,
            folder=tmp_path / "bundle",
            name="tiny",
            tokenizer_file=other,
            preprocess=PREPROCESS,
            samples=samples(8),
        )

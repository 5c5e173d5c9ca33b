"""Graphs that other projects exported give, through import, what ONNX Runtime gives for them directly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.bundle.foreign.graph_source import Answers
from clipcli.bundle.foreign.importing import Imported, import_graphs, is_graphs
from clipcli.bundle.installed import find_model, models_folder
from clipcli.bundle.preprocess import to_pixels
from clipcli.bundle.probe import smallest_cosine
from clipcli.bundle.spec import read_spec
from clipcli.bundle.verify import verify
from clipcli.errors import ModelError, NotFoundError, UsageError
from tests.foreign_layouts import LOGIT_BIAS, LOGIT_SCALE, MEAN, STD, make_immich, make_transformers_js, renamed, save
from tests.tiny_bundle import CONTEXT, SIZE, make_tiny_bundle

TEXTS = ["a photo of a red thing.", "", "BLUE  and  green", "white " * 40, "naïve café – 2 × 3"]
HUNDRED = Answers(logit_scale=100.0)


def quietly(line: str) -> None:
    del line


def bring(folder: Path, answers: Answers | None = None, **options: Any) -> Imported:
    return import_graphs(folder, name="theirs", answers=answers or Answers(), say=quietly, **options)


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(3)
    sizes = [(48, 40), (33, 64), (32, 32), (47, 90), (200, 35), (31, 31)]
    return [Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in sizes]


def prepared(image: Image.Image, *, down: bool, squash: bool = False) -> np.ndarray:
    """As transformers (`down`) and torchvision prepare a picture: written anew here, with nothing of ours."""
    if squash:
        small = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    else:
        short, long = sorted(image.size)
        other = int(SIZE * long / short)
        size = (SIZE, other) if image.width <= image.height else (other, SIZE)
        small = image.resize(size, Image.Resampling.BICUBIC)
        start = [(side - SIZE) / 2 for side in size]
        left, top = [int(one) if down else round(one) for one in start]
        small = small.crop((left, top, left + SIZE, top + SIZE))
    levels = (np.asarray(small, dtype=np.float64) / 255 - MEAN) / STD
    return levels.transpose(2, 0, 1).astype(np.float32)


def numbers(folder: Path, kind: Any, *, joined: bool = False) -> np.ndarray:
    """By the tokenizers library alone, padded and cut by itself; `joined` as OpenCLIP does with white space."""
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = backend.token_to_id("<|endoftext|>")
    backend.enable_padding(length=CONTEXT, pad_token="<|endoftext|>", pad_id=end)
    backend.enable_truncation(max_length=CONTEXT)
    texts = [" ".join(text.split()) for text in TEXTS] if joined else TEXTS
    return np.array([one.ids for one in backend.encode_batch(texts)], dtype=kind)


def run(graph: Path, name: str, rows: np.ndarray, *, one_by_one: bool = False) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(graph))
    parts = [rows[i : i + 1] for i in range(len(rows))] if one_by_one else [rows]
    return np.concatenate([session.run(None, {name: part})[0] for part in parts])


def theirs_and_ours(model: Model, images: np.ndarray, texts: np.ndarray) -> tuple[float, float]:
    pixels = np.stack([to_pixels(image, model.spec.preprocess) for image in pictures()])
    return smallest_cosine(model.encode_images(pixels), images), smallest_cosine(model.encode_texts(TEXTS), texts)


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize("external", [False, True])
def test_transformers_js_as_onnx_runtime_gives_it_directly(tmp_path: Path, family: str, external: bool) -> None:
    folder = make_transformers_js(tmp_path / "model", family=family, external=external)
    assert is_graphs(folder)
    model = Model.load(bring(folder).folder, device="cpu")
    pixels = np.stack([prepared(image, down=True, squash=family == "siglip") for image in pictures()])
    images = run(folder / "onnx" / "vision_model.onnx", "pixel_values", pixels)
    texts = run(folder / "onnx" / "text_model.onnx", "input_ids", numbers(folder, np.int64))
    assert min(theirs_and_ours(model, images, texts)) >= 0.99999  # measured: 1 - 1e-7
    spec = model.spec
    assert spec.logit_scale == pytest.approx(LOGIT_SCALE, abs=0.01)
    assert spec.logit_bias == (None if family == "clip" else pytest.approx(LOGIT_BIAS, abs=0.01))
    assert (spec.activation, spec.licence, spec.context_length) == ("quick_gelu", "mit", CONTEXT)
    assert (spec.preprocess.resize, spec.preprocess.crop_rounding) == (
        ("shortest", "down") if family == "clip" else ("squash", "half_even")
    )
    assert spec.causal_text  # this text tower looks at nothing behind the first end marker, which was tried
    assert all(check.passed for check in verify(find_model("theirs"), device="cpu"))
    assert len(spec.variants[0].data) == (2 if external else 0)


@pytest.mark.parametrize("external", [False, True])
def test_immich_one_at_a_time_in_int32(tmp_path: Path, external: bool) -> None:
    folder = make_immich(tmp_path / "model", external=external)
    assert is_graphs(folder)
    model = Model.load(bring(folder, HUNDRED).folder, device="cpu")
    pixels = np.stack([prepared(image, down=False) for image in pictures()])
    images = run(folder / "visual" / "model.onnx", "image", pixels, one_by_one=True)
    tokens = numbers(folder / "textual", np.int32, joined=True)
    texts = run(folder / "textual" / "model.onnx", "text", tokens, one_by_one=True)
    assert min(theirs_and_ours(model, images, texts)) >= 0.99999
    assert (model.spec.text_cleaning, model.spec.logit_scale, model.spec.causal_text) == ("lower", 100.0, False)
    assert all(check.passed for check in verify(find_model("theirs"), device="cpu"))


def test_a_mask_beside_the_tokens(tmp_path: Path) -> None:
    folder = make_transformers_js(tmp_path / "model", mask=True)
    plain = Model.load(make_tiny_bundle(tmp_path / "plain"), device="cpu")
    model = Model.load(bring(folder, HUNDRED).folder, device="cpu")
    assert model.spec.graphs.text_mask == "attention_mask"
    assert smallest_cosine(model.encode_texts(TEXTS[:1]), plain.encode_texts(TEXTS[:1])) > 0.99999
    with pytest.raises(ModelError, match="attention mask"):
        bring(make_transformers_js(tmp_path / "other", family="siglip", mask=True), HUNDRED, replace=True)


def test_precisions_become_variants_and_poor_ones_are_refused(tmp_path: Path) -> None:
    folder = make_transformers_js(tmp_path / "model", precisions=("fp32", "fp16", "int8"))
    other = make_tiny_bundle(tmp_path / "other", seed=9)
    poor = renamed(other / "text.onnx", {"tokens": "input_ids", "embedding": "text_embeds"})
    save(poor, folder / "onnx" / "text_model_quantized.onnx")
    said: list[str] = []
    brought = import_graphs(folder, name="theirs", answers=Answers(), say=said.append)
    assert list(brought.figures) == ["fp32", "fp16"]
    assert list(brought.refused) == ["int8"]
    assert any(line.startswith("int8 is refused: text cosine") for line in said)
    assert brought.spec.provenance["refused"].keys() == {"int8"}
    assert not list(brought.folder.glob("*int8*"))
    assert brought.figures["fp16"]["image_min_cosine"] > 0.9999
    assert all(check.passed for check in verify(brought.folder, device="cpu"))


def test_identity_is_that_of_the_most_exact_graphs_and_their_use(tmp_path: Path) -> None:
    folder = make_transformers_js(tmp_path / "model", precisions=("fp32", "fp16"))

    def identity(answers: Answers | None = None) -> str:
        return bring(folder, answers, replace=True).spec.identity

    first = identity()
    assert identity(Answers(precisions=("fp32",))) == first  # another precision beside it is no other model
    assert identity(Answers(logit_scale=3.0)) == first
    assert identity(Answers(precisions=("fp16",))) != first
    other = make_transformers_js(tmp_path / "other", seed=4)
    assert bring(other, replace=True).spec.identity != first
    settings = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "resample": 2}), "utf-8")
    assert identity() != first


def test_the_logit_scale_is_measured_told_or_asked_for(tmp_path: Path) -> None:
    folder = make_transformers_js(tmp_path / "model", family="siglip", combined=False)
    with pytest.raises(UsageError, match="give --logit-scale and --logit-bias"):
        bring(folder)
    with pytest.raises(UsageError, match="--logit-scale"):
        bring(folder, Answers(logit_scale=100.0))
    spec = bring(folder, Answers(logit_scale=100.0, logit_bias=-12.0)).spec
    assert (spec.logit_scale, spec.logit_bias, spec.provenance["logit_scale_from"]) == (100.0, -12.0, "told")
    with pytest.raises(UsageError, match="for sigmoid models"):
        bring(make_transformers_js(tmp_path / "clip"), Answers(logit_scale=9.0, logit_bias=1.0), replace=True)
    with pytest.raises(UsageError, match="give --logit-scale "):
        bring(make_immich(tmp_path / "immich"), replace=True)
    assert [path.name for path in models_folder().iterdir()] == ["theirs"]


Settings = dict[str, Any]


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("config.json", {"model_type": "jina_clip"}, "model type 'jina_clip' is not known"),
        ("config.json", {"text_config": {}}, None),  # the tokenizer's own configuration says how long texts are
        ("preprocessor_config.json", {"image_mean": None}, "image_mean is missing"),
        ("preprocessor_config.json", {"resample": 1}, "resample is 1"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 40}}, "resized to .* and cropped to"),
        ("preprocessor_config.json", {"size": None}, "size is missing"),
        ("preprocessor_config.json", {"rescale_factor": 0.5}, "rescale_factor is 0.5"),
        ("preprocessor_config.json", {"do_pad": True}, "do_pad is True, which is not known"),
        ("preprocessor_config.json", {"crop_size": 64, "size": 64}, "pictures become 64 pixels wide, .* sees 32"),
        ("tokenizer_config.json", {"padding_side": "left"}, "padded on the left"),
        ("tokenizer_config.json", {"pad_token": "<nobody>"}, "'<nobody>' is not in the vocabulary"),
    ],
)
def test_what_is_open_or_unknown_is_said_in_one_line(
    tmp_path: Path, file: str, change: Settings, told: str | None
) -> None:
    folder = make_transformers_js(tmp_path / "model")
    settings = json.loads((folder / file).read_text("utf-8"))
    settings = {name: value for name, value in {**settings, **change}.items() if value is not None}
    (folder / file).write_text(json.dumps(settings), "utf-8")
    if told is None:
        assert bring(folder).spec.context_length == CONTEXT
        return
    with pytest.raises(ModelError, match=told) as caught:
        bring(folder)
    assert "\n" not in str(caught.value)
    assert not models_folder().exists() or not any(models_folder().iterdir())


@pytest.mark.parametrize("file", ["preprocessor_config.json", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    folder = make_transformers_js(tmp_path / "model")
    (folder / file).unlink()
    with pytest.raises(UsageError, match=f"{file} is missing"):
        bring(folder)


def test_a_precision_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no fp16 graphs"):
        bring(make_transformers_js(tmp_path / "model"), Answers(precisions=("fp32", "fp16")))
    with pytest.raises(NotFoundError, match="in fp32 only"):
        bring(make_immich(tmp_path / "immich"), Answers(precisions=("int8",), logit_scale=100.0))


def test_a_taken_name_and_a_combined_graph_alone(tmp_path: Path) -> None:
    folder = make_transformers_js(tmp_path / "model")
    bring(folder)
    with pytest.raises(UsageError, match="already installed"):
        bring(folder)
    for graph in (folder / "onnx").glob("*_model.onnx"):
        graph.unlink()
    with pytest.raises(NotFoundError, match="no graph of each tower"):
        bring(folder, replace=True)


def test_old_bundles_read_as_before(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "old")
    values = json.loads((folder / "model.json").read_text("utf-8"))
    for gone in ("graphs", "text_cleaning", "pad_id"):
        del values[gone]
    del values["preprocess"]["crop_rounding"]
    for variant in values["variants"]:
        del variant["data"]
    spec = read_spec(folder)
    (folder / "model.json").write_text(json.dumps(values), "utf-8")
    assert read_spec(folder) == spec


def test_a_graph_of_other_names_in_a_second_precision(tmp_path: Path) -> None:
    folder = make_transformers_js(tmp_path / "model", precisions=("fp32", "fp16"))
    source = make_tiny_bundle(tmp_path / "source")
    save(
        renamed(source / "image.onnx", {"pixels": "image", "embedding": "image_embeds"}),
        folder / "onnx" / "vision_model_fp16.onnx",
    )
    with pytest.raises(ModelError, match="fp16 graphs have other inputs"):
        bring(folder)


def test_an_unknown_field_of_graphs_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "old")
    spec = read_spec(folder)
    values = {**spec.to_dict(), "graphs": {**dataclasses.asdict(spec.graphs), "image_inputs": "x"}}
    (folder / "model.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(ModelError, match="graphs: unknown field image_inputs"):
        read_spec(folder)

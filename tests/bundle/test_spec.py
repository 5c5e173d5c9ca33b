"""`model.json`: what is written is read back, and every field that is damaged is named in one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from clipcli.bundle.spec import MODEL_FILE, ModelSpec, Preprocess, Variant, read_spec, spec_from_dict, write_spec
from clipcli.errors import ModelError, NotFoundError


def make_spec(**changes: Any) -> ModelSpec:
    values: dict[str, Any] = {
        "name": "one",
        "architecture": "RN-tiny-64",
        "embedding_dim": 8,
        "preprocess": Preprocess(image_size=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
        "context_length": 32,
        "activation": "quick_gelu",
        "logit_scale": 14.3,
        "towers": {"image": {"layers": [1, 2]}},
        "templates": ("a photo of a {}.", "{}"),
        "variants": (
            Variant(
                precision="fp32", image="image.onnx", text="text.onnx", parity={"image_min_cosine": 1.0, "images": 3}
            ),
            Variant(precision="int8", image="image.int8.onnx", text="text.int8.onnx"),
        ),
        "default_precision": "int8",
        "provenance": {"data": ["a", "b"]},
        "licence": "MIT",
        "metrics": {"recall": 0.5},
        "identity": "0123456789abcdef" * 4,
        "files": {"image.onnx": {"sha256": "a" * 64, "bytes": 12}},
    }
    return ModelSpec(**{**values, **changes})


def test_written_and_read_back_is_the_same(tmp_path: Path) -> None:
    spec = make_spec(logit_bias=-10.0, causal_text=False)
    write_spec(tmp_path, spec)
    assert read_spec(tmp_path) == spec
    assert [path.name for path in tmp_path.iterdir()] == [MODEL_FILE]


def test_what_is_not_ascii_stays_readable(tmp_path: Path) -> None:
    write_spec(tmp_path, make_spec(licence="frei für alle"))
    assert "frei für alle" in (tmp_path / MODEL_FILE).read_text("utf-8")
    assert read_spec(tmp_path).licence == "frei für alle"


def test_variants_are_found_by_precision() -> None:
    spec = make_spec()
    assert spec.variant("fp32").image == "image.onnx"
    assert spec.variant("auto").precision == "int8"
    with pytest.raises(NotFoundError, match=r"no fp16 variant \(it has fp32, int8\)"):
        spec.variant("fp16")


DAMAGE: list[tuple[str, Any, str]] = [
    ("format", 2, "format 2"),
    ("format", None, "format None"),
    ("name", "", "name"),
    ("name", "../up", "model name"),
    ("name", ".hidden", "model name"),
    ("architecture", 3, "architecture"),
    ("embedding_dim", 0, "embedding_dim"),
    ("embedding_dim", 8.0, "embedding_dim"),
    ("embedding_dim", True, "embedding_dim"),
    ("preprocess", None, "preprocess"),
    ("preprocess.image_size", -1, "image_size"),
    ("preprocess.image_size", 100_000, "image_size"),
    ("preprocess.resize", "longest", "resize"),
    ("preprocess.interpolation", "nearest", "interpolation"),
    ("preprocess.mean", [0.5, 0.5], "mean"),
    ("preprocess.mean", [1.5, 0.5, 0.5], "mean"),
    ("preprocess.mean", "grey", "mean"),
    ("preprocess.std", [0.0, 0.5, 0.5], "std"),
    ("preprocess.std", [float("nan"), 0.5, 0.5], "std"),
    ("preprocess.gamma", 2.2, "unknown field gamma"),
    ("context_length", 2, "context_length"),
    ("causal_text", "yes", "causal_text"),
    ("activation", None, "activation"),
    ("logit_scale", 0, "logit_scale"),
    ("logit_scale", float("inf"), "logit_scale"),
    ("logit_scale", "100", "logit_scale"),
    ("logit_bias", "none", "logit_bias"),
    ("towers", [], "towers"),
    ("templates", [], "templates"),
    ("templates", ["no place"], "templates"),
    ("templates", "a photo of a {}.", "templates"),
    ("variants", [], "variants"),
    ("variants", {}, "variants"),
    ("variants.0.precision", "fp8", "precision"),
    ("variants.0.precision", "int8", "differ in precision"),
    ("variants.0.image", "../image.onnx", "plain file name"),
    ("variants.0.text", "/etc/passwd", "plain file name"),
    ("variants.0.text", None, "plain file name"),
    ("variants.0.parity", {"image_min_cosine": "good"}, "parity"),
    ("variants.0.parity", 1.0, "parity"),
    ("default_precision", "fp16", "default_precision"),
    ("provenance", "my own", "provenance"),
    ("licence", "", "licence"),
    ("metrics", 3, "metrics"),
    ("identity", "abc", "identity"),
    ("identity", "Z" * 64, "identity"),
    ("identity", None, "identity"),
    ("files", [], "files"),
    ("files", {"../x": {"sha256": "a" * 64, "bytes": 1}}, "plain file name"),
    ("files", {"x": {"sha256": "short", "bytes": 1}}, "files: x"),
    ("files", {"x": {"sha256": "a" * 64, "bytes": -1}}, "files: x"),
    ("files", {"x": {"sha256": "a" * 64}}, "files: x"),
    ("files", {"x": 5}, "files: x"),
    ("surprise", 1, "unknown field surprise"),
]


@pytest.mark.parametrize(
    ("place", "value", "complaint"), DAMAGE, ids=[f"{place}={value!r:.30}" for place, value, _ in DAMAGE]
)
def test_a_damaged_field_is_named_in_one_line(tmp_path: Path, place: str, value: Any, complaint: str) -> None:
    values = make_spec().to_dict()
    values = json.loads(json.dumps(values))
    *way, last = place.split(".")
    target = values
    for step in way:
        target = target[int(step)] if step.isdigit() else target[step]
    target[last] = value
    (tmp_path / MODEL_FILE).write_text(json.dumps(values), "utf-8")
    with pytest.raises(ModelError) as caught:
        read_spec(tmp_path)
    message = str(caught.value)
    assert complaint in message
    assert str(tmp_path) in message
    assert "\n" not in message


FIELDS_WITHOUT_DEFAULT = [
    field.name for field in dataclasses.fields(ModelSpec) if field.default is field.default_factory
]


@pytest.mark.parametrize("name", ["format", *FIELDS_WITHOUT_DEFAULT])
def test_a_missing_field_is_named(name: str) -> None:
    values = json.loads(json.dumps(make_spec().to_dict()))
    del values[name]
    with pytest.raises(ModelError, match=name):
        spec_from_dict(values)


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"format": 1}', '"model"', "NaN"])
def test_what_is_no_model_at_all_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MODEL_FILE).write_text(content, "utf-8")
    with pytest.raises(ModelError):
        read_spec(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).write_bytes(b"\xff\x00\xfe")
    with pytest.raises(ModelError, match="cannot read"):
        read_spec(tmp_path)


def test_no_model_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no model in .*model\.json is missing"):
        read_spec(tmp_path)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_spec(tmp_path, make_spec())
    before = (tmp_path / MODEL_FILE).read_bytes()

    def no_space(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", no_space)
    with pytest.raises(OSError, match="No space"):
        write_spec(tmp_path, make_spec(name="two"))
    assert (tmp_path / MODEL_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [MODEL_FILE]

"""`model.json`: everything there is to know about using a model, as validated dataclasses.

A bundle is a folder: `model.json`, two ONNX graphs per precision, `tokenizer.json`, `probe.npz`, `weights.safetensors`.
What stands in `model.json` is the whole truth: no default elsewhere decides how a model is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from clipcli.bundle.cleaning import CLEANINGS
from clipcli.bundle.damage import next_step
from clipcli.errors import ModelError, NotFoundError

__all__ = [
    "FORMAT",
    "MODEL_FILE",
    "PRECISIONS",
    "PROBE_FILE",
    "TOKENIZER_FILE",
    "WEIGHTS_FILE",
    "GraphNames",
    "ModelSpec",
    "Preprocess",
    "Variant",
    "preprocess_from_dict",
    "read_spec",
    "spec_from_dict",
    "write_spec",
]

FORMAT = 1
MODEL_FILE = "model.json"
TOKENIZER_FILE = "tokenizer.json"
PROBE_FILE = "probe.npz"
WEIGHTS_FILE = "weights.safetensors"

PRECISIONS = ("fp32", "fp16", "int8")
RESIZE_RULES = ("shortest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")
CROP_ROUNDINGS = ("half_even", "down")

Built = TypeVar("Built")

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HEX = re.compile(r"[0-9a-f]{64}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelError(f"{MODEL_FILE}: {message}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """How a picture becomes pixels."""

    image_size: int  # pixels, both sides
    resize: str = (
        "shortest"  # the shorter side, then the centre is cropped; "squash" makes it square whatever its shape
    )
    interpolation: str = "bicubic"
    crop_rounding: str = (
        "half_even"  # where an odd number of pixels is cut off: as torchvision does; "down" as transformers does
    )
    mean: tuple[float, float, float]  # of red, green, blue in 0..1
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        _require(_is_count(self.image_size) and self.image_size <= 4096, "image_size must be 1 to 4096")
        _require(self.resize in RESIZE_RULES, f"resize must be one of {', '.join(RESIZE_RULES)}")
        _require(self.interpolation in INTERPOLATIONS, f"interpolation must be one of {', '.join(INTERPOLATIONS)}")
        _require(self.crop_rounding in CROP_ROUNDINGS, f"crop_rounding must be one of {', '.join(CROP_ROUNDINGS)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            good = isinstance(values, tuple) and len(values) == 3 and all(_is_number(value) for value in values)
            _require(good, f"{name} must be three numbers")
        _require(all(0 <= value <= 1 for value in self.mean), "mean must lie in 0..1")
        _require(all(0 < value <= 1 for value in self.std), "std must lie in 0..1 and not be 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """The two graphs of one precision, and how far they are from the model they were made from."""

    precision: str
    image: str  # file names within the bundle
    text: str
    data: tuple[str, ...] = ()  # weights that a graph keeps in files of their own, under these very names
    # image_min_cosine, text_min_cosine, images, texts; where photographs had texts recall10_change, top10_overlap
    parity: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _require(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}")
        _require(isinstance(self.data, tuple), "data must be a list of file names")
        for name in (self.image, self.text, *self.data):
            _require_plain(name)
        if self.parity is not None:
            good = isinstance(self.parity, Mapping) and all(_is_number(value) for value in self.parity.values())
            _require(good, "parity must hold numbers")


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNames:
    """What the graphs call what goes in and comes out. Ours are always these; other projects have names of their own.

    Types are the graphs' own business (int32 or int64 tokens, float32 or float16 pixels): the encoder asks them.
    """

    image_input: str = "pixels"
    image_output: str = "embedding"
    text_input: str = "tokens"
    text_mask: str | None = None  # 1 for every token up to and with the first end marker, 0 behind it
    text_output: str = "embedding"

    def __post_init__(self) -> None:
        names = [getattr(self, one.name) for one in fields(self)]
        _require(all(name is None or (isinstance(name, str) and name) for name in names), "graphs must hold names")


def _require_plain(name: object) -> None:
    """A file of a bundle lies in its folder: no separators, no dots in front, nothing that leads outside."""
    _require(isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None, f"not a plain file name: {name!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model, complete. `identity` tells vectors of different models apart; the name is only what a person types."""

    name: str
    architecture: str
    embedding_dim: int
    preprocess: Preprocess
    context_length: int  # tokens, both markers counted
    causal_text: bool = True  # tokens after the end marker cannot change the embedding: they may be cut off
    text_cleaning: str = "none"  # what is done to a text before the tokenizer sees it (`cleaning.py`)
    pad_id: int = 0  # the token that fills a row behind the end marker
    activation: str  # "gelu", "gelu_tanh" or "quick_gelu"
    logit_scale: float  # the multiplier itself, not its logarithm
    logit_bias: float | None = None  # sigmoid models only
    towers: Mapping[str, Any] = field(default_factory=dict)  # what the trainer needs to rebuild the torch towers
    templates: tuple[str, ...] = ("a photo of a {}.",)
    graphs: GraphNames = field(default_factory=GraphNames)
    variants: tuple[Variant, ...]
    default_precision: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "unknown"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    identity: str  # 64 hex digits
    files: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # name -> {"sha256", "bytes"}, model.json excepted
    format: int = FORMAT

    def __post_init__(self) -> None:
        _require(self.format == FORMAT, f"format {self.format!r} is unknown to this version (it knows {FORMAT})")
        for name in ("name", "architecture", "activation", "licence"):
            value = getattr(self, name)
            _require(isinstance(value, str) and value != "", f"{name} must be a text")
        _require(_PLAIN_NAME.fullmatch(self.name) is not None, f"not a usable model name: {self.name!r}")
        _require(_is_count(self.embedding_dim), "embedding_dim must be a positive whole number")
        _require(_is_count(self.context_length) and self.context_length >= 3, "context_length must be at least 3")
        _require(isinstance(self.causal_text, bool), "causal_text must be true or false")
        _require(self.text_cleaning in CLEANINGS, f"text_cleaning must be one of {', '.join(CLEANINGS)}")
        _require(self.pad_id == 0 or _is_count(self.pad_id), "pad_id must be a whole number from 0")
        _require(_is_number(self.logit_scale) and 0 < self.logit_scale < 1e6, "logit_scale must be positive")
        _require(self.logit_bias is None or _is_number(self.logit_bias), "logit_bias must be a number or null")
        for name in ("towers", "provenance", "metrics", "files"):
            _require(isinstance(getattr(self, name), Mapping), f"{name} must be an object")
        good = len(self.templates) > 0 and all(isinstance(text, str) and "{}" in text for text in self.templates)
        _require(good, "templates must be texts with {} in them")
        precisions = [variant.precision for variant in self.variants]
        _require(len(precisions) > 0, "variants must not be empty")
        _require(len(set(precisions)) == len(precisions), "variants must differ in precision")
        _require(self.default_precision in precisions, "default_precision must be one of the variants")
        good = isinstance(self.identity, str) and _HEX.fullmatch(self.identity) is not None
        _require(good, "identity must be 64 hex digits")
        for name, facts in self.files.items():
            _require_plain(name)
            good = isinstance(facts, Mapping) and _HEX.fullmatch(str(facts.get("sha256"))) is not None
            size = facts.get("bytes") if good else None
            good = isinstance(size, int) and not isinstance(size, bool) and size >= 0
            _require(good, f"files: {name} needs sha256 and bytes")

    def variant(self, precision: str) -> Variant:
        """The variant of this precision; `auto` is the model's own default. Raises NotFoundError."""
        wanted = self.default_precision if precision == "auto" else precision
        for variant in self.variants:
            if variant.precision == wanted:
                return variant
        known = ", ".join(variant.precision for variant in self.variants)
        raise NotFoundError(f"model {self.name} has no {wanted} variant (it has {known})")

    def graph_digest(self, variant: Variant, tower: str) -> str:
        """64 hex digits of the graph of one tower, "image" or "text", and of the weights it keeps elsewhere."""
        names = (variant.image if tower == "image" else variant.text, *variant.data)
        digests = [str(self.files[name]["sha256"]) for name in names]
        return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()

    @property
    def required_files(self) -> tuple[str, ...]:
        """What has to be there for the model to run, whatever its precision."""
        graphs = (file for variant in self.variants for file in (variant.image, variant.text, *variant.data))
        return (*dict.fromkeys(graphs), TOKENIZER_FILE)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _build(kind: Callable[..., Built], values: object, where: str) -> Built:
    """A dataclass from a JSON object: unknown and missing fields are named, lists become tuples."""
    _require(isinstance(values, dict), f"{where} must be an object")
    assert isinstance(values, dict)
    known = {one.name for one in fields(cast(Any, kind))}
    unknown = sorted(set(values) - known)
    _require(not unknown, f"{where}: unknown field {', '.join(unknown)}")
    settled = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return kind(**settled)
    except TypeError as error:
        raise ModelError(f"{MODEL_FILE}: {where}: {error}") from None


def preprocess_from_dict(values: object) -> Preprocess:
    """The inverse of `dataclasses.asdict`, of what `json` read. Raises ModelError."""
    return _build(Preprocess, values, "preprocess")


def spec_from_dict(values: object) -> ModelSpec:
    """The inverse of `ModelSpec.to_dict`, of what `json` read. Raises ModelError."""
    _require(isinstance(values, dict), "must hold an object")
    assert isinstance(values, dict)
    _require("format" in values, "format is missing")
    _require(
        values["format"] == FORMAT, f"format {values['format']!r} is not known to this version (it knows {FORMAT})"
    )
    settled = dict(values)
    settled["preprocess"] = preprocess_from_dict(values.get("preprocess"))
    settled["graphs"] = _build(GraphNames, values.get("graphs", {}), "graphs")
    listed = values.get("variants")
    _require(isinstance(listed, list), "variants must be a list")
    settled["variants"] = tuple(_build(Variant, item, "variants") for item in listed or ())
    _require(isinstance(values.get("templates", []), list), "templates must be a list")
    return _build(ModelSpec, settled, "model")


def read_spec(folder: Path) -> ModelSpec:
    """The model in `folder`. Raises NotFoundError where there is none, ModelError where it is damaged."""
    path = folder / MODEL_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"no model in {folder} ({MODEL_FILE} is missing)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read {path}: {error}") from None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}; {next_step(folder)}") from None
    try:
        return spec_from_dict(values)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None


def write_spec(folder: Path, spec: ModelSpec) -> None:
    """Write `model.json` by temporary name, sync and rename."""
    path = folder / MODEL_FILE
    partial = path.with_name(f".{MODEL_FILE}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8") as out:
            json.dump(spec.to_dict(), out, indent=2, ensure_ascii=False)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

"""Folders as transformers writes them: `CLIPModel` and `SiglipModel` (SigLIP, and SigLIP 2 of fixed size)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from clipcli.bundle.foreign.json_files import fail_on_unknown, licence_of, missing_processor, read_json, section, three
from clipcli.bundle.foreign.weights import TRANSFORMERS_CONFIG, TRANSFORMERS_INDEXES, TRANSFORMERS_WEIGHTS
from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess
from clipcli.errors import ModelError, UsageError
from trainer.config import Activation
from trainer.reading.found import Choices, Found
from trainer.reading.names import from_transformers
from trainer.reading.sentencepieces import PIECES_FILE
from trainer.reading.sizes import Known, check_stated, describe
from trainer.reading.tokenizer_files import Words, clip_words, siglip_words, words_of_folder
from trainer.reading.vocabulary import OPENAI_MARKERS
from trainer.reading.weights_file import read_tensors

__all__ = ["MODEL_TYPES", "read_folder"]

MODEL_TYPES = ("clip", "siglip")
_ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}
# What a configuration means where it is silent.
_SILENT: dict[str, dict[str, Any]] = {
    "clip": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "vision_heads": 12, "text_heads": 8},
    "siglip": {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "vision_heads": 12, "text_heads": 12},
}
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_PROCESSOR: dict[str, Any] = {
    **dict.fromkeys(("size", "crop_size", "resample", "image_mean", "image_std", "rescale_factor"), ...),
    **dict.fromkeys(("do_center_crop", "image_processor_type", "feature_extractor_type", "processor_class"), ...),
    **dict.fromkeys(("do_convert_rgb", "data_format", "input_data_format", "default_to_square"), ...),
    **dict.fromkeys(("disable_grouping", "return_tensors", "device", "use_square_size", "_valid_processor_keys"), ...),
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
}


def read_folder(folder: Path, choices: Choices) -> Found:
    """Raises ModelError where anything asks for what the towers here do not have."""
    where = str(folder / TRANSFORMERS_CONFIG)
    values = read_json(folder / TRANSFORMERS_CONFIG)
    kind = values.get("model_type")
    if kind not in MODEL_TYPES:
        raise ModelError(f"{where}: the model type {kind!r} is not known here (known: {', '.join(MODEL_TYPES)})")
    vision, text = section(values, "vision_config", where), section(values, "text_config", where)
    weights, tensors = _weights(folder)
    state = from_transformers(tensors)
    config = describe(state, _known(kind, vision, text, choices, where))
    check_stated(config, vision, text, width="hidden_size", layers="num_hidden_layers", where=where)
    words = _words(folder, kind, config.text.vocab_size, choices)
    return Found(
        kind=f"transformers folder ({kind})",
        config=config,
        state=state,
        preprocess=_preprocess(folder, kind, config.image.image_size),
        tokenizer=words.file,
        text_cleaning=words.cleaning,
        pad_id=words.pad_id,
        licence=licence_of(folder),
        weights=weights,
        notes=(*choices.overruled(_activation(text, _SILENT[kind], where), TRANSFORMERS_CONFIG), *words.notes),
    )


def _weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    for name in TRANSFORMERS_WEIGHTS:
        if (folder / name).is_file():
            return folder / name, read_tensors(folder / name)
    for name in TRANSFORMERS_INDEXES:
        if (folder / name).is_file():
            return folder / name, _parts(folder, name)
    raise ModelError(f"{folder} has a configuration but no weights ({' or '.join(TRANSFORMERS_WEIGHTS)})")


def _parts(folder: Path, index: str) -> dict[str, Tensor]:
    """Weights in several files, which lie in the folder itself whatever the index says."""
    tensors: dict[str, Tensor] = {}
    names = section(read_json(folder / index), "weight_map", index)
    for name in sorted(set(map(str, names.values()))):
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is None:
            raise ModelError(f"{folder / index} is refused: {name!r} is no plain file name")
        tensors |= read_tensors(folder / name)
    return tensors


def _known(kind: str, vision: Mapping[str, Any], text: Mapping[str, Any], choices: Choices, where: str) -> Known:
    silent = _SILENT[kind]
    for tower in (vision, text):
        if not math.isclose(tower.get("layer_norm_eps", silent["layer_norm_eps"]), silent["layer_norm_eps"]):
            raise ModelError(f"{where}: layer norms have an epsilon of {tower['layer_norm_eps']}, not known here")
    if not vision.get("vision_use_head", True):
        raise ModelError(f"{where}: the image tower has no pooling head, and so no embedding")
    size = vision.get("image_size", 224)
    return Known(
        activation=choices.agrees(_activation(vision, silent, where), where),
        text_activation=choices.agrees(_activation(text, silent, where), where),
        image_heads=vision.get("num_attention_heads", silent["vision_heads"]),
        text_heads=text.get("num_attention_heads", silent["text_heads"]),
        image_size=size if isinstance(size, int) else None,
    )


def _activation(tower: Mapping[str, Any], silent: Mapping[str, Any], where: str) -> Activation:
    name = tower.get("hidden_act", silent["hidden_act"])
    if name not in _ACTIVATIONS:
        raise ModelError(f"{where}: the activation {name!r} is not known here")
    return _ACTIVATIONS[name]


def _preprocess(folder: Path, kind: str, size: int) -> Preprocess:
    path = folder / "preprocessor_config.json"
    values = read_json(path) if path.is_file() else {}
    if not values and (folder / "processor_config.json").is_file():
        path = folder / "processor_config.json"
        values = section(read_json(path), "image_processor", str(path))
    if not values:
        raise UsageError(missing_processor(folder))
    where = str(path)
    fail_on_unknown(values, _PROCESSOR, where)
    if not math.isclose(values.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-6):
        raise ModelError(f"{where}: rescale_factor is {values['rescale_factor']}; only 1/255 can be had here")
    resample = values.get("resample", 3)
    if resample not in _RESAMPLE:
        raise ModelError(f"{where}: resample is {resample!r}; only {', '.join(_RESAMPLE.values())} can be had here")
    return Preprocess(
        image_size=size,
        resize=_resize(values, kind, size, where),
        interpolation=_RESAMPLE[resample],
        crop_rounding="down",
        mean=three(values.get("image_mean", 0.5 if kind == "siglip" else None), where),
        std=three(values.get("image_std", 0.5 if kind == "siglip" else None), where),
    )


def _resize(values: Mapping[str, Any], kind: str, size: int, where: str) -> str:
    """ "squash" where both sides are named, "shortest" where one is and the rest is cropped."""
    wanted, crop = values.get("size", size), values.get("crop_size", size)
    both = {"height": size, "width": size}
    crops = values.get("do_center_crop", kind == "clip")
    if wanted == both and (not crops or crop in (size, both)):
        return "squash"
    if wanted in (size, {"shortest_edge": size}) and crops and crop in (size, both):
        return "shortest"
    raise ModelError(f"{where}: pictures are resized to {wanted} and cropped to {crop}, the tower sees {size} pixels")


def _words(folder: Path, kind: str, vocabulary: int, choices: Choices) -> Words:
    """The `tokenizer.json`, which does its own cleaning; without one, what it could be made from."""
    source = choices.tokenizer or folder / TOKENIZER_FILE
    if source.suffix == ".json" and source.is_file():
        return words_of_folder(source, vocabulary, "none")
    if kind == "siglip":
        pieces = folder / PIECES_FILE if choices.tokenizer is None else source
        return siglip_words(pieces, vocabulary)
    return clip_words(folder, vocabulary, choices.tokenizer, OPENAI_MARKERS)

"""The layout of transformers.js: `onnx/vision_model*.onnx`, `onnx/text_model*.onnx`, and the configurations beside it.

The graphs are those of transformers' `CLIPVisionModelWithProjection` and its kind; pictures and texts are prepared as
transformers does it, by what `preprocessor_config.json` and `tokenizer.json` say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipcli.bundle.foreign.graph_file import read_graph
from clipcli.bundle.foreign.graph_source import (
    Answers,
    GraphSource,
    Pair,
    Words,
    find_ports,
    load_words,
    named_token,
    tokenizer_file,
)
from clipcli.bundle.foreign.json_files import fail_on_unknown, licence_of, missing_processor, read_json, section, three
from clipcli.bundle.spec import Preprocess
from clipcli.errors import ModelError, NotFoundError, UsageError

__all__ = ["COMBINED", "ENDINGS", "FOLDER", "is_layout", "read_layout"]

FOLDER = "onnx"
_ARCHITECTURES = {"clip": "CLIP", "siglip": "SigLIP"}
MODEL_TYPES = tuple(_ARCHITECTURES)
# The ending of a file's name by precision; of several the first that is there.
ENDINGS = {"fp32": ("",), "fp16": ("_fp16",), "int8": ("_quantized", "_int8")}
# A graph of both towers with their logits. Which precision of it is read makes no difference to the scale.
COMBINED = tuple(f"model{ending}.onnx" for ending in ("_quantized", "_int8", "_fp16", ""))
_OTHERS = ("_uint8", "_q4", "_q4f16", "_bnb4")
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}  # as they are called here
# What each setting of the processor has to be, or ... where it is looked at below.
_PROCESSOR: dict[str, Any] = {
    **dict.fromkeys(("size", "crop_size", "resample", "image_mean", "image_std", "rescale_factor"), ...),
    **dict.fromkeys(("do_center_crop", "image_processor_type", "feature_extractor_type", "processor_class"), ...),
    **dict.fromkeys(("do_convert_rgb", "data_format", "input_data_format", "default_to_square"), ...),
    **dict.fromkeys(("return_tensors", "use_square_size", "_valid_processor_keys", "disable_grouping", "device"), ...),
    "do_resize": True,
    "do_normalize": ...,
    "do_rescale": True,
}


def is_layout(folder: Path) -> bool:
    """Whether `folder` looks like it: a configuration, and graphs in `onnx/`."""
    return (folder / "config.json").is_file() and any((folder / FOLDER).glob("*.onnx"))


def read_layout(folder: Path, answers: Answers) -> GraphSource:
    """Raises ModelError where anything asks for what cannot be had here; NotFoundError for a missing precision."""
    where = str(folder / "config.json")
    config = read_json(folder / "config.json")
    family = config.get("model_type")
    if family not in MODEL_TYPES:
        raise ModelError(f"{where}: the model type {family!r} is not known here (known: {', '.join(MODEL_TYPES)})")
    pairs, left_out = _pairs(folder / FOLDER, answers.precisions)
    names = find_ports(pairs, family)
    text = section(config, "text_config", where)
    towers = section(config, "vision_config", where), text
    told = {str(tower["hidden_act"]) for tower in towers if "hidden_act" in tower}
    activation = told.pop() if len(told) == 1 else "as in the graphs"
    return GraphSource(
        kind=f"ONNX in the layout of transformers.js ({family})",
        folder=folder,
        architecture=_ARCHITECTURES[family],
        pairs=pairs,
        left_out=left_out,
        names=names,
        preprocess=_preprocess(folder, family, pairs),
        words=_words(folder, text, family, answers.tokenizer),
        activation=_ACTIVATIONS.get(activation, activation),
        sigmoid=family == "siglip",
        combined=next((folder / FOLDER / name for name in COMBINED if (folder / FOLDER / name).is_file()), None),
        licence=licence_of(folder),
    )


def _pairs(folder: Path, wanted: tuple[str, ...]) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """By precision, the most exact first; and the names of the precisions that cannot be had here."""
    pairs = {}
    for precision, endings in ENDINGS.items():
        if wanted and precision not in wanted:
            continue
        for ending in endings:
            files = folder / f"vision_model{ending}.onnx", folder / f"text_model{ending}.onnx"
            if all(file.is_file() for file in files):
                pairs[precision] = Pair(image=read_graph(files[0]), text=read_graph(files[1]))
                break
    missing = [precision for precision in wanted if precision not in pairs]
    if missing or not pairs:
        lack = f"no {' and no '.join(missing)} graphs" if missing else "no graph of each tower"
        raise NotFoundError(f"{folder} has {lack} (vision_model and text_model, for each precision)")
    others = (ending[1:] for ending in _OTHERS if (folder / f"vision_model{ending}.onnx").is_file())
    return pairs, tuple(others)


def _preprocess(folder: Path, family: str, pairs: Mapping[str, Pair]) -> Preprocess:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise UsageError(missing_processor(folder))
    values, where = read_json(path), str(path)
    fail_on_unknown(values, _PROCESSOR, where)
    if not math.isclose(values.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-6):
        raise ModelError(f"{where}: rescale_factor is {values['rescale_factor']}; only 1/255 can be had here")
    levels = ("image_mean", "image_std") if values.get("do_normalize", True) else ()
    for name in ("size", "resample", *levels):
        if values.get(name) is None:
            raise ModelError(f"{where}: {name} is missing: how pictures are prepared")
    if values["resample"] not in _RESAMPLE:
        raise ModelError(
            f"{where}: resample is {values['resample']!r}; only {' and '.join(_RESAMPLE.values())} are known"
        )
    size, rule = _resize(values, family, where)
    for pair in pairs.values():
        for side in pair.image.inputs[0].shape[2:]:
            if side is not None and side != size:
                raise ModelError(f"{where}: pictures become {size} pixels wide, {pair.image.path.name} sees {side}")
    return Preprocess(
        image_size=size,
        resize=rule,
        interpolation=_RESAMPLE[values["resample"]],
        crop_rounding="down" if rule == "shortest" else "half_even",
        mean=three(values["image_mean"], where) if levels else (0.0, 0.0, 0.0),
        std=three(values["image_std"], where) if levels else (1.0, 1.0, 1.0),
    )


def _resize(values: Mapping[str, Any], family: str, where: str) -> tuple[int, str]:
    """The side of the square, and how a picture becomes one."""
    size, crop = values["size"], values.get("crop_size")
    crops = values.get("do_center_crop", family == "clip")
    if isinstance(crop, dict):
        crop = crop.get("height") if crop.get("height") == crop.get("width") else None
    side = size if isinstance(size, int) else size.get("shortest_edge") if isinstance(size, dict) else None
    if isinstance(side, int) and crops and crop == side:
        return side, "shortest"
    both = (size.get("height"), size.get("width")) if isinstance(size, dict) else (None, None)
    if isinstance(both[0], int) and both[0] == both[1] and (not crops or crop == both[0]):
        return both[0], "squash"
    raise ModelError(
        f"{where}: pictures are resized to {size} and cropped to {values.get('crop_size')}, which is not known here"
    )


def _words(folder: Path, text: Mapping[str, Any], family: str, chosen: Path | None) -> Words:
    """The tokenizer does its own cleaning. Rows are filled with what its configuration calls padding."""
    config_path = folder / "tokenizer_config.json"
    config = read_json(config_path) if config_path.is_file() else {}
    length = text.get("max_position_embeddings")
    told = config.get("model_max_length")
    if length is None:
        length = told
    if not isinstance(length, int) or not 3 <= length <= 10_000:
        raise ModelError(
            f"{folder / 'config.json'}: text_config.max_position_embeddings is missing: how long texts are"
        )
    if config.get("padding_side", "right") != "right":
        raise ModelError(f"{config_path}: texts are padded on the {config['padding_side']}, which is not known here")
    file = tokenizer_file(chosen, folder)
    token = config.get("pad_token")
    if isinstance(token, dict):
        token = token.get("content")
    if token is not None:
        pad_id = named_token(file, str(token), chosen=chosen is not None)
    elif isinstance(text.get("pad_token_id"), int):
        pad_id = text["pad_token_id"]
    elif family == "clip":
        pad_id = 0  # under a causal mask nothing behind the end marker is looked at
    else:
        raise ModelError(f"{config_path}: pad_token is missing: what fills a short text")
    return load_words(
        file, context_length=min(length, told) if isinstance(told, int) else length, cleaning="none", pad_id=pad_id
    )

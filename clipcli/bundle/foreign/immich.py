"""Immich's layout: `visual/model.onnx` and `textual/model.onnx`, made of OpenCLIP's models, with its configuration.

Both graphs take one input at a time and give unit vectors. Pictures and texts are prepared as OpenCLIP does it.
"""

from __future__ import annotations

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
from clipcli.bundle.foreign.json_files import fail_on_unknown, licence_of, read_json, section, three
from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess
from clipcli.errors import ModelError, NotFoundError, UsageError

__all__ = ["FILES", "is_layout", "read_layout"]

IMAGE, TEXT = "visual", "textual"
GRAPH = "model.onnx"
_TOKENIZER, _PADDING = f"{TEXT}/{TOKENIZER_FILE}", f"{TEXT}/tokenizer_config.json"
FILES = (
    "config.json",
    f"{IMAGE}/{GRAPH}",
    f"{IMAGE}/preprocess_cfg.json",
    f"{TEXT}/{GRAPH}",
    _TOKENIZER,
    _PADDING,
)
_PICTURES: dict[str, Any] = {
    **dict.fromkeys(("size", "mean", "std", "interpolation", "resize_mode", "fill_color"), ...),
    "mode": "RGB",
}
_CLEANINGS = ("lower", "whitespace", "canonicalize")


def is_layout(folder: Path) -> bool:
    """Whether `folder` looks like it: a graph of each tower, in a folder each."""
    return any((folder / tower / GRAPH).is_file() for tower in (IMAGE, TEXT))


def read_layout(folder: Path, answers: Answers) -> GraphSource:
    """Raises ModelError where anything asks for what cannot be had here, NotFoundError for a missing precision.

    UsageError where a file is missing that can be had elsewhere.
    """
    _check_files(folder, answers)
    if set(answers.precisions) - {"fp32"}:
        raise NotFoundError(f"{folder} has graphs in fp32 only")
    where = str(folder / "config.json")
    config = read_json(folder / "config.json")
    text = section(config, "text_cfg", where)
    if not text:
        raise ModelError(f"{where}: text_cfg is missing: how texts are prepared")
    pair = Pair(image=read_graph(folder / IMAGE / GRAPH), text=read_graph(folder / TEXT / GRAPH))
    pairs = {"fp32": pair}
    names = find_ports(pairs, "")
    quick = config.get("quick_gelu")
    return GraphSource(
        kind="ONNX in Immich's layout",
        folder=folder,
        architecture=str(section(config, "vision_cfg", where).get("timm_model_name") or "CLIP"),
        pairs=pairs,
        names=names,
        preprocess=_preprocess(folder / IMAGE / "preprocess_cfg.json", pair),
        words=_words(folder / TEXT, text, pair, answers.tokenizer),
        activation="quick_gelu" if quick is True else "as in the graphs",
        # OpenCLIP gives a bias to begin training with to sigmoid models, and to no others.
        sigmoid="init_logit_bias" in config,
        licence=licence_of(folder),
    )


def _check_files(folder: Path, answers: Answers) -> None:
    """Raise ModelError where a graph is missing, UsageError where what belongs to it is, and can be had elsewhere."""
    for name in FILES:
        if (folder / name).is_file() or (name == _TOKENIZER and answers.tokenizer is not None) or name == _PADDING:
            continue
        if name.endswith(GRAPH):
            raise ModelError(f"{folder / name} is missing")
        told = " (--tokenizer FILE names another place)" if name == _TOKENIZER else ""
        raise UsageError(f"{folder / name} is missing: fetch it from the model's repository{told}")


def _preprocess(path: Path, pair: Pair) -> Preprocess:
    values, where = read_json(path), str(path)
    fail_on_unknown(values, _PICTURES, where)
    for name in ("size", "mean", "std", "interpolation"):
        if values.get(name) is None:
            raise ModelError(f"{where}: {name} is missing: how pictures are prepared")
    size = values["size"]
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    sides = {side for side in pair.image.inputs[0].shape[2:] if side is not None}
    if not isinstance(size, int) or sides - {size}:
        raise ModelError(f"{where}: pictures become {values['size']} pixels, the graph sees {sorted(sides)}")
    # Configurations from before OpenCLIP had a choice say nothing, and mean "shortest".
    return Preprocess(
        image_size=size,
        resize=values.get("resize_mode", "shortest"),
        interpolation=values["interpolation"],
        mean=three(values["mean"], where),
        std=three(values["std"], where),
    )


def _words(folder: Path, text: dict[str, Any], pair: Pair, chosen: Path | None) -> Words:
    """The cleaning is OpenCLIP's: what its configuration names, else the one its kind of tokenizer has by default."""
    settings = section(text, "tokenizer_kwargs", str(folder.parent / "config.json"))
    cleaning = settings.get("clean") or ("whitespace" if text.get("hf_tokenizer_name") else "lower")
    if cleaning not in _CLEANINGS:
        raise ModelError(f"{folder.parent / 'config.json'}: the cleaning {cleaning!r} is not known here")
    # A text graph has its length; OpenCLIP's is 77 where its configuration says nothing.
    length = text.get("context_length", 77)
    fixed = pair.text.inputs[0].shape[1]
    if not isinstance(length, int) or (fixed is not None and fixed != length):
        raise ModelError(f"{folder.parent / 'config.json'}: texts have {length} tokens, the graph sees {fixed}")
    file = tokenizer_file(chosen, folder)
    padding = _pad_id(folder, file, text, chosen)
    return load_words(file, context_length=length, cleaning=cleaning, pad_id=padding)


def _pad_id(folder: Path, file: Path, text: dict[str, Any], chosen: Path | None) -> int:
    """What fills a short text: by the configuration beside the tokenizer that is used, else by the model's own."""
    beside = file.with_name("tokenizer_config.json")
    config = beside if beside.is_file() else folder / "tokenizer_config.json"
    if not config.is_file():
        if not text.get("hf_tokenizer_name"):
            return 0  # OpenCLIP's own tokenizer
        raise UsageError(
            f"{config} is missing, which says what fills a short text: fetch it from the model's repository"
        )
    token = read_json(config).get("pad_token")
    if isinstance(token, dict):
        token = token.get("content")
    if not isinstance(token, str):
        raise ModelError(f"{config}: pad_token is missing: what fills a short text")
    return named_token(file, token, chosen=chosen is not None)

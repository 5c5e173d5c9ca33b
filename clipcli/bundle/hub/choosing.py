"""Which files of a repository make up a model: graphs where it has some, else weights, and never both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clipcli.bundle.foreign import immich, transformers_js
from clipcli.bundle.hub.client import Listing, RemoteFile
from clipcli.bundle.spec import MODEL_FILE, PRECISIONS, TOKENIZER_FILE, ModelSpec
from clipcli.errors import ModelError, NotFoundError, UsageError

__all__ = ["Choice", "choose", "files_of_bundle"]

_TEXTS = ("config.json", "preprocessor_config.json", TOKENIZER_FILE, "tokenizer_config.json", "README.md")
_WEIGHTS_TEXTS = (
    *_TEXTS, "open_clip_config.json", "processor_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
    "bpe_simple_vocab_16e6.txt.gz", "spiece.model",
)  # fmt: skip
# The first that is there; safetensors before pickles.
_OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")
_SHARDED = {
    "model.safetensors.index.json": r"model-\d+-of-\d+\.safetensors",
    "pytorch_model.bin.index.json": r"pytorch_model-\d+-of-\d+\.bin",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The files to fetch, and what they are: "bundle", "graphs" or "weights"."""

    kind: str
    files: tuple[RemoteFile, ...]
    logits_untold: bool = False  # graphs of single towers alone, which end before the logit scale

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


def choose(listing: Listing, *, precisions: tuple[str, ...] = (), logits_known: bool = False) -> Choice:
    """`precisions` are those wanted; none named means the most exact there is. Where nobody has said the logit scale,
    the smallest graph that knows it comes along.

    Raises NotFoundError where the repository holds no such model, UsageError for a precision nobody knows.
    """
    for precision in precisions:
        if precision not in PRECISIONS:
            raise UsageError(f"unknown precision {precision!r}: one of {', '.join(PRECISIONS)}")
    names = listing.files
    if MODEL_FILE in names:
        return Choice(kind="bundle", files=(names[MODEL_FILE],))  # which says what else
    if any(name.startswith(f"{transformers_js.FOLDER}/vision_model") for name in names):
        untold = not any(f"{transformers_js.FOLDER}/{one}" in names for one in transformers_js.COMBINED)
        chosen = _picked(listing, _of_transformers_js(listing, precisions, logits_known))
        return Choice(kind="graphs", files=chosen, logits_untold=untold)
    if f"{immich.IMAGE}/{immich.GRAPH}" in names:
        if set(precisions) - {"fp32"}:
            raise NotFoundError(f"{listing.repository} has graphs in fp32 only")
        return Choice(kind="graphs", files=_picked(listing, _of_immich(names)), logits_untold=True)
    weights = _weights(names)
    if not weights:
        raise NotFoundError(
            f"{listing.repository} holds no model known here: no ONNX graphs of two towers (onnx/vision_model.onnx, "
            "visual/model.onnx), no open_clip_config.json, no weights of transformers, no .pt file by itself"
        )
    return Choice(kind="weights", files=_picked(listing, [*weights, *_WEIGHTS_TEXTS]))


def files_of_bundle(listing: Listing, spec: ModelSpec) -> tuple[RemoteFile, ...]:
    """What a `model.json` speaks of. Raises ModelError where the repository has it not, or of another size."""
    for name, facts in spec.files.items():
        if name not in listing.files or listing.files[name].size != facts["bytes"]:
            raise ModelError(f"{listing.repository} is damaged: {name} is not what its model.json says")
    return tuple(listing.files[name] for name in spec.files)


def _picked(listing: Listing, names: Iterable[str]) -> tuple[RemoteFile, ...]:
    return tuple(listing.files[name] for name in dict.fromkeys(names) if name in listing.files)


def _of_transformers_js(listing: Listing, precisions: tuple[str, ...], logits_known: bool) -> list[str]:
    names = listing.files
    pairs = {precision: pair for precision in transformers_js.ENDINGS if (pair := _pair(names, precision))}
    wanted = precisions or tuple(pairs)[:1]
    missing = [precision for precision in wanted if precision not in pairs]
    if missing or not pairs:
        lack = " and no ".join(missing) or "complete"
        raise NotFoundError(f"{listing.repository} has no {lack} graphs of both towers")
    chosen = [part for precision in wanted for graph in pairs[precision] for part in _parts(names, graph)]
    combined = [f"{transformers_js.FOLDER}/{one}" for one in transformers_js.COMBINED]
    sizes = {name: sum(names[part].size for part in _parts(names, name)) for name in combined if name in names}
    if sizes and not logits_known:
        chosen += _parts(names, min(sizes, key=lambda name: sizes[name]))
    return [*chosen, *_TEXTS]


def _pair(names: Mapping[str, RemoteFile], precision: str) -> list[str]:
    """The two graphs of a precision; nothing where one of them is missing."""
    for ending in transformers_js.ENDINGS[precision]:
        pair = [f"{transformers_js.FOLDER}/{tower}_model{ending}.onnx" for tower in ("vision", "text")]
        if all(name in names for name in pair):
            return pair
    return []


def _parts(names: Mapping[str, RemoteFile], graph: str) -> list[str]:
    """A graph and the files its weights are kept in, which exporters name after it."""
    return [graph, *(name for name in names if re.fullmatch(re.escape(graph) + r"[._]data(_\d+)?", name))]


def _of_immich(names: Mapping[str, RemoteFile]) -> list[str]:
    """All that lies beside a graph: weights of large ones may be kept under any name. Not what is for other devices."""
    beside = [
        name
        for name in names
        if re.fullmatch(rf"({immich.IMAGE}|{immich.TEXT})/[^/]+", name) and not name.endswith((".armnn", ".rknn"))
    ]
    return [*beside, *immich.FILES, "README.md"]


def _weights(names: Mapping[str, RemoteFile]) -> list[str]:
    if "open_clip_config.json" in names:
        return [name for name in _OPEN_CLIP if name in names][:1]
    alone = [name for name in names if re.fullmatch(r"[^/]+\.pt", name)]
    if "config.json" not in names:
        return alone if len(alone) == 1 else []
    whole = [name for name in _TRANSFORMERS if name in names][:1]
    if whole and whole[0].endswith(".safetensors"):
        return whole
    for index, pattern in _SHARDED.items():
        if index in names and (index.startswith("model") or not whole):
            return [index, *(name for name in names if re.fullmatch(pattern, name))]
    return whole or (alone if len(alone) == 1 else [])

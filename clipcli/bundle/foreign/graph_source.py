"""What reading another project's ONNX folder comes to, before any of it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipcli.bundle.foreign.graph_file import GraphFile, Port
from clipcli.bundle.spec import TOKENIZER_FILE, GraphNames, Preprocess
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import ModelError, UsageError

__all__ = ["Answers", "GraphSource", "Pair", "Words", "find_ports", "load_words", "named_token", "tokenizer_file"]

_FLOATS = (1, 10)  # ONNX's numbers for float32 and float16
_WHOLES = (6, 7)  # int32 and int64
_IMAGE_OUTPUTS = {"clip": ("image_embeds",), "siglip": ("image_embeds", "pooler_output")}
_TEXT_OUTPUTS = {"clip": ("text_embeds",), "siglip": ("text_embeds", "pooler_output")}
_LARGEST_TOKENIZER = 128 << 20  # bytes; Gemma's 256,000 words take 34 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a person says where a source is silent, or instead of it."""

    tokenizer: Path | None = None
    logit_scale: float | None = None
    logit_bias: float | None = None
    licence: str | None = None
    precisions: tuple[str, ...] = ()  # those wanted; none named means all there are

    def __post_init__(self) -> None:
        if self.logit_scale is not None and not 0 < self.logit_scale < 1e6:
            raise UsageError(f"--logit-scale is a positive number (100 for OpenAI's models), not {self.logit_scale}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The two graphs of one precision."""

    image: GraphFile
    text: GraphFile

    @property
    def size_bytes(self) -> int:
        return self.image.size_bytes + self.text.size_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """A `tokenizer.json`, and how it is used."""

    file: bytes
    context_length: int
    cleaning: str = "none"
    pad_id: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphSource:
    """A model of another project as graphs."""

    kind: str  # of the source, for the provenance
    folder: Path
    architecture: str
    pairs: Mapping[str, Pair]  # by precision, the most exact first
    left_out: tuple[str, ...] = ()  # precisions that are there and cannot be had here
    names: GraphNames
    preprocess: Preprocess
    words: Words
    activation: str
    sigmoid: bool
    combined: Path | None = None  # a graph of both towers and their logits: it knows the scale
    licence: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the provenance


def find_ports(pairs: Mapping[str, Pair], family: str) -> GraphNames:
    """What all the graphs call their inputs and outputs; `family` is "clip" or "siglip", "" for Immich's.

    Raises ModelError where a graph wants or gives something else, or where two precisions differ.
    """
    found = {precision: _ports(pair, family) for precision, pair in pairs.items()}
    names = next(iter(found.values()))
    for precision, others in found.items():
        if others != names:
            raise ModelError(f"the {precision} graphs have other inputs or outputs than the rest")
    return names


def _ports(pair: Pair, family: str) -> GraphNames:
    image, text = pair.image, pair.text
    (pixels,) = _inputs(image, {"pixel_values", "image"}, _FLOATS, 4)
    tokens, *mask = _inputs(text, {"input_ids", "text", "attention_mask"}, _WHOLES, 2)
    if mask and family == "siglip":
        # Its processor never gives one, and padding takes part in its embedding: what a mask would mean is unknown.
        raise ModelError(f"{text.path.name} wants an attention mask, which models of this kind are not given")
    return GraphNames(
        image_input=pixels.name,
        image_output=_output(image, _IMAGE_OUTPUTS.get(family, ("embedding", "image_embedding"))),
        text_input=tokens.name,
        text_mask=mask[0].name if mask else None,
        text_output=_output(text, _TEXT_OUTPUTS.get(family, ("embedding", "text_embedding"))),
    )


def _inputs(graph: GraphFile, known: set[str], kinds: tuple[int, ...], rank: int) -> list[Port]:
    """The known inputs, the mask last. Raises ModelError where there is another, or one is of another type."""
    for port in graph.inputs:
        if port.name not in known or port.kind not in kinds or len(port.shape) != rank:
            raise ModelError(f"{graph.path.name} wants an input {port.name!r} of a kind that is not known here")
    inputs = sorted(graph.inputs, key=lambda port: port.name == "attention_mask")
    masks = sum(port.name == "attention_mask" for port in inputs)
    if len(inputs) - masks != 1:
        raise ModelError(f"{graph.path.name} has {len(inputs)} inputs; a picture or a text is one")
    return inputs


def _output(graph: GraphFile, wanted: tuple[str, ...]) -> str:
    given = [port.name for port in graph.outputs]
    chosen = next((name for name in wanted if name in given), None)
    if chosen is None:
        raise ModelError(f"{graph.path.name} gives {', '.join(given)}, not {' or '.join(wanted)}: no embedding")
    return chosen


def tokenizer_file(chosen: Path | None, folder: Path) -> Path:
    """The one that a person has chosen, by itself or by its folder; else that of the model's own `folder`."""
    file = chosen or folder
    return file / TOKENIZER_FILE if file.is_dir() else file


def load_words(path: Path, *, context_length: int, cleaning: str, pad_id: int) -> Words:
    """Raises UsageError where it is missing, ModelError where it is no tokenizer that can be used here."""
    content = _content(path)
    Tokenizer.load(path, context_length, cleaning=cleaning, pad_id=pad_id)
    return Words(file=content, context_length=context_length, cleaning=cleaning, pad_id=pad_id)


def named_token(path: Path, token: str, *, chosen: bool = False) -> int:
    """The number of a token of the `tokenizer.json` at `path`, which a person may have chosen.

    Raises UsageError where it is missing or another model's, ModelError where it is damaged or has no such token.
    """
    import tokenizers

    content = _content(path)
    try:
        number = tokenizers.Tokenizer.from_str(content.decode("utf-8")).token_to_id(token)
    except Exception as error:  # the library raises bare Exception for every fault in the file
        raise ModelError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if number is not None:
        return int(number)
    if chosen:
        raise UsageError(f"{path} is another model's: it has no {token!r}, which fills this one's short texts")
    raise ModelError(f"{path}: the padding token {token!r} is not in the vocabulary")


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_TOKENIZER:
            raise ModelError(f"{path} is too large for a tokenizer")
        content = path.read_bytes()
    except OSError:
        raise UsageError(f"{path} is missing: the model's tokenizer (--tokenizer FILE names another place)") from None
    if not content.lstrip().startswith(b"{"):
        raise UsageError(f"{path} is no {TOKENIZER_FILE}, the only kind of vocabulary that goes with ONNX graphs here")
    return content

"""What is done with a fine-tuned model before it is exported: how far it goes back towards its start, before and after.

Leaves `anchor.json` (the walk between the two), `final.safetensors` (what is exported, where it is not the best epoch's
weights as they are), and examples of what the model finds, for a picture of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess
from clipcli.bundle.tokenizer import Tokenizer
from trainer import checkpoints
from trainer.anchor import STEPS, between, unsaid_words, walk
from trainer.config import ArchConfig
from trainer.data import Data, read_sets
from trainer.device import Compute
from trainer.encoding import Encoder
from trainer.options import TrainOptions
from trainer.sampling import synonyms
from trainer.towers import Clip
from trainer.validation import ValidationSet, encode_texts

__all__ = ["Example", "Examples", "Teller", "change_options", "finish"]

EXAMPLES, SHOWN = 6, 4  # texts, and pictures found for each
MOST_PICTURES = 1000

Tokenise = Callable[[Sequence[str]], NDArray[np.int64]]


class Teller(Protocol):
    """Who is told of the walk."""

    def begin(self, label: str, total: int) -> Callable[[int], None]: ...

    def walked(self, rows: Sequence[dict[str, Any]], chosen: float) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A text and the pictures nearest to it, best first, as numbers of rows; `right` are those it belongs to."""

    text: str
    right: frozenset[int]
    before: tuple[int, ...]  # empty for a model that was trained from nothing
    after: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """Some texts of the held-out pictures, evenly spread over them, not chosen by how well they are done."""

    pixels: NDArray[np.uint8]  # (N, S, S, 3)
    examples: tuple[Example, ...]


def finish(
    run: Path,
    options: TrainOptions,
    config: ArchConfig,
    data: Data,
    *,
    preprocess: Preprocess,
    compute: Compute,
    tokenise: Tokenise,
    reporter: Teller,
) -> Examples | None:
    """Walk from the best weights of `run` to its start, keep those of `options.anchor`, and look for examples."""
    model = Clip(config).to(compute.device)
    encoder = Encoder(model, preprocess, compute)
    best = checkpoints.load_weights(run / checkpoints.BEST)
    start_file, final_file = run / checkpoints.START, run / checkpoints.FINAL
    if not start_file.exists():
        model.load_state_dict(best)
        return _examples(data.sets, None, _ranks(model, encoder, data.sets, tokenise, options))
    start = checkpoints.load_weights(start_file)
    keep = read_sets(options.keep, options, preprocess, begin=reporter.begin)
    words = unsaid_words(_entries(run), data.texts(("{}",)))
    anchors = sorted({*STEPS, options.anchor})
    found = walk(
        model,
        encoder,
        start=start,
        tuned=best,
        anchors=anchors,
        sets=data.sets,
        keep=keep,
        words=words,
        tokenise=tokenise,
        templates=options.templates,
        advance=reporter.begin("between the start and now", len(anchors)),
    )
    rows = [each.figures() for each in found]
    _write(run / checkpoints.WALK, json.dumps({"chosen": options.anchor, "rows": rows}, indent=1).encode())
    if options.anchor:
        checkpoints.save_weights(final_file, between(start, best, options.anchor))
    else:
        final_file.unlink(missing_ok=True)
    reporter.walked(rows, options.anchor)
    model.load_state_dict(start)
    before = _ranks(model, encoder, data.sets, tokenise, options)
    model.load_state_dict(between(start, best, options.anchor))
    return _examples(data.sets, before, _ranks(model, encoder, data.sets, tokenise, options))


def change_options(run: Path, changed: Mapping[str, Any]) -> None:
    """Other values for what the steps of a run do not depend on: `anchor`, `max_broken`.

    Raises:
        UsageError: a value makes no sense, or the run had no start to be anchored to.
        NotFoundError, DataError: as `TrainOptions.load`.
    """
    options = dataclasses.replace(TrainOptions.load(run), **changed)
    _write(run / "options.json", options.to_json().encode())


def _entries(run: Path) -> list[str]:
    return list(Tokenizer.load(run / TOKENIZER_FILE, 77).entries())


Found = tuple[list[tuple[str, frozenset[int]]], NDArray[np.int64]]  # texts with their pictures; (texts, SHOWN) found


def _ranks(
    model: Clip, encoder: Encoder, sets: Sequence[ValidationSet], tokenise: Tokenise, options: TrainOptions
) -> Found:
    """The pictures found for some texts of the first set."""
    held = sets[0]
    asked = _questions(held, options.templates[0])
    pixels = held.pixels[:MOST_PICTURES]
    model.eval()
    with torch.inference_mode():
        parts = [encoder.images(pixels[at : at + 256]).float().cpu().numpy() for at in range(0, len(pixels), 256)]
        with encoder.compute.autocast():
            texts = encode_texts(model, [text for text, _ in asked], tokenise)
    vectors = np.concatenate(parts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return asked, np.argsort(-(texts @ vectors.T), axis=1, kind="stable")[:, :SHOWN]


def _questions(held: ValidationSet, template: str) -> list[tuple[str, frozenset[int]]]:
    """Captions of single pictures, or the names of classes."""
    count = min(len(held.pixels), MOST_PICTURES)
    told = [place for place in range(count) if held.captions[place]]
    if told:
        chosen = [told[place * len(told) // min(EXAMPLES, len(told))] for place in range(min(EXAMPLES, len(told)))]
        return [(held.captions[place][0], frozenset({place})) for place in chosen]
    names = sorted({label for label in held.labels[:count] if label})
    picked = [names[place * len(names) // min(EXAMPLES, len(names))] for place in range(min(EXAMPLES, len(names)))]
    return [
        (
            template.replace("{}", synonyms(name)[0]),
            frozenset(place for place in range(count) if held.labels[place] == name),
        )
        for name in picked
    ]


def _examples(sets: Sequence[ValidationSet], before: Found | None, after: Found) -> Examples | None:
    asked, found = after
    if not asked:
        return None
    examples = tuple(
        Example(
            text=text,
            right=right,
            before=() if before is None else tuple(map(int, before[1][place])),
            after=tuple(map(int, found[place])),
        )
        for place, (text, right) in enumerate(asked)
    )
    return Examples(pixels=sets[0].pixels, examples=examples)


def _write(path: Path, content: bytes) -> None:
    checkpoints.write_atomically(path, lambda handle: handle.write(content))

"""The tokenizer that comes with a model, or the original's vocabulary from wherever it can be had."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.bundle.cleaning import CLEANINGS
from clipcli.bundle.foreign.json_files import read_json
from clipcli.bundle.spec import TOKENIZER_FILE
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import ModelError, UsageError
from trainer.reading.sentencepieces import siglip_tokenizer
from trainer.reading.vocabulary import MERGES_FILE, clip_tokenizer, find_merges, read_merges

__all__ = ["Words", "clip_words", "siglip_words", "words_of_folder"]

_CONTEXT = 16  # tokens: long enough to load a tokenizer and look at it


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """A `tokenizer.json`, what is done to a text before it, and what fills a row behind."""

    file: bytes
    cleaning: str
    pad_id: int = 0
    notes: tuple[str, ...] = ()


def clip_words(source: Path, vocabulary: int, chosen: Path | None, markers: tuple[str, str]) -> Words:
    """The original's vocabulary: from the file chosen, from beside the weights, or from an installed package.

    Raises UsageError where it is nowhere, ModelError where it is another.
    """
    place = chosen or find_merges(source)
    if place is None:
        raise UsageError(
            "the weights come without their vocabulary: give --tokenizer FILE, the tokenizer.json or merges.txt of any "
            f"CLIP model, or {MERGES_FILE} (pip install open-clip-torch brings it, clip models pull clip-vit-b-32 too)"
        )
    file = clip_tokenizer(read_merges(place), markers)
    if vocabulary != 49_408:
        raise ModelError(f"the text tower knows {vocabulary} tokens, the original's vocabulary has 49408")
    notes = (
        () if place == chosen or place.parent in (source, source.parent) else (f"the vocabulary is taken from {place}",)
    )
    return Words(file=file, cleaning="lower", notes=notes)


def words_of_folder(source: Path, vocabulary: int, cleaning: str) -> Words:
    """The `tokenizer.json` as it is; the token that fills rows from the `tokenizer_config.json` beside it.

    Raises ModelError.
    """
    path = source / TOKENIZER_FILE if source.is_dir() else source
    if not path.is_file():
        raise UsageError(f"{path} is missing: the model's tokenizer (--tokenizer FILE names another place)")
    if cleaning not in CLEANINGS:
        raise ModelError(f"the tokenizer's cleaning {cleaning!r} is not known here")
    loaded = Tokenizer.load(path, _CONTEXT, cleaning=cleaning)
    if loaded.vocab_size > vocabulary:
        raise ModelError(f"{path} has {loaded.vocab_size} entries, the text tower knows {vocabulary}")
    return Words(file=path.read_bytes(), cleaning=cleaning, pad_id=_pad_id(path))


def siglip_words(pieces: Path, vocabulary: int) -> Words:
    """From sentencepiece's file, where a folder has no `tokenizer.json`: transformers itself writes none for SigLIP.

    Raises UsageError where it is missing or of another kind, ModelError where it is damaged or not this model's.
    """
    if not pieces.is_file():
        raise UsageError(
            f"{pieces.with_name(TOKENIZER_FILE)} is missing, and {pieces.name} with it: the model's tokenizer "
            "(--tokenizer FILE names another place)"
        )
    config = pieces.with_name("tokenizer_config.json")
    settings = read_json(config) if config.is_file() else {}
    file = siglip_tokenizer(pieces, lower=bool(settings.get("do_lower_case", True)))
    with tempfile.TemporaryDirectory() as passing:
        made = Path(passing) / TOKENIZER_FILE
        made.write_bytes(file)
        if config.is_file():
            shutil.copyfile(config, made.with_name(config.name))
        else:
            made.with_name(config.name).write_text('{"pad_token": "</s>"}')  # as transformers takes it
        return words_of_folder(made, vocabulary, "none")


def _pad_id(path: Path) -> int:
    values = read_json(path)
    config = path.with_name("tokenizer_config.json")
    name: Any = read_json(config).get("pad_token") if config.is_file() else None
    if isinstance(name, dict):
        name = name.get("content")
    if name is None:
        filled = values.get("padding")
        number = filled.get("pad_id") if isinstance(filled, dict) else 0
        return number if isinstance(number, int) else 0
    from tokenizers import Tokenizer as Backend

    found = Backend.from_str(path.read_text("utf-8")).token_to_id(str(name))
    if found is None:
        raise ModelError(f"{config}: the padding token {name!r} is not in the vocabulary")
    return found

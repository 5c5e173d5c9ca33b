"""The tokenizer beside converted weights: `tokenizer.json` and what transformers wants to know of it."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers

from clipcli.bundle.spec import TOKENIZER_FILE, ModelSpec
from clipcli.bundle.tokenizer import Tokenizer as OurTokenizer

__all__ = ["marker_ids", "padding_id", "write_tokenizer"]


def marker_ids(path: Path, spec: ModelSpec) -> tuple[int | None, int]:
    """The numbers of the start marker, where there is one, and of the end marker."""
    loaded = OurTokenizer.load(path, spec.context_length)
    return loaded.start_id, loaded.end_id


def padding_id(spec: ModelSpec, end: int) -> int:
    """What is to fill short texts there: the end marker, where nothing behind the first one matters.

    The original fills with token 0, which is an exclamation mark; transformers takes what it fills with for a marker,
    and would cut every "!!" in two.
    """
    return end if spec.causal_text else spec.pad_id


def write_tokenizer(folder: Path, path: Path, spec: ModelSpec, *, clean: bool) -> None:
    """`clean` puts into the file what a `tokenizer.json` can say of the model's cleaning: all but `ftfy`'s mending."""
    backend = Tokenizer.from_file(str(path))
    if clean and spec.text_cleaning in ("lower", "canonicalize"):
        steps = [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        if spec.text_cleaning == "canonicalize":
            steps.insert(1, normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""))
            steps.insert(1, normalizers.Replace("_", " "))
        # As Python writes small letters: a sigma at the end of a word has a form of its own.
        steps += [normalizers.Replace(Regex(r"(?<=\p{L})Σ(?!\p{L})"), "ς"), normalizers.Lowercase()]
        if backend.normalizer is not None:
            steps.append(backend.normalizer)
        backend.normalizer = normalizers.Sequence(steps)
    backend.no_padding()
    backend.no_truncation()
    (folder / TOKENIZER_FILE).write_text(backend.to_str(), "utf-8")
    start, end = marker_ids(path, spec)
    names = {"eos_token": backend.id_to_token(end), "pad_token": backend.id_to_token(padding_id(spec, end))}
    if start is not None:
        names["bos_token"] = backend.id_to_token(start)
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": spec.context_length,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        **names,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")

"""The vocabulary of the original CLIP as a `tokenizer.json`, made of its merges, wherever a source has them.

48,894 merges on bytes, with the end of a word as part of it, two forms of each byte and two markers: 49,408 entries
(Radford et al. 2021, section 2.4; Sennrich et al. 2016). Text is cleaned before (`clipcli.bundle.cleaning`), so that
nothing is left for the file to normalise.
"""

from __future__ import annotations

import gzip
import json
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from clipcli.bundle.installed import models_folder
from clipcli.bundle.spec import TOKENIZER_FILE
from clipcli.errors import ModelError

__all__ = ["MERGES_FILE", "OPENAI_MARKERS", "OPENCLIP_MARKERS", "clip_tokenizer", "find_merges", "read_merges"]

Merges = list[tuple[str, str]]

OPENAI_MARKERS = ("<|startoftext|>", "<|endoftext|>")
OPENCLIP_MARKERS = ("<start_of_text>", "<end_of_text>")
MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"  # as the original release and OpenCLIP bring it
_MERGES = 49_152 - 256 - 2
# U+0345 is no letter but has one for its capital; in the original, which takes no heed of case, it is in no class.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}\x{0345}]+"
_LONGEST = 64 << 20  # bytes of a vocabulary file


def clip_tokenizer(merges: Merges, markers: tuple[str, str]) -> bytes:
    """`tokenizer.json` for these merges, the markers spelt as given. The file expects cleaned text."""
    alphabet = _bytes_in_order()
    entries = [*alphabet, *(f"{one}</w>" for one in alphabet), *("".join(pair) for pair in merges), *markers]
    numbers = {entry: number for number, entry in enumerate(entries)}
    start, end = markers
    try:
        backend = models.BPE(vocab=numbers, merges=merges, unk_token=end, end_of_word_suffix="</w>", fuse_unk=False)
    except Exception as error:  # the library raises bare Exception: a merge of parts that are not there
        raise ModelError(f"the merges are damaged: {error}") from error
    tokenizer = Tokenizer(backend)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([start, end])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, numbers[start]), (end, numbers[end])]
    )
    return tokenizer.to_str().encode()


def read_merges(path: Path) -> Merges:
    """From a `tokenizer.json`, a `merges.txt` or the original's compressed list, or a folder with one of them.

    Raises:
        ModelError: the file is not there, or its merges are not those of the original CLIP.
    """
    if path.is_dir():
        known = [path / name for name in (TOKENIZER_FILE, "merges.txt", MERGES_FILE)]
        path = next((one for one in known if one.is_file()), path / TOKENIZER_FILE)
    try:
        if path.stat().st_size > _LONGEST:
            raise ModelError(f"{path} is too large for a vocabulary")
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            with gzip.open(path) as unpacked:
                content = unpacked.read(_LONGEST)
        text = content.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ModelError(f"no vocabulary in {path}: {error}") from error
    merges = _of_json(text, path) if text.lstrip().startswith("{") else _of_lines(text)
    if len(merges) != _MERGES or merges[0] != ("i", "n"):
        raise ModelError(f"{path} does not hold the vocabulary of the original CLIP ({len(merges)} merges)")
    return merges


def find_merges(beside: Path) -> Path | None:
    """Where the vocabulary may lie: beside the weights, in a package that brings it, in a model that is installed."""
    folder = beside if beside.is_dir() else beside.parent
    for name in (MERGES_FILE, "merges.txt", TOKENIZER_FILE):
        if (folder / name).is_file():
            return folder / name
    for package in ("open_clip", "clip"):
        found = find_spec(package)
        for place in (found and found.submodule_search_locations) or ():
            if (Path(place) / MERGES_FILE).is_file():
                return Path(place) / MERGES_FILE
    return next((file for file in sorted(models_folder().glob(f"*/{TOKENIZER_FILE}")) if _is_original(file)), None)


def _is_original(file: Path) -> bool:
    try:
        return bool(read_merges(file))
    except ModelError:
        return False


def _of_json(text: str, path: Path) -> Merges:
    try:
        model: Any = json.loads(text)["model"]
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return [(str(left), str(right)) for left, right in pairs]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no tokenizer with merges: {error!r}") from error


def _of_lines(text: str) -> Merges:
    """The original's list goes on behind what the release uses of it; its first line is a heading."""
    pairs = [line.split() for line in text.split("\n")[1 : _MERGES + 1]]
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


def _bytes_in_order() -> list[str]:
    """A letter for each byte: itself where it can be seen, else one above 255. Those that can be seen come first."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [number for number in range(256) if number not in set(seen)]
    return [chr(number) for number in seen] + [chr(256 + place) for place in range(len(hidden))]

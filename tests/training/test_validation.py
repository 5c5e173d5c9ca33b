"""Figures on held-out pictures against a direct computation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.bundle.tokenizer import Tokenizer
from tests.training.tiny import PREPROCESS, RESNET, noise
from trainer.towers import Clip
from trainer.validation import ValidationSet, score, validate
from trainer.vocabulary import learn_vocabulary

WORDS = ("dog", "cat", "bird", "house", "tree", "car", "boat")
TEMPLATES = ("a photo of a {}.", "the {}")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("validation") / "tokenizer.json"
    learn_vocabulary([f"a photo of the {word}" for word in WORDS] * 2).save(str(path))
    return Tokenizer.load(path, 12)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Clip:
    torch.manual_seed(1)
    text = dataclasses.replace(RESNET.text, vocab_size=tokenizer.vocab_size)
    made = Clip(dataclasses.replace(RESNET, text=text))
    for parameter in made.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.5)
    return made


def pixels_of(levels: NDArray[np.uint8]) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PREPROCESS.mean, PREPROCESS.std))
    return (torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255 - mean) / std


def a_set(name: str, captions: Sequence[Sequence[str]], labels: Sequence[str | None]) -> ValidationSet:
    return ValidationSet(
        name=name, pixels=noise(len(captions)), captions=tuple(map(tuple, captions)), labels=tuple(labels)
    )


def measure(model: Clip, tokenizer: Tokenizer, *sets: ValidationSet, **chosen: Any) -> dict[str, float]:
    return validate(
        model,
        sets,
        tokenise=tokenizer,
        templates=TEMPLATES,
        to_device=pixels_of,
        autocast=lambda: torch.autocast("cpu", enabled=False),
        **chosen,
    )


@torch.no_grad()
def vectors(model: Clip, tokenizer: Tokenizer, each: ValidationSet, texts: Sequence[str]) -> tuple[Any, Any]:
    """One picture and one text at a time, in evaluation mode."""
    model.eval()
    images = [model.encode_image(pixels_of(each.pixels[place : place + 1]))[0] for place in range(len(each.pixels))]
    said = [model.encode_text(torch.from_numpy(tokenizer([text])))[0] for text in texts]
    return torch.stack(images).double().numpy(), torch.stack(said).double().numpy()


def test_retrieval(model: Clip, tokenizer: Tokenizer) -> None:
    captions = [[f"{word} {other}" for other in WORDS[: 1 + place % 3]] for place, word in enumerate(WORDS)]
    captions.insert(2, [])  # a picture of which nothing is said is no candidate
    each = a_set("dev", captions, [None] * 8)
    owners = [place for place, said in enumerate(captions) for _ in said]
    images, texts = vectors(model, tokenizer, each, [text for said in captions for text in said])
    cosines = texts @ images.T
    told = sorted(set(owners))
    expected = {}
    for k in (1, 5, 10):
        hits = [
            sum(cosines[row, other] > cosines[row, owner] for other in told) < k for row, owner in enumerate(owners)
        ]
        expected[f"dev/text_to_image@{k}"] = np.mean(hits)
        hits = []
        for picture in told:
            best = max(cosines[row, picture] for row, owner in enumerate(owners) if owner == picture)
            rivals = [cosines[row, picture] for row, owner in enumerate(owners) if owner != picture]
            hits.append(sum(rival > best for rival in rivals) < k)
        expected[f"dev/image_to_text@{k}"] = np.mean(hits)
    model.train()
    found = measure(model, tokenizer, each)
    assert found == pytest.approx(expected)
    assert 0 < found["dev/text_to_image@1"] < 1
    assert model.training  # as it was
    model.eval()
    assert measure(model, tokenizer, each, batch_size=3) == pytest.approx(expected)
    assert not model.training


def test_zero_shot(model: Clip, tokenizer: Tokenizer) -> None:
    labels = ["dog, hound", "cat", None, "bird", "dog, hound", "cat", "cat", "house", "tree", "car"]
    each = a_set("dev", [[]] * 10, labels)
    names = sorted({label for label in labels if label})
    filled = [template.replace("{}", name.split(",")[0]) for name in names for template in TEMPLATES]
    images, texts = vectors(model, tokenizer, each, filled)
    classes = texts.reshape(len(names), len(TEMPLATES), -1).mean(axis=1)
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    cosines = images @ classes.T
    right: dict[str, list[bool]] = {}
    first, fifth = [], []
    for place, label in enumerate(labels):
        if label is not None:
            rank = sum(cosines[place] > cosines[place, names.index(label)])
            first.append(rank < 1)
            fifth.append(rank < 5)
            right.setdefault(label, []).append(rank < 1)
    assert measure(model, tokenizer, each) == pytest.approx(
        {
            "dev/top1": np.mean(first),
            "dev/top5": np.mean(fifth),
            "dev/mean_per_class": np.mean([np.mean(hits) for hits in right.values()]),
        }
    )


def test_few_classes_few_captions_and_nothing(model: Clip, tokenizer: Tokenizer) -> None:
    three = a_set("three", [[]] * 3, ["dog", "cat", "bird"])
    assert set(measure(model, tokenizer, three)) == {"three/top1", "three/top3", "three/mean_per_class"}
    one_class = a_set("one", [["x"], [], []], ["dog", "dog", "dog"])  # one class, one caption: nothing to find
    assert measure(model, tokenizer, one_class) == {}
    assert measure(model, tokenizer) == {}
    both = measure(model, tokenizer, three, a_set("told", [["dog"], ["cat"]], [None, None]))
    assert {name.split("/")[0] for name in both} == {"three", "told"}


def test_score() -> None:
    metrics = {"a/text_to_image@1": 0.1, "a/text_to_image@10": 0.5, "a/image_to_text@10": 0.5, "b/top1": 0.1}
    assert score({**metrics, "b/top5": 1.0, "b/mean_per_class": 1.0}) == pytest.approx(0.3)
    told_apart = {"a/text_to_image@1": 0.2, "a/text_to_image@10": 1.0}  # few held out: recall@10 is 1 for any model
    assert score({**told_apart, "a/text_to_image@1": 0.3}) > score(told_apart)
    assert score({}) == 0.0

"""Class prototypes from prompt templates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.templates import class_prototypes, fill
from clipcli.errors import UsageError
from tests.tiny_bundle import COLOURS, make_tiny_bundle, solid_pixels


class Counting:
    """Unit vectors in the plane, turned by the length of the text."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append(list(texts))
        angles = np.array([len(text) for text in texts], dtype=np.float32) / 10
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_prototype_is_the_direction_of_the_mean() -> None:
    model = Counting()
    prototypes = class_prototypes(model, ["a", "bbb"], ["{}", "the {} there"])
    expected = []
    for label in ("a", "bbb"):
        mean = model.encode_texts([label, f"the {label} there"]).mean(axis=0)
        expected.append(mean / np.linalg.norm(mean))
    assert np.allclose(prototypes, expected, atol=1e-6)
    assert prototypes.dtype == np.float32
    assert model.asked[0] == ["a", "the a there", "bbb", "the bbb there"]  # one call, in this order


def test_one_template_is_the_text_itself() -> None:
    model = Counting()
    assert np.allclose(class_prototypes(model, ["x", "yy"], ["{}"]), model.encode_texts(["x", "yy"]), atol=1e-6)


def test_labels_may_hold_braces() -> None:
    assert fill("a photo of a {}.", "{0} {name}") == "a photo of a {0} {name}."
    assert fill("{} and {}", "cat") == "cat and cat"


def test_what_cannot_work_is_said() -> None:
    with pytest.raises(UsageError, match="no labels"):
        class_prototypes(Counting(), [], ["{}"])
    with pytest.raises(UsageError, match="no prompt templates"):
        class_prototypes(Counting(), ["a"], [])
    with pytest.raises(UsageError, match=r"has no \{\}"):
        class_prototypes(Counting(), ["a"], ["a photo"])


def test_with_a_real_model_prototypes_name_the_pictures(tmp_path: Path) -> None:
    model = Model.load(make_tiny_bundle(tmp_path / "tiny"), device="cpu")
    images = model.encode_images(np.stack([solid_pixels(name) for name in COLOURS]))
    prototypes = class_prototypes(model, list(COLOURS), model.spec.templates)
    assert (images @ prototypes.T).argmax(axis=1).tolist() == list(range(len(COLOURS)))

"""What counts as never heard of, and which classes can be left out of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from benchmarks import leave_out
from benchmarks.unseen_classes import is_unseen, measured, plain_words, said_in, strange_words, training_texts
from clipcli.bundle.encoder import Model
from clipcli.datasets.features import Features
from tests.tiny_bundle import COLOURS, make_tiny_bundle, solid_picture


def write(path: Path, images: list[bytes], captions: list[list[str]], labels: list[str | None]) -> Path:
    columns = {"name": [str(n) for n in range(len(images))], "image": images, "captions": captions, "label": labels}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def encoded(colour: str, tmp_path: Path) -> bytes:
    solid_picture(colour).save(tmp_path / "one.png")
    return (tmp_path / "one.png").read_bytes()


@pytest.mark.parametrize(
    ("many", "one"),
    [("dogs", "dog"), ("berries", "berry"), ("boxes", "box"), ("grass", "grass"), ("octopus", "octopus")],
)
def test_plurals(many: str, one: str) -> None:
    assert plain_words(many) == plain_words(one)


def test_unseen_is_by_whole_words_and_any_name(tmp_path: Path) -> None:
    table = write(tmp_path / "train.parquet", [b"", b""], [["Two sea lions swim."], []], [None, "tabby, tabby cat"])
    (tmp_path / "more.txt").write_text("a red kite\n", "utf-8")
    said = said_in(training_texts([table], [tmp_path / "more.txt"]))
    assert not is_unseen("sea lion", said)
    assert not is_unseen("mouser, tabby cat", said)
    assert not is_unseen("kite", said)
    assert is_unseen("lion sea", said)  # other order
    assert is_unseen("cat sea", said)  # of two sentences
    assert is_unseen("tab", said)
    assert strange_words("a tabby climbs the Swims of it", said) == ["climb"]


def test_classes_to_leave_out_are_named_by_nothing_else() -> None:
    labels = ["red", "dark red", "green, lawn", "blue", "white"]
    captions = ["a blue thing", "two lawns"]
    assert leave_out.choose(labels, captions, share=1.0, seed=0) == ["dark red", "white"]
    assert len(leave_out.choose(labels, captions, share=0.2, seed=0)) == 1


def test_figures_of_each_kind(tmp_path: Path) -> None:
    """The tiny model knows colours: those never heard of are found as well, among themselves and among all."""
    colours = list(COLOURS)
    pictures = [encoded(colour, tmp_path) for colour in colours]
    dev = write(tmp_path / "x.parquet", pictures, [[f"all of it {colour}"] for colour in colours], colours)
    sure = [[0.9, 0.1]] * 5 + [[0.4, 0.3]]
    shown = {"name": [""] * 6, "class": [[number, 0] for number in range(6)], "probability": sure}
    pyarrow.parquet.write_table(pyarrow.table(shown), tmp_path / "x.teacher.parquet")
    said = said_in([*colours[:3], "all", "of it"])
    features = Features(Model.load(make_tiny_bundle(tmp_path / "tiny")), cached=False)
    found = list(measured(features, dev, colours, said, sure=0.5))
    assert [(one["by"], one["classes"], one["photographs"], one["of"]) for one in found[:6]] == [
        ("label", "unseen", 3, 3), ("label", "unseen, among all", 3, 6), ("label", "seen", 3, 3),
        ("teacher", "unseen", 2, 2), ("teacher", "unseen, among all", 2, 5), ("teacher", "seen", 3, 3),
    ]  # fmt: skip
    assert all(one["top1"] == [1.0, 1.0, 1.0] for one in found[:6])
    assert [(one["captions"], one["number"]) for one in found[6:]] == [("with an unseen word", 3), ("without one", 3)]
    assert np.isclose(found[6]["text_to_image_recall1"][0], 1.0)
    everything = said_in(colours)
    assert all("captions" in one for one in measured(features, dev, colours, everything, sure=0.5))

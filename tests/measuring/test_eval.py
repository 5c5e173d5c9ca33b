"""`clip eval zero-shot` and `clip eval retrieval`, from a command line to figures and pictures."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.datasets.feature_cache import feature_cache_path
from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from tests.measuring.conftest import Eval
from tests.tiny_bundle import COLOURS


def records(outcome: Any, code: int = 0) -> list[dict[str, Any]]:
    assert outcome.exit_code == code, outcome.stderr
    found: list[dict[str, Any]] = json.loads(outcome.stdout)
    return found


def no_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Model, "encode_images", refuse)
    monkeypatch.setattr(Model, "encode_texts", refuse)


def test_zero_shot_counts_what_is_right(evaluate: Eval, classes: Path) -> None:
    own, photo, label = records(evaluate("zero-shot", classes, "--format", "json"))
    assert [one["prompts"] for one in (own, photo, label)] == ["model", "photo", "label"]
    assert (own["pictures"], own["classes"]) == (18, 6)
    assert own["top1"] == round(17 / 18, 6)
    assert own["mean_per_class"] == round((5 + 2 / 3) / 6, 6)
    assert own["top1"] <= own["top5"] <= 1


def test_a_class_says_what_it_is_taken_for(evaluate: Eval, classes: Path) -> None:
    outcome = evaluate("zero-shot", classes, "--per-class", "--format", "csv")
    first, *others = csv.DictReader(io.StringIO(outcome.stdout))
    assert (first["label"], first["taken_for"], first["times"]) == ("red", "blue", "1")
    assert {other["top1"] for other in others} == {"1.0"}
    table = evaluate("zero-shot", classes, "--per-class").stdout
    assert "blue (1)" in table
    assert "gain of the first" in table


def test_a_second_measurement_computes_nothing(
    evaluate: Eval, classes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = records(evaluate("zero-shot", classes, "--format", "json"))
    (classes / "red" / "0.png").rename(classes / "red" / "renamed.png")
    no_towers(monkeypatch)
    assert records(evaluate("zero-shot", classes, "--format", "json")) == first
    assert "computed again" in evaluate("zero-shot", classes, "--no-cache").stderr
    Image.new("RGB", (9, 9), "red").save(classes / "red" / "new.png")
    assert "computed again" in evaluate("zero-shot", classes).stderr


def test_without_a_cache_nothing_is_kept(evaluate: Eval, classes: Path) -> None:
    assert evaluate("zero-shot", classes, "--no-cache").exit_code == 0
    assert not feature_cache_path().exists()


def test_a_broken_cache_is_made_anew(evaluate: Eval, classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = feature_cache_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"this is no database, and never was one" * 100)
    first = records(evaluate("zero-shot", classes, "--format", "json"))
    no_towers(monkeypatch)
    assert records(evaluate("zero-shot", classes, "--format", "json")) == first


def test_templates_come_from_a_file_or_a_set(evaluate: Eval, classes: Path, tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "mine.txt").write_text("a {} thing\n\nthe colour {}\n")
    mine = records(evaluate("zero-shot", classes, "--templates", "mine.txt", "--format", "json"))[0]
    assert (mine["prompts"], mine["templates"]) == ("mine.txt", 2)
    ours = records(evaluate("zero-shot", classes, "--template-set", "textures", "--format", "json"))[0]
    assert (ours["prompts"], ours["templates"]) == ("textures", 6)


def test_a_class_is_called_by_its_label_up_to_a_comma(
    evaluate: Eval, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f'classes/{colour}/0.png,"{colour}, tint"' for colour in COLOURS]
    (tmp_path / "named.csv").write_text("image,label\n" + "\n".join(lines) + "\n")
    spoken: set[str] = set()
    encode = Model.encode_texts

    def listen(model: Model, texts: Sequence[str]) -> NDArray[np.float32]:
        spoken.update(texts)
        return encode(model, texts)

    monkeypatch.setattr(Model, "encode_texts", listen)
    assert records(evaluate("zero-shot", "named.csv", "--format", "json"))[2]["top1"] == 1.0
    assert spoken >= {"red", "a photo of a red."}


def test_texts_that_repeat_are_labels(evaluate: Eval, classes: Path, tmp_path: Path) -> None:
    lines = [f"classes/{colour}/{shade}.png,{colour}" for colour in COLOURS for shade in (0, 1)]
    (tmp_path / "plain.csv").write_text("\n".join(lines) + "\n")
    assert records(evaluate("zero-shot", "plain.csv", "--format", "json"))[0]["classes"] == 6


def test_an_unreadable_picture_is_left_out_and_told(evaluate: Eval, classes: Path) -> None:
    (classes / "red" / "2.png").write_bytes(b"no picture")
    outcome = evaluate("zero-shot", classes, "--format", "json")
    assert records(outcome, code=3)[0]["pictures"] == 17
    assert "1 of 18 pictures could not be read" in outcome.stderr


def test_a_class_without_pictures_is_left_out_and_told(evaluate: Eval, classes: Path) -> None:
    for name in ("pink_ish", ".hidden"):
        (classes / name).mkdir()
    outcome = evaluate("zero-shot", classes, "--format", "json")
    assert records(outcome)[0]["classes"] == 6
    assert outcome.stderr == "left out 1 class without pictures: pink_ish\n"


def test_the_pictures_it_draws(evaluate: Eval, classes: Path, tmp_path: Path) -> None:
    outcome = evaluate("zero-shot", classes, "--confusion", "c.png", "--sheet", "s.png")
    assert outcome.exit_code == 0, outcome.stderr
    with Image.open(tmp_path / "c.png") as figure, Image.open(tmp_path / "s.png") as sheet:
        assert min(figure.size) > 600
        assert sheet.convert("RGB").getcolors(1 << 20)
    (tmp_path / "c.png").write_bytes(b"somebody's own")
    assert evaluate("zero-shot", classes, "--confusion", "c.png").exit_code == 2


def test_the_tags_of_a_library(evaluate: Eval, classes: Path, tmp_path: Path, bundle: Path) -> None:
    from typer.testing import CliRunner

    from clipcli.app import app

    ran = CliRunner().invoke(app, ["embed", str(classes), "--db", "library.db", "-m", str(bundle)])
    assert ran.exit_code == 0, ran.stderr
    with Library.open(tmp_path / "library.db", write=True) as library:
        with library.read() as connection:
            rows = connection.execute("SELECT id, path FROM images ORDER BY path").fetchall()
        by_colour: dict[str, list[int]] = {}
        for image_id, path in rows:
            by_colour.setdefault(str(path).split("/")[-2], []).append(image_id)
        for colour in ("green", "blue"):
            add_tags(library, by_colour[colour], colour)
        add_tags(library, by_colour["green"][:1], "blue")  # two tags by hand: nobody knows which is meant
        add_tags(library, by_colour["white"], "white", score=0.5)  # a model's
    outcome = evaluate("zero-shot", "--library", "--db", "library.db", "--format", "json")
    assert (records(outcome)[0]["pictures"], records(outcome)[0]["classes"]) == (5, 2)
    assert records(outcome)[0]["top1"] == 1.0
    assert "left out 1 picture with several tags" in outcome.stderr


def test_retrieval_both_ways(evaluate: Eval, classes: Path, tmp_path: Path) -> None:
    lines = [f"classes/{colour}/0.png,{text}" for colour in COLOURS for text in (colour, f"a {colour} thing")]
    (tmp_path / "captions.csv").write_text("image,caption\n" + "\n".join(lines) + "\n")
    to_image, to_text = records(evaluate("retrieval", "captions.csv", "--format", "json"))
    assert (to_image["direction"], to_text["direction"]) == ("text_to_image", "image_to_text")
    assert (to_image["pictures"], to_image["captions"]) == (6, 12)
    assert to_image["recall1"] == to_text["recall1"] == 1.0
    assert to_image["median_rank"] == 1.0
    assert "text → image" in evaluate("retrieval", "captions.csv").stdout


def test_captions_that_are_exchanged_are_not_found(evaluate: Eval, classes: Path, tmp_path: Path) -> None:
    lines = ["classes/red/0.png,blue", "classes/blue/0.png,red", "classes/green/0.png,green"]
    (tmp_path / "captions.csv").write_text("image,caption\n" + "\n".join(lines) + "\n")
    assert [one["recall1"] for one in records(evaluate("retrieval", "captions.csv", "--format", "json"))] == [
        round(1 / 3, 6)
    ] * 2


def test_models_side_by_side(evaluate: Eval, classes: Path, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "twin")
    found = records(evaluate("zero-shot", classes, "-m", tmp_path / "twin", "--format", "json"))
    assert len(found) == 6
    assert found[0]["top1"] == found[3]["top1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "captions.csv is empty"),
        ("image,caption\n", "captions.csv has no rows: below its heading it needs one for each picture"),
        (
            "image,caption\na.png,one\nb.png,two\n",
            "captions.csv names no picture that is there (all 2 rows: missing file, as captions.csv line 2: a.png): "
            "a relative name is looked for in ",
        ),
        (
            "image,caption\nclasses/red/0.png,\nclasses/blue/0.png,\ngone.png,gone\n",
            "captions.csv has no row that can be used (2 of 3 rows: empty caption, as captions.csv line 2)",
        ),
        ("image,caption\nclasses/red/0.png,red\n", "captions.csv has captions of one picture only"),
    ],
)
def test_a_table_without_use_says_why(evaluate: Eval, classes: Path, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "captions.csv").write_text(content)
    for command in ("retrieval", "zero-shot"):
        outcome = evaluate(command, "captions.csv")
        assert outcome.exit_code == 12
        assert len(outcome.stderr.splitlines()) == 1
        if command == "retrieval" or "one picture" not in said:
            assert f"clip: {said}" in outcome.stderr
    assert str(tmp_path) in outcome.stderr or "looked for" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["zero-shot"], 2, "either DATA or --library"),
        (["zero-shot", "nowhere"], 4, "no such file or folder"),
        (["zero-shot", "classes", "--format", "paths"], 2, "figures have none"),
        (["zero-shot", "classes", "--template-set", "tunes"], 2, "there is no template set 'tunes'"),
        (["zero-shot", "classes", "--templates", "gone.txt"], 4, "no such file"),
        (["zero-shot", "classes", "--templates", "x", "--template-set", "photos"], 2, "either --templates"),
        (["zero-shot", "classes", "--confusion", "c.gif"], 2, "does not end in one of"),
        (["zero-shot", "classes", "-m", "other", "--per-class"], 2, "about one model"),
        (["retrieval", "classes"], 12, "has no captions"),
    ],
)
def test_a_senseless_command_line(evaluate: Eval, classes: Path, arguments: list[str], code: int, said: str) -> None:
    outcome = evaluate(*arguments)
    assert outcome.exit_code == code
    assert said in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1

"""`clip classify` on files and folders: labels, templates, probabilities, formats, what cannot be read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.photos.decode import open_image
from tests.tiny_bundle import COLOURS, make_tiny_bundle

Classify = Callable[..., Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def classify(bundle: Path) -> Classify:
    return lambda *arguments: CliRunner().invoke(app, ["classify", "-m", str(bundle), *map(str, arguments)])


def labels(*names: str) -> list[str]:
    return [part for name in names for part in ("-l", name)]


def records(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code in (0, 3), result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_picture_gets_its_colour(classify: Classify, photos: Path) -> None:
    found = records(classify(photos, *labels(*COLOURS), "--format", "ndjson"))
    best = {Path(record["path"]).stem: record["label"] for record in found if record["rank"] == 1}
    assert best == {name: name for name in COLOURS}
    assert len(found) == len(COLOURS) ** 2
    assert list(found[0]) == ["path", "label", "probability", "cosine", "rank"]


def test_numbers_are_those_of_the_paper(classify: Classify, photos: Path, bundle: Path) -> None:
    """Cosines against averaged, re-normalised prompts, and their softmax, written out by hand."""
    templates = ["a photo of a {}.", "{}", "a {} thing"]
    picture = photos / "red.png"
    given = [part for text in templates for part in ("--template", text)]
    found = records(classify(picture, *labels("red", "blue"), *given, "--format", "ndjson"))
    model = Model.load(bundle)
    vector = model.encode_images(to_pixels(open_image(picture), model.spec.preprocess)[None])[0]
    cosines = {}
    for label in ("red", "blue"):
        prompts = model.encode_texts([template.replace("{}", label) for template in templates])
        mean = prompts.mean(axis=0)
        cosines[label] = float(vector @ (mean / np.linalg.norm(mean)))
    weights = {label: np.exp(model.spec.logit_scale * cosine) for label, cosine in cosines.items()}
    assert [record["label"] for record in found] == ["red", "blue"]
    for record in found:
        assert record["cosine"] == pytest.approx(cosines[record["label"]], abs=2e-6)
        expected = weights[record["label"]] / sum(weights.values())
        assert record["probability"] == pytest.approx(expected, abs=2e-5)


def test_templates_come_from_a_file_or_from_the_model(classify: Classify, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "templates.txt"
    file.write_text("a {} thing\n\n{}\n", encoding="utf-8-sig")
    picture = photos / "red.png"
    by_file = classify(picture, *labels("red", "blue"), "--templates", file, "--format", "json")
    by_hand = classify(
        picture, *labels("red", "blue"), "--template", "a {} thing", "--template", "{}", "--format", "json"
    )
    assert by_file.stdout == by_hand.stdout
    assert by_file.stdout != classify(picture, *labels("red", "blue"), "--format", "json").stdout
    refused = classify(picture, *labels("red", "blue"), "--template", "nothing to fill")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)


def test_labels_come_from_a_file_each_once(classify: Classify, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("red\n  blue \n\nred\n", encoding="utf-8")
    found = records(classify(photos / "red.png", "-l", "green", "--labels", file, "--format", "ndjson"))
    assert sorted(record["label"] for record in found) == ["blue", "green", "red"]
    assert sum(record["probability"] for record in found) == pytest.approx(1, abs=1e-5)


def test_labels_that_differ_in_case_alone_are_remarked_on(classify: Classify, photos: Path) -> None:
    assert "upper and lower case alone" in classify(photos / "red.png", "-l", "red", "-l", "Red", "-l", "blue").stderr
    assert "case" not in classify(photos / "red.png", "-l", "red", "-l", "blue").stderr


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(None, 4, "no such file"), (b"\n \n", 2, "there is no label in"), (b"\xff\xfe\x00", 2, "no readable text file")],
)
def test_a_file_of_labels_that_is_none(
    content: bytes | None, code: int, said: str, classify: Classify, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "labels.txt"
    if content is not None:
        file.write_bytes(content)
    ended = classify(photos, "--labels", file)
    assert ended.exit_code == code
    assert said in ended.stderr


def test_k_limits_the_labels_shown_but_not_those_compared(classify: Classify, photos: Path) -> None:
    every = records(classify(photos / "red.png", *labels(*COLOURS), "-k", "0", "--format", "ndjson"))
    two = records(classify(photos / "red.png", *labels(*COLOURS), "-k", "2", "--format", "ndjson"))
    assert two == every[:2]
    assert [record["rank"] for record in every] == list(range(1, len(COLOURS) + 1))
    assert [r["cosine"] for r in every] == sorted((r["cosine"] for r in every), reverse=True)


def test_a_single_label_has_a_cosine_and_no_probability(classify: Classify, photos: Path) -> None:
    ended = classify(photos / "red.png", "-l", "red", "--format", "ndjson")
    (record,) = records(ended)
    assert record["probability"] is None
    assert record["cosine"] > 0.3
    assert "a single label has no probability" in ended.stderr
    table = classify(photos / "red.png", "-l", "red")
    assert table.stdout.splitlines()[0].split() == ["picture", "label", "cosine"]
    csv = classify(photos / "red.png", "-l", "red", "--format", "csv")
    assert csv.stdout.splitlines()[1].split(",")[3] == ""


def test_a_sigmoid_model_judges_each_label_by_itself(photos: Path, tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "sigmoid")
    facts = json.loads((folder / "model.json").read_text())
    facts["logit_bias"] = -2.0
    (folder / "model.json").write_text(json.dumps(facts))
    run = ["classify", "-m", str(folder), str(photos / "red.png"), "--format", "ndjson"]
    (alone,) = records(one := CliRunner().invoke(app, [*run, "-l", "red"]))
    both = records(CliRunner().invoke(app, [*run, "-l", "red", "-l", "blue"]))
    assert one.stderr == ""
    expected = 1 / (1 + np.exp(-(facts["logit_scale"] * alone["cosine"] - 2.0)))
    assert alone["probability"] == pytest.approx(expected, abs=1e-4)
    assert both[0] == alone


def test_only_keeps_pictures_by_their_likeliest_label(classify: Classify, photos: Path) -> None:
    given = [photos, *labels(*COLOURS), "--only", "red", "--only", "blue"]
    paths = classify(*given, "-0").stdout_bytes.split(b"\0")
    assert paths == [os.fsencode(photos / "blue.png"), os.fsencode(photos / "red.png"), b""]
    assert {record["label"] for record in records(classify(*given, "-k", "1", "--format", "ndjson"))} == {"red", "blue"}
    none = classify(photos / "red.png", *labels("red", "blue"), "--only", "blue", "--format", "json")
    assert (none.exit_code, none.stdout) == (0, "[]\n")
    assert none.stderr == "of 1 picture, none is likeliest blue\n"
    wrong = classify(photos, *labels("red"), "--only", "pink")
    assert (wrong.exit_code, "'pink' is not among the labels" in wrong.stderr) == (2, True)


def test_what_cannot_be_read_is_skipped_with_its_reason(classify: Classify, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes((photos / "red.png").read_bytes()[:60])
    (photos / "empty.png").write_bytes(b"")
    (photos / "notes.txt").write_text("not looked at: its name says it is no picture")
    ended = classify(photos, *labels("red", "blue"), "--format", "ndjson")
    assert ended.exit_code == 3
    assert len(records(ended)) == 2 * len(COLOURS)
    lines = ended.stderr.splitlines()
    assert any(line.startswith("skipped ") and line.endswith("empty.png: empty (the file is empty)") for line in lines)
    assert any("broken.jpg" in line for line in lines)
    assert lines[-1] == f"clip: 2 of {len(COLOURS) + 2} pictures could not be read"
    alone = classify(photos / "notes.txt", *labels("red", "blue"), "--format", "json")
    assert (alone.exit_code, alone.stdout) == (3, "[]\n")


def test_the_same_picture_is_classified_once(classify: Classify, photos: Path) -> None:
    red = photos / "red.png"
    found = records(classify(red, red, photos, "-k", "1", *labels("red", "blue"), "--format", "ndjson"))
    assert len(found) == len(COLOURS)
    assert found[0]["path"].endswith("red.png")


def test_many_pictures_keep_their_order(classify: Classify, photo_folder: Callable[..., Path]) -> None:
    folder = photo_folder("many", count=75)
    found = records(classify(folder, "-k", "1", *labels("red", "blue"), "--format", "ndjson"))
    assert [Path(record["path"]).name for record in found] == [f"{number:03d}.jpg" for number in range(75)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_a_name_that_is_no_text(classify: Classify, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    raw = os.fsencode(folder) + b"/\xff\x1b[2J\n.png"
    os.rename(photos / "red.png", raw)
    (record, _) = records(classify(folder, *labels("red", "blue"), "--format", "ndjson"))
    assert list(record)[:3] == ["path", "path_b64", "label"]
    assert classify(folder, *labels("red", "blue"), "-0").stdout_bytes == raw + b"\0"
    table = classify(os.fsdecode(raw), *labels("red", "blue")).stdout
    assert "\\xff\\x1b[2J\\n.png" in table
    assert "\x1b" not in table


def test_nothing_to_classify(classify: Classify, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    ended = classify(tmp_path / "none", *labels("red", "blue"), "--format", "json")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "[]\n", "there are no pictures to classify\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["red.png"], 2, "no labels"),
        (["-l", "red"], 2, "give either pictures or folders, or --library"),
        (["red.png", "--library", "-l", "red"], 2, "give either pictures or folders, or --library"),
        (["nowhere.png", "-l", "red"], 4, "no such file or folder: nowhere.png"),
        (["red.png", "-l", "red", "-0", "--format", "csv"], 2, "-0 writes paths"),
        (["red.png", "-l", "red", "--format", "xml"], 2, "--format"),
        (["red.png", "-l", "red", "-k", "-1"], 2, "-k"),
    ],
)
def test_a_senseless_command_line(
    arguments: list[str], code: int, said: str, classify: Classify, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    ended = classify(*arguments)
    assert ended.exit_code == code
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


def test_the_table_groups_labels_by_picture(classify: Classify, photos: Path) -> None:
    lines = classify(photos / "red.png", photos / "blue.png", *labels("red", "blue")).stdout.splitlines()
    assert lines[0].split() == ["picture", "label", "cosine", "probability"]
    assert [line.split()[1] for line in lines[1:]] == ["red", "blue", "blue", "red"]
    assert all(line.split()[-1].endswith("%") for line in lines[1:])


def test_a_file_that_was_cut_short(classify: Classify, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "whole.jpg").read_bytes()[:-2000])
    refused = classify(cut, *labels("red", "green"))
    assert refused.exit_code == 3
    assert "1 file is cut short: --accept-truncated takes what is left\n" in refused.stderr
    taken = classify(cut, *labels("red", "green"), "--accept-truncated", "--format", "ndjson")
    assert (taken.exit_code, len(records(taken))) == (0, 2)
    assert classify("--library", *labels("red", "green"), "--accept-truncated").exit_code == 2

"""`clip demo`, with the tiny model: what it shows, what it leaves behind, what it needs."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle import installed
from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.commands import demo as module
from clipcli.commands.opening import STARTER_NOTE
from clipcli.errors import pip_line
from clipcli.library.location import find_library, own_library
from clipcli.photos.decode import open_image
from clipcli.render import matrix
from tests.tiny_bundle import make_tiny_bundle

STARTER = Path(installed.__file__).parent.parent / "starter"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


def test_the_demo_searches_classifies_and_draws(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo here"
    done = run("-m", bundle, "--output", folder)
    assert (done.exit_code, done.stderr) == (0, "")
    shown = done.stdout.split("\n\n")
    assert shown[0].startswith(f"{len(module.PHOTOGRAPHS)} photographs embedded in ")
    assert "tiny (fp32) on the CPU" in shown[0]
    searches = [part for part in shown if part.startswith("$ clip search")]
    assert len(searches) == 3
    assert all(len(part.splitlines()) == 2 + module.SHOWN for part in searches)
    assert str(folder / "photos" / module.LOOKED_LIKE) in searches[2].splitlines()[2]  # it looks most like itself
    assert "motorcycle_right.png" in searches[2].splitlines()[3]
    (judged,) = [part for part in shown if part.startswith("$ clip classify")]
    assert [label in judged for label in module.LABELS] == [True] * len(module.LABELS)
    assert f"drawn: {folder / 'matrix.png'}" in done.stdout
    with Image.open(folder / "matrix.png") as figure:
        assert figure.width > 1000
    assert f"cd '{folder}'" in done.stdout
    # what is shown is what the command shown gives to whoever types it there
    monkeypatch.chdir(folder)
    for part in [*searches, judged]:
        line, _, rows = part.rstrip("\n").partition("\n")
        typed = CliRunner().invoke(app, shlex.split(line)[2:])
        assert typed.exit_code == 0, typed.stderr
        told, shown_rows = (text.replace(f"{folder}/", "").split() for text in (typed.stdout, rows))
        assert told == shown_rows


def test_the_shipped_model_finds_the_right_photograph_of_each_sentence_first(tmp_path: Path) -> None:
    assert run("--output", tmp_path).exit_code == 0
    model = Model.load(STARTER, device="cpu")
    photos = sorted((tmp_path / "photos").iterdir())
    pixels = np.stack([to_pixels(open_image(photo), model.spec.preprocess) for photo in photos])
    wanted = {**module.SENTENCES, "motorcycle_left.png": module.PHRASES[0]}
    scores = model.encode_texts(list(wanted.values())) @ model.encode_images(pixels).T  # (T, P)
    found = {text: photos[int(row.argmax())].name for text, row in zip(wanted.values(), scores, strict=True)}
    motorcycles = {"motorcycle_left.png", "motorcycle_right.png"}
    for name, text in wanted.items():
        assert found[text] in (motorcycles if name in motorcycles else {name}), text
    names = [photo.name for photo in photos]
    drawn = scores[: len(module.SENTENCES), [names.index(name) for name in module.SENTENCES]]
    assert drawn.argmax(axis=0).tolist() == list(range(len(module.SENTENCES)))  # framed: the sentence of each


def test_searches_of_the_readme_find_a_motorcycle_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--output", tmp_path).exit_code == 0
    monkeypatch.chdir(tmp_path)
    readme = (Path(module.__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = [line for line in readme.splitlines() if line.startswith("clip search ") and "#" in line]
    searches = [line for line in shown if "--since" not in line]  # the demo's photographs have no dates
    assert len(searches) == 4
    for line in searches:
        words = shlex.split(line.replace("~/Pictures/bike.jpg", f"photos/{module.LOOKED_LIKE}"), comments=True)
        done = CliRunner().invoke(app, [*words[1:], "--format", "paths", "-k", "1"])
        assert Path(done.stdout.strip()).name.startswith("motorcycle_"), (line, done.output)


def test_pictures_of_ones_own_do_not_join_the_demo(
    bundle: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "save_figure", lambda figure, path: None)
    said = run("-m", bundle, "-o", tmp_path / "demo", "--precision", "fp32").stdout
    assert "-k 3 -m" in said
    assert f" -m {bundle} --precision fp32\n" in said
    steps = [line.split()[-1] for line in said.split("own library")[1].splitlines() if line.startswith("  ")]
    assert steps == ["~", "~/Pictures"]
    monkeypatch.chdir(tmp_path / "demo")
    assert find_library() == tmp_path / "demo" / ".clip" / "library.db"
    monkeypatch.chdir(Path(steps[0]).expanduser())
    assert find_library() == own_library()


def test_a_second_time_embeds_nothing_again(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipcli.library import indexing

    reports = []
    index = indexing.index_folders

    def keep(*arguments: Any) -> Any:
        reports.append(index(*arguments))
        return reports[-1]

    monkeypatch.setattr(indexing, "index_folders", keep)
    assert run("-m", bundle, "-o", tmp_path / "demo").exit_code == 0
    assert run("-m", bundle, "-o", tmp_path / "demo").exit_code == 0
    assert [report.embedded for report in reports] == [len(module.PHOTOGRAPHS), 0]


def test_a_place_that_may_not_be_written_is_said_before_anything(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **_: False)
    done = run("-m", bundle, "-o", tmp_path / "demo")
    assert (done.exit_code, done.stdout) == (5, "")
    assert done.stderr == f"clip: {tmp_path / 'demo'} cannot be written here: name a folder of your own\n"


def test_the_folder_is_kept_in_the_cache(home: Path) -> None:
    assert module._own_folder() == home / "cache" / "clip" / "demo" or sys.platform != "linux"


def test_scikit_image_is_found_but_never_imported(bundle: Path, tmp_path: Path) -> None:
    """Importing its data module could download; its files are enough."""
    before = "skimage" in sys.modules
    assert run("-m", bundle, "-o", tmp_path / "demo").exit_code == 0
    assert ("skimage" in sys.modules) == before


@pytest.mark.parametrize("missing", ["skimage", "matplotlib"])
def test_without_the_extra_it_is_named(
    missing: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == missing else find(name, *a))
    done = run("-m", bundle, "-o", tmp_path / "demo")
    assert (done.exit_code, done.stdout) == (10, "")
    assert done.stderr == f"clip: the demo needs the extra 'demo': {pip_line('demo')}\n"
    assert not (tmp_path / "demo").exists()


def test_a_scikit_image_without_the_photographs_is_told_apart(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PHOTOGRAPHS", ("astronaut.png",))
    done = run("-m", bundle, "-o", tmp_path / "demo")
    assert (done.exit_code, "comes without camera.png" in done.stderr) == (4, True)


def test_the_starter_is_mentioned_every_time(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "shipped_model", lambda: bundle)
    monkeypatch.setattr(matrix, "save_figure", lambda figure, path: None)  # the figure is drawn elsewhere
    for _ in range(2):
        done = run("-o", tmp_path / "demo")
        assert (done.exit_code, done.stderr) == (0, STARTER_NOTE + "\n")


def test_every_sentence_belongs_to_a_photograph() -> None:
    assert set(module.SENTENCES) | {*module.CLASSIFIED, module.LOOKED_LIKE} <= set(module.PHOTOGRAPHS)
    assert len(set(module.SENTENCES.values())) == len(module.SENTENCES)


def test_a_folder_of_somebody_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "photos").mkdir(parents=True)
    (mine / "photos" / "cat.jpg").write_bytes(b"mine")
    done = run("-m", bundle, "-o", mine)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "has other files in it (photos/cat.jpg); give --output a new folder" in done.stderr
    assert [path.name for path in mine.rglob("*")] == ["photos", "cat.jpg"]
    done = run("-m", bundle, "-o", mine / "photos" / "cat.jpg")
    assert (done.exit_code, "is not a folder" in done.stderr) == (2, True)


def test_the_hint_names_a_program_that_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "clip"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert module._program() == str(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module._program() == "clip"

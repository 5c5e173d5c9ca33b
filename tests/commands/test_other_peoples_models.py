"""A model of another project, given in a way that cannot work: what is said, and which way does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.installed import install
from clipcli.commands import bringing
from tests.foreign_layouts import make_immich, make_transformers_js
from tests.reading.lively import load
from tests.reading.public_formats import write
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_library import make_tiny_library


def clip(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def told(result: Any, code: int) -> str:
    assert result.exit_code == code, result.stderr
    (line,) = result.stderr.splitlines()
    return str(line)


def test_one_file_of_a_folder(tmp_path: Path) -> None:
    graphs, immich = make_transformers_js(tmp_path / "graphs"), make_immich(tmp_path / "immich")
    theirs = write(load("transformers-siglip"), tmp_path / "weights")
    openclip = write(load("openclip-vit-quick"), tmp_path / "openclip")
    for folder, file in (
        (graphs, "onnx/vision_model.onnx"),
        (graphs, "config.json"),
        (immich, "visual/model.onnx"),
        (theirs, "model.safetensors"),
        (theirs, "config.json"),
        (openclip, "open_clip_model.safetensors"),
        (openclip, "open_clip_config.json"),
    ):
        line = told(clip("models", "import", folder / file), 2)
        assert line == f"clip: {folder / file} is one file of a model: give the folder, {folder}"


@pytest.mark.parametrize("kind", ["graphs", "weights"])
def test_pictures_that_nobody_says_how_to_prepare(tmp_path: Path, kind: str) -> None:
    make = make_transformers_js if kind == "graphs" else lambda folder: write(load("transformers-siglip"), folder)
    folder = make(tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    line = told(clip("models", "import", folder), 2)
    assert "preprocessor_config.json is missing" in line
    assert "fetch it from the model's repository" in line


def test_searching_with_a_model_that_was_never_imported(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photos" / "red.png")
    library = make_tiny_library(tmp_path / "library.db", tmp_path / "photos", [make_tiny_bundle(tmp_path / "tiny")])
    folder = make_transformers_js(tmp_path / "graphs")
    assert f"clip models import {folder}" in told(clip("search", "red", "-m", folder, "--db", library), 4)
    (tmp_path / "ViT.pt").write_bytes(b"")
    assert "clip models import" in told(clip("search", "red", "-m", tmp_path / "ViT.pt", "--db", library), 4)
    (tmp_path / "empty").mkdir()
    assert "import" not in told(clip("search", "red", "-m", tmp_path / "empty", "--db", library), 4)


def test_probabilities_of_a_sigmoid_model_are_said_to_be_independent(tmp_path: Path) -> None:
    import dataclasses

    from clipcli.bundle.spec import read_spec, write_spec

    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    folder = install(make_tiny_bundle(tmp_path / "source"), name="mine")
    ask = ("classify", tmp_path / "red.png", "-l", "red", "-l", "blue", "-m", "mine")
    assert "independent" not in clip(*ask).stderr
    write_spec(folder, dataclasses.replace(read_spec(folder), logit_bias=-10.0))
    assert "mine gives each label a probability of its own" in clip(*ask).stderr
    assert "independent" not in clip(*ask, "--format", "json").stderr
    assert "independent" not in clip(*ask[:4], "-m", "mine").stderr


def test_without_the_extra_a_path_that_holds_no_model_is_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "_OF_TRAIN", ("no_such_package",))
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 40), "red").save(photos / "red.png")
    nowhere = tmp_path / "nowhere"
    assert told(clip("models", "import", nowhere), 4) == f"clip: no such file or folder: {nowhere}"
    assert told(clip("models", "import", photos), 4).startswith(f"clip: {photos} holds no model known here")
    (photos / "open_clip_config.json").write_text("{}")
    assert "needs the extra 'train'" in told(clip("models", "import", photos), 10)


def test_figures_that_nobody_measured_have_no_column(tmp_path: Path) -> None:
    done = clip(
        "models", "import", make_transformers_js(tmp_path / "graphs"), "--name", "theirs", "--logit-scale", "100"
    )
    assert done.exit_code == 0, done.stderr
    heading, first = done.stdout.splitlines()[:2]
    assert heading.split("  ")[0] == "variant"
    assert "image cosine" in heading
    assert "R@10" not in heading
    assert len(first.split()) == 4

"""`clip matrix` from a command line to a picture."""

from __future__ import annotations

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
from clipcli.render import matrix as figure
from tests.tiny_bundle import COLOURS, make_tiny_bundle

Matrix = Callable[..., Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (90, 60), colour).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def matrix(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Matrix:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["matrix", "-m", str(bundle), *map(str, arguments)])


def test_pictures_stand_against_sentences(
    matrix: Matrix, photos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    draw = figure.draw_matrix

    def look(pictures: Any, sentences: Any, cosines: Any, path: Path, *, model: str, look: Any) -> None:
        seen.update(sizes=[picture.size for picture in pictures], sentences=sentences, cosines=cosines, model=model)
        draw(pictures, sentences, cosines, path, model=model, look=look)

    monkeypatch.setattr(figure, "draw_matrix", look)
    done = matrix(photos / "red.png", photos / "blue.png", "-t", "red", "-t", "a blue thing", "-o", "out.png")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "out.png: 2 pictures against 2 sentences\n"
    assert seen["sizes"] == [(90, 60), (90, 60)]
    assert seen["model"] == "tiny"
    model = Model.load(bundle)
    texts = model.encode_texts(["red", "a blue thing"])
    for column, name in enumerate(["red", "blue"]):
        vector = model.encode_images(to_pixels(open_image(photos / f"{name}.png"), model.spec.preprocess)[None])[0]
        assert seen["cosines"][:, column] == pytest.approx(texts @ vector, abs=1e-6)
    assert int(np.argmax(seen["cosines"][:, 0])) == 0
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.format == "PNG"
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24) or []}
    assert {COLOURS["red"], COLOURS["blue"]} <= colours  # both photographs are in it


def test_a_folder_stands_for_its_pictures_and_the_file_has_a_default(matrix: Matrix, photos: Path) -> None:
    done = matrix(photos, "-t", "red")
    assert done.stderr == f"matrix.png: {len(COLOURS)} pictures against 1 sentence\n"
    assert Path("matrix.png").is_file()


def test_what_cannot_be_read_is_left_out(matrix: Matrix, photos: Path) -> None:
    (photos / "empty.png").write_bytes(b"")
    done = matrix(photos, "-t", "red", "-o", "out.svg")
    assert done.exit_code == 3
    lines = done.stderr.splitlines()
    assert lines[0].endswith("empty.png: empty (the file is empty)")
    assert lines[1].startswith(f"out.svg: {len(COLOURS)} pictures")
    assert lines[2] == f"clip: 1 of {len(COLOURS) + 1} pictures could not be read"
    nothing = matrix(photos / "empty.png", "-t", "red", "-o", "none.png")
    assert nothing.exit_code == 3
    assert not Path("none.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-t", "red"], 2, "missing argument"),
        (["photos"], 2, "no sentences"),
        (["photos", "-t", " "], 2, "no sentences"),
        (["photos", "-t", "red", "-o", "out.gif"], 2, "'out.gif' does not end in one of .png"),
        (["nowhere.png", "-t", "red"], 4, "no such file or folder: nowhere.png"),
        (["photos", "-t", "red", "-o", "nowhere/out.png"], 4, "no such folder: nowhere"),
        (["empty", "-t", "red"], 3, "no pictures"),
    ],
)
def test_a_senseless_command_line(arguments: list[str], code: int, said: str, matrix: Matrix, photos: Path) -> None:
    Path("empty").mkdir()
    done = matrix(*arguments)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_too_many_pictures_are_refused_before_any_work(
    matrix: Matrix, photo_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photo_folder("many", count=figure.MOST_PICTURES + 1)
    monkeypatch.setattr(Model, "load", lambda *a, **k: pytest.fail("the model was loaded"))
    done = matrix(folder, "-t", "red")
    assert (done.exit_code, f"{figure.MOST_PICTURES + 1} pictures" in done.stderr) == (2, True)

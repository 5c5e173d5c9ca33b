"""`from clipcli import Library, Model`: the page in the documentation runs, and it agrees with the commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import clipcli
from clipcli import Library, Model
from clipcli.app import app
from clipcli.bundle.installed import install, set_default
from clipcli.errors import ImageError, LibraryLockedError, NotFoundError, UsageError
from clipcli.library.filters import Filters
from clipcli.library.run_lock import RunLock
from tests.structure.source import ROOT
from tests.tiny_bundle import make_tiny_bundle

PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")


@pytest.fixture
def photos(photo_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures in the working directory, and a default model."""
    folder = photo_folder(count=4)
    shutil.move(folder / "000.jpg", folder / "bike.jpg")
    monkeypatch.chdir(tmp_path)
    install(make_tiny_bundle(tmp_path / "source"), name="tiny")
    set_default("tiny")
    return folder


@pytest.fixture
def library(photos: Path, tmp_path: Path) -> Library:
    library = Library(tmp_path / "library.db")
    assert library.embed(photos).embedded == 4
    return library


def test_the_page_runs(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("4 embedded, 0 unchanged\n1. ")
    assert "[('favourite', 2)] [['favourite']]\n4 pictures tagged by the model\n48 20" in said.out
    assert said.out.endswith("4 pictures\nno such file or folder: no-such-folder\n")
    assert names["like"][0].file == photos / "bike.jpg"
    assert len(names["library"].vectors()[0]) == 3  # one was forgotten
    assert names["same"][0].image_id == names["like"][0].image_id
    assert len(names["found"]) == 4
    assert Path("backup.db").is_file()


def test_importing_it_loads_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules);"  # where coverage is measured, it has loaded sqlite3 for itself
        "import clipcli; dir(clipcli); print({'numpy', 'sqlite3', 'PIL', 'onnxruntime'} & (set(sys.modules) - before));"
        "from clipcli import Library, Model;"
        "print({'torch', 'onnx', 'sqlite_utils', 'typer', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\nset()\n"
    assert {"Library", "Model", "__version__"} <= set(dir(clipcli))
    with pytest.raises(AttributeError, match="nothing_like_that"):
        clipcli.nothing_like_that  # noqa: B018 - asking is the test


def test_a_search_finds_what_the_command_finds(library: Library) -> None:
    done = CliRunner().invoke(app, ["search", "red", "--db", str(library.path), "--format", "json"])
    expected = [(one["path"], one["score"]) for one in json.loads(done.stdout)]
    assert [(str(match.file), round(match.score, 6)) for match in library.search("red")] == expected
    assert len(library.search("red", k=2)) == 2
    assert library.search("red", threshold=1.0) == []
    with pytest.raises(UsageError, match="needs a word"):
        library.search(" ")
    assert library.search("red", min_sigma=50.0) == []


def test_embedding_with_models(library: Library, photos: Path, tmp_path: Path) -> None:
    other = Model(make_tiny_bundle(tmp_path / "other", name="other", seed=1), precision="fp16")
    with pytest.raises(NotFoundError, match="no embeddings by the model other"):
        library.search("red", model=other)
    assert library.embed(photos, model=other, include=["bike.jpg"]).embedded == 1
    (match,) = library.search("red", model=other)
    assert match.file == photos / "bike.jpg"
    set_default(None)
    (photos / "002.jpg").unlink()
    report = library.embed(photos)  # the library's own model, whatever the default is
    assert (report.unchanged, report.forgotten) == (3, 1)
    assert library.vectors(model=other)[1].shape == (1, other.dimension)
    files, rows = library.vectors()
    assert sorted(files) == sorted(photos.iterdir())
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)


def test_pictures_and_labels(photos: Path) -> None:
    model = Model(device="cpu")
    assert model.name == "tiny"
    vectors = model.encode_pictures([photos / "bike.jpg", str(photos / "001.jpg")])
    assert vectors.shape == (2, model.dimension)
    assert model.encode_pictures([]).shape == (0, model.dimension)
    chances = model.classify([photos / "bike.jpg"], ["cat", "dog", "boat"])
    assert chances.shape == (1, 3)
    assert chances.sum() == pytest.approx(1)
    (photos / "bad.jpg").touch()
    with pytest.raises(ImageError):
        model.encode_pictures([photos / "bad.jpg"])
    for call in (lambda: model.encode_texts("red"), lambda: model.encode_pictures(str(photos / "bike.jpg"))):
        with pytest.raises(TypeError, match="a list is wanted"):
            call()


def test_what_is_not_there(photos: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "new" / "library.db")
    with pytest.raises(NotFoundError, match="no library"):
        library.search("red")
    with pytest.raises(NotFoundError, match="no such file"):
        library.embed("nowhere")
    assert not library.path.parent.exists()
    (tmp_path / "empty").mkdir()
    library.embed("empty")
    assert library.search("red") == []
    with pytest.raises(NotFoundError, match="is empty"):
        library.vectors()
    with RunLock(library.path), pytest.raises(LibraryLockedError):
        library.embed(photos)


def test_tags(library: Library, photos: Path) -> None:
    bike, other = photos / "bike.jpg", photos / "001.jpg"
    assert library.tag([bike, str(other)], "cat") == 2
    assert library.tag([library.search(bike, k=1)[0].image_id], "cat") == 0
    assert library.tags([other, photos / "002.jpg", bike]) == [["cat"], [], ["cat"]]
    assert library.untag([other], "cat") == 1
    assert library.labels() == [("cat", 1)]
    with pytest.raises(NotFoundError, match="no picture nowhere"):
        library.tag([bike, "nowhere.jpg"], "dog")
    with pytest.raises(TypeError, match="a list is wanted"):
        library.tags("bike.jpg")
    assert library.labels() == [("cat", 1)]


def test_tags_by_the_model(library: Library, photos: Path) -> None:
    library.tag([photos / "bike.jpg"], "red")
    dry = library.classify(["red", "blue"], dry_run=True)
    assert library.labels() == [("red", 1)]
    assert library.classify(["red", "blue"]) == dry
    assert sum(dry.values()) == 4
    some = library.classify(["a", "b"], multi=True, threshold=-1.0, filters=Filters(where="path LIKE '%bike.jpg'"))
    assert some == {"a": 1, "b": 1}
    shown = library.show(photos / "bike.jpg")
    assert shown.tags[0].label == "red"
    assert {tag.label for tag in shown.tags} >= {"a", "b"}
    assert library.show(shown.image_id) == shown
    with pytest.raises(UsageError):
        library.classify(["red"])
    with pytest.raises(NotFoundError):
        library.show(99)


def test_looking_after_it(library: Library, photos: Path) -> None:
    moved = photos.rename(photos.with_name("moved"))
    (root,) = library.relocate(photos, moved)
    assert (root.new, root.found) == (os.fsencode(moved), 4)
    assert library.search("red", k=1)[0].file.parent == moved
    (moved / "bike.jpg").unlink()
    assert [fault.kind for fault in library.check()] == ["missing-file"]
    mended = library.repair()
    assert (len(mended.found), mended.left) == (1, ())
    (one,) = library.forget(moved / "001.jpg")
    assert one.pictures == 1
    assert library.counts().pictures.count == 2
    nothing = Library(photos.parent / "nothing" / "library.db")
    for call in (nothing.repair, lambda: nothing.forget("x"), nothing.check, nothing.counts):
        with pytest.raises(NotFoundError):
            call()
    assert not nothing.path.parent.exists()


def test_the_library_of_this_place(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CliRunner().invoke(app, ["library", "init", str(photos)])
    monkeypatch.chdir(photos)
    assert Library().path == photos / ".clip" / "library.db"
    Library().embed(".")
    assert os.fsencode(Library().search("red", k=1)[0].file).startswith(os.fsencode(photos))
    assert [fault for fault in Library().check(deep=True) if fault.damage] == []

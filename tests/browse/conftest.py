"""A small library behind the page's server, asked in the same process; and, for a few, a real server on loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from clipcli.browse.application import application
from clipcli.browse.guard import Door
from clipcli.browse.model_in_use import ModelInUse
from clipcli.browse.page_files import PageFiles
from clipcli.browse.parts import Parts
from clipcli.bundle.encoder import Model
from clipcli.library.indexing import IndexOptions, index_folders
from clipcli.library.models import stored_models
from clipcli.library.store import Library
from tests.tiny_bundle import COLOURS, make_tiny_bundle, solid_picture

HERE = "http://127.0.0.1:8732"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("browse") / "tiny")


@pytest.fixture(scope="session")
def model(bundle: Path) -> Model:
    return Model.load(bundle, threads=1)


@dataclass(kw_only=True)
class Stage:
    """A library of one picture of each colour and some patterns, in two folders, and how to add to it."""

    library: Path
    photos: Path
    model: Model

    def open_model(self, library: Library) -> ModelInUse | None:
        if not any(stored.pictures for stored in stored_models(library)):
            return None
        return ModelInUse(model=self.model, stored_precision=self.model.precision)

    def embed(self) -> None:
        with Library.open(self.library, write=True, create=True) as library:
            index_folders(library, [os.fsencode(self.photos)], self.model, IndexOptions(), lambda _: None)

    def id_of(self, name: str) -> int:
        with Library.open(self.library) as library:
            row = library.connection.execute("SELECT id FROM images WHERE path = ?", (name,)).fetchone()
        assert row is not None, name
        return int(row[0])

    def parts(self) -> Parts:
        return Parts.of(self.library, self.open_model, self.photos.parent / "thumbnails")


def _stage_in(folder: Path, model: Model) -> Stage:
    """The library lies beside its photos, so that all of it can be copied elsewhere."""
    return Stage(library=folder / ".clip" / "library.db", photos=folder / "photos", model=model)


def _page_in(folder: Path) -> PageFiles:
    """A page of two files, with one beside them that is none of its business."""
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>page</title>", encoding="utf-8")
    (folder / "app.js").write_text("export const one = 1;\n", encoding="utf-8")
    (folder / "notes.py").write_text("secret = 1\n", encoding="utf-8")
    return PageFiles(folder)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Stage:
    """For tests that change nothing."""
    stage = _stage_in(tmp_path_factory.mktemp("stage"), model)
    colours, patterns = stage.photos / "colours", stage.photos / "patterns"
    colours.mkdir(parents=True)
    patterns.mkdir()
    for number, name in enumerate(COLOURS):
        exif = Image.Exif()
        exif[0x0132] = f"20{10 + number}:06:01 12:00:00"
        exif[0x0110] = f"Camera {number % 2}"
        solid_picture(name, width=60 + number, height=40).save(colours / f"{name}.jpg", exif=exif)
    random = np.random.default_rng(0)
    for number in range(6):
        patches = random.integers(0, 256, (4, 3, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((30, 40), Image.Resampling.NEAREST).save(patterns / f"{number}.png")
    stage.embed()
    return stage


@pytest.fixture
def own_stage(stage: Stage, tmp_path: Path) -> Stage:
    """The same, to be changed."""
    folder = tmp_path / "own"
    shutil.copytree(stage.photos.parent, folder, ignore=shutil.ignore_patterns("thumbnails"))
    return _stage_in(folder, stage.model)


@pytest.fixture
def empty_stage(tmp_path: Path, model: Model) -> Stage:
    """Before anything was embedded."""
    stage = _stage_in(tmp_path / "empty", model)
    stage.photos.mkdir(parents=True)
    Library.open(stage.library, write=True, create=True).close()
    return stage


@contextmanager
def serving(stage: Stage, page: PageFiles, door: Door | None = None, base: str = HERE) -> Iterator[TestClient]:
    """A client of a server over a stage, in the same process."""
    parts = stage.parts()
    app = application(parts, door or Door(only_here=True), page)
    try:
        with TestClient(app, base_url=base, follow_redirects=False, raise_server_exceptions=False) as client:
            yield client
    finally:
        parts.close()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> PageFiles:
    return _page_in(tmp_path_factory.mktemp("files") / "page")


@pytest.fixture(scope="session")
def client(stage: Stage, page: PageFiles) -> Iterator[TestClient]:
    """Of the library that no test changes."""
    with serving(stage, page) as client:
        yield client


@pytest.fixture
def own_client(own_stage: Stage, page: PageFiles) -> Iterator[TestClient]:
    """Of the test's own library."""
    with serving(own_stage, page) as client:
        yield client


def code_of(response: Any) -> tuple[int, str]:
    """The status and the stable word of a refusal, which has one shape everywhere."""
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["message"]
    assert "\n" not in error["message"]
    return response.status_code, error["code"]


def finished(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    """A job's description once it has ended."""
    answered = client.get(f"/api/jobs/{job['job']}?wait=20").json()
    assert answered["state"] != "running"
    return dict(answered)

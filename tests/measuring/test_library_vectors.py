"""What a library has embedded is measured as it is: no picture is opened for it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.bundle.spec import read_spec
from clipcli.datasets.tagged import tagged_rows, tagged_vectors
from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_library import make_tiny_library


@pytest.fixture
def library(classes: Path, bundle: Path, tmp_path: Path) -> Path:
    """Far from the photographs; tagged by hand with the colour each folder is called by, one picture left out."""
    (tmp_path / "elsewhere").mkdir()
    path = make_tiny_library(tmp_path / "elsewhere" / "library.db", classes, [bundle])
    with Library.open(path, write=True) as opened:
        with opened.read() as connection:
            rows = connection.execute("SELECT id, path FROM images ORDER BY id").fetchall()
        for image_id, name in rows[1:]:
            add_tags(opened, [image_id], str(name).split("/")[-2])
    return path


def measure(*arguments: str | Path, code: int = 0) -> list[dict[str, Any]]:
    outcome = CliRunner().invoke(app, ["eval", *map(str, arguments), "--format", "json"])
    assert outcome.exit_code == code, outcome.stderr
    found: list[dict[str, Any]] = json.loads(outcome.stdout)
    return found


def test_no_picture_is_opened(library: Path, classes: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (asked, *_) = measure("zero-shot", classes, "-m", bundle)
    shutil.rmtree(classes)
    monkeypatch.setattr(Model, "encode_images", None)
    stored, *_ = measure("zero-shot", "--library", "--db", library)
    assert (stored["pictures"], stored["classes"]) == (17, 6)
    assert stored["precision"] == "fp32"
    assert stored["top1"] == pytest.approx(asked["top1"], abs=0.06)  # of one picture less
    for name in ("zero-shot", "probe", "calibration"):
        assert measure(name, library, "-m", bundle)
    probed = measure("probe", library)
    assert probed[0]["shots"] == 0


def test_vectors_are_those_of_the_library(library: Path, bundle: Path) -> None:
    spec = read_spec(bundle)
    with Library.open(library) as opened:
        rows, _ = tagged_rows(opened)
        vectors = tagged_vectors(opened, identity=spec.identity, precision="fp32")
        assert {row.image for row in rows} == set(vectors)
        assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-5) for vector in vectors.values())
        assert tagged_vectors(opened, identity=spec.identity, precision="int8") == {}
        assert tagged_vectors(opened, identity="f" * 64, precision="fp32") == {}


def test_what_the_library_lacks_is_looked_at(library: Path, classes: Path, tmp_path: Path) -> None:
    other = make_tiny_bundle(tmp_path / "other", seed=5)
    found = measure("zero-shot", "--library", "--db", library, "-m", other)
    assert found[0]["pictures"] == 17
    shutil.rmtree(classes / "blue")
    refused = CliRunner().invoke(app, ["eval", "zero-shot", str(library), "-m", str(other), "--no-cache"])
    assert refused.exit_code == 3
    assert "blue" in refused.stderr


def test_made_worse_pictures_are_opened(library: Path, classes: Path, bundle: Path) -> None:
    before = {one["change"]: one["top1"] for one in measure("robustness", library, "-m", bundle)}
    assert before["greyscale"] < before["none"]

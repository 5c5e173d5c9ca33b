"""Words that were asked for before need no tower, and are not written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from tests.tiny_bundle import COLOURS, CONTEXT, make_tiny_bundle
from tests.tiny_library import make_tiny_library


@pytest.fixture
def library(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(photos / f"{name}.png")
    return make_tiny_library(tmp_path / "library.db", photos, [make_tiny_bundle(tmp_path / "tiny")])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the text tower got to see."""
    seen: list[str] = []
    encode = Model.encode_texts

    def watched(self: Model, texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(Model, "encode_texts", watched)
    return seen


def ask(library: Path, *words: str) -> tuple[str, str]:
    ended = CliRunner().invoke(app, ["search", *words, "--db", str(library), "--format", "json"])
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout, ended.stderr


def test_the_second_time_nothing_is_encoded_and_the_answer_is_the_same(library: Path, encoded: list[str]) -> None:
    first = ask(library, "red thing")
    assert encoded == ["red thing"]
    assert ask(library, "red thing") == first
    assert encoded == ["red thing"]
    ask(library, "red thing", "--minus", "blue")
    assert encoded == ["red thing", "blue"]


def test_the_words_themselves_are_nowhere_in_the_cache(library: Path, home: Path) -> None:
    ask(library, "embarrassing question")
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "queries.db" for path in files)
    assert not any(b"embarrassing" in path.read_bytes() for path in files)


def test_what_is_cut_says_so_each_time(library: Path, encoded: list[str]) -> None:
    long = " ".join(["red"] * (2 * CONTEXT))
    assert "reads" in ask(library, long)[1]
    assert "reads" in ask(library, long)[1]
    assert encoded == [long, long]


def test_another_model_has_its_own(library: Path, encoded: list[str], tmp_path: Path) -> None:
    ask(library, "red")
    other = make_tiny_bundle(tmp_path / "other", name="other", seed=1)
    photos = tmp_path / "photos"
    ask(make_tiny_library(tmp_path / "second.db", photos, [other]), "red")
    assert encoded == ["red", "red"]


def test_a_damaged_cache_costs_only_its_use(library: Path, home: Path, encoded: list[str]) -> None:
    first = ask(library, "red")
    (cache,) = home.rglob("queries.db")
    cache.write_bytes(b"no database at all" * 1000)
    assert ask(library, "red") == first
    assert encoded == ["red", "red"]

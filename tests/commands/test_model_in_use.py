"""Which model a library is searched with, and every word about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle import installed
from clipcli.bundle.installed import install, set_default
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo_folder: Callable[..., Path]) -> Path:
    """Two pictures, and three models to look at them with: a and b, and the one that ships."""
    starter = make_tiny_bundle(tmp_path / "package", name="starter", seed=5)
    monkeypatch.setattr(installed, "shipped_model", lambda: starter)
    for seed, name in enumerate("ab"):
        install(make_tiny_bundle(tmp_path / f"source-{name}", seed=seed), name=name)
    folder = photo_folder(count=2)
    monkeypatch.chdir(folder)
    (folder / ".clip").mkdir()
    monkeypatch.setenv("CLIP_DB", str(folder / ".clip" / "library.db"))
    return folder


def clip(*arguments: str) -> Any:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    return result


def test_embedding_with_another_model_says_that_searches_use_it(photos: Path) -> None:
    assert "from now on" not in clip("embed", "-m", "a", str(photos)).stderr
    told = clip("embed", "-m", "b", str(photos)).stderr
    assert "searches of this library use b from now on; -m a takes the one before" in told
    assert "from now on" not in clip("embed", "-m", "b", str(photos)).stderr
    assert '"model":"b"' in clip("search", "red", "--format", "json").stdout.replace(" ", "")


def test_a_run_with_nothing_to_do_names_its_model(photos: Path) -> None:
    assert "(a, fp32)" not in clip("embed", "-m", "a", str(photos)).stderr
    assert "2 unchanged" in (told := clip("embed", str(photos)).stderr)
    assert "(a, fp32)" in told


def test_a_default_changes_nothing_for_a_library_and_says_so(photos: Path) -> None:
    assert clip("models", "default", "b").stderr == ""
    clip("embed", "-m", "a", str(photos))
    told = clip("models", "default", "b")
    assert told.stdout == "b\n"
    assert f"{photos / '.clip' / 'library.db'} goes on with its own model, a; 'clip embed -m b FOLDER'" in told.stderr
    assert clip("models", "default", "a").stderr == ""
    assert clip("models", "default").stderr == ""


def test_removing_the_default_says_which_one_it_is_now(photos: Path) -> None:
    set_default("b")
    assert "default" not in clip("models", "rm", "a").stderr
    assert "the default model is starter, which comes with clip, now" in clip("models", "rm", "b").stderr


def test_removing_a_model_whose_twin_stays(photos: Path, tmp_path: Path) -> None:
    install(make_tiny_bundle(tmp_path / "again"), name="twin")
    clip("embed", "-m", "a", str(photos))
    told = clip("models", "rm", "a").stderr
    assert "2 pictures by this model; twin is the same and searches them" in told
    assert "they can be searched again once it is installed" in clip("models", "rm", "twin").stderr

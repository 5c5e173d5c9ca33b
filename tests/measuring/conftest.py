"""A folder of class folders that the tiny model knows, and the command to measure it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from tests.tiny_bundle import COLOURS, make_tiny_bundle

Eval = Callable[..., Any]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Six colours, three pictures each; one of the red ones is blue."""
    folder = tmp_path / "classes"
    for colour, (red, green, blue) in COLOURS.items():
        (folder / colour).mkdir(parents=True)
        for shade in range(3):
            level = max(0, red - shade), max(0, green - shade), max(0, blue - shade)
            Image.new("RGB", (60, 40), level).save(folder / colour / f"{shade}.png")
    Image.new("RGB", (60, 41), COLOURS["blue"]).save(folder / "red" / "2.png")
    return folder


@pytest.fixture
def evaluate(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Eval:
    monkeypatch.chdir(tmp_path)
    return lambda command, *arguments: CliRunner().invoke(
        app, ["eval", command, "-m", str(bundle), *map(str, arguments)]
    )

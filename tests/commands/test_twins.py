"""Two installed models of the same weights: what happens to one of them does not stop the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.installed import install
from clipcli.errors import ModelError
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_library import make_tiny_library


@pytest.fixture
def twins(tmp_path: Path, photo_folder: Callable[..., Path]) -> tuple[Path, Path, Path]:
    """A library, and the two models it may be searched with."""
    source = make_tiny_bundle(tmp_path / "source")
    one, two = install(source, name="one"), install(source, name="two")
    return make_tiny_library(tmp_path / "library.db", photo_folder(count=2), [one]), one, two


def damage(folder: Path, how: str) -> None:
    for name in ("text.onnx", "text.fp16.onnx"):
        content = (folder / name).read_bytes()
        if how == "missing":
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content[: len(content) // 2] + (b"" if how == "short" else content[:1]))
            if how == "flipped":
                (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("how", ["missing", "short", "flipped"])
def test_a_damaged_model_gives_way_to_its_twin(twins: tuple[Path, Path, Path], how: str) -> None:
    library, one, two = twins
    damage(one, how)
    result = CliRunner().invoke(app, ["search", "red", "--db", str(library)])
    assert result.exit_code == 0, result.stderr
    assert result.stdout
    damage(two, how)
    result = CliRunner().invoke(app, ["search", "red", "--db", str(library)])
    assert result.exit_code == ModelError.exit_code
    assert str(one) in result.stderr

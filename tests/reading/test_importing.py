"""Where an imported model is built: in the models folder, once room was asked for; nothing stays of half of one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from clipcli.bundle.installed import models_folder
from clipcli.errors import NoSpaceError
from export import importing
from export.importing import import_model
from tests.reading.lively import load
from tests.reading.public_formats import write
from trainer.reading.found import Choices


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_room_is_asked_for_before_graphs_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(load("openclip-vit-quick"), tmp_path / "source")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))
    monkeypatch.setattr(importing, "export_bundle", lambda *_, **__: pytest.fail("not asked for room"))
    with pytest.raises(NoSpaceError, match=r"importing needs \d\d MB.*CLIP_MODELS"):
        import_model(source, name="it", choices=Choices(), say=lambda _: None)


def test_what_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, seen = write(load("openclip-vit-quick"), tmp_path / "source"), []

    def break_off(_: object, *, folder: Path, **__: Any) -> None:
        (folder / "image.onnx").write_bytes(b"half")
        seen.append(folder.parent)
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "export_bundle", break_off)
    with pytest.raises(KeyboardInterrupt):
        import_model(source, name="it", choices=Choices(), say=lambda _: None)
    assert seen == [models_folder()]  # on the disk where it is going to be
    assert list(models_folder().iterdir()) == []

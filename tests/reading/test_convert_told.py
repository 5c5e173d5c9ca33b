"""What converting says: where texts come out otherwise, and why a folder could not be made."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer as TheirTokenizer
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.spec import read_spec, write_spec
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import NoSpaceError
from export import converting
from export.converting import cleaned_otherwise, convert_model
from tests.reading.lively import load
from tests.reading.test_convert import bundle_of

MENDED = "in &amp; in"


@pytest.mark.parametrize(
    ("cleaning", "to", "told"),
    [
        ("none", "open-clip", True),
        ("none", "transformers", False),
        *((how, "open-clip", False) for how in ("lower", "whitespace", "canonicalize")),
        *((how, "transformers", True) for how in ("lower", "whitespace", "canonicalize")),
    ],
)
def test_it_is_said_where_texts_come_out_otherwise(cleaning: str, to: str, told: bool, tmp_path: Path) -> None:
    made = bundle_of(load("openclip-vit-quick"), tmp_path)
    spec = dataclasses.replace(read_spec(made), text_cleaning=cleaning)
    write_spec(made, spec)
    assert bool(cleaned_otherwise(spec, to)) == told
    result = CliRunner().invoke(app, ["models", "convert", str(made), str(tmp_path / "written"), "--to", to])
    assert result.exit_code == 0, result.stderr
    assert ("come out otherwise" in result.stderr) == told
    if to == "transformers":  # its own words prove what is said
        theirs = TheirTokenizer.from_file(str(tmp_path / "written" / "tokenizer.json")).encode(MENDED).ids
        ours = Tokenizer.of(made, spec)([MENDED])[0][: len(theirs)].tolist()
        assert (ours != theirs) == told


@pytest.fixture
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_is_code_7(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    made = bundle_of(load("openclip-vit-quick"), tmp_path)
    request.getfixturevalue("small_files")
    target = tmp_path / "out" / "written"
    result = CliRunner().invoke(app, ["models", "convert", str(made), str(target), "--to", "open-clip"])
    assert result.exit_code == 7, result.stderr
    assert result.stderr.splitlines() == [f"clip: no space left on the disk ({target})"]
    assert list(target.parent.iterdir()) == []


def test_room_and_leave_are_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bundle_of(load("openclip-vit-quick"), tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(NoSpaceError, match="converting needs"):
        convert_model(made, tmp_path / "written", to="open-clip")
    monkeypatch.setattr(converting, "open_source", None)  # nothing is read
    monkeypatch.setattr(os, "access", lambda *_: False)
    result = CliRunner().invoke(app, ["models", "convert", str(made), str(tmp_path / "new"), "--to", "open-clip"])
    assert result.exit_code == 5
    assert f"{tmp_path} cannot be written here" in result.stderr

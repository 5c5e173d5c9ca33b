"""Every command that gives records: JSON, NDJSON, CSV and TSV say the same, with the fields of the contract."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.installed import install
from tests.structure.source import ROOT
from tests.test_search import bundle, own_library, own_photos

__all__ = ["bundle", "own_library", "own_photos"]  # fixtures

COMMANDS: dict[str, list[str]] = {
    "embed": ["embed", ".", "--dry-run"],
    "search": ["search", "red"],
    "search --facts": ["search", "red", "--facts"],
    "similar": ["similar", "red.png"],
    "similar --facts": ["similar", "red.png", "--facts"],
    "duplicates": ["duplicates", "--threshold", "0.01"],
    "classify": ["classify", "red.png", "-l", "red", "-l", "a, \"b\"", "-l", "größe"],
    "tags list": ["tags", "list"],
    "tags export": ["tags", "export"],
    "tags sort --dry-run": ["tags", "sort", "--dry-run", "--move-to", "sorted"],
    "models list": ["models", "list"],
    "library stats": ["library", "stats"],
    "library show": ["library", "show", "red.png", "blue.png"],
    "library roots": ["library", "roots"],
    "library skipped": ["library", "skipped"],
    "library check": ["library", "check"],
}  # fmt: skip


def contract() -> dict[str, list[str]]:
    """Fields by command, as the documentation has them."""
    page = (ROOT / "docs" / "contract.md").read_text("utf-8").partition("### Records")[2].partition("\n## ")[0]
    fields = {}
    for commands, names in re.findall(r"^\| (`.*?`) \| (`.*?`) \|$", page, re.MULTILINE):
        for command in re.findall(r"`([^`]+)`", commands):
            fields[command] = re.findall(r"`([a-z0-9_]+)`", names)
    return fields


@pytest.fixture
def clip(own_library: Path, own_photos: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """In the folder of the six colours, with tags, a broken file and a deleted one."""
    install(bundle, name="tiny")
    monkeypatch.setenv("CLIP_DB", str(own_library))
    monkeypatch.chdir(own_photos)
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    CliRunner().invoke(app, ["embed", ".", "-m", "tiny"])
    Path("white.png").unlink()
    with sqlite3.connect(own_library) as connection:
        connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'x,\"y\"' FROM images")
        connection.execute("UPDATE images SET camera = 'Größe; \"5D\"', latitude = 0.5, longitude = -1e-7 WHERE id = 1")
    connection.close()

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.stderr
        return str(done.stdout_bytes.decode("utf-8"))

    return run


def as_text(value: Any) -> str:
    """A value of JSON as a field of a row."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("name", COMMANDS)
def test_formats_agree(name: str, clip: Callable[..., str]) -> None:
    given, fields = COMMANDS[name], contract()[name]
    found = json.loads(clip(*given, "--format", "json"))
    assert found
    for record in found:
        assert [field for field in fields if field in record] == list(record)  # in this order
        assert {field for field in fields if field not in record} <= {"path_b64", "target_b64"}
    assert [json.loads(line) for line in clip(*given, "--format", "ndjson").splitlines()] == found
    rows = [{field: as_text(record.get(field)) for field in fields} for record in found]
    for format, delimiter in (("csv", ","), ("tsv", "\t")):
        text = clip(*given, "--format", format)
        assert text.partition("\n")[0].split(delimiter) == fields
        assert list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)) == rows
    if "path" in fields and name not in ("duplicates", "library stats", "library check"):  # these leave some out
        paths = list(dict.fromkeys(record["path"] for record in found))
        assert clip(*given, "--format", "paths").splitlines() == paths
        if name != "models list":  # has no -0
            assert clip(*given, "-0").split("\0")[:-1] == paths


def test_every_command_with_records_is_looked_at() -> None:
    """The others need a training run, a model that is damaged, or do their work only once."""
    assert set(contract()) - set(COMMANDS) <= {"models verify", "export", "caption"} | {
        name for name in contract() if name.startswith(("eval", "models", "embed", "export"))
    }

"""A library that is damaged, foreign, newer, empty or read-only: searched, or refused in one line and left as it is.

Every command that takes a library is tried on each, through the program itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.library.store import Library
from clipcli.library.vectors import cache_folder
from tests.library.conftest import Index, rows
from tests.library.released import VERSIONS, unpack
from tests.library.test_store import REFUSED, foreign
from tests.structure.source import ROOT


@dataclass(frozen=True)
class Place:
    """A library alone in its folder, the pictures it is of, and the model that made it."""

    file: Path
    photos: Path
    bundle: Path

    def commands(self, beside: Path) -> dict[str, list[str]]:
        """By name; those of `READERS` only look."""
        photo, model = str(self.photos / "000.jpg"), ["-m", str(self.bundle)]
        return {
            "search": ["search", "red", *model, "--format", "json"],
            "filtered": ["search", "red", *model, "--tag", "mine", "--where", "width > 3", "--facts"],
            "similar": ["similar", photo, *model],
            "duplicates": ["duplicates", "--threshold", "0.9"],
            "stats": ["library", "stats"],
            "roots": ["library", "roots"],
            "skipped": ["library", "skipped"],
            "check": ["library", "check", "--deep"],
            "backup": ["library", "backup", str(beside / "copy.db")],
            "export": ["library", "export", str(beside / "vectors.npz")],
            "preview": ["embed", str(self.photos), *model, "--dry-run"],
            "embed": ["embed", str(self.photos), *model],
            "repair": ["library", "check", "--repair"],
            "forget": ["library", "forget", photo],
            "relocate": ["library", "relocate", str(self.photos), str(self.photos)],
            "vacuum": ["library", "vacuum"],
        }


WRITERS = ("embed", "repair", "forget", "relocate", "vacuum")


@pytest.fixture
def place(photo_folder: Callable[..., Path], index: Index, library_file: Path, bundle: Path, model: Model) -> Place:
    photos = photo_folder(count=4)
    (photos / "bad.png").write_text("text")
    index(photos)
    with sqlite3.connect(library_file) as connection:
        connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'mine' FROM images")
    connection.close()
    return Place(library_file, photos, bundle)


def run(place: Place, arguments: Sequence[str]) -> Any:
    return CliRunner().invoke(app, [*arguments, "--db", str(place.file)])


def test_all_commands_work_on_a_sound_one(place: Place, tmp_path: Path) -> None:
    """Otherwise their failing below would say nothing."""
    for name, arguments in place.commands(tmp_path).items():
        before = place.file.read_bytes()
        result = run(place, arguments)
        assert result.exit_code == 0, (name, result.stderr)
        assert name in WRITERS or place.file.read_bytes() == before


NO_LIBRARY = {
    **{kind: REFUSED[kind] for kind in ("empty", "text", "short text", "newer", "without a schema", "cut short")},
    "foreign": lambda path: (path.unlink(), foreign(path)),
}


@pytest.mark.parametrize("kind", NO_LIBRARY)
def test_every_command_refuses_what_is_no_library(kind: str, place: Place, tmp_path: Path) -> None:
    NO_LIBRARY[kind](place.file)
    content = place.file.read_bytes()
    for name, arguments in place.commands(tmp_path).items():
        result = run(place, arguments)
        assert (result.exit_code, result.stdout) == (6, ""), (name, result.stderr)
        assert result.stderr.startswith("clip: ")
        assert result.stderr.count("\n") == 1
        assert str(place.file) in result.stderr
        assert place.file.read_bytes() == content
        assert os.listdir(place.file.parent) == ["library.db"], f"{name} leaves something beside it"
    assert not (tmp_path / "copy.db").exists()


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One bit, some bytes, or a block of it, mostly where there is something, once in six in the header."""
    data = bytearray(content)
    filled = [number for number, byte in enumerate(content) if byte]
    kind = chance.randrange(6)
    if kind == 0:
        data[chance.randrange(100)] = chance.randrange(256)
    elif kind == 1:
        start = chance.choice(filled) // 512 * 512
        data[start : start + 512] = bytes([chance.choice((0, 255))]) * 512
    else:
        for _ in range(chance.choice((1, 1, 12))):
            data[chance.choice(filled)] ^= 1 << chance.randrange(8)
    return bytes(data)


def test_flipped_bytes_anywhere(place: Place, tmp_path: Path) -> None:
    """Most are not noticed, and what comes out is as good as it looks; the rest is damage, not an unexpected error."""
    sound = place.file.read_bytes()
    chance = random.Random(7)
    refused = 0
    for number in range(40):
        content = flipped(sound, chance)
        commands = place.commands(tmp_path / str(number))
        (tmp_path / str(number)).mkdir()
        for name in chance.sample(sorted(commands), 3):
            for left in place.file.parent.iterdir():
                left.unlink()
            shutil.rmtree(cache_folder(), ignore_errors=True)
            place.file.write_bytes(content)
            result = run(place, commands[name])
            where = f"{name} after damage {number}: {result.stderr}"
            assert result.exit_code in (0, 3, 4, 6), where
            assert "Traceback" not in result.stderr, where
            if result.exit_code:
                refused += 1
                assert result.stderr.splitlines()[-1].startswith("clip: "), where
            if name not in WRITERS:
                assert place.file.read_bytes() == content, where
    assert refused > 25


def test_damage_that_explains_an_error_is_named(place: Place) -> None:
    with sqlite3.connect(place.file) as connection:  # as another program would, without looking at foreign keys
        connection.execute("DELETE FROM roots")
    connection.close()
    result = run(place, place.commands(place.photos)["search"])
    assert result.exit_code == 6
    assert "is damaged (rows belong to a row that is not there)" in result.stderr
    with pytest.raises(ZeroDivisionError), Library.open(unpack(VERSIONS[0], place.file.with_name("sound.db"))):
        raise ZeroDivisionError  # nobody blames a sound library


ORDINARY_USER = 65534


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_library_is_searched_and_not_written(what: str, place: Place, tmp_path: Path) -> None:
    """By an ordinary user: a file of somebody else's in a folder of one's own, or a folder that belongs to another."""
    beside = tmp_path / "mine"
    beside.mkdir()
    for folder in (place.file.parent, *place.file.parent.parents, place.photos, place.bundle, place.bundle.parent):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    os.chown(beside, ORDINARY_USER, ORDINARY_USER)
    place.file.chmod(0o444)
    if what == "file":
        os.chown(place.file.parent, ORDINARY_USER, ORDINARY_USER)
    content = place.file.read_bytes()
    # First on a copy, as root: an ordinary user may not be allowed to import what is imported late.
    (tmp_path / "first").mkdir()
    first = Path(shutil.copy(place.file, tmp_path / "first" / "library.db"))
    code = (
        "import json, os, sys; from typer.testing import CliRunner; from clipcli.app import app\n"
        "def outcomes(commands):\n"
        "    results = {name: CliRunner().invoke(app, arguments) for name, arguments in commands.items()}\n"
        "    return {name: [result.exit_code, result.stderr] for name, result in results.items()}\n"
        "before = outcomes(json.loads(sys.argv[1]))\n"
        "assert not any(code for code, _ in before.values()), before\n"
        f"os.setgroups([]); os.setgid({ORDINARY_USER}); os.setuid({ORDINARY_USER})\n"
        "print(json.dumps(outcomes(json.loads(sys.argv[2]))))"
    )
    every = [
        json.dumps({name: [*each, "--db", str(file)] for name, each in place.commands(folder).items()})
        for file, folder in ((first, tmp_path / "first"), (place.file, beside))
    ]
    environment = os.environ | {name: str(beside) for name in ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code, *every], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, (exit_code, said) in json.loads(done.stdout).items():
        if name in WRITERS:
            assert (exit_code, said.count("\n")) == (5, 1), (name, said)
            assert "cannot be written here" in said
        else:
            assert exit_code == 0, (name, said)
    assert place.file.read_bytes() == content
    assert what == "file" or os.listdir(place.file.parent) == ["library.db"]
    assert rows(beside / "copy.db", "SELECT count(*) FROM embeddings") == [4]


def test_a_backup_to_a_place_that_may_not_be_written_names_that_place(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)  # typer asks as well: to read
    result = run(place, ["library", "backup", str(tmp_path / "copy.db")])
    assert result.exit_code == 5
    assert result.stderr == f"clip: no backup can be written to {tmp_path / 'copy.db'} (Permission denied)\n"

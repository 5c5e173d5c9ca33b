"""`clip library show`: all that is known of a picture, for people and for scripts."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from tests.library.conftest import Index, rows


def show(db: Path, *rest: object, **options: Any) -> Any:
    return CliRunner().invoke(app, ["library", "show", "--db", str(db), *map(str, rest)], **options)


@pytest.fixture
def folder(photo_folder: Callable[..., Path], index: Index, library_file: Path, other_bundle: Path) -> Path:
    """Two pictures; the first has every fact there is, by two models, one of them before it was changed."""
    folder = photo_folder(count=2)
    index(folder, using=Model.load(other_bundle, threads=1))
    exif = Image.Exif()
    exif.update({0x010F: "Canon", 0x0110: "Canon EOS 5D", 0x0112: 6})
    exif.get_ifd(0x8769).update({0x9003: "2021:07:04 12:30:05", 0x9011: "+02:00", 0xA434: "EF50mm"})
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 15.0, 0.0)})
    Image.new("RGB", (40, 20), "red").save(folder / "000.jpg", exif=exif)
    index(folder)
    with sqlite3.connect(library_file) as connection:
        connection.execute("INSERT INTO tags VALUES (1, 'mine', NULL, NULL, '2024-01-01T00:00:00Z')")
        connection.execute("INSERT INTO tags VALUES (1, 'red', 0.25, 2, '2024-01-01T00:00:00Z')")
        connection.execute("UPDATE images SET stale = 1 WHERE id = 2")
    connection.close()
    return folder


def test_for_people(folder: Path, library_file: Path) -> None:
    (number,) = rows(library_file, "SELECT id FROM images WHERE path = '000.jpg'")
    done = show(library_file, folder / "000.jpg")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == str(folder / "000.jpg")
    assert [line.split(maxsplit=1) for line in lines[1:-1]] == [
        ["id", str(number)],
        ["picture", lines[2].split(maxsplit=1)[1]],
        ["taken", "2021-07-04T12:30:05+02:00, from EXIF"],
        ["camera", "Canon EOS 5D"],
        ["lens", "EF50mm"],
        ["place", "-33.500000,151.250000"],
        ["tag", "mine, by hand"],
        ["tag", "red, 0.250 by tiny"],
        ["vector", "other (fp32), of an older content"],
        ["vector", "tiny (fp32)"],
    ]
    assert "20×40, JPEG, " in lines[2]
    assert lines[2].endswith(", turned (orientation 6)")
    both = show(library_file, "id:1", "id:2").stdout.splitlines()
    assert both[len(lines) + 1] == str(folder / "001.jpg")
    assert "could not be read when last looked at" in both[-2]


def test_for_scripts(folder: Path, library_file: Path) -> None:
    (record,) = json.loads(show(library_file, "id:1", "--format", "json").stdout)
    facts = dict(
        zip(
            ("width", "height", "format", "orientation", "taken_at", "camera", "latitude", "longitude"),
            rows(
                library_file,
                "SELECT width, height, format, orientation, taken_at, camera, latitude, longitude FROM images "
                "WHERE id = 1",
            )[0],
            strict=True,
        )
    )
    assert {name: record[name] for name in facts} == facts
    assert (record["tags"], record["models"]) == (["mine", "red"], ["other (fp32)", "tiny (fp32)"])
    assert (record["bytes"], record["taken_from"]) == ((folder / "000.jpg").stat().st_size, "exif")
    (row,) = csv.DictReader(io.StringIO(show(library_file, "id:1", "--format", "csv").stdout))
    assert (json.loads(row["tags"]), json.loads(row["models"])) == (record["tags"], record["models"])
    listed = show(library_file, "-", "-0", input=f"{folder / '001.jpg'}\n{folder / '000.jpg'}\n")
    assert listed.stdout_bytes == b"".join(os.fsencode(folder / name) + b"\0" for name in ("000.jpg", "001.jpg"))


def test_what_is_not_there(folder: Path, library_file: Path, tmp_path: Path) -> None:
    for arguments, code in (([tmp_path / "nothing.jpg"], 4), (["id:77"], 4), ([folder], 2), ([], 2)):
        ended = show(library_file, *arguments)
        assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (code, "", 1)
    (folder / "000.jpg").unlink()  # the library still knows it
    assert show(library_file, folder / "000.jpg").exit_code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_a_name_that_is_no_text(folder: Path, library_file: Path, index: Index) -> None:
    raw = os.fsencode(folder) + b"/\xff\x1b.jpg"
    os.rename(folder / "001.jpg", raw)
    index(folder)
    done = show(library_file, os.fsdecode(raw))
    assert done.stdout.splitlines()[0].endswith("/\\xff\\x1b.jpg")
    (record,) = json.loads(show(library_file, os.fsdecode(raw), "--format", "json").stdout)
    assert record["path_b64"]

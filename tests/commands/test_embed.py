"""`clip embed` from the command line: what it says, which files it lists, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli import Library as PythonLibrary
from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.commands.index_run import say_done
from clipcli.library.report import IndexReport
from clipcli.library.search import paths_of
from clipcli.library.store import Library
from clipcli.library.vectors import vectors
from clipcli.photos.ignoring import LeftOut
from tests.structure.source import ROOT
from tests.tiny_bundle import make_tiny_bundle

Embed = Callable[..., Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def library_file(tmp_path: Path) -> Path:
    return tmp_path / "library.db"


@pytest.fixture
def embed(library_file: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Embed:
    """`embed(folder, "--force")`, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, model: bool = True) -> Any:
        chosen = ["-m", str(bundle)] if model else []
        return CliRunner().invoke(app, ["embed", "--db", str(library_file), *chosen, *map(str, arguments)])

    return run


def indexed(library_file: Path) -> dict[bytes, np.ndarray[Any, Any]]:
    """Absolute path -> unit vector (D,)."""
    with Library.open(library_file) as library:
        identity = library.connection.execute("SELECT identity FROM models").fetchone()[0]
        ids, matrix = vectors(library, identity=identity)
        paths = paths_of(library, ids.tolist())
        return {paths[number]: np.array(row) for number, row in zip(ids.tolist(), matrix, strict=True)}


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def test_first_and_second_run(embed: Embed, photo_folder: Callable[..., Path]) -> None:
    folder = photo_folder(count=3)
    first = embed(folder)
    assert (first.exit_code, first.stdout) == (0, "")
    new, *lines = first.stderr.splitlines()
    assert new.startswith("new library ")
    assert lines[0] == "reading 3 pictures, embedding what is new with tiny (fp32) on the CPU"
    assert lines[1].startswith("3 files: 3 embedded; ")
    second = embed(folder, model=False)  # the library's own model, without being told
    assert second.exit_code == 0
    assert second.stderr.startswith("3 files: 3 unchanged; ")


def test_the_librarys_precision_is_kept(embed: Embed, photo_folder: Callable[..., Path]) -> None:
    folder = photo_folder(count=2)
    assert "(fp16)" in embed(folder, "--precision", "fp16").stderr
    assert "2 unchanged" in embed(folder).stderr
    assert "2 unchanged" in embed(folder, model=False).stderr
    assert "2 embedded" in embed(folder, "--precision", "fp32").stderr


def test_a_dry_run_makes_nothing(embed: Embed, photo_folder: Callable[..., Path], library_file: Path) -> None:
    folder = photo_folder(count=3)
    result = embed(folder, "--dry-run")
    assert result.exit_code == 0
    assert result.stderr.startswith("would look at 3 files: 3 new, changed or moved\n")
    assert not library_file.exists()


def test_the_record_of_a_run(embed: Embed, photo_folder: Callable[..., Path]) -> None:
    folder = photo_folder(count=3)
    (folder / "000.jpg").write_text("no picture")
    result = embed(folder, "--format", "json")
    assert result.exit_code == 3
    (record,) = json.loads(result.stdout)
    assert (record["considered"], record["embedded"], record["newly_skipped"]) == (3, 2, 1)
    assert embed(folder, "--format", "table").stdout == ""
    for wrong in (["--format", "paths"], ["--watch", "--format", "json"]):
        assert embed(folder, *wrong).exit_code == 2


def test_what_is_said_of_a_run_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    say_done(
        IndexReport(
            considered=4_321, unchanged=4_320, known_bad=1, others=0, left_out=LeftOut(files=1234, folders=12),
            pending=0, truncated=5, forgotten=12_345, kept_tags=1234, seconds=12.3,
        ),
        cast(Model, SimpleNamespace(name="starter", precision="int8")),
    )  # fmt: skip
    told = capsys.readouterr().err
    assert told.startswith("4,321 files: 4,320 unchanged, 1 skipped (1 known); 12.3 s (starter, int8)\n")
    assert max(map(len, told.splitlines())) <= 80


def test_frames_and_truncated_files(embed: Embed, photo_folder: Callable[..., Path]) -> None:
    folder = photo_folder(count=1)
    content = (folder / "000.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) * 2 // 3])
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    first = embed(folder)
    assert first.exit_code == 3
    assert "cut.jpg: truncated (" in first.stderr
    second = embed(folder, "--accept-truncated", "--frames", "3")
    assert second.exit_code == 0
    assert "3 files: 2 embedded, 1 unchanged; " in second.stderr
    assert "\n1 of the embedded: what is left of a file cut short\n" in second.stderr
    assert embed(folder, "--frames", "65").exit_code == 2
    assert "more than 0 seconds" in embed(folder, "--seconds-per-file", "0").stderr


def test_what_is_forgotten_or_absent_is_said(embed: Embed, photo_folder: Callable[..., Path]) -> None:
    folder = photo_folder(count=2)
    embed(folder)
    (folder / "000.jpg").unlink()
    assert "\n1 picture forgotten, the files are gone\n" in embed(folder).stderr
    shutil.rmtree(folder)
    folder.mkdir()
    result = embed(folder)
    assert result.exit_code == 0
    assert result.stderr.startswith("nothing in photos") or "nothing in /" in result.stderr
    assert "its pictures stay in the library" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 4, "no such file or folder: nowhere"),
        ([".", "-m", "no-such-model"], 4, "no-such-model"),
        ([".", "--batch-size", "1"], 2, "batch-size"),
        ([".", "--max-megapixels", "-5"], 2, "above zero"),
        ([".", "--device", "abacus"], 2, "abacus"),
        ([], 2, "PATH"),
    ],
)
def test_how_it_ends_when_it_cannot_begin(
    arguments: list[str], code: int, said: str, embed: Embed, library_file: Path, bundle: Path
) -> None:
    result = embed(*arguments, model="-m" not in arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert not library_file.exists()  # nothing is made for a command that does nothing


def test_another_programs_file_is_left_alone(
    embed: Embed, photo_folder: Callable[..., Path], library_file: Path
) -> None:
    library_file.write_text("a letter to my aunt " * 100)
    result = embed(photo_folder())
    assert result.exit_code == 6
    assert result.stderr == f"clip: {library_file} is not a library\n"
    assert library_file.read_text() == "a letter to my aunt " * 100
    assert sorted(os.listdir(library_file.parent)) == ["library.db", "photos"]


def test_a_folder_without_pictures(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    result = embed(tmp_path / "photos")
    assert (result.exit_code, result.stderr.splitlines()[1:]) == (0, ["no pictures there"])


def test_a_slip_in_the_librarys_path_makes_no_folder(photo_folder: Callable[..., Path], bundle: Path) -> None:
    folder = photo_folder(count=1)
    stray = folder.parent / "nowhere" / "deep" / "photos.db"

    def run(db: Path) -> Any:
        return CliRunner().invoke(app, ["embed", str(folder), "--db", str(db), "-m", str(bundle)])

    result = run(stray)
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert f"no such folder: {stray.parent}; make it" in result.stderr
    assert not stray.parent.parent.exists()
    beside = folder / ".clip" / "library.db"
    assert run(beside).exit_code == 0
    assert beside.exists()


def test_only_bad_files(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad.jpg").touch()
    for _ in range(2):  # known from the first time, but still nothing could be read
        result = embed(tmp_path / "photos")
        assert result.exit_code == 3
        assert "none of 1 file could be read" in result.stderr


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """Large smooth shapes and fine noise, as a photograph has; no symmetry."""
    random = np.random.default_rng(5)
    shapes = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = random.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))


def test_all_eight_orientations_have_the_same_embedding(embed: Embed, tmp_path: Path, library_file: Path) -> None:
    undo = [None, None, *(Image.Transpose(number) for number in (0, 3, 1, 5, 2, 6, 4))]
    for suffix in ("jpg", "png", "webp", "tif"):
        folder = tmp_path / "photos" / suffix
        folder.mkdir(parents=True)
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            turn = undo[orientation]
            stored = photo() if turn is None else photo().transpose(turn)
            stored.save(folder / f"{orientation}.{suffix}", exif=exif, quality=92)
    assert embed(tmp_path / "photos").exit_code == 0
    found = indexed(library_file)
    assert len(found) == 32
    upright = found[os.fsencode(tmp_path / "photos" / "png" / "1.png")]
    cosines = {path: float(vector @ upright) for path, vector in found.items()}
    assert min(cosines.values()) >= 0.999  # measured: 0.99999
    turned = photo().transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png")
    assert embed(tmp_path / "turned.png").exit_code == 0
    assert float(indexed(library_file)[os.fsencode(tmp_path / "turned.png")] @ upright) < 0.99


# Root reads everything by two capabilities (capabilities(7)). Without them it is held to permissions like anybody else,
# and so are the processes it starts.
WITHOUT_PRIVILEGES = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
if os.geteuid() == 0:
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "clipcli", *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root reads everything")
def test_a_hostile_folder(tmp_path: Path, bundle: Path, photo_folder: Callable[..., Path]) -> None:
    """As a user who may not read everything, even where the tests are run by root."""
    folder = photo_folder(count=2)
    content = (folder / "000.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (folder / "text.png").write_text("this is text")
    (folder / "empty.jpg").touch()
    (folder / "huge.png").write_bytes(png_header(30_000, 30_000))
    with open(os.fsencode(folder) + b"/caf\xe9 \xff.jpg", "wb") as file:
        file.write((folder / "001.jpg").read_bytes() + b"another")
    locked = photo_folder("photos/locked", count=2, seed=1)
    locked.chmod(0)
    (folder / "secret.jpg").write_bytes(content)
    (folder / "secret.jpg").chmod(0)
    library = str(tmp_path / "library.db")

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", WITHOUT_PRIVILEGES, *arguments, "--db", library]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=60)

    first = run("embed", str(folder), "-m", str(bundle))
    said = first.stderr.decode()
    assert first.returncode == 3, said
    assert first.stdout == b""
    listed = {
        line.removeprefix("skipped ").removeprefix(f"{folder}/").split(":")[0]: line.split(": ", 1)[1].split(" (")[0]
        for line in said.splitlines()
        if line.startswith("skipped ")
    }
    assert listed == {
        "truncated.jpg": "truncated",
        "text.png": "not-an-image",
        "empty.jpg": "empty",
        "huge.png": "too-large",
        "locked": "no-permission",
        "secret.jpg": "no-permission",
    }
    assert "9 files: 3 embedded, 6 skipped" in said
    assert "clip: 6 files and folders could not be read, listed above" in said
    assert "Traceback" not in said

    second = run("embed", str(folder))
    assert second.returncode == 0, second.stderr.decode()
    assert "9 files: 3 unchanged, 6 skipped (6 known)" in second.stderr.decode()

    found = run("search", "red", "-0")
    assert set(found.stdout.rstrip(b"\0").split(b"\0")) == {
        os.fsencode(folder) + name for name in (b"/000.jpg", b"/001.jpg", b"/caf\xe9 \xff.jpg")
    }
    (folder / "secret.jpg").chmod(0o644)  # nothing about the file itself has changed, it is tried all the same
    assert "1 recognised" in run("embed", str(folder)).stderr.decode()


def test_the_number_of_frames_is_remembered(
    embed: Embed, photo_folder: Callable[..., Path], library_file: Path
) -> None:
    photos = photo_folder(count=1)
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "green", "blue", "white")]
    frames[0].save(photos / "film.gif", save_all=True, append_images=frames[1:])

    def taken() -> int:
        with Library.open(library_file) as library:
            return int(library.connection.execute("SELECT max(frames) FROM embeddings").fetchone()[0])

    assert "frames of moving ones" not in embed(photos).stderr
    assert (embed("--frames", 3, photos, "--dry-run").exit_code, taken()) == (0, 1)
    assert "1 to read" not in embed(photos, "--dry-run").stderr
    assert "on the CPU, 3 frames of moving ones\n" in embed("--frames", 3, photos).stderr
    (photos / "later.gif").write_bytes((photos / "film.gif").read_bytes() + b"another content")
    again = embed(photos)
    assert ("1 embedded, 2 unchanged" in again.stderr, taken()) == (True, 3)
    assert PythonLibrary(library_file).embed(photos).unchanged == 3
    assert PythonLibrary(library_file).embed(photos, frames=1).embedded == 2
    assert (taken(), "3 unchanged" in embed(photos).stderr) == (1, True)
    with Library.open(library_file, write=True) as library, library.write():
        library.set_setting("frames", "many")
    assert embed(photos).exit_code == 6


def test_a_folder_without_its_pictures_is_said(
    embed: Embed, photo_folder: Callable[..., Path], library_file: Path
) -> None:
    photos = photo_folder("my photos", count=3)
    embed(photos)
    for picture in photos.iterdir():
        picture.unlink()
    (photos / ".DS_Store").write_bytes(b"")
    line = "none of the 3 pictures known in my photos is there: is its disk mounted? the library keeps what it knows"
    preview = embed("--dry-run", photos)
    assert (preview.exit_code, line in preview.stderr, "would forget" in preview.stderr) == (0, True, False)
    run = embed(photos)
    assert run.exit_code == 0
    assert f"{line}; if that is gone for good: clip library forget --gone '{photos}'\n" in run.stderr
    checked = CliRunner().invoke(app, ["library", "check", "--db", str(library_file), "--repair"])
    assert (checked.exit_code, line in checked.stderr) == (0, True)
    assert len(indexed(library_file)) == 3
    told = CliRunner().invoke(app, ["library", "forget", "--db", str(library_file), "--gone", str(photos)])
    assert (told.exit_code, told.stderr) == (0, "forgot my photos: 3 pictures\n")
    assert "pictures known in" not in embed(photos).stderr
    embed(photo_folder("my photos", count=1))
    again = CliRunner().invoke(app, ["library", "forget", "--db", str(library_file), "--gone", str(photos)])
    assert (again.exit_code, again.stderr) == (0, "nothing of my photos is gone\n")

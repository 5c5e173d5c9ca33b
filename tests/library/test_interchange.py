"""`clip library export` and `import`: what goes out comes back the same, and only into what it fits."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.errors import pip_line
from clipcli.library import embedding_npz, interchange
from clipcli.library.interchange import import_embeddings
from clipcli.library.run_lock import RunLock
from clipcli.library.store import Library
from tests.library.conftest import Index, integrity, rows

PICTURES = (
    "SELECT path, size, mtime_ns, images.digest, width, height, format, orientation, taken_at, taken_from, camera, "
    "lens, latitude, longitude, precision, identity, embeddings.digest, vector FROM images "
    "JOIN embeddings ON image_id = images.id JOIN models ON models.id = model_id ORDER BY path"
)
SUFFIX = pytest.mark.parametrize("suffix", [".npz", ".parquet"])


def clip(db: Path, name: str, *rest: object) -> Any:
    return CliRunner().invoke(app, ["library", name, "--db", str(db), *map(str, rest)])


@pytest.fixture
def folder(photo_folder: Callable[..., Path], index: Index, library_file: Path) -> Path:
    """Four pictures: one in a folder whose name is no text, one with every fact there is."""
    folder = photo_folder(count=4)
    os.mkdir(os.fsencode(folder) + b"/\xff")
    os.rename(folder / "003.jpg", os.fsencode(folder) + b"/\xff/\xe9.jpg")
    index(folder)
    with Library.open(library_file, write=True) as library, library.write() as connection:
        connection.execute(
            "UPDATE images SET camera = 'Box', lens = 'Bottle', latitude = -33.5, longitude = 151.25, "
            "taken_at = '2020-02-29T12:00:00+11:00', taken_from = 'exif' WHERE path = '001.jpg'"
        )
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "second" / "library.db"
    Library.open(path, write=True, create=True).close()
    return path


@SUFFIX
def test_there_and_back(
    suffix: str, folder: Path, library_file: Path, empty: Path, tmp_path: Path, index: Index, model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(interchange, "_ROWS_AT_ONCE", 3)
    monkeypatch.setattr(embedding_npz, "ROWS_AT_ONCE", 2)
    file = tmp_path / f"out{suffix}"
    out = clip(library_file, "export", file)
    assert (out.exit_code, out.stdout) == (0, "")
    assert out.stderr == f"{file}: 4 pictures by tiny (fp32)\n"
    back = clip(empty, "import", file)
    assert (back.exit_code, back.stdout, back.stderr) == (0, "", "4 vectors added (4 new pictures)\n")
    assert rows(empty, PICTURES) == rows(library_file, PICTURES)
    assert rows(empty, "SELECT path, anchored FROM roots") == [(str(folder), 0)]
    assert integrity(empty) == "ok"
    assert clip(empty, "check", "--deep").stderr == "nothing is wrong\n"
    assert clip(empty, "import", file).stderr == "0 vectors added (0 new pictures), 4 known before\n"
    shutil.copy(empty, library_file)
    assert index(folder).unchanged == 4  # nothing is embedded again


@SUFFIX
def test_other_programs_can_read_it(suffix: str, folder: Path, library_file: Path, tmp_path: Path) -> None:
    file = tmp_path / f"out{suffix}"
    assert clip(library_file, "export", file).exit_code == 0
    if suffix == ".npz":
        with np.load(file) as arrays:  # without pickle
            vectors, paths = arrays["vectors"], arrays["path"].tolist()
            places = arrays["latitude"].tolist()
    else:
        table = parquet.read_table(file)
        vectors, paths = np.array(table.column("vector").to_pylist()), table.column("path").to_pylist()
        places = [np.nan if value is None else value for value in table.column("latitude").to_pylist()]
    assert paths == ["000.jpg", "001.jpg", "002.jpg", "\ufffd/\ufffd.jpg"]
    assert [place for place in places if not np.isnan(place)] == [-33.5]
    blobs = rows(library_file, "SELECT vector FROM embeddings ORDER BY image_id")
    assert np.array_equal(vectors, np.stack([np.frombuffer(blob, dtype="<f4") for blob in blobs]))


def test_what_is_there_stays(
    folder: Path, library_file: Path, tmp_path: Path, index: Index, other_bundle: Path
) -> None:
    """Changed files, and a model the library did not have."""
    second = tmp_path / "second.db"
    shutil.copy(library_file, second)
    library_file.unlink()
    index(folder, using=Model.load(other_bundle, threads=1))
    shutil.copy(folder / "000.jpg", folder / "001.jpg")
    index(folder, using=Model.load(other_bundle, threads=1))
    file = tmp_path / "out.npz"
    assert clip(second, "export", file).exit_code == 0
    result = clip(library_file, "import", file)
    assert result.stderr == "3 vectors added (0 new pictures), 1 left out, since the files have changed here\n"
    assert rows(library_file, "SELECT pictures, out_of_date FROM model_counts ORDER BY name") == [(4, 0), (3, 0)]


def test_vectors_of_an_older_content_stay_behind(folder: Path, library_file: Path, tmp_path: Path) -> None:
    with Library.open(library_file, write=True) as library, library.write() as connection:
        connection.execute(f"UPDATE embeddings SET digest = '{'a' * 64}' WHERE image_id = 1")
    assert clip(library_file, "export", tmp_path / "out.npz").stderr.endswith("3 pictures by tiny (fp32)\n")


def test_a_picture_belongs_to_one_root(folder: Path, library_file: Path, tmp_path: Path, index: Index) -> None:
    """The importing library has the folder above, or one inside, indexed by itself."""
    assert clip(library_file, "export", tmp_path / "out.npz").exit_code == 0
    library_file.unlink()
    (tmp_path / "outside.jpg").write_bytes((folder / "000.jpg").read_bytes())
    with Library.open(library_file, write=True, create=True) as library, library.write() as connection:
        connection.execute("INSERT INTO roots (path) VALUES (?), (?)", (str(tmp_path), os.fsencode(folder) + b"/\xff"))
    assert clip(library_file, "import", tmp_path / "out.npz").exit_code == 0
    assert rows(library_file, "SELECT root_id, path FROM images ORDER BY id") == [
        (1, "photos/000.jpg"),
        (1, "photos/001.jpg"),
        (1, "photos/002.jpg"),
        (2, b"\xe9.jpg"),
    ]


def test_an_import_makes_a_library_but_not_for_nonsense(folder: Path, library_file: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "library.db"
    (tmp_path / "letter.npz").write_text("a letter")
    for name in ("letter.npz", "nothing.npz"):
        assert clip(new, "import", tmp_path / name).exit_code in (3, 4)
    assert not new.parent.exists()
    clip(library_file, "export", tmp_path / "out.npz")
    assert clip(new, "import", tmp_path / "out.npz").exit_code == 0
    assert rows(new, PICTURES) == rows(library_file, PICTURES)


def test_an_import_that_is_stopped_goes_on(
    folder: Path, library_file: Path, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_npz, "ROWS_AT_ONCE", 2)
    file = tmp_path / "out.npz"
    clip(library_file, "export", file)

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with Library.open(empty, write=True) as library, pytest.raises(KeyboardInterrupt):
        import_embeddings(library, file, on_progress=stop)
    assert rows(empty, "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM embeddings)") == [(2, 2)]
    assert clip(empty, "check").stderr == "nothing is wrong\n"
    assert clip(empty, "import", file).stderr == "2 vectors added (2 new pictures), 2 known before\n"
    assert rows(empty, PICTURES) == rows(library_file, PICTURES)


def test_which_model(folder: Path, library_file: Path, empty: Path, tmp_path: Path) -> None:
    assert clip(library_file, "export", tmp_path / "a.npz", "-m", "tiny").exit_code == 0
    unknown = clip(library_file, "export", tmp_path / "b.npz", "-m", "other")
    assert (unknown.exit_code, unknown.stderr) == (4, "clip: the library has no embeddings by other; it has tiny\n")
    assert clip(empty, "export", tmp_path / "b.npz").exit_code == 4
    assert not (tmp_path / "b.npz").exists()


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with np.load(path) as arrays:
            content = dict(arrays)
        content[name] = change(content[name])
        np.savez(path, **content)

    return apply


def without(name: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with np.load(path) as arrays:
            content = dict(arrays)
        del content[name]
        np.savez(path, **content)

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        changed("vectors", lambda found: found * 2),
        changed("vectors", lambda found: found * np.nan),
        changed("vectors", lambda found: found[:, 1:]),
        changed("vectors", lambda found: found[1:]),
        changed("digest", lambda found: np.array(["x"] * len(found))),
        changed("path", lambda found: np.array(["../../etc/passwd"] * len(found))),
        changed("root", lambda found: np.array(["relative"] * len(found))),
        changed("width", lambda found: found * 0),
        changed("taken_from", lambda found: np.array([""] * len(found))),
        changed("clip", lambda found: np.array('{"kind": "something else"}')),
        without("clip"),
        without("digest"),
        lambda path: path.write_bytes(b"not a zip"),
        lambda path: path.write_bytes(b""),
        lambda path: os.truncate(path, path.stat().st_size // 2),
    ],
)
def test_a_file_that_is_no_sound_export_is_refused(
    damage: Callable[[Path], None], folder: Path, library_file: Path, empty: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.npz"
    clip(library_file, "export", file)
    damage(file)
    result = clip(empty, "import", file)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1), result.stderr
    assert str(file) in result.stderr
    assert rows(empty, "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM embeddings)") == [(0, 0)]


def test_a_parquet_file_of_another_kind(folder: Path, empty: Path, tmp_path: Path) -> None:
    import pyarrow as arrow

    parquet.write_table(arrow.table({"image": ["a.jpg"]}), tmp_path / "other.parquet")
    result = clip(empty, "import", tmp_path / "other.parquet")
    assert result.exit_code == 3
    assert "was not written by 'clip library export'" in result.stderr


def test_how_it_ends_when_it_cannot_begin(folder: Path, library_file: Path, tmp_path: Path) -> None:
    (tmp_path / "there.npz").write_text("mine")
    for name, target, code in (
        ("export", "there.npz", 2),
        ("export", "out.csv", 2),
        ("export", "nowhere/out.npz", 4),
        ("import", "out.csv", 2),
        ("import", "nothing.npz", 4),
        ("import", "nothing.parquet", 4),
    ):
        result = clip(library_file, name, tmp_path / target)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), target
    assert (tmp_path / "there.npz").read_text() == "mine"
    assert clip(library_file, "export", tmp_path / "out.npz").exit_code == 0
    with RunLock(library_file):
        assert clip(library_file, "import", tmp_path / "out.npz").exit_code == 5


def test_without_pyarrow_the_extra_is_named(
    folder: Path, library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    result = clip(library_file, "export", tmp_path / "out.parquet")
    assert result.exit_code == 10
    assert pip_line("parquet") in result.stderr


def test_an_export_that_fails_leaves_nothing(
    folder: Path, library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "exports").mkdir()
    monkeypatch.setattr(embedding_npz.array_format, "write_array", full)
    assert clip(library_file, "export", tmp_path / "exports" / "out.npz").exit_code == 7
    assert os.listdir(tmp_path / "exports") == []

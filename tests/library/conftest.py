"""What the library's tests share: a small model, and an index run in one line."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clipcli.bundle.encoder import Model
from clipcli.library import decoder, indexing
from clipcli.library.indexing import IndexOptions, IndexReport, index_folders
from clipcli.library.store import Library
from tests.library.kept_decoders import KeptDecoders, end_all
from tests.tiny_bundle import make_tiny_bundle

Index = Callable[..., IndexReport]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "other", name="other", seed=1)


@pytest.fixture(scope="session")
def model(bundle: Path) -> Model:
    return Model.load(bundle, threads=1)


@pytest.fixture(scope="session", autouse=True)
def kept_decoders() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "Decoders", KeptDecoders)
        yield
    end_all()


@pytest.fixture
def library_file(tmp_path: Path) -> Path:
    return tmp_path / "library" / "library.db"


@pytest.fixture
def index(library_file: Path, model: Model) -> Index:
    """`index(folder, ..., max_megapixels=…)`: one run into `library_file`."""

    def run(*paths: Path | bytes, using: Model | None = None, **options: Any) -> IndexReport:
        with Library.open(library_file, write=True, create=True) as library:
            report = index_folders(
                library,
                [os.fsencode(path) for path in paths],
                using or model,
                IndexOptions(**options),
                lambda progress: None,
            )
        assert report.pending == 0
        assert report.indexed + report.skipped == report.considered
        return report

    return run


@pytest.fixture
def in_decoders(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`in_decoders(code)`: what every decoding process does before it begins."""

    def run_first(code: str) -> None:
        monkeypatch.setattr(decoder, "_PROGRAM", f"{decoder._PROGRAM.removesuffix('main()')}\n{code}\nmain()")

    return run_first


def rows(file: Path, query: str, *values: object) -> list[Any]:
    """What an ordinary SQLite program sees; a row of one column as its value."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        found = connection.execute(query, values).fetchall()
    connection.close()
    return [row[0] if len(row) == 1 else row for row in found]


def integrity(file: Path) -> str:
    return str(rows(file, "PRAGMA integrity_check")[0]) + "".join(map(str, rows(file, "PRAGMA foreign_key_check")))

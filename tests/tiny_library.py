"""A library of a folder of pictures, embedded by one or more tiny models: for tests of what reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clipcli.bundle.encoder import Model
from clipcli.library.indexing import IndexOptions, index_folders
from clipcli.library.store import Library

__all__ = ["make_tiny_library"]


def make_tiny_library(path: Path, folder: Path, bundles: Sequence[Path]) -> Path:
    """A library at `path` with every picture of `folder`, embedded by each bundle; the last one is its own model."""
    with Library.open(path, write=True, create=True) as library:
        for bundle in bundles:
            report = index_folders(library, [os.fsencode(folder)], Model.load(bundle), IndexOptions(), lambda _: None)
            assert report.indexed == report.considered > 0
    return path

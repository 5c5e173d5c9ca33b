"""What is remembered between measurements: where nothing can be, nothing is, and everything else goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipcli.datasets.feature_cache import FeatureCache

VECTORS = {b"a": np.array([1.0, 0.0], dtype=np.float32)}


def cache(path: Path) -> FeatureCache:
    return FeatureCache(path, identity="m", precision="fp32", dimension=2)


@pytest.mark.parametrize("what", ["a file where its folder should be", "another program's file", "a folder"])
def test_a_place_that_cannot_be_used_knows_nothing(what: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "features.db"
    if what == "a folder":
        path.mkdir(parents=True)
    elif what == "another program's file":
        path.parent.mkdir()
        path.write_bytes(b"no database" * 100)
    else:
        path.parent.write_text("in the way", encoding="utf-8")
    assert cache(path).known([b"a"]) == {}
    cache(path).keep(VECTORS)
    assert set(cache(path).known([b"a"])) <= {b"a"}


def test_what_was_kept_is_known(tmp_path: Path) -> None:
    cache(tmp_path / "deep" / "features.db").keep(VECTORS)
    assert (cache(tmp_path / "deep" / "features.db").known([b"a", b"b"])[b"a"] == VECTORS[b"a"]).all()

"""A text tower kept ready: made once, opened the next time, the same numbers, and no harm where it cannot be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipcli.bundle import ready_graphs
from clipcli.bundle.encoder import Model
from tests.tiny_bundle import make_tiny_bundle

TEXTS = ["a red motorcycle", "blue"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    make_tiny_bundle(folder)
    return folder


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache" / "clip")
    monkeypatch.setattr(ready_graphs, "_WORTH_IT", 0)
    return tmp_path / "cache" / "clip" / "graphs"


def brief(bundle: Path) -> np.ndarray:
    return Model.load(bundle, device="cpu", brief=True).encode_texts(TEXTS)


def test_kept_once_and_the_same_numbers(bundle: Path, graphs: Path) -> None:
    plain = Model.load(bundle, device="cpu").encode_texts(TEXTS)
    assert not graphs.exists()
    first = brief(bundle)
    (kept,) = graphs.iterdir()
    written = (kept / "graph.onnx").stat().st_mtime_ns
    second = brief(bundle)
    assert [one.name for one in graphs.iterdir()] == [kept.name]
    assert (kept / "graph.onnx").stat().st_mtime_ns == written
    np.testing.assert_allclose(first, plain, atol=1e-6)  # measured on ViT-B/32: 1.2e-7
    np.testing.assert_allclose(second, plain, atol=1e-6)


def test_the_kept_graph_is_the_one_that_runs(bundle: Path, graphs: Path) -> None:
    brief(bundle)
    (kept,) = graphs.iterdir()
    weights = kept / "graph.weights"
    weights.write_bytes(bytes(weights.stat().st_size))
    assert not np.allclose(brief(bundle), Model.load(bundle, device="cpu").encode_texts(TEXTS), atol=0.1)


@pytest.mark.parametrize("damage", ["graph.onnx", "graph.weights"])
def test_a_damaged_one_is_made_again(bundle: Path, graphs: Path, damage: str) -> None:
    plain = brief(bundle)
    (kept,) = graphs.iterdir()
    (kept / damage).write_bytes(b"nothing")
    np.testing.assert_allclose(brief(bundle), plain, atol=1e-6)
    assert (kept / damage).stat().st_size > len(b"nothing")


def test_where_nothing_can_be_kept_it_runs_all_the_same(bundle: Path, graphs: Path) -> None:
    graphs.parent.mkdir(parents=True)
    graphs.write_text("a file where the folder would be")
    np.testing.assert_allclose(brief(bundle), Model.load(bundle, device="cpu").encode_texts(TEXTS), atol=1e-6)


def test_only_the_last_few_are_kept(bundle: Path, graphs: Path) -> None:
    for number in range(10):
        (graphs / f"old-{number}").mkdir(parents=True)
    brief(bundle)
    assert len(list(graphs.iterdir())) == 8


def test_small_ones_and_image_towers_are_not_kept(bundle: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model.load(bundle, device="cpu", brief=True)
    size = model.spec.preprocess.image_size
    model.encode_images(np.zeros((1, 3, size, size), dtype=np.float32))
    monkeypatch.setattr(ready_graphs, "_WORTH_IT", 1 << 30)
    model.encode_texts(TEXTS)
    assert not graphs.exists()


def test_an_image_tower_is_kept_for_many_pictures_and_not_for_one(bundle: Path, graphs: Path) -> None:
    size = Model.load(bundle).spec.preprocess.image_size
    pixels = np.random.default_rng(0).normal(size=(5, 3, size, size)).astype(np.float32)
    Model.load(bundle, device="cpu", brief=True).encode_images(pixels)
    assert not graphs.exists()
    first, again = (Model.load(bundle, device="cpu").encode_images(pixels) for _ in range(2))
    assert len(list(graphs.iterdir())) == 1
    np.testing.assert_allclose(again, first, atol=1e-6)


def test_another_machine_keeps_its_own(bundle: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brief(bundle)
    monkeypatch.setattr("platform.node", lambda: "another")
    brief(bundle)
    assert len(list(graphs.iterdir())) == 2

"""`clip eval` on what training leaves: a run, one of its files, and weights of other projects."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipcli.bundle.encoder import Model
from tests.reading.lively import load
from tests.reading.public_formats import write
from tests.training.conftest import clip
from tests.training.tiny import state, write_classes
from trainer.checkpoints import CHECKPOINT, load_weights
from trainer.measurable import TrainedModel, open_checkpoint


def measured(*arguments: str | Path) -> list[dict[str, Any]]:
    outcome = clip("eval", "zero-shot", *arguments, "--format", "json")
    assert outcome.exit_code == 0, outcome.stderr
    found: list[dict[str, Any]] = json.loads(outcome.stdout)
    return found


def opened(path: Path) -> TrainedModel:
    return open_checkpoint(path, device="cpu", say=lambda _: None)


def test_a_run_is_what_its_bundle_is(trained: Path, models: Path, tmp_path: Path) -> None:
    run, bundle = opened(trained / "run"), Model.load(models / "seed-model", precision="fp32")
    pixels = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    assert run.encode_images(pixels) == pytest.approx(bundle.encode_images(pixels), abs=1e-5)
    texts = ["a red field", "something else, and longer than that"]
    assert run.encode_texts(texts) == pytest.approx(bundle.encode_texts(texts), abs=1e-5)
    assert run.spec.logit_scale == pytest.approx(bundle.spec.logit_scale)
    assert (run.spec.templates, run.spec.preprocess) == (bundle.spec.templates, bundle.spec.preprocess)
    assert run.identity != bundle.identity  # so that the cache keeps them apart


def test_measured_by_the_command(trained: Path, models: Path, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "classes")
    ours = measured(data, "-m", trained / "run")
    assert {(one["model"], one["precision"]) for one in ours} == {("run", "torch")}
    graphs = measured(data, "-m", "seed-model", "--precision", "fp32")
    assert [one["top1"] for one in ours] == [one["top1"] for one in graphs]


def test_the_files_of_a_run_one_by_one(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    best, last = opened(run / "best.safetensors"), opened(run / CHECKPOINT)
    assert (best.name, last.name) == ("run/best.safetensors", f"run/{CHECKPOINT}")
    assert last.bytes_to_run > best.bytes_to_run > 1000
    assert opened(run).identity == best.identity
    averaged = {name: tensor + 0.25 for name, tensor in load_weights(run / "best.safetensors").items()}
    torch.save(state(run) | {"average": {"updates": 1, "values": averaged}}, run / CHECKPOINT)
    moved = opened(run / CHECKPOINT)
    assert moved.identity not in (best.identity, last.identity)
    assert torch.equal(moved.model.logit_scale, averaged["logit_scale"])


def test_weights_of_another_project(tmp_path: Path) -> None:
    path = write(load("openai-vit-quick"), tmp_path)
    reference, model = load("openai-vit-quick"), opened(path)
    assert model.name == path.name
    assert model.encode_texts(["a cat"]).shape == (1, reference.texts.shape[1])
    assert model.spec.templates == ("a photo of a {}.",)


def test_what_cannot_be_measured(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_classes(tmp_path / "classes")
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)

    def refused(name: Path, *more: str) -> tuple[int, str]:
        outcome = clip("eval", "zero-shot", data, "-m", name, *more)
        assert len(outcome.stderr.splitlines()) == 1
        return outcome.exit_code, outcome.stderr

    assert refused(run, "--precision", "int8")[0] == 2
    shutil.copy(run / CHECKPOINT, run / "other.pt")
    code, said = refused(run / "other.pt")
    assert (code, "none of the files a run leaves" in said) == (12, True)
    (run / CHECKPOINT).write_bytes(b"damaged")
    assert refused(run / CHECKPOINT)[0] == 12
    (tmp_path / "bare").mkdir()
    bare = write(load("openclip-vit-quick"), tmp_path / "bare")
    weights = next(path for path in bare.iterdir() if path.suffix in (".safetensors", ".bin"))
    (tmp_path / "alone").mkdir()
    shutil.copy(weights, tmp_path / "alone" / f"bare{weights.suffix}")
    code, said = refused(tmp_path / "alone" / f"bare{weights.suffix}")
    assert (code, "clip models import" in said) == (2, True)
    options = json.loads((run / "options.json").read_text("utf-8"))
    (run / "options.json").write_text(json.dumps(options | {"objective": "bag-of-words"}), "utf-8")
    code, said = refused(run)
    assert (code, "no text tower" in said) == (2, True)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, said = refused(run)
    assert (code, "needs the extra 'train'" in said) == (10, True)

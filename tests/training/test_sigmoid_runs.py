"""`--objective sigmoid` from the command to the installed model, and `clip caption` on runs that it cannot use."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from clipcli.bundle.spec import read_spec
from tests.training.conftest import clip
from tests.training.test_sampling import captioned, maker_of
from tests.training.tiny import RESNET, Told, equal, options, state, stop_at, write_pairs
from trainer.checkpoints import read_facts
from trainer.row_plan import RowPlan
from trainer.run import resume, train
from trainer.sampling import Batches
from trainer.stopping import Interrupted


def test_sigmoid_from_the_command_to_the_installed_model(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its bias, gives independent probabilities, and is fine-tuned as what it is."""
    monkeypatch.setenv("CLIP_MODELS", str(tmp_path / "models"))
    done = clip("train", pairs, "--scratch", "--arch", "tiny-resnet", "--objective", "sigmoid", "--name", "sig",
                "--output", tmp_path / "run", "--epochs", 1, "--batch-size", 8, "--precision", "fp32",
                "--device", "cpu")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    spec = read_spec(tmp_path / "models" / "sig")
    assert spec.logit_bias is not None
    assert read_facts(tmp_path / "run")["towers"]["sigmoid"] is True
    picture = pairs.parent / "pictures" / "001.png"
    done = clip("classify", picture, "-l", "a green field", "-l", "a red field", "-l", "a cat", "-m", "sig",
                "--format", "json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    for record in json.loads(done.stdout):
        wanted = 1 / (1 + np.exp(-(spec.logit_scale * record["cosine"] + spec.logit_bias)))
        assert record["probability"] == pytest.approx(wanted, abs=1e-3)
    done = clip("train", pairs, "--from", "sig", "--objective", "contrastive", "--output", tmp_path / "other")
    assert done.exit_code == 2
    assert "sig was trained with --objective sigmoid, and is fine-tuned with that" in done.stderr


def test_a_sigmoid_run_is_resumed_bit_for_bit_in_chunks(tmp_path: Path, pairs: Path) -> None:
    chosen = options(pairs, objective="sigmoid", arch="tiny-vit", chunk_size=3)
    train(chosen, tmp_path / "straight", Told())
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "halting", stop_at(2))
    resume(tmp_path / "halting", Told())
    assert equal(state(tmp_path / "straight"), state(tmp_path / "halting"))
    assert "logit_bias" in state(tmp_path / "straight")["model"]


# Captions


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writer")
    pairs = write_pairs(folder / "data", 26)
    train(options(pairs, objective="caption", epochs=1.0, arch=RESNET.name), folder / "run", Told())
    return folder


def test_captions_of_good_and_bad_pictures(writer: Path, tmp_path: Path) -> None:
    good = writer / "data" / "pictures" / "001.png"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    done = clip("caption", writer / "run", good, tmp_path / "bad.png", "--format", "json")
    assert done.exit_code == 3
    assert [record["path"] for record in json.loads(done.stdout)] == [str(good)]
    assert "1 of 2 pictures could not be read" in done.stderr


def test_captions_of_nothing(writer: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = clip("caption", writer / "run", tmp_path / "empty")
    assert done.exit_code == 3
    assert done.stderr == "clip: there are no pictures in what was given\n"


def test_runs_that_write_no_captions(writer: Path, tmp_path: Path, pairs: Path) -> None:
    picture = writer / "data" / "pictures" / "001.png"
    done = clip("caption", tmp_path / "none", picture)
    assert (done.exit_code, len(done.stderr.splitlines())) == (4, 1)
    with pytest.raises(Interrupted):
        train(options(pairs), tmp_path / "matching", stop_at(1))
    done = clip("caption", tmp_path / "matching", picture)
    assert done.exit_code == 2
    assert "has not learnt to write captions" in done.stderr
    unfinished = tmp_path / "unfinished"
    shutil.copytree(writer / "run", unfinished)
    (unfinished / "best.safetensors").unlink()
    done = clip("caption", unfinished, picture)
    assert done.exit_code == 12
    assert f"go on with: clip train --resume {unfinished}" in done.stderr
    cut = (writer / "run" / "best.safetensors").read_bytes()
    (unfinished / "best.safetensors").write_bytes(cut[: len(cut) // 2])
    done = clip("caption", unfinished, picture)
    assert (done.exit_code, len(done.stderr.splitlines())) == (8, 1)
    assert "Traceback" not in done.stderr


def test_a_caption_run_is_resumed_bit_for_bit(writer: Path, tmp_path: Path) -> None:
    chosen = options(writer / "data" / "pairs.csv", objective="caption", epochs=1.0, arch=RESNET.name)
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "halting", stop_at(2))
    resume(tmp_path / "halting", Told())
    straight, halting = state(writer / "run"), state(tmp_path / "halting")
    # A likelihood is measured at the end, and changes no weight: seen to differ in the last bit of a float32.
    assert halting.pop("best") == pytest.approx(straight.pop("best"), rel=1e-6)
    assert equal(straight, halting)


# Threads


@pytest.mark.parametrize("workers", [2, 5])
def test_several_threads_make_the_batches_of_one(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, each once, whoever is done first; and more than one of them works at a time."""
    maker = maker_of(captioned(24), plan=RowPlan([range(24)], (), 4, 0))
    alone = [maker.make(step) for step in range(12)]
    busy: set[int] = set()
    met = threading.Barrier(2, timeout=20)
    before = maker.make

    def make(step: int) -> object:
        busy.add(threading.get_ident())
        if step < 2:
            met.wait()  # two threads have to be here together
        return before(step)

    monkeypatch.setattr(maker, "make", make)
    with Batches(maker, 0, 12, 2 + workers, workers) as batches:
        found = list(batches)
    assert len(found) == 12
    assert len(busy) >= 2
    for one, other in zip(found, alone, strict=True):
        for name in ("pixels", "tokens", "lengths", "positives", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))

"""What lies on disk: the old state or the new one, and never anything that runs."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from clipcli.errors import DataError, ModelError, NoSpaceError
from tests.training.tiny import PREPROCESS, VIT
from trainer.checkpoints import (
    BEST,
    CHECKPOINT,
    METRICS,
    append_metrics,
    load_run,
    load_weights,
    read_checkpoint,
    read_facts,
    read_metrics,
    save_best,
    save_checkpoint,
    trim_metrics,
    write_atomically,
)
from trainer.towers import Clip

STATE = {"model": {"a": torch.arange(3.0)}, "optimiser": {}, "step": 4, "best": 0.5, "losses": [1.0]}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_run(folder: Path) -> Clip:
    torch.manual_seed(1)
    facts = {"towers": VIT.to_dict(), "preprocess": asdict(PREPROCESS)}
    (folder / "towers.json").write_text(json.dumps(facts), "utf-8")
    return Clip(VIT)


# Writing


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """No file may grow beyond 20 kB, from the call until the test ends."""
    resource = pytest.importorskip("resource")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", [CHECKPOINT, BEST])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, name: str, full_disk: Callable[[], None]) -> None:
    def save(size: int) -> None:
        weights = {"a": torch.ones(size)}
        save_checkpoint(tmp_path, {**STATE, "model": weights})
        save_best(tmp_path, weights)

    save(10)
    before = files(tmp_path)
    full_disk()
    large = {"a": torch.ones(100_000)}
    with pytest.raises(NoSpaceError, match=f"no space left for {name} in .*; the one before it is kept"):
        save_checkpoint(tmp_path, {**STATE, "model": large}) if name == CHECKPOINT else save_best(tmp_path, large)
    assert files(tmp_path) == before


@pytest.mark.parametrize("stage", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, stage: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*given: Any) -> Any:
        raise error

    if stage == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    if stage == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(error)):
        write_atomically(path, fail if stage == "write" else lambda handle: handle.write(b"new"))
    assert files(tmp_path) == {"file": b"old"}


def test_what_a_kill_left_behind_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(b"half of something that was long")
    write_atomically(tmp_path / "file", lambda handle: handle.write(b"whole"))
    assert files(tmp_path) == {"file": b"whole"}


# Reading


def test_round_trip(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, STATE)
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert (found["step"], found["best"], found["losses"]) == (4, 0.5, [1.0])
    assert found["model"]["a"].tolist() == [0, 1, 2]


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_a_hostile_checkpoint_is_refused_and_nothing_runs(tmp_path: Path, how: str) -> None:
    trap = tmp_path / "trap"
    state = {**STATE, "step": Evil(trap)}
    if how == "pickle":
        (tmp_path / CHECKPOINT).write_bytes(pickle.dumps(state, protocol=2))
    else:
        torch.save(state, tmp_path / CHECKPOINT, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(DataError, match=r"checkpoint.pt is damaged"):
        read_checkpoint(tmp_path)
    assert not trap.exists()
    with suppress(RuntimeError):  # of a plain pickle, once it has been read
        torch.load(tmp_path / CHECKPOINT, weights_only=False)
    assert trap.exists()  # the trap works


def test_damaged_checkpoints(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, STATE)
    path = tmp_path / CHECKPOINT
    content = path.read_bytes()
    middle = len(content) // 2
    for damaged in (b"", b"PK", content[:-1], content[:middle], content[middle:], os.urandom(500)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"checkpoint.pt is damaged \(.*; start the run again in another folder"):
            read_checkpoint(tmp_path)


@pytest.mark.parametrize("state", [[], 3, {"model": {}, "step": 1}, {"optimiser": {}, "model": {}}])
def test_what_is_no_checkpoint(tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(DataError, match="is no checkpoint of this program"):
        read_checkpoint(tmp_path)


def test_weights_come_back_in_single_precision(tmp_path: Path) -> None:
    tensors = {"half": torch.tensor([0.5]).half(), "count": torch.tensor(3), "full": torch.ones(2)}
    safetensors.torch.save_file(tensors, tmp_path / "weights.safetensors")
    found = load_weights(tmp_path / "weights.safetensors")
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "half": torch.float32,
        "count": torch.int64,
        "full": torch.float32,
    }


def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    model = make_run(tmp_path)
    save_best(tmp_path, model.state_dict())
    path = tmp_path / BEST
    content = path.read_bytes()
    for damaged in (b"", b"x" * 20, content[:-1], content[:100]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"the weights in .*best.safetensors cannot be read"):
            load_run(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_weights(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_weights_that_do_not_fit(tmp_path: Path, fault: str) -> None:
    weights = dict(make_run(tmp_path).state_dict())
    if fault == "missing":
        del weights["logit_scale"]
    elif fault == "unknown":
        weights["colour"] = torch.ones(1)
    else:
        weights["logit_scale"] = torch.ones(2)
    save_best(tmp_path, weights)
    with pytest.raises(ModelError, match=r"best.safetensors do not fit the towers: .*(logit_scale|colour)"):
        load_run(tmp_path)


def test_a_run_gives_its_best_weights_else_its_last(tmp_path: Path) -> None:
    model = make_run(tmp_path)
    with pytest.raises(DataError, match="holds no weights yet; go on with: clip train --resume"):
        load_run(tmp_path)
    save_checkpoint(tmp_path, {**STATE, "model": model.state_dict()})
    found, facts = load_run(tmp_path)
    assert not found.training
    assert facts["preprocess"]["image_size"] == PREPROCESS.image_size
    assert torch.equal(found.image_tower.proj, model.image_tower.proj)  # type: ignore[arg-type]
    save_best(tmp_path, {name: tensor + 1 for name, tensor in model.state_dict().items()})
    assert torch.equal(load_run(tmp_path)[0].logit_scale, model.logit_scale + 1)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"towers": {}}', "null"])
def test_facts_that_say_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "towers.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match="no training run"):
        read_facts(tmp_path)
    with pytest.raises(DataError, match="no training run"):
        load_run(tmp_path)


# metrics.jsonl


def test_metrics_with_a_line_cut_short(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    lines = [{"epoch": 1, "step": 10}, {"epoch": 2, "step": 20, "score": 0.25}]
    for line in lines:
        append_metrics(tmp_path, line)
    with (tmp_path / METRICS).open("ab") as file:
        file.write(b'{"epoch": 3, "st')
    assert read_metrics(tmp_path) == lines
    trim_metrics(tmp_path, 20)  # what a resumed run does before it appends
    append_metrics(tmp_path, {"epoch": 3, "step": 30})
    assert read_metrics(tmp_path) == [*lines, {"epoch": 3, "step": 30}]


def test_metrics_beyond_the_saved_step_are_left_out(tmp_path: Path) -> None:
    for step in (0, 10, 20, 30):
        append_metrics(tmp_path, {"step": step})
    trim_metrics(tmp_path, 20)
    assert [line["step"] for line in read_metrics(tmp_path)] == [0, 10, 20]
    trim_metrics(tmp_path, -1)
    assert read_metrics(tmp_path) == []
    (tmp_path / METRICS).unlink()
    trim_metrics(tmp_path, 5)
    assert not (tmp_path / METRICS).exists()


def test_lines_that_are_no_metrics(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_bytes(b'3\n[]\n\xff\xfe\n{"step": 1}\n')
    assert read_metrics(tmp_path) == [{"step": 1}]

"""One run as a function: what is learnt, kept and told, and what must never be saved."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clipcli.errors import DataError
from tests.training.tiny import Told, equal, options, state, write_classes, write_pairs
from trainer import encoding, loop, matching
from trainer.checkpoints import load_run, read_metrics
from trainer.run import best_metrics, resume, train
from trainer.sampling import Batch
from trainer.stopping import StopSignals


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_acts(signum: signal.Signals) -> None:
    came: list[int] = []
    before = signal.signal(signum, lambda number, frame: came.append(number))
    try:
        with StopSignals() as stop:
            assert not stop.signum
            signal.raise_signal(signum)
            assert stop.signum == signum
            assert came == []
            signal.raise_signal(signum)
            assert came == [signum]
        signal.raise_signal(signum)
        assert came == [signum, signum]
    finally:
        signal.signal(signum, before)


def poisoned(kind: str, at: int) -> Callable[..., Tensor]:
    """The loss of call `at`, counted from 1, is not finite, or its gradient is not."""
    original, calls = matching.contrastive_loss, [0]

    def loss(*given: Any) -> Tensor:
        calls[0] += 1
        value: Tensor = original(*given)
        if calls[0] != at:
            return value
        if kind == "gradient":
            value.register_hook(lambda gradient: gradient * math.nan)
            return value * 1.0
        return value * (math.nan if kind == "nan" else math.inf)

    return loss


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_a_loss_that_is_not_finite(tmp_path: Path, pairs: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, straight = tmp_path / "run", tmp_path / "straight"
    train(options(pairs), straight, Told())
    with monkeypatch.context() as patch:
        patch.setattr(matching, "contrastive_loss", poisoned(kind, 5))
        with pytest.raises(
            DataError, match=r"loss is not finite at step 5; the learning rate 0.001 is too high"
        ) as error:
            train(options(pairs), run, Told())
    assert str(run) in str(error.value)
    assert state(run)["step"] == 3
    resume(run, Told())
    assert equal(state(run), state(straight))


@pytest.mark.parametrize("at", [3, 4])
def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, pairs: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient can be lost where the loss is not, in the last step before a save."""
    run = tmp_path / "run"
    monkeypatch.setattr(matching, "contrastive_loss", poisoned("gradient", at))
    with pytest.raises(DataError, match=r"(weights are not finite at step 3|loss is not finite at step 5)"):
        train(options(pairs), run, Told())
    assert (run / "checkpoint.pt").exists() == (at == 4)
    if at == 4:
        assert state(run)["step"] == 3
        model, _ = load_run(run)
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_the_logit_scale_stays_in_range(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import towers

    monkeypatch.setattr(towers, "INITIAL_LOGIT_SCALE", 5000.0)
    train(options(pairs, epochs=1.0), tmp_path / "run", Told())
    assert state(tmp_path / "run")["model"]["logit_scale"].item() <= math.log(100) + 1e-6
    assert read_metrics(tmp_path / "run")[0]["logit_scale"] == pytest.approx(100, rel=1e-3)


def test_it_learns(tmp_path: Path) -> None:
    classes = write_classes(tmp_path / "classes", 12)
    told = Told()
    done = train(options(classes, epochs=12.0, lr=3e-3, validation_share=0.3), tmp_path / "run", told)
    assert done.metrics["validation/top1"] > 0.9  # four colours
    assert np.mean([told.losses[step] for step in sorted(told.losses)[-4:]]) < 0.5 * told.losses[1]
    assert done.metrics == best_metrics(tmp_path / "run")


def test_the_best_weights_are_kept_and_the_later_of_equals(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.7, 0.7, 0.1])
    kept: list[float] = []
    original = loop.save_best
    monkeypatch.setattr(loop, "score", lambda metrics: next(scores))
    monkeypatch.setattr(loop, "save_best", lambda *given: (kept.append(1), original(*given))[1])
    run = tmp_path / "run"
    done = train(options(pairs, epochs=4.0), run, Told())
    assert len(kept) == 3
    assert (done.metrics["epoch"], done.metrics["score"]) == (3, 0.7)
    best, last = load_run(run)[0].state_dict(), state(run)["model"]
    assert not equal(dict(best), dict(last))


def test_mixed_precision_is_close_to_full(tmp_path: Path, pairs: Path) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        told = Told()
        train(options(pairs, epochs=1.0, precision=precision), tmp_path / precision, told)
        losses.append(told.losses[1])
        assert f"on cpu, {precision}" in told.lines[1]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)  # measured: 0.001
    assert {tensor.dtype for tensor in state(tmp_path / "bf16")["model"].values()} == {torch.float32, torch.int64}


def test_texts_keep_their_places(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short texts are encoded apart from long ones, and cut; what comes out is what encoding all at once gives."""
    original, widths = encoding.Encoder.texts, set()

    def encode(self: encoding.Encoder, batch: Batch, part: slice = slice(None)) -> Tensor:
        found = original(self, batch, part)
        widths.update(batch.lengths.tolist())
        torch.testing.assert_close(found, self.model.encode_text(torch.from_numpy(batch.tokens)), atol=1e-5, rtol=0)
        return found

    monkeypatch.setattr(encoding.Encoder, "texts", encode)
    classes = write_classes(tmp_path / "classes", 3)
    train(options([pairs, classes], templates=("{}",)), tmp_path / "run", Told())
    assert len(widths) > 1


def test_compile_compiles_the_image_tower(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def compiled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda pixels, **named: (seen.append(pixels), forward(pixels, **named))[1]

    monkeypatch.setattr(torch, "compile", compiled)
    train(options(pairs, epochs=1.0, compile=True), tmp_path / "run", Told())
    assert [len(pixels) for pixels in seen] == [8, 8, 8]


def test_batches_are_no_larger_than_the_data(tmp_path: Path) -> None:
    told = Told()
    train(options(write_pairs(tmp_path, 10), batch_size=256, epochs=2.0), tmp_path / "run", told)
    assert "every batch holds all 8 pairs: fewer than the 256 a step takes" in told.lines
    assert max(told.losses) == 2


def test_metrics_are_told_and_written(tmp_path: Path, pairs: Path) -> None:
    told = Told()
    train(options(pairs), tmp_path / "run", told)
    lines = read_metrics(tmp_path / "run")
    assert lines == told.epochs
    assert [(line["epoch"], line["step"], line["images"]) for line in lines] == [(1, 3, 24), (2, 6, 48)]
    assert lines[1]["loss"] == pytest.approx(np.mean([told.losses[step] for step in (4, 5, 6)]))
    assert {"score", "logit_scale", "validation/text_to_image@1", "validation/image_to_text@10"} <= lines[0].keys()


def test_curves_for_tensorboard(tmp_path: Path, pairs: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(options(pairs), tmp_path / "run", Told())
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    lines = read_metrics(tmp_path / "run")
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    assert written == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert "validation/text_to_image@10" in events.Tags()["scalars"]

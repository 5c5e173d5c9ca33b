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
from trainer.averaging import Average
from trainer.checkpoints import load_run, read_metrics, read_step_metrics
from trainer.optimiser import LearningRate
from trainer.pace import Pace
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


def poisoned(kind: str, *at: int) -> Callable[..., Tensor]:
    """The losses of the calls `at`, counted from 1, are not finite, or their gradients are not."""
    original, calls = matching.contrastive_loss, [0]

    def loss(*given: Any) -> Tensor:
        calls[0] += 1
        value: Tensor = original(*given)
        if calls[0] not in at:
            return value
        if kind == "gradient":
            value.register_hook(lambda gradient: gradient * math.nan)
            return value * 1.0
        return value * (math.nan if kind == "nan" else math.inf)

    return loss


@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
@pytest.mark.parametrize(("at", "back"), [(5, 3), (2, 0)])
def test_a_loss_that_is_not_finite_costs_a_tenth_of_the_rate(
    tmp_path: Path, pairs: Path, kind: str, at: int, back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, run = Told(), tmp_path / "run"
    monkeypatch.setattr(matching, "contrastive_loss", poisoned(kind, at))
    train(options(pairs, epochs=3.0, ema_decay=0.5, log_every_steps=1), run, told)
    what = "gradient" if kind == "gradient" else "loss"
    assert (
        f"the {what} is not finite at step {at}: back to step {back}, and on with 0.1 of the learning rate"
        in told.lines
    )
    lines = read_step_metrics(run)
    assert [line["step"] for line in lines] == list(range(1, 10))  # what was taken back is not counted twice
    rate = LearningRate(peak=1e-3, steps=9, warmup=0.1)
    expected = [rate(step) * (1 if step < back else 0.1) for step in range(9)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(expected)
    assert all(torch.isfinite(tensor).all() for tensor in state(run)["model"].values())
    assert state(run)["rate_factor"] == 0.1


def test_going_back_goes_on_from_what_was_saved(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rate as before it would be the straight run again, bit for bit."""
    straight, run = tmp_path / "straight", tmp_path / "run"
    train(options(pairs), straight, Told())
    monkeypatch.setattr(loop, "SMALLER", 1.0)
    monkeypatch.setattr(matching, "contrastive_loss", poisoned("nan", 5))
    train(options(pairs), run, Told())
    assert equal(state(straight), state(run))


def test_a_loss_that_is_not_finite_again_stops_the_run(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(matching, "contrastive_loss", poisoned("nan", 5, 7))
        with pytest.raises(
            DataError, match=r"the loss is not finite at step 6, with 0.1 of the learning rate"
        ) as error:
            train(options(pairs, save_every_steps=1), run, Told())
    assert str(run) in str(error.value)
    assert state(run)["step"] == 5
    done = resume(run, Told())  # it may be tried again
    assert done.metrics["epoch"] == 2


def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step itself went too far: loss and gradient were finite, the weights are not."""
    run, steps = tmp_path / "run", [0]

    def spoil(self: matching.Matching) -> None:
        steps[0] += 1
        if steps[0] == 6:
            with torch.no_grad():
                self.model.text_tower.positional_embedding[0, 0] = math.inf

    monkeypatch.setattr(matching.Matching, "after_update", spoil)
    told = Told()
    train(options(pairs), run, told)
    assert any("back to step 3" in line for line in told.lines)
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
        assert any(f"on cpu, {precision}" in line for line in told.lines)
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
    assert read_step_metrics(tmp_path / "run") == []  # fewer than the usual 50 steps
    assert [(line["epoch"], line["step"], line["images"]) for line in lines] == [(1, 3, 24), (2, 6, 48)]
    assert lines[1]["loss"] == pytest.approx(np.mean([told.losses[step] for step in (4, 5, 6)]))
    assert {"score", "logit_scale", "validation/text_to_image@1", "validation/image_to_text@10"} <= lines[0].keys()


def test_curves_for_tensorboard(tmp_path: Path, pairs: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(options(pairs, log_every_steps=2), tmp_path / "run", Told())
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    lines = read_metrics(tmp_path / "run")
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    assert written == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert "validation/text_to_image@10" in events.Tags()["scalars"]
    steps = read_step_metrics(tmp_path / "run")
    for name in ("loss", "gradient_norm", "learning_rate", "logit_scale", "images_per_s"):
        written = [(event.step, event.value) for event in events.Scalars(f"steps/{name}")]
        assert written == [(line["step"], pytest.approx(line[name])) for line in steps]


def test_lines_of_steps(tmp_path: Path, pairs: Path) -> None:
    told = Told()
    train(options(pairs, log_every_steps=2), tmp_path / "run", told)
    lines = read_step_metrics(tmp_path / "run")
    assert [(line["step"], line["of_steps"], line["images"]) for line in lines] == [(2, 2, 16), (4, 2, 32), (6, 2, 48)]
    for line in lines:
        pair = [told.progress[line["step"] - 1], told.progress[line["step"]]]
        assert line["loss"] == pytest.approx(np.mean([now.loss for now in pair]))
        assert line["gradient_norm"] == pytest.approx(np.mean([now.gradient_norm for now in pair]))
        assert (line["learning_rate"], line["logit_scale"]) == (pair[1].learning_rate, pair[1].logit_scale)


def test_pace() -> None:
    times = iter([0.0, 100.0, 102.0, 104.0, 200.0, 201.0])
    pace = Pace(lambda: next(times))
    assert (pace.images_per_s, pace.seconds_left(9)) == (0.0, 0.0)
    pace.go_on()  # whatever took until 100
    pace.step(8)
    pace.step(8)
    assert (pace.images_per_s, pace.seconds_left(3)) == (4.0, 6.0)
    pace.go_on()
    pace.step(8)
    assert pace.images_per_s == pytest.approx(24 / 5)


def test_the_average_is_what_is_measured_and_kept(tmp_path: Path, pairs: Path) -> None:
    weights: list[dict[str, Tensor]] = []

    def look(self: loop.Fit) -> None:
        weights.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})

    original = Average.update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Average, "update", lambda self: (look(self), original(self))[1])
        train(options(pairs, ema_decay=0.6, arch="tiny-vit"), tmp_path / "run", Told())
    begun = weights[0]
    train(options(pairs, arch="tiny-vit"), tmp_path / "plain", Told())
    assert equal(state(tmp_path / "plain")["model"], state(tmp_path / "run")["model"])  # the run itself is the same
    average = {name: tensor.double() for name, tensor in initial(tmp_path, pairs).items()}
    for step, now in enumerate(weights):
        decay = min(0.6, (1 + step) / (10 + step))
        average = {name: decay * value + (1 - decay) * now[name].double() for name, value in average.items()}
    assert begun.keys() == average.keys()
    for name, value in state(tmp_path / "run")["average"]["values"].items():
        torch.testing.assert_close(value.double(), average[name], rtol=1e-5, atol=1e-7)
    best = max(read_metrics(tmp_path / "run"), key=lambda line: (line["score"], line["step"]))
    if best["step"] == 6:
        kept = load_run(tmp_path / "run")[0].state_dict()
        assert equal(dict(kept), state(tmp_path / "run")["average"]["values"])


def initial(folder: Path, pairs: Path) -> dict[str, Tensor]:
    """The weights a run begins with."""
    found: list[dict[str, Tensor]] = []

    def see(self: loop.Fit, *given: Any) -> None:
        found.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        raise KeyboardInterrupt

    chosen = options(pairs, arch="tiny-vit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Fit, "_step", see)
        with pytest.raises(KeyboardInterrupt):
            train(chosen, folder / "initial", Told())
    return found[0]

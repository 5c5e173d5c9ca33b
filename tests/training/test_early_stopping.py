"""A run that gets no better stops when told to and says so; few pictures to check with are remarked on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.training.tiny import Told, noise, options, state, stop_at
from trainer import loop
from trainer.checkpoints import load_weights, read_metrics
from trainer.run import best_metrics, is_finished, resume, train
from trainer.stopping import Interrupted
from trainer.validation import ValidationSet, by_luck, small_sets


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The scores of the epochs to come, first to last."""
    values: list[float] = []

    def score(metrics: object) -> float:
        return values.pop(0)

    monkeypatch.setattr(loop, "score", score)
    return values


def test_the_run_ends_and_the_best_is_kept(tmp_path: Path, pairs: Path, scored: list[float]) -> None:
    scored += [0.1, 0.5, 0.4, 0.3, 0.2, 0.1]
    run, two, told = tmp_path / "run", tmp_path / "two", Told()
    train(options(pairs, epochs=6.0, patience=2), run, told)
    assert [line["score"] for line in read_metrics(run)] == [0.1, 0.5, 0.4, 0.3]
    assert told.lines[-1] == "stopped at step 12 of 18: no epoch was better on the pictures held out for 2"
    assert best_metrics(run)["epoch"] == 2
    assert is_finished(run)
    scored[:] = [0.1, 0.5]
    with pytest.raises(Interrupted):
        train(options(pairs, epochs=6.0), two, stop_at(7))
    best, of_epoch_2 = load_weights(run / "best.safetensors"), load_weights(two / "best.safetensors")
    assert all((best[name] == of_epoch_2[name]).all() for name in best)


def test_it_is_the_last_epochs_in_a_row_that_count(tmp_path: Path, pairs: Path, scored: list[float]) -> None:
    scored += [0.5, 0.4, 0.5, 0.4, 0.6, 0.1]
    run = tmp_path / "run"
    train(options(pairs, epochs=6.0, patience=2), run, Told())
    assert len(read_metrics(run)) == 6
    assert "stopped_early" not in read_metrics(run)[-1]


def test_without_patience_a_run_goes_to_its_end(tmp_path: Path, pairs: Path, scored: list[float]) -> None:
    scored += [0.5, 0.4, 0.3, 0.2, 0.1]
    train(options(pairs, epochs=5.0), tmp_path / "run", Told())
    assert scored == []


@pytest.mark.parametrize("step", [7, 9, 11])
def test_a_resumed_run_remembers_how_long_it_has_waited(
    tmp_path: Path, pairs: Path, scored: list[float], step: int
) -> None:
    run = tmp_path / "run"
    scored += [0.5, 0.4, 0.3, 0.2]
    with pytest.raises(Interrupted):
        train(options(pairs, epochs=6.0, patience=3), run, stop_at(step))
    assert not is_finished(run)
    told = Told()
    resume(run, told)
    assert max(told.losses, default=12) == 12
    assert told.lines[-1].startswith("stopped at step 12 of 18")
    assert state(run)["waited"] == 3
    again = Told()
    resume(run, again)  # a run that has stopped takes no further step
    assert again.losses == {}
    assert len(read_metrics(run)) == 4


def a_set(captions: Sequence[Sequence[str]]) -> ValidationSet:
    return ValidationSet(
        name="dev", pixels=noise(len(captions)), captions=tuple(map(tuple, captions)), labels=(None,) * len(captions)
    )


def remarks(count: int, without: int = 0) -> Iterator[str]:
    yield from by_luck([a_set([["a"]] * count + [[]] * without)])


def test_few_pictures_to_check_with() -> None:
    (two,) = remarks(2, without=100)
    assert two.startswith("dev has 2 pictures with captions: recall@10 among them is 100 % whatever the model does")
    assert "moves recall@1 by 50 points" in two
    (forty,) = remarks(40)
    assert "recall@10 among them is 25 % by luck alone" in forty
    assert list(remarks(0, without=5)) == list(remarks(51)) == []
    assert small_sets([a_set([["a"]] * 50 + [[]] * 9)]) == {"dev"}
    assert small_sets([a_set([["a"]] * 51), a_set([[]] * 9)]) == frozenset()


def test_a_run_remarks_on_it(tmp_path: Path, pairs: Path) -> None:
    told = Told()
    trained = train(options(pairs, epochs=1.0), tmp_path / "run", told)
    assert trained.few == {"validation"}  # whose curves are of R@1
    assert any(line.startswith("validation has 2 pictures with captions") for line in told.lines)

"""Pictures that break while a run goes: skipped, counted, named, and too many of them stop it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipcli.errors import DataError
from tests.training.conftest import clip
from tests.training.tiny import Told, equal, options, state, stop_at
from trainer import data as reading
from trainer.finishing import change_options
from trainer.pictures import PictureStore
from trainer.run import resume, train
from trainer.stopping import Interrupted


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every crop is decoded from the disk."""
    monkeypatch.setattr(reading, "available_memory", lambda: 0)


def break_after_reading(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    """The files are good when the run looks at them first, and no pictures from then on."""
    before = PictureStore.load

    def load(self: PictureStore, *given: Any) -> Any:
        found = before(self, *given)
        for file in files:
            file.write_bytes(b"no picture any more")
        return found

    monkeypatch.setattr(PictureStore, "load", load)


def trained_on(run: Path) -> dict[str, Any]:
    found = state(run)
    return {name: value for name, value in found.items() if name != "recent"}


@pytest.mark.parametrize("stops", [[1], [2, 5], [4]], ids=str)
def test_a_run_with_broken_pictures_is_resumed_bit_for_bit(
    tmp_path: Path, pairs: Path, nothing_kept: None, monkeypatch: pytest.MonkeyPatch, stops: list[int]
) -> None:
    files = [pairs.parent / "pictures" / f"{number:03d}.png" for number in (3, 11)]
    whole = {file: file.read_bytes() for file in files}
    break_after_reading(monkeypatch, *files)
    chosen = options(pairs, epochs=3.0, flip=True, crop_min=0.7)
    told = Told()
    train(chosen, tmp_path / "straight", told)
    assert sum("cannot be read any more (not-an-image)" in line for line in told.lines) == 2
    assert any(line.startswith("2 pictures broke in mid-run") for line in told.lines)
    for file, content in whole.items():
        file.write_bytes(content)
    for place, step in enumerate(stops):
        with pytest.raises(Interrupted):
            resume(tmp_path / "halting", stop_at(step)) if place else train(chosen, tmp_path / "halting", stop_at(step))
    resume(tmp_path / "halting", Told())
    assert equal(trained_on(tmp_path / "straight"), trained_on(tmp_path / "halting"))
    lines = [[json.loads(line) for line in (tmp_path / run / "skipped.jsonl").read_text().splitlines()]
             for run in ("straight", "halting")]  # fmt: skip
    assert lines[0] == lines[1]
    assert {line["name"] for line in lines[0]} == {str(file) for file in files}
    assert all(line["reason"] == "not-an-image" and 1 <= line["step"] <= 3 for line in lines[0])


def test_too_many_stop_a_run_which_can_go_on_once_more_are_allowed(
    tmp_path: Path, pairs: Path, nothing_kept: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [pairs.parent / "pictures" / f"{number:03d}.png" for number in range(0, 16, 2)]
    break_after_reading(monkeypatch, *files)
    run = tmp_path / "run"
    with pytest.raises(DataError, match=r"of 26 pairs .* more than --max-broken 0.1 allows; the last one is") as caught:
        train(options(pairs), run, Told())
    assert caught.value.exit_code == 12
    done = clip("train", "--resume", run, "--max-broken", 2)
    assert (done.exit_code, done.stderr) == (2, "clip: --max-broken is a share of the pairs, from 0 to 1\n")
    change_options(run, {"max_broken": 0.5})
    told = Told()
    resume(run, told)
    lines = [json.loads(line) for line in (run / "skipped.jsonl").read_text().splitlines()]
    names = [line["name"] for line in lines if "step" in line]  # those without were to be measured on
    assert set(names) <= set(map(str, files))
    assert f"{len(names)} pictures broke in mid-run, and others stood in; {run / 'skipped.jsonl'} has the names" in (
        told.lines
    )
    assert len(names) >= 6  # two are held out at most


def test_a_run_does_not_begin_with_too_many(tmp_path: Path, pairs: Path) -> None:
    for number in range(4):
        (pairs.parent / "pictures" / f"{number:03d}.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"pairs.csv: 4 of 26 pairs have .* larger --max-broken"):
        train(options(pairs), tmp_path / "run", Told())
    train(options(pairs, max_broken=0.16, epochs=1.0), tmp_path / "run", Told())
    assert len((tmp_path / "run" / "skipped.jsonl").read_text().splitlines()) == 4


def test_a_picture_mended_or_broken_between_two_parts_of_a_run_moves_no_other(tmp_path: Path, pairs: Path) -> None:
    """What is trained on and what is held out was settled when the run began."""
    (pairs.parent / "pictures" / "020.png").write_bytes(b"no")
    chosen = options(pairs, epochs=1.0)
    train(chosen, tmp_path / "straight", Told())
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "run", stop_at(1))
    (pairs.parent / "pictures" / "020.png").write_bytes((pairs.parent / "pictures" / "021.png").read_bytes())
    told = Told()
    resume(tmp_path / "run", told)
    assert equal(trained_on(tmp_path / "straight"), trained_on(tmp_path / "run"))


def test_an_unreadable_split_is_named(tmp_path: Path, pairs: Path) -> None:
    with pytest.raises(Interrupted):
        train(options(pairs), tmp_path / "run", stop_at(1))
    (tmp_path / "run" / "split.npz").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(DataError, match=r"split\.npz cannot be read"):
        resume(tmp_path / "run", Told())

"""The way back to the start model: the weights at each place of it, what is measured there, and what is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from clipcli.bundle.spec import read_spec
from clipcli.errors import DataError, UsageError
from tests.training.conftest import clip
from tests.training.tiny import Told, options, stop_at, write_classes, write_pairs
from trainer.anchor import MOST_WORDS, between, unsaid_words
from trainer.checkpoints import load_run, load_weights, read_metrics, read_walk
from trainer.options import TrainOptions
from trainer.run import best_metrics, resume, train
from trainer.stopping import Interrupted

PLACES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def tuned(pairs: Path, start: Path, **chosen: Any) -> TrainOptions:
    return options(pairs, start=str(start), freeze_batch_norm=True, lr=5e-3, **chosen)


@pytest.fixture
def start(trained: Path) -> Path:
    return trained / "models" / "seed-model"


def test_weights_between_two_models() -> None:
    one = {"a": torch.tensor([0.0, 10.0]), "count": torch.tensor(3)}
    other = {"a": torch.tensor([4.0, 0.0]), "count": torch.tensor(9)}
    assert between(one, other, 0.25)["a"].tolist() == [3.0, 2.5]
    assert between(one, other, 0.25)["count"] == 9
    third = {"a": torch.rand(1000), "count": torch.tensor(1)}
    fourth = {"a": torch.rand(1000), "count": torch.tensor(2)}
    assert torch.equal(between(third, fourth, 0.0)["a"], fourth["a"])  # exact at both ends
    assert torch.equal(between(third, fourth, 1.0)["a"], third["a"])


def test_the_walk_is_told_and_its_ends_are_the_two_models(tmp_path: Path, pairs: Path, start: Path) -> None:
    run, told = tmp_path / "run", Told()
    finished = train(tuned(pairs, start), run, told)
    assert [row["anchor"] for row in told.walk] == PLACES
    before = next(line for line in told.epochs if line["epoch"] == 0)
    for row, line in ((told.walk[0], best_metrics(run)), (told.walk[-1], before)):
        for name, value in row["metrics"].items():
            assert value == pytest.approx(line[name], abs=1e-6), name
    assert json.loads((run / "anchor.json").read_text("utf-8"))["rows"] == told.walk
    assert not (run / "final.safetensors").exists()
    assert finished.metrics["epoch"] >= 1
    assert "anchor" not in finished.metrics


def test_what_is_kept_is_exported_with_its_own_figures(tmp_path: Path, pairs: Path, start: Path) -> None:
    run, told = tmp_path / "run", Told()
    finished = train(tuned(pairs, start, anchor=0.35), run, told)
    assert [row["anchor"] for row in told.walk] == sorted([*PLACES, 0.35])
    first, last = load_weights(start / "weights.safetensors"), load_weights(run / "best.safetensors")
    wanted = between(first, last, 0.35)
    model, _ = load_run(run)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name
    row = next(row for row in told.walk if row["anchor"] == 0.35)
    assert finished.metrics["anchor"] == 0.35
    assert finished.metrics["score"] == row["score"]
    assert {name: finished.metrics[name] for name in row["metrics"]} == row["metrics"]


def test_what_was_known_is_measured_on_files_named_for_it(tmp_path: Path, pairs: Path, start: Path) -> None:
    classes = write_classes(tmp_path / "classes")
    more = write_pairs(tmp_path / "more", 12)
    run, told = tmp_path / "run", Told()
    finished = train(tuned(pairs, start, keep=(str(classes), str(more)), anchor=0.5), run, told)
    assert all(list(row["kept"]) == ["classes", "pairs"] for row in told.walk)
    assert all(row["kept"]["classes"] == pytest.approx(row["metrics"]["classes/top1"], abs=1e-6) for row in told.walk)
    only_held_out = {name.split("/")[0] for line in read_metrics(run) for name in line if "/" in name}
    assert only_held_out == {"validation"}  # what is to be kept chooses no epoch
    assert {"classes/top1", "pairs/text_to_image@1"} <= finished.metrics.keys()


def test_a_resumed_run_walks_the_same_way(tmp_path: Path, pairs: Path, start: Path) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    moved = tmp_path / "moved"
    shutil.copytree(start, moved)
    train(tuned(pairs, moved, anchor=0.3), straight, Told())
    with pytest.raises(Interrupted):
        train(tuned(pairs, moved, anchor=0.3), stopped, stop_at(2))
    shutil.rmtree(moved)  # the run folder holds all that is needed
    resume(stopped, Told())
    for name in ("start.safetensors", "best.safetensors", "final.safetensors", "anchor.json"):
        assert (straight / name).read_bytes() == (stopped / name).read_bytes(), name


def test_a_damaged_walk_is_one_line(tmp_path: Path) -> None:
    assert read_walk(tmp_path) == {}
    for text, message in (("{", "is damaged"), ("[]", "has no figures"), ("{}", "has no figures")):
        (tmp_path / "anchor.json").write_text(text, "utf-8")
        with pytest.raises(DataError, match=message):
            read_walk(tmp_path)


def test_words_that_the_pairs_say_nothing_of() -> None:
    long = [f"word{chr(97 + place // 26)}{chr(97 + place % 26)}" for place in range(200)]
    entries = [*(f"Ġ{word}" for word in long[:100]), *(f"{word}</w>" for word in long[100:])]
    entries += ["wordless", "Ġshort", "Ġtwo-parts", "Ġnaïvety", "ĠUPPERS", "<end>"]
    assert unsaid_words(entries, ["A WORDAA, and wordab."]) == sorted([*long[2:], "uppers"])
    assert unsaid_words(entries[:40], []) == []  # too few to say anything
    many = [f"Ġword{chr(97 + a)}{chr(97 + b)}{chr(97 + c)}" for a in range(10) for b in range(10) for c in range(11)]
    thinned = unsaid_words(many, [])
    assert 300 < len(thinned) <= MOST_WORDS
    assert thinned[0] == "wordaaa"
    assert thinned[-1] > "wordj"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"anchor": 1.5, "start": "/m"}, "--anchor lies between 0"),
        ({"anchor": -0.1, "start": "/m"}, "--anchor lies between 0"),
        ({"anchor": 0.5}, "--anchor and --keep go with fine-tuning"),
        ({"keep": ("x",)}, "--anchor and --keep go with fine-tuning"),
    ],
)
def test_values_that_make_no_sense(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(Path("/a"), **chosen)


def test_the_command_prints_the_table_and_installs_what_was_kept(
    tmp_path: Path, pairs: Path, models: Path, in_folder: Path
) -> None:
    classes = write_classes(tmp_path / "a long name of classes")
    done = clip(
        "train", pairs, "--from", "seed-model", "--name", "held", "--epochs", 1, "--device", "cpu", "--anchor", 0.5,
        "--keep", classes, "--lr", 0.005,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    lines = done.stderr.splitlines()
    at = lines.index("anchor 0 is the model as trained, 1 the one it began with, between them a mix")
    explained = next(place for place in range(at, len(lines)) if lines[place].endswith("on what --keep names"))
    heads = next(place for place in range(explained, len(lines)) if lines[place].startswith("  anchor  "))
    assert "a long name of…" in lines[heads]
    assert ("as before" in lines[heads]) is any(line.startswith("  as before: ") for line in lines[at:heads])
    rows = [line.split() for line in lines[heads + 1 : heads + 12]]
    assert [float(row[0]) for row in rows] == PLACES
    assert [row[0] for row in rows if row[-1] == "kept"] == ["0.5"]
    assert all(len(line) <= 77 for line in lines[at : heads + 12])
    model, _ = load_run(in_folder / "runs" / "held")
    installed = load_weights(models / "held" / "weights.safetensors")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(installed[name].to(tensor), tensor, rtol=1e-3, atol=1e-3)
    assert read_spec(models / "held").metrics["anchor"] == 0.5

    again = clip("train", "--resume", in_folder / "runs" / "held", "--anchor", 1, "--replace")  # without training again
    assert again.exit_code == 0, again.stderr
    assert "epoch 1" not in again.stderr
    start, other = (load_weights(models / name / "weights.safetensors") for name in ("seed-model", "held"))
    for name, tensor in start.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-3, atol=1e-3)
    wrong = clip("train", "--resume", in_folder / "runs" / "held", "--anchor", 2, "--replace")
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)

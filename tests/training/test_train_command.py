"""`clip train` as it is typed: what it says, what it leaves, what it refuses, and how it ends."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import Result

import trainer.run
from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.bundle.spec import read_spec, write_spec
from clipcli.errors import ClipError, pip_line
from clipcli.photos.decode import open_image
from clipcli.render import curves, training
from export import exporting
from tests.training.conftest import clip
from tests.training.tiny import options, stop_at, write_pairs
from trainer import checkpoints
from trainer.checkpoints import load_run
from trainer.options import TrainOptions
from trainer.stopping import Interrupted


class Composed(ClipError):
    """Ends a command where training would begin."""

    exit_code = 77


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch, models: Path, in_folder: Path) -> list[tuple[TrainOptions, Path]]:
    """The options and the run folder of each `clip train`, which then goes no further."""
    given: list[tuple[TrainOptions, Path]] = []

    def keep(chosen: TrainOptions, run: Path, reporter: object) -> None:
        given.append((chosen, run))
        raise Composed

    monkeypatch.setattr(trainer.run, "train", keep)
    return given


def assert_one_line(done: Result, code: int, pattern: str) -> None:
    """An error is one line, without a traceback."""
    assert done.exit_code == code, done.stderr
    assert re.fullmatch(rf"clip: [^\n]*{pattern}[^\n]*\n", done.stderr), done.stderr


# What a whole run says and leaves


def test_untidy_data_is_summed_up(trained: Path) -> None:
    said = (trained / "stderr.txt").read_text("utf-8").splitlines()
    assert said[0] == "24 pairs to train on with 24 captions, 5 pictures to check with"
    assert sorted(said[1:6]) == [
        "  set aside: 1 × too few columns, as untidy.csv line 37",
        f"  set aside: 1 × unreadable picture (not-an-image), as {trained / 'scans' / '001'}",
        f"  set aside: 1 × unreadable picture (truncated), as {trained / 'scans' / '002'}",
        "  set aside: 2 × empty caption, as untidy.csv line 35",
        "  set aside: 3 × missing file, as untidy.csv line 2: scans/000",
    ]
    assert said[6].startswith("  warning: long caption: 1 captions are longer than the 12 tokens read, as a yellow")
    assert re.fullmatch(r"vocabulary: \d+ entries learnt from the texts", said[7])
    assert re.fullmatch(r"tiny-resnet, 0\.\d million parameters, on cpu, fp32", said[8])
    assert said[9].startswith("validation has 5 pictures with captions: recall@10 among them is 100 % whatever")
    assert re.fullmatch(r"epoch 2, loss \d\.\d{3}", said[12])
    assert re.fullmatch(r"  validation: R@1/5/10 text→image [\d./]+ %, image→text [\d./]+ %", said[13])
    assert said[-1] == "installed as seed-model: clip embed -m seed-model FOLDER"
    table = (trained / "stdout.txt").read_text("utf-8")
    assert [row.split()[0] for row in table.splitlines()] == ["variant", "fp32", "fp16", "int8"]


def test_a_picture_of_the_curves_is_left(trained: Path) -> None:
    said = (trained / "stderr.txt").read_text("utf-8").splitlines()
    assert f"curves: {trained / 'run' / 'curves.png'}" in said
    for name in ("curves.png", "curves-dark.png"):
        assert (trained / "run" / name).read_bytes().startswith(b"\x89PNG")
    lines = checkpoints.read_metrics(trained / "run")
    assert [line["learning_rate"] for line in lines] == sorted((line["learning_rate"] for line in lines), reverse=True)


@pytest.mark.parametrize("why", ["no matplotlib", "no space"])
def test_without_a_picture_of_the_curves_the_model_is_installed_all_the_same(
    why: str, pairs: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **named: object) -> None:
        raise ClipError("no space left")

    if why == "no matplotlib":
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    else:
        monkeypatch.setattr(curves, "save_figure", full)
    monkeypatch.setattr(exporting, "export_source", lambda *given, **named: (_ for _ in ()).throw(Composed))
    run = tmp_path / "run"
    done = clip("train", pairs, "--scratch", "--arch", "tiny-vit", "--output", run, "--epochs", 1)
    assert done.exit_code == 77  # it came as far as the export
    missing = f"that needs the extra 'plot' ({pip_line('plot')})"
    assert f"no picture of the curves: {missing if why == 'no matplotlib' else 'no space left'}" in done.stderr
    assert not (run / "curves.png").exists()


def test_the_installed_model_does_what_the_towers_do(trained: Path) -> None:
    model = Model.load(trained / "models" / "seed-model", device="cpu", precision="fp32")
    towers, _ = load_run(trained / "run")
    spec = model.spec
    pixels = np.stack([to_pixels(open_image(trained / "scans" / f"{place:03d}"), spec.preprocess) for place in (7, 9)])
    with torch.no_grad():
        np.testing.assert_allclose(
            model.encode_images(pixels), towers.encode_image(torch.from_numpy(pixels)).numpy(), atol=1e-4
        )
    assert model.encode_texts(["a red field"]).shape == (1, 16)
    assert spec.templates == ("a {} here",)
    assert spec.metrics["epoch"] in (1, 2)
    assert spec.provenance["trained_on"] == spec.provenance["parity_on"] == ["untidy.csv"]
    assert spec.architecture == "tiny-resnet"


def test_a_bundle_is_fine_tuned_and_keeps_its_words_and_eyes(pairs: Path, models: Path, in_folder: Path) -> None:
    asked = ("a scan of {}.", "{}")
    write_spec(models / "seed-model", replace(read_spec(models / "seed-model"), licence="CC-BY-4.0", templates=asked))
    done = clip("train", pairs, "--from", "seed-model", "--name", "tuned", "--epochs", 1, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert "epoch 0, before training\n  validation: R@1/5/10 text→image" in done.stderr
    start, tuned = read_spec(models / "seed-model"), read_spec(models / "tuned")
    assert tuned.preprocess == start.preprocess
    assert tuned.files["tokenizer.json"] == start.files["tokenizer.json"]
    assert tuned.identity != start.identity
    assert tuned.provenance["fine_tuned_from"] == "seed-model"
    assert (tuned.licence, tuned.templates) == ("CC-BY-4.0", asked)
    assert (in_folder / "runs" / "tuned" / "bundle" / "model.json").is_file()
    assert TrainOptions.load(in_folder / "runs" / "tuned").freeze_batch_norm


# What becomes of the options


def test_options_reach_the_run(composed: list[tuple[TrainOptions, Path]], in_folder: Path) -> None:
    done = clip(
        "train", "My pairs.v2.csv", "--scratch", "--arch", "RN50", "--validation", "dev.csv", "--image-column", "a",
        "--text-column", "b", "-t", "a {}", "-t", "{}", "--same-text", "negative", "--epochs", "0.5", "-b", "16",
        "--lr", "0.01", "--weight-decay", "0", "--precision", "bf16", "--device", "cpu", "--threads", "2",
        "--compile", "--seed", "9", "--output", "somewhere",
    )  # fmt: skip
    assert done.exit_code == 77
    ((chosen, run),) = composed
    assert run == Path("somewhere")
    assert chosen == TrainOptions(
        data=(str(in_folder / "My pairs.v2.csv"),), name="My-pairs.v2", arch="RN50", image_column="a", text_column="b",
        validation=(str(in_folder / "dev.csv"),), templates=("a {}", "{}"), same_text="negative", epochs=0.5,
        batch_size=16, lr=0.01, weight_decay=0.0, precision="bf16", device="cpu", threads=2, compile=True, seed=9,
        warmup=0.05, crop_min=0.6, validation_least=50,
    )  # fmt: skip


def test_a_recipe_stands_unless_an_option_is_given(
    composed: list[tuple[TrainOptions, Path]], trained: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('arch = "RN50"\nseed = 5\nprecision = "bf16"\ncompile = true\nepochs = 3\n', "utf-8")
    clip("train", "pairs.csv", "--recipe", recipe)
    clip("train", "pairs.csv", "--recipe", recipe, "--seed", 0, "--precision", "auto", "--epochs", 4)
    clip("train", "pairs.csv", "--recipe", recipe, "--from", "seed-model")
    recipe.write_text('templates = ["my {}"]\n', "utf-8")
    clip("train", "pairs.csv", "--from", trained / "run", "--recipe", recipe)
    clip("train", "pairs.csv", "--from", "seed-model", "--recipe", recipe, "-t", "{}")
    first, second, third, fourth, fifth = (chosen for chosen, _ in composed)
    assert (fourth.start, fourth.templates) == (str(trained / "run"), ("my {}",))
    assert (third.templates, fifth.templates) == (read_spec(trained / "models" / "seed-model").templates, ("{}",))
    assert (first.arch, first.seed, first.precision, first.compile, first.epochs) == ("RN50", 5, "bf16", True, 3)
    assert (second.seed, second.precision, second.compile, second.epochs) == (0, "auto", True, 4)
    assert (third.arch, third.start is not None, third.seed) == (None, True, 5)


@pytest.mark.parametrize(
    ("source", "name"),
    [("birds/", "birds"), ("a" * 80 + ".csv", "a" * 64), ("--x--.csv", "x"), ("ü.csv", "model"), ("é é.csv", "model")],
)
def test_a_run_is_called_after_its_data(composed: list[tuple[TrainOptions, Path]], source: str, name: str) -> None:
    clip("train", "--scratch", "--", source)
    ((chosen, run),) = composed
    assert (chosen.name, run) == (name, Path("runs") / name)


# What is refused, in one line, before anything is done


@pytest.mark.parametrize(
    ("arguments", "code", "pattern"),
    [
        ([], 2, r"no pairs to train on: name a file of pairs or a folder"),
        (["gone.csv", "--scratch"], 4, r"no such file or folder: .*gone\.csv"),
        (["p.csv", "--arch", "RN50"], 2, "--arch goes with --scratch"),
        (["p.csv", "--scratch", "--from", "seed-model"], 2, "give one of them"),
        (["p.csv", "--scratch", "--arch", "ViT-Z"], 4, "no architecture is called 'ViT-Z'; there are: .*RN50"),
        (["p.csv", "--from", "gone"], 4, r"no model is called 'gone' \(installed: seed-model"),
        (["p.csv", "--scratch", "--name", "seed-model"], 2, "'seed-model' is already installed; give another --name"),
        (["seed-model.csv", "--scratch"], 2, "'seed-model' is already installed"),
        (["p.csv", "--scratch", "--name", "../x"], 2, "not a usable model name"),
        (["p.csv", "--scratch", "--recipe", "gone.toml"], 4, "no such recipe: gone.toml"),
        (["p.csv", "--scratch", "--recipe", "bad.toml"], 2, "bad.toml: 'taste' is nothing a recipe sets"),
        (["p.csv", "--scratch", "--recipe", "broken.toml"], 2, "recipe broken.toml cannot be read"),
        (["p.csv", "--scratch", "--lr", "2"], 2, "the learning rate must lie between 0 and 1"),
        (["p.csv", "--scratch", "--same-text", "both"], 2, "'both' is not one of"),
        (["p.csv", "--scratch", "--template", "x"], 2, "a template needs {}"),
        (["p.csv", "--scratch", "--device", "gpu"], 11, "there is no device called 'gpu'"),
        (["p.csv", "--scratch", "--output", "full"], 2, "full is not an empty folder"),
        (["p.csv", "--scratch", "--text-column", "x"], 12, "has no column 'x'; its first line is: image, caption"),
        (["--resume", "gone"], 4, "no such training run: gone"),
        (["--resume", "full"], 12, "full is no training run that can be resumed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(in_folder: Path, models: Path, arguments: list[str], code: int, pattern: str) -> None:
    for name, text in {"bad.toml": "taste = 1", "broken.toml": "lr =", "p.csv": "image,caption\n"}.items():
        (in_folder / name).write_text(text, "utf-8")
    (in_folder / "full").mkdir()
    (in_folder / "full" / "file").write_text("x", "utf-8")
    assert_one_line(clip("train", *arguments), code, pattern)
    assert not (in_folder / "runs").exists()


@pytest.mark.parametrize(
    "option",
    [
        ["pairs.csv"], ["--from", "x"], ["--scratch"], ["--arch", "RN50"], ["--name", "x"], ["--output", "x"],
        ["--recipe", "x"], ["--validation", "x"], ["--image-column", "x"], ["--text-column", "x"], ["-t", "{}"],
        ["--same-text", "negative"], ["--epochs", "3"], ["-b", "8"], ["--lr", "0.1"], ["--weight-decay", "0"],
        ["--precision", "auto"], ["--device", "auto"], ["--threads", "1"], ["--compile"], ["--seed", "0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_resume_takes_nothing_else(trained: Path, option: list[str]) -> None:
    done = clip("train", "--resume", trained / "run", *option)
    assert_one_line(done, 2, "--resume goes on with the run as it was begun; leave the other options out")


def test_a_name_taken_meanwhile_is_found_out_before_a_run_goes_on(
    trained: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on: list[Path] = []

    def go_on(run: Path, reporter: object) -> None:
        went_on.append(run)
        raise Composed

    monkeypatch.setattr(trainer.run, "resume", go_on)
    run = trained / "run"
    there = f"'seed-model' is already installed; this run is finished; .*clip export {run} --name"
    assert_one_line(clip("train", "--resume", run), 2, there)
    assert not went_on
    assert clip("train", "--resume", run, "--replace").exit_code == 77
    assert went_on == [run]


def test_a_run_folder_that_is_taken(trained: Path, models: Path, pairs: Path) -> None:
    done = clip("train", pairs, "--scratch", "--output", trained / "run")
    assert_one_line(done, 2, f"holds a run already; go on with it by 'clip train --resume {trained / 'run'}'")


def test_another_training_on_the_same_pairs_gets_a_folder_of_its_own(
    trained: Path, models: Path, in_folder: Path, pairs: Path
) -> None:
    (in_folder / "runs").mkdir()
    shutil.copytree(trained / "run", in_folder / "runs" / "again")
    done = clip("train", pairs, "--scratch", "--arch", "tiny-resnet", "--epochs", "1", "--name", "again")
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in (in_folder / "runs").iterdir()) == ["again", "again-2"]
    assert "this run is finished" in clip("train", "--resume", in_folder / "runs" / "again-2").stderr


def test_one_usable_row(tmp_path: Path, models: Path, in_folder: Path) -> None:
    pairs = write_pairs(tmp_path, 1)
    with pairs.open("a") as file:
        file.write("gone.png,a ghost\n")
    done = clip("train", pairs, "--from", "seed-model")
    assert done.exit_code == 12
    first, second, *warnings, last = done.stderr.splitlines()
    assert first == "1 pair to train on with 1 caption, 0 pictures to check with"
    assert second == "  set aside: 1 × missing file, as pairs.csv line 3: gone.png"
    assert all(line.startswith("  warning: ") for line in warnings)
    assert last == "clip: pairs.csv: 1 usable pair, and at least 8 are needed to train and to check"
    assert not (in_folder / "runs").exists()


@pytest.mark.parametrize("module", ["torch", "onnxscript", "safetensors", "pyarrow", "tensorboard"])
def test_without_the_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert_one_line(clip("train", "pairs.csv"), 10, r"clip train needs the extra 'train': .*pip install .*\[train\]'")


# How it ends when it is asked to


def asked(monkeypatch: pytest.MonkeyPatch, signum: int, step: int) -> None:
    """The signal comes during that step."""
    shown = training.TrainingReport.step

    def show(self: training.TrainingReport, done: int, *given: Any) -> None:
        shown(self, done, *given)
        if done == step:
            signal.raise_signal(signum)

    monkeypatch.setattr(training.TrainingReport, "step", show)


@pytest.mark.parametrize(
    ("signum", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_while_training(
    pairs: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: int, code: int, word: str
) -> None:
    run = tmp_path / "a run"
    asked(monkeypatch, signum, 2)
    done = clip("train", pairs, "--scratch", "--arch", "tiny-vit", "--output", run, "-b", 8)
    assert done.exit_code == code
    assert done.stderr.splitlines()[-2:] == [
        f"saved at step 2; go on with: clip train --resume '{run}'",
        f"clip: {word}",
    ]
    assert list(models.iterdir()) == [models / "seed-model"]


def test_a_signal_while_pictures_are_read(
    pairs: Path, models: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*given: Any) -> Callable[[int], None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.TrainingReport, "begin", begin)
    done = clip("train", pairs, "--scratch", "--arch", "tiny-vit")
    assert (done.exit_code, done.stderr) == (130, "clip: interrupted\n")
    assert not (in_folder / "runs").exists()


def test_a_signal_while_exporting(pairs: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*given: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "export_source", export)
    run = tmp_path / "run"
    done = clip("train", pairs, "--scratch", "--arch", "tiny-vit", "--output", run, "--epochs", 1)
    assert done.exit_code == 130
    assert done.stderr.splitlines()[-2:] == [f"go on with: clip train --resume {run}", "clip: interrupted"]


def test_a_resumed_run_says_from_where(
    pairs: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        trainer.run.train(options(pairs, arch="tiny-vit"), run, stop_at(2))
    monkeypatch.setattr(exporting, "export_source", lambda *given, **named: (_ for _ in ()).throw(Composed))
    done = clip("train", "--resume", run)
    assert done.exit_code == 77
    assert f"going on from step 2 of 6, saved in {run}" in done.stderr.splitlines()

"""`clip train`: fine-tune or pretrain on local pairs of pictures and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clipcli.commands.data_doctor import run_doctor
from clipcli.commands.options import Format
from clipcli.commands.piped import is_pipe, put_down
from clipcli.commands.training_choices import Objective, SameText, TrainPrecision, Tune, valued
from clipcli.commands.training_options import run_name, run_options, unused_folder, weighed
from clipcli.commands.training_run import check_free, fall_silent, run_training
from clipcli.errors import MissingExtraError, UsageError


def train(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA",
            help="CSV, TSV, JSON lines, Parquet or tar shards of pairs, or folders of class folders; DATA@3 has three "
            "times the share of another; - is a tar file from a pipe.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        valued(
            "--from",
            "-m",
            metavar="NAME",
            help="The model to fine-tune, or a run: its best weights. Default: the one search uses.",
        ),
    ] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Pretrain new towers and learn a new vocabulary.")] = False,
    arch: Annotated[
        str | None,
        valued("--arch", metavar="NAME", help="The towers to pretrain. Default: RN-nano-64. With --scratch."),
    ] = None,
    name: Annotated[
        str | None, valued("--name", metavar="NAME", help="What to call the model. Default: after the first DATA.")
    ] = None,
    output: Annotated[
        Path | None, valued("--output", "-o", metavar="RUN", help="The run's folder. Default: runs/NAME.")
    ] = None,
    resume: Annotated[
        Path | None,
        valued(
            "--resume", metavar="RUN", help="Go on with an interrupted run; --anchor and --max-broken may be given."
        ),
    ] = None,
    recipe: Annotated[
        Path | None, valued("--recipe", metavar="FILE", help="A TOML file of settings; options given here go first.")
    ] = None,
    validation: Annotated[
        list[str] | None,
        valued("--validation", metavar="DATA", help="Pairs to measure on. Default: a part of DATA, held out."),
    ] = None,
    image_column: Annotated[
        str | None, valued("--image-column", metavar="NAME", help="The column of pictures. Default: found out.")
    ] = None,
    text_column: Annotated[
        str | None, valued("--text-column", metavar="NAME", help="The column of texts. Default: found out.")
    ] = None,
    group: Annotated[
        str | None,
        valued("--group", metavar="COLUMN", help="Rows with the same value there go into the same batch."),
    ] = None,
    template: Annotated[
        list[str] | None,
        valued(
            "--template", "-t", metavar="TEXT", help="Makes a sentence of a label: 'a photo of a {}.'. Give several."
        ),
    ] = None,
    objective: Annotated[
        Objective | None,
        valued(
            "--objective",
            metavar="contrastive|sigmoid|bag-of-words|caption",
            help="What is learnt from a pair. The last two leave no model to search with. Default: as the towers.",
        ),
    ] = None,
    same_text: Annotated[
        SameText | None,
        valued(
            "--same-text",
            metavar="positive|ignore|negative",
            help="What pairs of a batch with the same text are to each other. Default: positive; the paper: negative.",
        ),
    ] = None,
    epochs: Annotated[
        float | None,
        valued("--epochs", metavar="N", help="Passes over the data. Default: by number of pairs, from scratch 32."),
    ] = None,
    batch_size: Annotated[
        int | None,
        valued("--batch-size", "-b", metavar="N", help="Pairs a step. Default: by number of pairs, from scratch 256."),
    ] = None,
    lr: Annotated[
        float | None,
        valued("--lr", metavar="RATE", help="Peak learning rate. Default: by number of pairs, from scratch 1e-3."),
    ] = None,
    weight_decay: Annotated[float | None, valued("--weight-decay", metavar="X", help="Of AdamW. Default: 0.1.")] = None,
    tune: Annotated[
        Tune | None,
        valued(
            "--tune",
            metavar="full|lora|head|image|text",
            help="What fine-tuning changes: all, low-rank parts, projections, a tower. Default: text.",
        ),
    ] = None,
    rank: Annotated[
        int | None, valued("--rank", metavar="N", help="Of the changes of --tune lora. Default: 16.")
    ] = None,
    anchor: Annotated[
        float | None,
        valued(
            "--anchor",
            metavar="A",
            help="How far to go back towards the start model, 0 to 1. Default: by number of pairs.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        valued("--keep", metavar="DATA", help="Pairs or classes that show what of the start model is forgotten."),
    ] = None,
    distill: Annotated[
        str | None,
        valued("--distill", metavar="NAME", help="An installed model to learn from as well: similarities, features."),
    ] = None,
    soft_labels: Annotated[
        str | None,
        valued("--soft-labels", metavar="COLUMN", help="Probabilities of classes, or a vector, for each picture."),
    ] = None,
    max_broken: Annotated[
        float | None,
        valued(
            "--max-broken",
            metavar="SHARE",
            help="Share of the pairs that may have an unreadable picture, before a run stops. Default: 0.1.",
        ),
    ] = None,
    precision: Annotated[
        TrainPrecision | None,
        valued(
            "--precision",
            metavar="auto|fp32|bf16|fp16",
            help="Number format. Default: auto, the fastest the device has.",
        ),
    ] = None,
    device: Annotated[
        str | None, valued("--device", metavar="auto|cpu|cuda|cuda:N", help="Where to train. Default: auto.")
    ] = None,
    threads: Annotated[int | None, valued("--threads", metavar="N", help="Processor threads. Default: all.")] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the image tower first: slower to start, then faster.")
    ] = False,
    seed: Annotated[
        int | None, valued("--seed", metavar="N", help="Repeats a run exactly, on the same machine. Default: 0.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        valued("--set", metavar="NAME=VALUE", help="Any other setting; docs/training.md has all. Give several."),
    ] = None,
    doctor_only: Annotated[
        bool, typer.Option("--doctor-only", help="Only say what is wrong with the data; train nothing.")
    ] = False,
    format: Annotated[
        Format | None,
        valued("--format", metavar="table|json|ndjson|csv|tsv", help="Of what --doctor-only writes. Default: table."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an installed model of that name.")] = False,
) -> None:
    """Train a model on pictures with texts, and install it.

    Without options the model that search uses is fine-tuned. A part of the pictures is held out, and each epoch is
    measured on it; the best weights are exported, compared with the towers they came from, and installed. Ctrl-C saves:
    --resume goes on. Needs the extra 'train'.

    \b
      clip train pairs.csv                     columns like filepath,caption
      clip train birds/                        birds/robin/1.jpg, birds/wren/2.jpg
      clip train pairs.csv --scratch --arch ViT-S/16 --name mine
      clip train --resume runs/mine
    """
    fall_silent()
    _require_train()
    if format is not None and not doctor_only:
        raise UsageError("--format says how --doctor-only writes what it finds; training writes no records")
    chosen: dict[str, Any] = {
        "validation": tuple(str(Path(path).resolve()) for path in validation or ()) or None,
        "image_column": image_column,
        "text_column": text_column,
        "group": group,
        "templates": tuple(template) if template else None,
        "objective": objective.value if objective else None,
        "same_text": same_text.value if same_text else None,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "arch": arch,
        "tune": tune.value if tune else None,
        "rank": rank,
        "anchor": anchor,
        "keep": tuple(str(Path(path).resolve()) for path in keep or ()) or None,
        "distill": distill,
        "soft_labels": soft_labels,
        "max_broken": max_broken,
        "precision": precision.value if precision else None,
        "device": device,
        "threads": threads,
        "compile": compile or None,
        "seed": seed,
    }
    if resume is not None:
        changed = {name: value for name in ("anchor", "max_broken") if (value := chosen.pop(name)) is not None}
        alone = [data, start, scratch, recipe, name, output, settings, doctor_only, *chosen.values()]
        if any(value is not None and value is not False for value in alone):
            raise UsageError("--resume goes on with the run as it was begun; leave the other options out")
        run_training(None, resume, replace, changed=changed)
        return
    if not data:
        raise UsageError("no pairs to train on: name a file of pairs or a folder (see 'clip train --help')")
    plain, weights = weighed(data)
    called = run_name(name, "piped" if is_pipe(plain[0]) else plain[0])
    run = output or unused_folder(Path("runs") / called)
    chosen |= {"name": called, "weights": weights}
    chosen["data"] = tuple(each if is_pipe(each) else str(Path(each).resolve()) for each in plain)
    options = run_options(chosen, settings or [], start, scratch, recipe)
    if doctor_only:
        with put_down(options, None) as options:
            run_doctor(options, format)
        return
    check_free(called, replace, "give another --name, or --replace")
    with put_down(options, run) as options:
        run_training(options, run, replace)


def _require_train() -> None:
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("torch", "onnxscript", "safetensors", "pyarrow", "tensorboard")):
        raise MissingExtraError("train", "clip train")

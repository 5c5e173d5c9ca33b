"""`clip eval probe`: what a linear classifier learns from a model's features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipcli.commands.measuring import (
    LABELLED_DATA_HELP,
    DarkOption,
    ImageColumnOption,
    NoCacheOption,
    OneModelOption,
    Refusals,
    TextColumnOption,
    each_model,
    figures_format,
    library_in,
    prototypes_of,
    read_rows,
    say_how,
    told_model,
)
from clipcli.commands.options import Device, DeviceOption, FormatOption, Precision, PrecisionOption
from clipcli.errors import DataError, InputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.datasets.examples import Labelled
    from clipcli.datasets.features import Features
    from clipcli.evaluate.probe import Parts
    from clipcli.render.progress import Bar
    from clipcli.render.records import Record
    from clipcli.render.tables import Cell

FIELDS = (
    "model", "precision", "shots", "fitted", "tested", "classes", "strength", "top1", "mean_per_class",
)  # fmt: skip
DRAWS = 3


def probe(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help=LABELLED_DATA_HELP,
            show_default=False,
        ),
    ],
    test: Annotated[
        Path | None,
        typer.Option(
            "--test",
            metavar="DATA",
            help="Measure on these pictures, of the same classes, and fit with all of the others.",
            show_default=False,
        ),
    ] = None,
    shots: Annotated[
        list[str] | None,
        typer.Option(
            "--shots",
            metavar="N,N,...",
            help="Fit with so few pictures of each class as well, as 1,2,4,8,16; the mean of three draws. Repeatable.",
            show_default=False,
        ),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            "--curve",
            metavar="FILE",
            help="Draw the few-shot curve beside zero-shot: .png, .jpg, .webp, .pdf or .svg. Needs the extra 'plot'.",
            show_default=False,
        ),
    ] = None,
    dark: DarkOption = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="What is held out, and what is drawn.")] = 0,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    no_cache: NoCacheOption = False,
    model: OneModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
) -> None:
    """Fit a linear classifier to a model's features, and measure it.

    Logistic regression on frozen features, as in the paper: a fifth of each class is held out to measure with (unless
    --test has pictures for that), another fifth to choose the strength of the penalty by. Beside it stands zero-shot on
    the same pictures. Needs the extra 'eval'.

    \b
      clip eval probe photos/
      clip eval probe train/ --test test/
      clip eval probe labels.csv --shots 1,2,4,8,16 --curve shots.png
    """
    from clipcli.render.progress import progress_bar
    from clipcli.render.records import write_records

    written = figures_format(format)
    counts = _counts(shots)
    if curve is not None:
        from clipcli.render.figure_style import check_figure
        from clipcli.render.made_files import check_replaceable

        if not counts:
            raise UsageError("--curve draws what --shots measures: give it as well, as --shots 1,2,4,8,16")
        check_figure(curve, "drawing a curve")
        check_replaceable(curve)
    examples, own = _examples(data, test, image_column, text_column)
    (features,) = each_model(
        [model] if model else None, device=device, precision=precision, cached=not no_cache, library=library_in(data)
    )
    refusals = Refusals()
    vectors, places = refusals.pictures(features, examples.pictures, examples.names)
    seen = examples.only(places)
    parts = _parts(seen, own=int((places < own).sum()) if test is not None else None, seed=seed)
    if len(set(seen.wanted[parts.train].tolist())) < 2 or not len(parts.validation):
        fewest = "two pictures" if test is not None else "three pictures or more"
        raise DataError(f"{data} has fewer than two classes of {fewest}; a probe needs them")
    records = [_zero_shot(features, vectors, seen, parts)]
    with progress_bar("Fitting", total=None, unit="fits") as bar:
        records += [_fitted(features, vectors, seen, parts, count, seed, bar) for count in (*counts, None)]
    if curve is not None:
        from clipcli.render.figure_style import DARK, LIGHT
        from clipcli.render.shots_figure import draw_shots

        points = [(cast("int", one["shots"]), cast("float", one["top1"])) for one in records[1:-1]]
        ends = cast("float", records[0]["top1"]), cast("float", records[-1]["top1"])
        title = f"{features.model.name}: a linear probe"
        draw_shots(points, curve, zero_shot=ends[0], whole=ends[1], title=title, look=DARK if dark else LIGHT)
    if written == "table":
        _write(records)
        _say_ends(records)
        say_how([features], len(examples.pictures))
    else:
        write_records(records, format=written, fields=FIELDS)
        _say_ends(records)
    refusals.raise_at_the_end()


def _examples(data: Path, test: Path | None, image_column: str | None, text_column: str | None) -> tuple[Labelled, int]:
    """All pictures, those to measure with last; and how many come before them."""
    from clipcli.datasets.examples import labelled
    from clipcli.render.notes import counted, say

    named = text_column is not None
    examples = labelled(read_rows(data, image_column, text_column), where=str(data), texts_are_labels=named)
    own = len(examples.pictures)
    if test is None:
        return examples, own
    rows = read_rows(test, image_column, text_column)
    examples, strange = examples.joined(labelled(rows, where=str(test), texts_are_labels=named, fewest=1))
    if len(examples.pictures) == own:
        raise DataError(f"{test} has no picture of any class of {data}: labels have to be the same, letter by letter")
    both = len(set(examples.pictures[:own]) & set(examples.pictures[own:]))
    if both:
        say(f"{counted(both, 'picture')} of {test} {'is' if both == 1 else 'are'} in {data}, too: not new to the probe")
    if strange:
        say(f"left out {counted(strange, 'picture')} of {test}, of classes that {data} does not have")
    return examples, own


def _parts(seen: Labelled, *, own: int | None, seed: int) -> Parts:
    """Places to fit with, to choose by and to measure with; with `own`, what comes from there on is measured with."""
    import numpy as np

    from clipcli.evaluate.probe import Parts, split, split_without_test

    if own is None:
        return split(seen.wanted, seed=seed)
    found = split_without_test(seen.wanted[:own], seed=seed)
    if own == len(seen.wanted):
        raise InputError("none of the pictures to measure with could be read")
    return Parts(train=found.train, validation=found.validation, test=np.arange(own, len(seen.wanted)))


def _counts(shots: list[str] | None) -> list[int]:
    """The numbers of all the options, each of which may have several."""
    told = ",".join(shots or ())
    try:
        counts = sorted({int(part) for part in told.split(",")}) if shots else []
    except ValueError:
        counts = [0]
    if counts and counts[0] < 1:
        raise UsageError(f"--shots takes numbers above zero with commas between them, not {told!r}")
    return counts


def _zero_shot(features: Features, vectors: NDArray[np.float32], seen: Labelled, parts: Parts) -> Record:
    from clipcli.evaluate.confusions import answers

    prototypes = prototypes_of(features, seen.spoken, features.model.spec.templates)
    given, _ = answers(vectors[parts.test], prototypes)
    return _record(features, seen, parts, [given], shots=0, fitted=0, strength=None)


def _fitted(
    features: Features,
    vectors: NDArray[np.float32],  # (N, D)
    seen: Labelled,
    parts: Parts,
    count: int | None,
    seed: int,
    bar: Bar,
) -> Record:
    """A probe fitted to `count` pictures of each class, or to all that are not for measuring."""
    import numpy as np

    from clipcli.evaluate.probe import best_strength, few_of_each, fitted_answers

    def answer(places: NDArray[np.intp], asked: NDArray[np.intp], strength: float) -> NDArray[np.intp]:
        bar.advance()
        return fitted_answers(vectors[places], seen.wanted[places], vectors[asked], strength=strength)

    draws = [parts.train]
    if count is not None:
        draws = [few_of_each(seen.wanted, parts.train, count, seed=seed + draw) for draw in range(DRAWS)]
    wanted = seen.wanted[parts.validation]
    strength = best_strength(lambda tried: float((answer(draws[0], parts.validation, tried) == wanted).mean()))
    if count is None:
        draws = [np.concatenate([parts.train, parts.validation])]
    given = [answer(places, parts.test, strength) for places in draws]
    return _record(features, seen, parts, given, shots=count, fitted=len(draws[0]), strength=strength)


def _record(
    features: Features,
    seen: Labelled,
    parts: Parts,
    given: list[NDArray[np.intp]],
    *,
    shots: int | None,
    fitted: int,
    strength: float | None,
) -> Record:
    import numpy as np

    wanted = seen.wanted[parts.test]
    right = np.mean([answers == wanted for answers in given], axis=0)  # (M,) how often in how many draws
    classes = np.unique(wanted)
    return {
        **told_model(features.model),
        "shots": shots,
        "fitted": fitted,
        "tested": len(wanted),
        "classes": len(classes),
        "strength": strength,
        "top1": round(float(right.mean()), 6),
        "mean_per_class": round(float(np.mean([right[wanted == label].mean() for label in classes])), 6),
    }


def _say_ends(records: list[Record]) -> None:
    """A line where the sweep found its best strength at an end of what it goes through."""
    from clipcli.evaluate.probe import HIGHEST, LOWEST
    from clipcli.render.notes import say

    ends = [record for record in records if record["strength"] in (LOWEST, HIGHEST)]
    if ends:
        which = " and ".join(f"C = {end:g}" for end in (LOWEST, HIGHEST) if any(one["strength"] == end for one in ends))
        say(
            f"{which} ({', '.join(map(_fitted_to, ends))}): the end of the sweep, {LOWEST:g} to {HIGHEST:g}; "
            "a better one may lie beyond, unless all near it are equally good"
        )


def _fitted_to(record: Record) -> str:
    shots = record["shots"]
    return "zero-shot" if shots == 0 else "all" if shots is None else f"{shots} of each class"


def _write(records: list[Record]) -> None:
    from clipcli.render.tables import Column, write_table
    from clipcli.render.text import percent

    columns = [Column(title=""), Column(title="fitted to", right=True), Column(title="C", right=True)]
    columns += [Column(title="top-1", right=True), Column(title="mean per class", right=True)]
    rows: list[list[Cell]] = []
    for record in records:
        strength = "" if record["strength"] is None else f"{record['strength']:.3g}"
        shares = (percent(cast("float", record[of])) for of in ("top1", "mean_per_class"))
        rows.append([_fitted_to(record), f"{record['fitted']:,}" if record["fitted"] else "", strength, *shares])
    write_table(columns, rows)

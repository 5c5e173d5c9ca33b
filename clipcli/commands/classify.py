"""`clip classify`: which of the labels given fits each picture best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipcli.commands.options import (
    Device,
    DeviceOption,
    FormatOption,
    LibraryOption,
    ModelOption,
    NullOption,
    Precision,
    PrecisionOption,
)
from clipcli.errors import InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model
    from clipcli.commands.pictures import Skipped
    from clipcli.render.records import Record

    Batch = tuple[list[bytes], NDArray[np.float32]]  # paths, (B, D)

STORED_AT_ONCE = 4096
FIELDS = ("path", "path_b64", "label", "probability", "cosine", "rank")


def classify(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE", help="Pictures, or folders of pictures.", show_default=False),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="LABEL", help="A label; give several.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="A text file with a label on each line.", show_default=False),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            metavar="TEXT",
            help="The sentence a label is put into, as 'a photo of a {}.'; several are averaged. Default: the model's.",
            show_default=False,
        ),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(
            "--templates", metavar="FILE", help="A text file with a template on each line.", show_default=False
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=0, help="Show the N likeliest labels; 0 shows all.")] = 10,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="LABEL", help="Show only pictures whose likeliest label is this one.", show_default=False
        ),
    ] = None,
    library: Annotated[
        bool, typer.Option("--library", help="Classify the pictures of the library, from their stored embeddings.")
    ] = False,
    db: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """Sort pictures by labels of your own.

    Each label is put into a sentence, and each picture is compared with all of them. The probability says how likely
    a label is among those given; the cosine says how near picture and sentence are, whatever else is asked. A single
    label has no probability, since there is nothing to compare it with.

    \b
      clip classify cat.jpg -l cat -l dog
      clip classify ~/Pictures --labels labels.txt --format csv
      clip classify scans -l receipt -l letter --only receipt -0 | xargs -0 ls -l
    """
    from clipcli.bundle.templates import class_prototypes
    from clipcli.commands.opening import model_and_device
    from clipcli.commands.pictures import Skipped
    from clipcli.render.notes import aside, counted, say
    from clipcli.render.records import choose_format, write_records

    written = choose_format(format, print0=print0)
    names = _texts("label", label, labels)
    if not names:
        raise UsageError("no labels: give some with -l LABEL or --labels FILE (see 'clip classify --help')")
    if library == bool(images):
        raise UsageError("give either pictures or folders, or --library (see 'clip classify --help')")
    wanted = frozenset(only or [])
    if unknown := sorted(wanted - set(names)):
        raise UsageError(f"--only {unknown[0]!r} is not among the labels")
    skipped = Skipped()
    loaded, batches = _source(images or [], library, db, model, device, precision, skipped)
    sentences = _texts("template", template, templates) or loaded.spec.templates
    prototypes = class_prototypes(loaded, names, sentences)  # (C, D)
    tally = Tally()
    records = judge(batches, prototypes, names, loaded, k or len(names), wanted, tally)
    if written == "table":
        write_judged(list(records))
        if tally.seen:
            aside(f"{counted(tally.seen, 'picture')}, by {model_and_device(loaded)}")
    else:
        write_records(records, format=written, fields=FIELDS, print0=print0)

    if len(names) == 1 and loaded.spec.logit_bias is None:
        say("a single label has no probability, only a cosine: give another label to compare it with")
    if not tally.seen and not skipped.files:
        say("there are no pictures to classify")
    elif tally.seen and not tally.shown:
        say(f"of {counted(tally.seen, 'picture')}, none is likeliest {' or '.join(sorted(wanted))}")
    if skipped.files:
        considered = counted(tally.seen + len(skipped.files), "picture")
        raise InputError(f"{len(skipped.files):,} of {considered} could not be read")


@dataclass(kw_only=True, slots=True)
class Tally:
    """How many pictures were classified, and how many of them are shown."""

    seen: int = 0
    shown: int = 0


def _texts(kind: str, given: Sequence[str] | None, file: Path | None) -> list[str]:
    """The labels or templates of the options and of the file's lines, each once, in order; empty lines are left out."""
    texts = list(given or [])
    if file is not None:
        try:
            texts += file.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            raise NotFoundError(f"no such file: {file}") from None
        except (UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
            raise UsageError(f"{file} is no readable text file in UTF-8") from error
    texts = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if file is not None and not texts:
        raise UsageError(f"there is no {kind} in {file}")
    return texts


def _source(
    images: Sequence[Path],
    library: bool,
    db: Path | None,
    name: str | None,
    device: Device,
    precision: Precision,
    skipped: Skipped,
) -> tuple[Model, Iterator[Batch]]:
    """The model, and the pictures with their vectors, from files or from the library."""
    from clipcli.commands.opening import open_model
    from clipcli.commands.pictures import embed_pictures, picture_paths

    if library:
        return _stored(db, name, device, precision)
    paths = picture_paths(images, skipped)
    loaded = open_model(name, device=device, precision=precision)
    return loaded, embed_pictures(loaded, paths, skipped)


def _stored(db: Path | None, name: str | None, device: Device, precision: Precision) -> tuple[Model, Iterator[Batch]]:
    """The library's model and the pictures with the vectors it has of them, in the order of their ids."""
    from clipcli.commands.opening import open_library, open_model, open_model_of
    from clipcli.library.search import paths_of
    from clipcli.library.vectors import vectors

    with open_library(db) as opened:
        chosen = open_model_of(opened, name, device=device, precision=precision)
        if chosen is None:
            return open_model(name, device=device, precision=precision), iter(())
        with opened.read():  # one state, so that every vector has its path
            ids, rows = vectors(
                opened, identity=chosen.model.identity, precision=chosen.stored_precision
            )  # (N,), (N, D)
            where = paths_of(opened, (int(number) for number in ids))

    def batches() -> Iterator[Batch]:
        for start in range(0, len(ids), STORED_AT_ONCE):
            part = slice(start, start + STORED_AT_ONCE)
            yield [where[int(number)] for number in ids[part]], rows[part]

    return chosen.model, batches()


def judge(
    batches: Iterator[Batch],
    prototypes: NDArray[np.float32],  # (C, D)
    names: Sequence[str],
    model: Model,
    top: int,
    wanted: frozenset[str],
    tally: Tally,
) -> Iterator[Record]:
    """A record per picture and label, likeliest first; a picture whose likeliest label is not wanted is left out."""
    from clipcli.evaluate.probabilities import label_probabilities, likeliest

    certain = len(names) > 1 or model.spec.logit_bias is not None
    for paths, vectors in batches:
        cosines = vectors @ prototypes.T  # (B, C)
        probabilities = label_probabilities(
            cosines, logit_scale=model.spec.logit_scale, logit_bias=model.spec.logit_bias
        )
        order = likeliest(cosines, top)  # (B, top)
        tally.seen += len(paths)
        for row, path in enumerate(paths):
            if wanted and names[order[row, 0]] not in wanted:
                continue
            tally.shown += 1
            for rank, column in enumerate(order[row], start=1):
                yield {
                    "path": path,
                    "label": names[column],
                    "probability": round(float(probabilities[row, column]), 6) if certain else None,
                    "cosine": round(float(cosines[row, column]), 6),
                    "rank": rank,
                }


def write_judged(records: Sequence[Record]) -> None:
    """Pictures with their labels as a table; nothing at all for none."""
    from clipcli.render.tables import BarCell, Cell, Column, PathCell, write_table

    rows: list[list[Cell]] = []
    columns = [Column(title="picture", wide=True), Column(title="label"), Column(title="cosine", right=True)]
    certain = any(record["probability"] is not None for record in records)
    if certain:
        columns += [Column(title="probability", right=True), Column(title="")]
    for record in records:
        row: list[Cell] = [
            PathCell(path=cast("bytes", record["path"]), again=record["rank"] != 1),
            str(record["label"]),
            f"{record['cosine']:.3f}",
        ]
        if certain:
            share = cast("float", record["probability"])
            row += [f"{share:.1%}", BarCell(share=share)]
        rows.append(row)
    if rows:
        write_table(columns, rows)

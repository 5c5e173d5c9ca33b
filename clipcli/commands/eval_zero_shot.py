"""`clip eval zero-shot`: how many pictures are put into their class by its name alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.eval_figures import CLASS_FIELDS, FIELDS, class_records, prompt_records, write_figures
from clipcli.commands.measuring import (
    LABELLED_DATA_HELP,
    DarkOption,
    ImageColumnOption,
    ModelsOption,
    NoCacheOption,
    Refusals,
    TextColumnOption,
    each_model,
    figures_format,
    library_in,
    read_lines,
    rows_of,
    say_how,
)
from clipcli.commands.options import (
    Device,
    DeviceOption,
    FormatOption,
    LibraryOption,
    Precision,
    PrecisionOption,
)
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.render.records import Record


def zero_shot(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help=LABELLED_DATA_HELP,
            show_default=False,
        ),
    ] = None,
    library: Annotated[
        bool, typer.Option("--library", help="The pictures of the library with the one tag a person gave them.")
    ] = False,
    templates: Annotated[
        Path | None,
        typer.Option(
            "--templates",
            metavar="FILE",
            help="A text file with a prompt template on each line, {} where the label goes; they are averaged.",
            show_default=False,
        ),
    ] = None,
    template_set: Annotated[
        str | None,
        typer.Option(
            "--template-set",
            metavar="NAME",
            help="Templates of ours: photos, textures, satellite, screenshots or handwriting. Default: the model's.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Figures for each class, the worst first.")] = False,
    confusion: Annotated[
        Path | None,
        typer.Option(
            "--confusion",
            metavar="FILE",
            help="Draw the confusion matrix: .png, .jpg, .webp, .pdf or .svg. Needs the extra 'plot'.",
            show_default=False,
        ),
    ] = None,
    dark: DarkOption = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="FILE",
            help="A contact sheet of what is confused most: .jpg, .png or .pdf. Only a sheet made by clip is replaced.",
            show_default=False,
        ),
    ] = None,
    image_column: ImageColumnOption = None,
    text_column: TextColumnOption = None,
    no_cache: NoCacheOption = False,
    db: LibraryOption = None,
    model: ModelsOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    format: FormatOption = None,
) -> None:
    """Measure how many pictures are put into their class by its name alone.

    Each label (up to its first comma) is put into prompt templates whose embeddings are averaged; beside that stands
    what the bare label and "a photo of a {}." reach. Top-1, top-5, and the mean of all classes' top-1. Ties count half.

    \b
      clip eval zero-shot photos/ --per-class
      clip eval zero-shot labels.csv -m starter -m mine --templates mine.txt
      clip eval zero-shot photos/ --confusion confusion.png --sheet confused.jpg
      clip eval zero-shot --library --format json
    """
    from clipcli.datasets import template_sets
    from clipcli.datasets.examples import labelled
    from clipcli.render.records import write_records

    written = figures_format(format)
    if library == (data is not None):
        raise UsageError("give either DATA or --library (see 'clip eval zero-shot --help')")
    if templates is not None and template_set is not None:
        raise UsageError("give either --templates or --template-set")
    if len(model or ()) > 1 and (confusion or sheet or per_class):
        raise UsageError("--per-class, --confusion and --sheet are about one model: name one with -m")
    if confusion is not None:
        from clipcli.render.figure_style import check_figure
        from clipcli.render.made_files import check_replaceable

        check_figure(confusion, "drawing a confusion matrix")
        check_replaceable(confusion)
    if sheet is not None:
        from clipcli.render.contact_sheet import check_sheet

        check_sheet(sheet)
    prompts = tuple(read_lines(templates, "template")) if templates else ()
    if template_set is not None:
        prompts = template_sets.template_set(template_set)
    chosen = template_set or (templates.name if templates else "model")
    rows = rows_of(data, db, image_column, text_column)
    examples = labelled(
        rows, where="the library" if data is None else str(data), texts_are_labels=text_column is not None
    )
    models = each_model(model, device=device, precision=precision, cached=not no_cache, library=library_in(data, db))
    refusals = Refusals()
    records: list[Record] = []
    classes: list[Record] = []
    for features in models:
        vectors, places = refusals.pictures(features, examples.pictures, examples.names)
        seen = examples.only(places)
        found, prototypes = prompt_records(features, vectors, seen, prompts, chosen)
        records += found
        if per_class or confusion or sheet:
            from clipcli.commands.eval_pictures import draw

            classes = class_records(features.model, vectors, prototypes, seen)
            draw(vectors, prototypes, seen, confusion=confusion, sheet=sheet, dark=dark, model=features.model.name)
    if written == "table":
        write_figures(records, classes if per_class else [])
        say_how(models, len(examples.pictures))
    elif per_class:
        write_records(classes, format=written, fields=CLASS_FIELDS)
    else:
        write_records(records, format=written, fields=FIELDS)
    refusals.raise_at_the_end()

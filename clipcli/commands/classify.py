"""`clip classify`: which of the labels given fits each picture best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands import galleries
from clipcli.commands.filter_options import (
    CameraOption,
    FormatIsOption,
    InOption,
    MinSizeOption,
    NearOption,
    SinceOption,
    TagOption,
    UntilOption,
    WhereOption,
    read_filters,
)
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
from clipcli.commands.result_options import HtmlOption, PreviewAsOption, PreviewOption, SheetOption
from clipcli.errors import InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    from clipcli.render.records import Record


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
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            metavar="N",
            min=0,
            help="Show the N likeliest labels; 0 shows all. Default: 10, of a library those it tags with.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="LABEL", help="Show only pictures whose likeliest label is this one.", show_default=False
        ),
    ] = None,
    library: Annotated[
        bool,
        typer.Option("--library", help="Tag the pictures of the library, from their stored embeddings; see below."),
    ] = False,
    multi: Annotated[
        bool,
        typer.Option("--multi", help="With --library: every label above the threshold, each judged on its own."),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="P",
            help="With --library: no label less probable than this. With --multi or a single label it is a cosine, "
            "unless the model was trained with sigmoids.",
            show_default=False,
        ),
    ] = None,
    none_label: Annotated[
        str | None,
        typer.Option(
            "--none-label",
            metavar="NAME",
            help="With --library: the label of pictures that get none of the others.",
            show_default=False,
        ),
    ] = None,
    accept_truncated: Annotated[
        bool, typer.Option("--accept-truncated", help="Of a file that was cut short, take what is there.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --library: only say what would be tagged.")] = False,
    folder: InOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    tag: TagOption = None,
    format_is: FormatIsOption = None,
    min_size: MinSizeOption = None,
    where: WhereOption = None,
    preview: PreviewOption = False,
    preview_as: PreviewAsOption = None,
    html: HtmlOption = None,
    sheet: SheetOption = None,
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

    With --library the pictures of the library are tagged, each with its likeliest label, and the score of the tag is
    the cosine. What models said about these labels before is replaced, your own tags stay. Filters choose among the
    pictures. Without --format it is shown how many pictures got each label, and with it, which.

    \b
      clip classify cat.jpg -l cat -l dog
      clip classify ~/Pictures --labels labels.txt --format csv
      clip classify ~/Pictures -l cat -l dog --html sorted.html
      clip classify scans -l receipt -l letter --only receipt -0 | xargs -0 ls -l
      clip classify --library -l cat -l dog -l landscape --threshold 0.8 --none-label other
      clip classify --library -l beach -l sunset --multi --threshold 0.2 --dry-run
    """
    from clipcli.bundle.templates import class_prototypes
    from clipcli.commands.judged_pictures import judged_gallery
    from clipcli.commands.judging import FIELDS, Tally, judge, write_judged
    from clipcli.commands.opening import model_and_device, open_model
    from clipcli.commands.pictures import Skipped, embed_pictures, picture_paths
    from clipcli.render.notes import aside, counted, say, say_cut_short
    from clipcli.render.records import choose_format, write_records

    written = choose_format(format, print0=print0)
    seen = galleries.Wanted(preview=preview, way=preview_as, html=html, sheet=sheet)
    names = _texts("label", label, labels)
    if len({name.casefold() for name in names}) < len(names):
        say("some labels differ in upper and lower case alone: most models cannot tell those apart")
    if not names:
        raise UsageError("no labels: give some with -l LABEL or --labels FILE (see 'clip classify --help')")
    if library == bool(images):
        raise UsageError("give either pictures or folders, or --library (see 'clip classify --help')")
    wanted = frozenset(only or [])
    if unknown := sorted(wanted - set(names)):
        raise UsageError(f"--only {unknown[0]!r} is not among the labels")
    sentences = _texts("template", template, templates)
    filters = read_filters(
        folders=folder,
        since=since,
        until=until,
        cameras=camera,
        near=near,
        tags=tag,
        formats=format_is,
        min_size=min_size,
        where=where,
    )
    if library and accept_truncated:
        raise UsageError("--accept-truncated is for pictures, not for --library")
    if library:
        from clipcli.commands.labelling import Wanted, label_library

        label_library(
            Wanted(
                names=tuple(names),
                templates=tuple(sentences),
                multi=multi,
                threshold=threshold,
                none_label=none_label,
                filters=filters,
                dry_run=dry_run,
                k=k,
                only=wanted,
            ),
            None if format is None and not print0 else written,
            db,
            model,
            device=device,
            precision=precision,
            print0=print0,
            pictures=seen,
        )
        return
    if multi or dry_run or filters is not None or threshold is not None or none_label is not None:
        raise UsageError("--multi, --threshold, --none-label, --dry-run and filters are for --library")
    skipped = Skipped()
    paths = picture_paths(images or [], skipped)
    loaded = open_model(model, device=device, precision=precision)
    prototypes = class_prototypes(loaded, names, sentences or loaded.spec.templates)  # (C, D)
    batches = embed_pictures(loaded, paths, skipped, accept_truncated=accept_truncated)
    tally = Tally()
    records: Iterable[Record] = judge(
        batches, prototypes, names, loaded, (10 if k is None else k) or len(names), wanted, tally
    )
    gallery = None
    if seen.seen or seen.kept:
        records = kept = list(records)
        gallery = judged_gallery(kept, names)
    shown = gallery is not None and galleries.look(gallery, seen, written)
    if written == "table":
        if not shown:
            write_judged(list(records))
        if tally.seen:
            aside(f"{counted(tally.seen, 'picture')}, by {model_and_device(loaded)}")
    else:
        write_records(records, format=written, fields=FIELDS, print0=print0)

    if len(names) == 1 and loaded.spec.logit_bias is None:
        say("a single label has no probability, only a cosine: give another label to compare it with")
    if len(names) > 1 and loaded.spec.logit_bias is not None and tally.seen and written == "table":
        say(f"{loaded.name} gives each label a probability of its own: they are independent and do not add up to 1")
    if not tally.seen and not skipped.files:
        say("there are no pictures to classify")
    elif tally.seen and not tally.shown:
        say(f"of {counted(tally.seen, 'picture')}, none is likeliest {' or '.join(sorted(wanted))}")
    if gallery is not None:
        galleries.put_down(gallery, seen)
    say_cut_short([reason for _, reason in skipped.files])
    if skipped.files:
        considered = counted(tally.seen + len(skipped.files), "picture")
        raise InputError(f"{len(skipped.files):,} of {considered} could not be read")


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

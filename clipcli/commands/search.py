"""`clip search`: the pictures of the library that are nearest to words, to pictures, or to sums and differences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from clipcli.commands.result_options import (
    CopyToOption,
    CountOption,
    FactsOption,
    HtmlOption,
    LinkToOption,
    MinSigmaOption,
    OpenOption,
    PreviewAsOption,
    PreviewOption,
    SheetOption,
    ThresholdOption,
)


def search(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY",
            help="Words, quoted or not; or the path of a picture; or id:NUMBER, a picture of the library.",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option(
            "--like",
            metavar="FILE",
            help="A picture to look like; together with words, both count.",
            show_default=False,
        ),
    ] = None,
    plus: Annotated[
        list[str] | None,
        typer.Option(
            "--plus",
            metavar="[W:]TERM",
            help="Something to add: words, the path of a picture (./pool.jpg), or id:NUMBER; W is how much it counts.",
            show_default=False,
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option("--minus", metavar="[W:]TERM", help="Something to take away.", show_default=False),
    ] = None,
    k: CountOption = 10,
    threshold: ThresholdOption = None,
    min_sigma: MinSigmaOption = None,
    folder: InOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    tag: TagOption = None,
    format_is: FormatIsOption = None,
    min_size: MinSizeOption = None,
    where: WhereOption = None,
    db: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
    facts: FactsOption = False,
    preview: PreviewOption = False,
    preview_as: PreviewAsOption = None,
    html: HtmlOption = None,
    sheet: SheetOption = None,
    copy_to: CopyToOption = None,
    link_to: LinkToOption = None,
    show_them: OpenOption = False,
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """Find pictures by words, by a picture, or by both.

    The score is a cosine: how near a picture is to what was asked for. What counts as near differs from model to
    model, so compare scores with each other. Filters choose among the pictures before any is scored; all that are given
    have to hold.

    \b
      clip search red motorcycle
      clip search holiday/boat.jpg
      clip search --like bike.jpg at night
      clip search golden retriever --plus 2:./pool.jpg --minus grass
      clip search a lake --since 2021-07 --until 2021-08 --near 46.2,6.15,50
      clip search receipt -k 100 --min-sigma 3 --copy-to receipts
      clip search a dog on the beach --preview
      clip search a dog on the beach -k 200 --html dogs.html
      clip search receipt -k 100 -0 | xargs -0 ls -l
    """
    from clipcli.commands.filter_options import read_filters
    from clipcli.commands.galleries import Wanted
    from clipcli.commands.query import read_query
    from clipcli.commands.results import Asked, Output, look_up, show
    from clipcli.render.records import choose_format

    output = Output(
        written=choose_format(format, print0=print0),
        print0=print0,
        facts=facts,
        copy_to=copy_to,
        link_to=link_to,
        open=show_them,
        wanted=Wanted(preview=preview, way=preview_as, html=html, sheet=sheet),
    )
    asked = Asked(
        query=read_query(query or [], like or [], plus or [], minus or []),
        k=k,
        threshold=threshold,
        min_sigma=min_sigma,
        filters=read_filters(
            folders=folder,
            since=since,
            until=until,
            cameras=camera,
            near=near,
            tags=tag,
            formats=format_is,
            min_size=min_size,
            where=where,
        ),
        facts=facts or output.pictured,
    )
    show(look_up(asked, db, model, device=device, precision=precision), output)

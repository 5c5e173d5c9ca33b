"""`clip similar`: the pictures of the library that look most like one of them, or like any other picture."""

from __future__ import annotations

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


def similar(
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="A picture by its path, or id:NUMBER, one of the library."),
    ],
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
    """Find pictures that look like another one.

    IMAGE need not be in the library. Where it is, it is left out of the results itself; copies of it elsewhere are not.

    \b
      clip similar holiday/boat.jpg
      clip similar id:12 --preview
      clip similar id:12 -k 50 --link-to boats
    """
    from clipcli.commands.filter_options import read_filters
    from clipcli.commands.galleries import Wanted
    from clipcli.commands.query import Query, read_picture
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
        query=Query(terms=(read_picture(image),)),
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
        leave_out=True,
        facts=facts or output.pictured,
    )
    show(look_up(asked, db, model, device=device, precision=precision), output)

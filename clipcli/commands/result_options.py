"""The options that say which results are wanted, and what is to become of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class PreviewWay(StrEnum):
    """How a terminal shows pictures."""

    kitty = "kitty"
    iterm2 = "iterm2"
    sixel = "sixel"
    blocks = "blocks"


CountOption = Annotated[int, typer.Option("-k", metavar="N", min=0, help="Show the N best; 0 shows all.")]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="COSINE",
        min=-1,
        max=1,
        help="Show only scores at or above this.",
        show_default=False,
    ),
]
MinSigmaOption = Annotated[
    float | None,
    typer.Option(
        "--min-sigma",
        metavar="N",
        help="Show only scores N standard deviations above the mean of the whole library's for this query. Chance "
        "alone takes the best of 1,000 pictures to about 3, of 100,000 to about 4.4.",
        show_default=False,
    ),
]
FactsOption = Annotated[
    bool,
    typer.Option(
        "--facts",
        help="Show size, format, date, camera and place of each picture as well. ~ before a date: only the file's own "
        "time says so.",
    ),
]
CopyToOption = Annotated[
    Path | None,
    typer.Option(
        "--copy-to",
        metavar="FOLDER",
        help="Copy the pictures found into this folder; nothing in it is replaced.",
        show_default=False,
    ),
]
LinkToOption = Annotated[
    Path | None,
    typer.Option(
        "--link-to",
        metavar="FOLDER",
        help="Put symbolic links to the pictures found into this folder.",
        show_default=False,
    ),
]
OpenOption = Annotated[
    bool, typer.Option("--open", help="Open the pictures found (20 at most) in your desktop's viewer.")
]
PreviewOption = Annotated[
    bool,
    typer.Option(
        "--preview", help="Show the pictures themselves, in a grid, as well as the terminal can. Not in a pipe."
    ),
]
PreviewAsOption = Annotated[
    PreviewWay | None,
    typer.Option(
        "--preview-as",
        metavar="kitty|iterm2|sixel|blocks",
        help="Show them in this way. Default: the terminal is asked.",
        show_default=False,
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write the pictures found to a page that needs nothing else. Only a page made by clip is replaced.",
        show_default=False,
    ),
]
SheetOption = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE",
        help="Draw a contact sheet of them: .jpg, .png or .pdf. Only a sheet made by clip is replaced.",
        show_default=False,
    ),
]

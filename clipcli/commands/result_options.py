"""The options that say which results are wanted, and what is to become of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    bool, typer.Option("--facts", help="Show size, format, date, camera and place of each picture as well.")
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

"""What `clip eval zero-shot` draws: the confusion matrix, and the worst confusions as a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.commands.galleries import Wanted, put_down
from clipcli.commands.measuring import source_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.datasets.examples import Labelled

MOST_PAIRS = 12
MOST_OF_A_PAIR = 6  # a row of the sheet


def draw(
    vectors: NDArray[np.float32],  # (N, D)
    prototypes: NDArray[np.float32],  # (C, D)
    examples: Labelled,
    *,
    confusion: Path | None,
    sheet: Path | None,
    dark: bool,
    model: str,
) -> None:
    """Draw what is wanted. Raises as `save_figure`; InputError where pictures of the sheet cannot be read."""
    from clipcli.evaluate.confusions import answers, confusion_matrix, worst_confusions
    from clipcli.render.notes import say

    given, cosines = answers(vectors, prototypes)
    if confusion is not None:
        from clipcli.render.confusion_figure import draw_confusion
        from clipcli.render.figure_style import DARK, LIGHT
        from clipcli.render.text import percent

        right = float((given == examples.wanted).mean())
        draw_confusion(
            confusion_matrix(examples.wanted, given, len(prototypes)),
            examples.spoken,
            confusion,
            title=f"{model}: {percent(right)} of {len(given):,} pictures right",
            look=DARK if dark else LIGHT,
        )
        say(f"{confusion}: {len(prototypes):,} classes")
    if sheet is not None:
        from clipcli.render.gallery import Gallery, Section, Tile

        spoken = examples.spoken
        sections, sources = [], []
        for pair in worst_confusions(examples.wanted, given, cosines, MOST_PAIRS):
            shown = pair.pictures[:MOST_OF_A_PAIR]
            sources += [examples.pictures[place] for place in shown]
            tiles = tuple(
                Tile(
                    path=source_path(examples.pictures[place], examples.names[place]),
                    figures=(f"cosine {cosines[place]:z.3f}",),
                )
                for place in shown
            )
            heading = f"{spoken[pair.wanted]}, taken for {spoken[pair.given]} ({len(pair.pictures):,})"
            sections.append(Section(tiles=tiles, heading=heading))
        gallery = Gallery(
            title="What is confused most",
            sections=tuple(sections),
            remark=f"by the model {model}",
            nothing="every picture was put into its class",
        )
        put_down(gallery, Wanted(sheet=sheet), sources=sources)

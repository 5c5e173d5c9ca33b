"""`clip eval`: how good models are on pictures of one's own."""

from __future__ import annotations

import typer

from clipcli.commands.eval_calibration import calibration
from clipcli.commands.eval_compare import compare
from clipcli.commands.eval_probe import probe
from clipcli.commands.eval_retrieval import retrieval
from clipcli.commands.eval_robustness import robustness
from clipcli.commands.eval_zero_shot import zero_shot

app = typer.Typer(
    help="Measure how good models are on your own pictures.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("zero-shot")(zero_shot)
app.command()(retrieval)
app.command()(probe)
app.command()(robustness)
app.command()(calibration)
app.command()(compare)

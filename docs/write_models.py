"""Writes docs/models.md from docs/models.json, which `clip eval compare` has measured. `make docs` runs it.

    python -m docs.write_models --measure --on DATA... [MODEL...]

measures anew and draws docs/models.png and docs/models-dark.png (`--draw` alone draws them again): the shipped model as
it is, the other precisions it has, fp32, made for this from the weights it ships with, and MODELs besides.
`tests/measuring/test_models_page.py` fails when page and figures disagree, or when another model ships than was
measured.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clipcli.commands.compared import SHOWN

HERE = Path(__file__).parent
FIGURES, PAGE = HERE / "models.json", HERE / "models.md"
CHARTS = {"models.png": False, "models-dark.png": True}
FURTHER = ("fp32",)  # of the shipped model, which has its other precisions with it

HEAD = """\
# Models side by side

Written by `make docs` from what `clip eval compare` has measured; what its figures mean stands in
[contract.md](contract.md). Each is a share of pictures or captions in per cent, with its 95 % interval in brackets; the
line below is the paired difference from the first model, with its interval: where that does not hold 0, it is more than
luck.

The first is the shipped model as it ships; fp32 was made for this from the weights it ships with, as `clip export`
makes it. The photographs were kept out of training, and chose the best epoch of it; their classes are those of the
training. What the model is not good for stands in its [card](../clipcli/starter/README.md).

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="models-dark.png">
  <img alt="The figures below, with their intervals" src="models.png" width="760">
</picture>
"""


def page(found: dict[str, Any]) -> str:
    """The whole of docs/models.md."""
    records = found["records"]
    names = list(dict.fromkeys(_name(record) for record in records))
    lines = [HEAD, "## What they cost\n"]
    lines += ["| model | images/s | to run | on disk |", "| --- | ---: | ---: | ---: |"]
    for name, record in zip(names, records, strict=False):
        sizes = " | ".join(f"{record[of] / 1e6:.1f} MB" for of in ("bytes_to_run", "bytes"))
        lines.append(f"| {name} | {record['images_per_second']:,.0f} | {sizes} |")
    lines.append(f"\nImages through the image tower alone, {found['measured']}:\n")
    lines += [f"- {line}" for line in found["machine"]]
    for data in dict.fromkeys(record["data"] for record in records):
        own = [record for record in records if record["data"] == data]
        figures = list(dict.fromkeys(record["figure"] for record in own))
        lines.append(f"\n## {data}\n\n{own[0]['pictures']:,} photographs.\n")
        lines += [f"| | {' | '.join(names)} |", f"| --- | {' | '.join('---:' for _ in names)} |"]
        for figure in figures:
            cells = [_cell(record) for record in own if record["figure"] == figure]
            lines.append(f"| {SHOWN[figure]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _name(record: dict[str, Any]) -> str:
    return f"{record['model']} ({record['precision']})"


def _cell(record: dict[str, Any]) -> str:
    share = f"{100 * record['value']:.1f} ({100 * record['low']:.1f} to {100 * record['high']:.1f})"
    if record["difference"] is None:
        return share
    low, high = (f"{100 * record[end]:+.1f}" for end in ("difference_low", "difference_high"))
    return f"{share}<br>{100 * record['difference']:+.1f} ({low} to {high})"


def measure(models: Sequence[str], data: Sequence[Path]) -> dict[str, Any]:
    """Compare them, and draw. Raises RuntimeError where the command fails."""
    from benchmarks.machine import describe
    from clipcli.bundle.installed import shipped_model
    from clipcli.bundle.spec import read_spec

    shipped = shipped_model()
    assert shipped is not None
    with _further(shipped) as folder:
        spec = read_spec(shipped)
        others = [variant.precision for variant in spec.variants if variant.precision != spec.default_precision]
        beside = [f"{shipped}@{precision}" for precision in others]
        asked = [str(shipped), *beside, *(f"{folder}@{precision}" for precision in FURTHER), *models]
        on = [part for path in data for part in ("--on", str(path))]
        records = json.loads(_clip("eval", "compare", *asked, *on, "--format", "json"))
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "measured": datetime.date.today().isoformat(),
        "machine": [*describe(), f"load at the end: {load}"],
        "identity": read_spec(shipped).identity,
        "records": records,
    }


@contextlib.contextmanager
def _further(shipped: Path) -> Iterator[Path]:
    """The shipped model in the precisions it does not ship in, under its own name."""
    from export.exporting import export_source

    with tempfile.TemporaryDirectory(prefix="clip-models-") as passing:
        folder = Path(passing) / "starter"
        export_source(shipped, output=folder, precisions=FURTHER, install=False, say=print)
        yield folder


def _clip(*arguments: str) -> str:
    from clipcli.app import app

    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(written):
        try:
            app(args=list(arguments), prog_name="clip")
        except SystemExit as left:
            if left.code:
                raise RuntimeError(f"clip {' '.join(arguments)} ended with {left.code}") from None
    written.seek(0)
    return written.read()


def draw_charts(records: list[dict[str, Any]]) -> None:
    """Both pictures, from what was measured."""
    from clipcli.commands.eval_compare import draw

    names = list(dict.fromkeys(_name(record) for record in records))
    for name, dark in CHARTS.items():
        draw(records, names, HERE / name, dark=dark)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="further models to measure")
    parser.add_argument("--measure", action="store_true", help="measure anew")
    parser.add_argument("--draw", action="store_true", help="draw the pictures anew")
    parser.add_argument("--on", type=Path, action="append", default=[], metavar="DATA")
    chosen = parser.parse_args()
    if chosen.measure:
        if not chosen.on:
            parser.error("--measure needs --on DATA")
        found = measure(chosen.models, chosen.on)
        FIGURES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if chosen.measure or chosen.draw:
        draw_charts(json.loads(FIGURES.read_text("utf-8"))["records"])
    PAGE.write_text(page(json.loads(FIGURES.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()

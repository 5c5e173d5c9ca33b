"""`clip train --doctor-only`: what is wrong with the data, as a table or as records, and nothing trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipcli.commands.options import Format

if TYPE_CHECKING:
    from clipcli.render.training import Fault
    from trainer.options import TrainOptions

__all__ = ["run_doctor"]

FIELDS = ("name", "count", "what", "then", "examples")


def run_doctor(options: TrainOptions, format: Format | None) -> None:
    """Read the data as a run would and write what was found; data that nothing can be learnt from raises after that."""
    from clipcli.commands.measuring import figures_format
    from clipcli.errors import DataError
    from clipcli.render.training import TrainingReport
    from trainer.run import examine

    written = figures_format(format)
    with TrainingReport() as report:
        try:
            examine(options, report)
        except DataError:
            if report.summarised is not None:
                _write(report.summarised.findings, written)
            raise
        assert report.summarised is not None  # what is read to the end was summed up
        _write(report.summarised.findings, written)


def _write(findings: Sequence[Fault], format: str) -> None:
    from clipcli.render.notes import say
    from clipcli.render.records import write_records
    from clipcli.render.tables import Column, write_table

    if format != "table":
        rows = ({name: getattr(finding, name) for name in FIELDS} for finding in findings)
        flat = ({**row, "examples": list(row["examples"])} for row in rows)
        if format in ("csv", "tsv"):
            flat = ({**row, "examples": " | ".join(row["examples"])} for row in flat)
        write_records(flat, format=format, fields=FIELDS)
    elif findings:
        columns = [
            Column(title="fault"),
            Column(title="number", right=True),
            Column(title="what", wide=True),
            Column(title="then", wide=True),
            Column(title="for example", wide=True),
        ]
        write_table(
            columns,
            [(f.name, f"{f.count:,}", f.what, f.then, "; ".join(f.examples)) for f in findings],
        )
    else:
        say("nothing is wrong with the data as far as can be told before training")

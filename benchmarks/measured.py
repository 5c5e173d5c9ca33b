"""The figures behind docs/benchmarks.md (docs/benchmarks.json): a part measured again replaces its own and no other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Row, Table

__all__ = ["Part", "of_this_machine", "read_parts", "write_parts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one question gave, when and on what.

    `machine` are lines as of `machine.describe`, `peers` names with versions, `left_out` a line for each candidate
    that could not be measured.
    """

    date: str
    rounds: str
    load: str
    machine: tuple[str, ...]
    peers: tuple[str, ...]
    left_out: tuple[str, ...]
    tables: tuple[Table, ...]


def read_parts(path: Path) -> dict[str, Part]:
    """By name; nothing where there is no file."""
    if not path.exists():
        return {}
    return {name: _part(given) for name, given in json.loads(path.read_text("utf-8")).items()}


def _part(given: Mapping[str, object]) -> Part:
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list) and name != "tables"}
    told = given["tables"]
    assert isinstance(told, list)
    tables = tuple(Table(**{**table, "rows": tuple(Row(**row) for row in table["rows"])}) for table in told)
    return Part(**{**given, **lists, "tables": tables})


def write_parts(parts: Mapping[str, Part], path: Path) -> None:
    text = json.dumps({name: dataclasses.asdict(part) for name, part in parts.items()}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")


def of_this_machine(parts: Mapping[str, Part], machine: tuple[str, ...]) -> tuple[dict[str, Part], list[str]]:
    """The parts whose processor and memory are this machine's, and the names of the others."""
    kept = {name: part for name, part in parts.items() if _hardware(part.machine) == _hardware(machine)}
    return kept, [name for name in parts if name not in kept]


def _hardware(machine: tuple[str, ...]) -> list[str]:
    return [line for line in machine if line.startswith(("processor:", "memory:"))]

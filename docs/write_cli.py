"""Writes docs/cli.md from the program's own `--help`, every command at every depth. `make docs` runs it.

`tests/structure/test_docs.py` fails when the file and the program disagree.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipcli.app import app
from clipcli.commands.listing import ENTRIES, load

TARGET = Path(__file__).with_name("cli.md")
HEAD = """\
# Every command and option

Written by `make docs` from `--help`; a test fails when the two disagree. What scripts may rely on stands in
[contract.md](contract.md).
"""


def command_lines() -> Iterator[list[str]]:
    """`[]` for the program itself, then `["embed"]`, `["models"]`, `["models", "list"]`, …"""
    yield []
    for entry in ENTRIES:
        yield from _below([entry.name], load(entry.name))


def _below(line: list[str], command: Any) -> Iterator[list[str]]:
    yield line
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _below([*line, name], inner)


def help_of(line: list[str]) -> str:
    """What `clip LINE --help` prints on a terminal of 80 columns."""
    written = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(written), contextlib.suppress(SystemExit):
            app(args=[*line, "--help"], prog_name="clip")
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(text.rstrip() for text in written.getvalue().strip().splitlines())


def page() -> str:
    """The whole of docs/cli.md."""
    parts = [HEAD]
    for line in command_lines():
        parts.append(f"\n## {' '.join(['clip', *line])}\n\n```text\n{help_of(line)}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")

"""Values that go past typer's checks come out as they would have, and the others still meet them."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from clipcli.commands import plain_values
from clipcli.commands.plain_values import spared


class Colour(StrEnum):
    red = "red"
    blue = "blue"


def command(seen: list[dict[str, Any]]) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def look(
        words: Annotated[list[str] | None, typer.Argument()] = None,
        like: Annotated[list[Path] | None, typer.Option()] = None,
        k: Annotated[int, typer.Option(min=1, max=20)] = 10,
        share: Annotated[float | None, typer.Option()] = None,
        colour: Annotated[Colour, typer.Option()] = Colour.red,
        db: Annotated[Path | None, typer.Option()] = None,
        there: Annotated[Path | None, typer.Option(exists=True)] = None,
        folder: Annotated[Path | None, typer.Option(file_okay=False)] = None,
        name: Annotated[str | None, typer.Option()] = None,
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> None:
        seen.append(dict(locals()) | {"seen": None})

    return typer.main.get_command(app)


def run(it: Any, line: list[str]) -> tuple[object, str]:
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            return it.main(line, "look"), told.getvalue()
        except SystemExit as stop:
            return stop.code, told.getvalue()


LINES = [
    [],
    ["red", "car"],
    ["--like", "a.jpg", "--like", "b.jpg", "x"],
    ["-x"],
    ["--k", "5"],
    ["--k", "0"],
    ["--k", "many"],
    ["--share", "0.5", "--loud"],
    ["--colour", "blue"],
    ["--colour", "green"],
    ["--db", "new.db"],
    ["--db", "/"],
    ["--db", "secret"],
    ["--there", "nowhere"],
    ["--there", "/"],
    ["--folder", "plain.txt"],
    ["--name", ""],
    ["--name", "ü"],
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_as_typer_has_it(line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.txt").touch()
    usual: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    told = run(command(usual), line)
    quick = command(ours)
    spared(quick.params)
    assert run(quick, line) == told
    assert ours == usual
    assert [[type(value) for value in one.values()] for one in ours] == [
        [type(value) for value in one.values()] for one in usual
    ]


def test_a_file_that_may_not_be_read_is_typers_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    seen: list[dict[str, Any]] = []
    quick = command(seen)
    spared(quick.params)
    code, told = run(quick, ["--db", str(tmp_path)])
    assert code == 2
    assert "readable" in told


def test_twice_is_once() -> None:
    params = command([]).params
    spared(params)
    first = [one.process_value for one in params]
    spared(params)
    assert [one.process_value for one in params] == first
    assert plain_values.__all__ == ["spared"]


@pytest.mark.parametrize("words", [["search", "--help"], ["search", "red", "--db", "none.db"]], ids=" ".join)
def test_a_search_does_without_what_typer_checks_with(words: list[str], tmp_path: Path) -> None:
    line = (
        "import sys\nfrom clipcli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    sys.stderr.write('pydantic' * ('pydantic' in sys.modules))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", line, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "pydantic" not in told.stderr

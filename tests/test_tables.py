"""Tables for people: plain and whole in a pipe, fitted, coloured and safe on a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from clipcli.commands.results import write_hits
from clipcli.library.search import Hit
from clipcli.render.folding import NARROWEST, cuts_of, shared_out
from clipcli.render.tables import BarCell, Cell, Column, PathCell, bar, file_link, write_table
from clipcli.render.text import printable

COLUMNS = [Column(title="", right=True), Column(title="score", right=True), Column(title="picture", wide=True)]


def piped(columns: list[Column], rows: list[list[Cell]]) -> list[str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out):
        write_table(columns, rows)
        out.flush()
        return out.buffer.getvalue().decode("utf-8").split("\n")  # type: ignore[attr-defined,no-any-return]


def on_terminal(program: str, *, width: int = 80, **environment: str) -> str:
    """What a program writes when its stdout is a terminal of that width."""
    ours, theirs = pty.openpty()
    surroundings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(width), **environment}
    surroundings.pop("NO_COLOR", None) if "NO_COLOR" not in environment else None
    process = subprocess.Popen([sys.executable, "-c", program], stdout=theirs, env=surroundings)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the program ends
        while part := os.read(ours, 65536):
            shown += part
    assert process.wait(60) == 0
    os.close(ours)
    return shown.decode("utf-8").replace("\r\n", "\n")


def bare(shown: str) -> str:
    """What a terminal was shown, without colours and links."""
    return re.sub(r"\x1b\]8;[^\x1b]*\x1b\\|\x1b\[[0-9;]*m", "", shown)


def test_a_pipe_gets_aligned_columns_and_whole_paths() -> None:
    long = b"/pictures/" + b"deep/" * 40 + "日本.jpg".encode()
    lines = piped(COLUMNS, [["1", "0.312", PathCell(path=long)], ["10", "-0.1", PathCell(path=b"/a.jpg")]])
    assert lines == ["    score  picture", f" 1  0.312  {long.decode()}", "10   -0.1  /a.jpg", ""]


def test_a_pipe_gets_no_bars_and_the_path_on_every_row() -> None:
    columns = [Column(title="picture"), Column(title="label"), Column(title="")]
    rows: list[list[Cell]] = [
        [PathCell(path=b"/a.jpg"), "cat", BarCell(share=0.9)],
        [PathCell(path=b"/a.jpg", again=True), "dog", BarCell(share=0.1)],
    ]
    assert piped(columns, rows) == ["picture  label", "/a.jpg   cat", "/a.jpg   dog", ""]


@given(st.lists(st.tuples(st.text(max_size=6), st.binary(max_size=12)), max_size=5))
def test_columns_line_up_whatever_is_in_them(rows: list[tuple[str, bytes]]) -> None:
    lines = piped(
        [Column(title="label"), Column(title="|"), Column(title="picture")],
        [[text, "|", PathCell(path=b"/" + path.replace(b"\0", b""))] for text, path in rows],
    )
    assert lines.pop() == ""
    assert len(lines) == len(rows) + 1
    width = max([cell_len(printable(text)) for text, _ in rows] + [len("label")])
    for line, (text, path) in zip(lines[1:], rows, strict=True):
        assert line.startswith(printable(text))
        whole = "/" + printable(os.fsdecode(path.replace(b"\0", b"")))
        assert line.endswith("|  " + whole.rstrip())
        assert cell_len(line[: len(line) - len("|  " + whole.rstrip())]) == width + 2


@given(st.text())
def test_no_cell_can_act_on_the_terminal(text: str) -> None:
    hostile = os.fsencode("/" + printable(text)) + b"\x1b]0;owned\x07\x9b2J\n"
    for line in piped([Column(title="a"), Column(title="b")], [[text + "\x1b[2J", PathCell(path=hostile)]]):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", line)


def test_a_bar_is_as_long_as_its_share() -> None:
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 4) == "██"
    assert bar(0.0, 4) == ""
    assert bar(3 / 32, 4) == "▍"
    with pytest.raises(ValueError, match="share"):
        BarCell(share=1.5)


@pytest.mark.skipif(sys.platform == "win32", reason="file URLs look different there")
def test_a_link_is_a_file_url_byte_for_byte() -> None:
    assert file_link(b"/a b/\xff#?.jpg") == "file:///a%20b/%FF%23%3F.jpg"


SHOW = """
import os
from clipcli.render.tables import *
here = os.getcwdb()
write_table(
    [Column(title="label", style="green"), Column(title=""), Column(title="picture", wide=True)],
    [["cat\\x1b[2J", BarCell(share=0.5), PathCell(path=here + b"/" + b"long " * 30 + b"\\x1b]0;owned\\x07.jpg")],
     ["dog", BarCell(share=0.1), PathCell(path=b"/same.jpg", again=True)]],
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_terminal_gets_colour_links_and_folded_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    shown = on_terminal(SHOW, width=60)
    assert "████████" not in shown  # bars give way to paths
    assert "████████" in on_terminal(SHOW, width=300)
    assert "\x1b[32m" in shown
    assert "\x1b]8;" in shown
    assert "/same.jpg" not in shown
    plain = bare(shown)
    assert "\x1b" not in plain
    assert "\x07" not in plain
    assert all(cell_len(line) <= 60 for line in plain.split("\n"))
    assert re.sub(r"\s+", "", plain).count("long") == 30  # folded, nothing of it cut off
    assert str(tmp_path) not in plain  # shown from here
    assert "\x1b[32m" not in on_terminal(SHOW, width=60, NO_COLOR="1")


FOLDED = """
import os
from clipcli.render.tables import *
columns = [Column(title="", right=True), Column(title="label", wide=True), Column(title="picture", wide=True)]
picture = PathCell(path=b"/photos/2021 a party of all of us/and friends/photo-385.jpg")
rows = [["1", "dog", picture], ["1", "cat", PathCell(path=b"/b.jpg")], ["2", "a label " * 9 + "that ends", picture]]
write_table(columns[:1] + columns[2:], [[row[0], row[2]] for row in rows], breaks=frozenset({0, 2}))
write_table(columns, rows)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_path_is_folded_at_its_slashes_and_a_label_at_its_blanks() -> None:
    shown = bare(on_terminal(FOLDED, width=52))
    lines = [line.rstrip() for line in shown.split("\n")]
    assert lines[:7] == [
        "   picture",
        "1  /photos/2021 a party of all of us/and friends/",
        "   photo-385.jpg",
        "1  /b.jpg",
        "",
        "2  /photos/2021 a party of all of us/and friends/",
        "   photo-385.jpg",
    ]
    assert all(len(line) <= 52 for line in lines)
    at = lines[7].index("picture")
    assert " ".join(line[3:at].strip() for line in lines[-5:]).split() == [*["a", "label"] * 9, "that", "ends"]
    whole = bare(on_terminal(FOLDED, width=200))
    assert whole.count("/photos/2021 a party of all of us/and friends/photo-385.jpg") == 4


@given(st.text("a日/ \U0001f431", max_size=60), st.integers(2, 12), st.booleans())
def test_what_is_folded_fits_and_loses_nothing(text: str, width: int, path: bool) -> None:
    cuts = cuts_of(text, width, path=path)
    lines = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(lines) == text
    assert all(cell_len(line if path else line.rstrip()) <= width for line in lines)
    assert all(lines) or not text


@given(st.lists(st.integers(0, 90), max_size=5), st.integers(0, 120))
def test_narrow_columns_stay_and_wide_ones_share(wanted: list[int], room: int) -> None:
    widths = shared_out(wanted, room)
    assert all(width <= want for width, want in zip(widths, wanted, strict=True))
    assert widths == wanted or sum(widths) >= min(room, sum(wanted))  # nothing stays empty where something is folded
    assert sum(widths) <= max(room, NARROWEST * len(wanted))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 90)), max_size=5), st.integers(0, 60))
def test_no_column_gets_less_than_it_needs(columns: list[tuple[int, int]], more: int) -> None:
    least, wanted = [few for few, _ in columns], [few + rest for few, rest in columns]
    widths = shared_out(wanted, sum(least) + more, least)
    assert all(few <= width <= want for few, width, want in zip(least, widths, wanted, strict=True))
    assert sum(widths) == min(sum(least) + more, sum(wanted))


CROWDED = """
from clipcli.render.tables import *
numbers = ["top-1", "top-5", "mean per class", "gain of the first"]
columns = [Column(title="model", wide=True), Column(title="prompts", wide=True)]
columns += [Column(title=title, right=True) for title in numbers]
rows = [["starter (fp16)", "the model's, 6 templates", "77.2 %", "91.9 %", "66.5 %", ""],
        ["starter (fp16)", '"a photo of a {}."', "75.1 %", "90.0 %", "100.0 %", "+12.1"]]
write_table(columns, rows)
columns = [Column(title=""), Column(title="name"), Column(title="architecture", wide=True), Column(title="licence")]
columns += [Column(title="about", right=True), Column(title="ImageNet", right=True), Column(title="file", wide=True)]
path = PathCell(path=b"/models/of the world/" + b"deep/" * 10 + b"model.onnx")
write_table(columns, [["*", "openclip-vit-b-16-datacomp", "ViT-B/16, DataComp-1B", "see its card", "598.5 MB",
                       "73.49 %", path], ["", "other", "", "MIT", "1.71 GB", "", path]])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_narrow_terminal_gets_all_figures_and_all_words_whole() -> None:
    lines = [line.rstrip() for line in bare(on_terminal(CROWDED, width=60)).split("\n")]
    assert all(cell_len(line) <= 60 for line in lines)
    words = " ".join(lines).replace(";", " ").split()
    figures = ["77.2", "91.9", "66.5", "75.1", "90.0", "100.0", "+12.1", "598.5", "73.49", "1.71"]
    assert [word for word in words if word in figures] == figures
    assert {"mean", "class", "gain", "first", "templates", "openclip-vit-b-16-datacomp", "DataComp-1B"} <= set(words)
    at = lines.index("*  openclip-vit-b-16-datacomp")  # too much for a table: each row by itself, with its headings
    assert lines[at + 1 : at + 3] == [
        "  architecture ViT-B/16, DataComp-1B; licence see its card",
        "  about 598.5 MB; ImageNet 73.49 %",
    ]
    assert "".join(line.removeprefix("  ") for line in lines[at + 3 : at + 5]) == (
        "file /models/of the world/" + "deep/" * 10 + "model.onnx"
    )
    assert lines[at + 5 : at + 7] == ["other", "  licence MIT; about 1.71 GB"]
    wide = bare(on_terminal(CROWDED, width=250))
    assert "  mean per class  gain of the first\n" in wide
    assert wide.count("deep/" * 10) == 2


def test_a_line_does_not_end_between_a_number_and_its_per_cent() -> None:
    assert cuts_of("among the first ten 34.6 % of all", 25, path=False) == [20]
    assert cuts_of("among the first ten 34.6 parts", 25, path=False) == [25]


def test_a_score_that_rounds_to_nothing_has_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    scores = (0.0004, -0.0004, -0.0006)
    write_hits([Hit(rank=1, score=score, path=b"/a.jpg", image_id=1, model="m") for score in scores])
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == ["0.000", "0.000", "-0.001"]

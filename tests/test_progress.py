"""Lines and bars on stderr: for a person at a terminal, and only there."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from clipcli.render.lines import columns_of, worded
from clipcli.render.notes import aside, counted, routed, say, write_text
from clipcli.render.progress import SilentBar, progress_bar

WORK = """
import time
from clipcli.render.notes import aside, say
from clipcli.render.progress import progress_bar
with progress_bar("Embedding [b]", total=40, unit="photos") as bar:
    for number in range(40):
        bar.advance()
        time.sleep(0.01)
        if number == 20:
            say("skipped [red]a\\x1b[2J.jpg")
    bar.set_total(50)
    bar.describe("Nearly\\x07")
aside("by the way")
say("done")
"""


def on_terminal(program: str, **environment: str) -> str:
    """What a program writes to stderr when that is a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    surroundings = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env={**surroundings, **environment})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            shown += part
    assert process.wait(60) == 0
    os.close(ours)
    return shown.decode("utf-8")


def test_a_terminal_sees_a_bar_with_lines_above_it() -> None:
    shown = on_terminal(WORK)
    assert "Embedding [b]" in shown
    assert "50" in shown
    assert "photos/s" in shown
    assert "skipped [red]a\\x1b[2J.jpg" in shown
    assert "Nearly\\x07" in shown
    assert "\x07" not in shown
    assert "\x1b[2mby the way\x1b[0m" in shown
    assert shown.endswith("done\r\n")
    assert re.search(r"\x1b\[2K.*done", shown, re.DOTALL)  # the bar is wiped away


def test_a_dumb_terminal_sees_lines_only() -> None:
    assert on_terminal(WORK, TERM="dumb") == "skipped [red]a\\x1b[2J.jpg\r\nby the way\r\ndone\r\n"


REMARK = (
    "  note: holiday has 23 pictures with captions: by luck alone 43.5 % are right; "
    "'clip train --doctor-only' says more"
)


def test_a_narrow_terminal_breaks_no_word() -> None:
    program = f"""
from clipcli.render.notes import aside, say
from clipcli.render.progress import progress_bar
say({REMARK!r})
aside({REMARK!r})
with progress_bar("Embedding", total=40):
    say({REMARK!r})
"""
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", on_terminal(program, COLUMNS="40"))
    folded = [
        "  note: holiday has 23 pictures with",
        "  captions: by luck alone 43.5 % are",
        "  right; 'clip train --doctor-only' says",
        "  more",
    ]
    assert shown.count("\n".join(folded)) == 3


def test_what_is_to_be_copied_stays_whole() -> None:
    path = "/pictures/" + "deep/" * 12
    assert worded(f"no such file: {path} (look there)", 30) == f"no such file: {path} (look\nthere)"
    assert (
        worded("installed as birds: clip embed -m birds FOLDER", 30)
        == "installed as birds:\nclip embed -m birds FOLDER"
    )
    assert (
        worded("installed as birds: clip embed -m birds FOLDER", 0) == "installed as birds: clip embed -m birds FOLDER"
    )


@given(st.text("a日 ' %7", max_size=80), st.integers(2, 30))
def test_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    shown = worded(text, width)
    assert shown.split() == text.split()
    margin = len(text) - len(text.lstrip())
    longest = max((cell_len(word) for word in text.split()), default=0)
    if text.split() and margin + longest <= width:
        assert all(cell_len(line) <= width for line in shown.rstrip().split("\n"))


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert columns_of(io.StringIO()) == 0


def test_a_log_file_sees_lines_only(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Embedding", total=3) as bar:
        assert isinstance(bar, SilentBar)
        bar.advance()
        bar.set_total(4)
        bar.describe("x")
        say("one line")
    aside("nobody there")
    assert capsys.readouterr() == ("", "one line\n")


def test_say_goes_where_it_is_routed_and_back() -> None:
    inner: list[str] = []
    outer: list[str] = []
    with routed(outer.append):
        with routed(inner.append):
            say("a\nb")
        say("c")
    assert (inner, outer) == (["a\\nb"], ["c"])


def test_a_closed_stderr_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    say("into the void")
    aside("likewise")


def test_what_the_locale_cannot_write_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    write_text("für 日本\n")
    assert raw.getvalue() == b"f\\xfcr \\u65e5\\u672c\n"


def test_counts_read_like_a_sentence() -> None:
    assert [counted(number, "picture") for number in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]
    assert counted(12000, "picture") == "12,000 pictures"
    assert counted(2, "library", "libraries") == "2 libraries"

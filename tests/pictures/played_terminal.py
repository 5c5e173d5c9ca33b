"""A terminal played by a test: a pty whose other end answers questions the way kitty, iTerm2, xterm and others do."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ANSWERS", "Played", "play"]

# What is asked -> what comes back. As the programs answer, pixels of a cell made unequal so that a mix-up shows.
_DA1 = b"\x1b[c"
_KITTY_QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_VERSION = b"\x1b[>0q"
_CELL = b"\x1b[16t"
_ITERM2_CELL = b"\x1b]1337;ReportCellSize\x07"
_REGISTERS = b"\x1b[?1;1;0S"
ANSWERS: dict[str, dict[bytes, bytes]] = {
    "kitty": {
        _KITTY_QUESTION: b"\x1b_Gi=31;OK\x1b\\",
        _VERSION: b"\x1bP>|kitty(0.36.4)\x1b\\",
        _CELL: b"\x1b[6;18;9t",
        _DA1: b"\x1b[?62;c",
    },
    "iterm2": {
        _ITERM2_CELL: b"\x1b]1337;ReportCellSize=9.0;5.0;2.0\x1b\\",
        _VERSION: b"\x1bP>|iTerm2 3.5.10\x1b\\",
        _DA1: b"\x1b[?64;1;2;4;6;17;18;21;22c",
    },
    "sixel": {
        _VERSION: b"\x1bP>|XTerm(390)\x1b\\",
        _CELL: b"\x1b[6;16;8t",
        _REGISTERS: b"\x1b[?1;0;256S",
        _DA1: b"\x1b[?63;1;2;4;6;9;15;16;22;28c",
    },
    "old": {_DA1: b"\x1b[?1;2c"},
    "mute": {},
}


@dataclass
class Played:
    """What came out, what was asked, and how the terminal was left."""

    output: bytes = b""
    asked: list[bytes] = field(default_factory=list)
    status: int = -1
    seconds: float = 0.0
    echoes: bool = False  # afterwards, as it did before
    unread: bytes = b""  # keys nobody took


def play(
    arguments: list[str],
    folder: Path,
    answers: dict[bytes, bytes],
    *,
    size: tuple[int, int] = (100, 40),
    pixels: tuple[int, int] = (0, 0),
    env: dict[str, str] | None = None,
    typed: bytes = b"",
    piecewise: bool = False,
) -> Played:
    """Run `clip ARGUMENTS` in the terminal until it ends. `size` in columns and rows; `pixels` of all of it, if told.

    `typed` is in the terminal before the program looks. `piecewise` answers byte after byte.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], *pixels))
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    for name in ("TMUX", "STY", "COLORTERM", "TERM_PROGRAM", "NO_COLOR"):
        if name not in (env or {}):
            environment.pop(name, None)
    if typed:
        os.write(master, typed)
    # The terminal has to be the one in control, which only the child itself can arrange once it has its session.
    begin = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", begin, sys.executable, "-m", "clipcli", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    played = Played()
    start = time.monotonic()
    try:
        while time.monotonic() - start < 60:
            ready = select.select([master], [], [], 0.05)[0]
            if ready:
                played.output += os.read(master, 65536)
                for question, answer in answers.items():
                    if question in played.output and question not in played.asked:
                        played.asked.append(question)
                        for part in [bytes([byte]) for byte in answer] if piecewise else [answer]:
                            os.write(master, part)
                            time.sleep(0.002 if piecewise else 0)
                continue
            if process.poll() is not None:
                played.status = process.returncode
                break
        played.seconds = time.monotonic() - start
        mode = termios.tcgetattr(slave)
        played.echoes = bool(mode[3] & termios.ECHO) and bool(mode[3] & termios.ICANON)
        mode[3] &= ~termios.ICANON
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 0, 0
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        if select.select([slave], [], [], 0)[0]:
            played.unread = os.read(slave, 4096)
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)
    return played

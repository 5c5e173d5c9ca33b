"""What the README tells people to type works as written, with the model that ships."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.structure.source import ROOT

README = (ROOT / "README.md").read_text("utf-8")

# Held to the parser instead: a training takes minutes, a server does not end, a download needs the network, and
# completion depends on the shell the tests run in.
ONLY_PARSED = {"clip train pairs.csv", "clip browse", "clip --install-completion"}
FROM_ELSEWHERE = ("clip models pull ", "clip models import ")


def command_lines() -> list[str]:
    """The lines of the README's `sh` blocks, in order, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines() if line]


def test_the_readme_shows_every_command_of_the_suite() -> None:
    shown = {line.split()[1] for line in command_lines()}
    assert {"embed", "search", "classify", "train", "matrix", "models"} <= shown
    assert set(command_lines()) >= ONLY_PARSED


def test_the_commands_run_in_order(home: Path, photo_folder: Callable[..., Path], tmp_path: Path) -> None:
    """One person's afternoon: every line in a real shell, in the order of the README."""
    made = photo_folder("made", count=2)
    pictures = home / "Pictures"
    pictures.mkdir()
    for name, source in (("bike.jpg", "000.jpg"), ("cat.jpg", "001.jpg")):
        shutil.copy(made / source, pictures / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for line in command_lines():
        if line in ONLY_PARSED or line.startswith(FROM_ELSEWHERE):
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout or line.startswith(("clip embed", "clip matrix")), f"{line} printed nothing"
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "line", sorted(ONLY_PARSED | {line for line in command_lines() if line.startswith(FROM_ELSEWHERE)})
)
def test_the_others_parse(line: str, in_folder: Path) -> None:
    import typer

    from clipcli.app import app
    from clipcli.commands.listing import load

    (in_folder / "pairs.csv").write_text("image,text\na.jpg,a cat\n", encoding="utf-8")
    _, *words = shlex.split(line)
    if words[0].startswith("-"):
        assert words[0] in {name for option in typer.main.get_command(app).params for name in option.opts}
    else:
        context = load(words[0]).make_context(words[0], words[1:])  # raises where an option or an argument is wrong
        if words[0] == "models":
            command = load(words[0]).get_command(context, words[1])
            command.make_context(words[1], words[2:])


def test_the_set_up_commands_are_targets_of_the_makefile() -> None:
    quick_start = README.split("## Quick start")[1].split("## ")[0]
    asked = re.findall(r"^    make (\w+)", quick_start, flags=re.MULTILINE)
    assert asked == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(asked) <= set(re.findall(r"^(\w+):", makefile, flags=re.MULTILINE))
    assert re.findall(r"about (\d+) MB", quick_start) == re.findall(r"about (\d+) MB to download", makefile)  # one each

"""Every everyday command runs where torch, onnx, the hub and the training code cannot even be found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clipcli.commands.listing import ENTRIES
from tests.foreign_layouts import make_transformers_js
from tests.tiny_bundle import make_tiny_bundle

WALLED = ("torch", "onnx", "onnxscript", "huggingface_hub", "sqlite_utils", "trainer", "export", "tensorboard")
MAKES_TABLES = tuple(name for name in WALLED if name != "sqlite_utils")  # for the one command that makes a library

# An `except ImportError` could hide an attempt, so each one is also written to stderr.
PROGRAM = """
import os, sys
from importlib.machinery import PathFinder

walled = set(sys.argv.pop(1).split(","))

class Wall(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in walled:
            os.write(2, f"WALL {name}\\n".encode())
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [Wall if finder is PathFinder else finder for finder in sys.meta_path]
from clipcli.app import main
main()
"""

Walled = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def walled(tmp_path: Path) -> Walled:
    """`walled("search", "red")`: the program behind the wall, in the test's folder."""

    def run(*arguments: str | Path, wall: tuple[str, ...] = WALLED) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, ",".join(wall), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    return run


def assert_ran(done: subprocess.CompletedProcess[str], code: int = 0) -> None:
    assert "WALL" not in done.stderr
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("name", ["", *(entry.name for entry in ENTRIES)])
def test_help(name: str, walled: Walled) -> None:
    done = walled(*filter(None, [name]), "--help")
    assert_ran(done)
    assert done.stdout.startswith(f"Usage: clip {name}".rstrip())


def test_everyday_commands(walled: Walled, photo_folder: Callable[..., Path], tmp_path: Path) -> None:
    """One life of a library, each command in a process of its own behind the wall."""
    photos = photo_folder("photos", count=3)
    model = make_tiny_bundle(tmp_path / "tiny")
    assert_ran(walled("embed", photos, "--db", "library.db", "-m", model, wall=MAKES_TABLES))
    assert_ran(walled("embed", photos, "--db", "library.db", "-m", model))
    found = walled("search", "red", "--db", "library.db", "-m", model, "--format", "paths")
    assert_ran(found)
    assert len(found.stdout.splitlines()) == 3
    assert_ran(walled("search", "--like", photos / "000.jpg", "--db", "library.db", "-m", model))
    similar = walled("similar", photos / "000.jpg", "--db", "library.db", "--where", "width > 1", "--copy-to", "copies")
    assert_ran(similar)
    assert_ran(walled("duplicates", "--threshold", "0.99", "--db", "library.db"))
    for name in ("stats", "roots", "skipped"):
        assert_ran(walled("library", name, "--db", "library.db"))
    assert_ran(walled("library", "backup", "copy.db", "--db", "library.db"))
    assert_ran(walled("classify", photos / "000.jpg", "-l", "red", "-l", "blue", "-m", model))
    assert_ran(walled("classify", "--library", "-l", "red", "-l", "blue", "--db", "library.db"))
    assert_ran(walled("tags", "sort", "--move-to", "sorted", "--log", "log.jsonl", "--db", "library.db"))
    assert_ran(walled("tags", "undo", "log.jsonl"))
    assert_ran(walled("tags", "export", "--xmp", "--db", "library.db"))
    assert_ran(walled("matrix", photos / "000.jpg", "-t", "a red thing", "-m", model, "-o", "matrix.png"))


def test_demo(walled: Walled, tmp_path: Path) -> None:
    model = make_tiny_bundle(tmp_path / "tiny")
    assert_ran(walled("demo", "-o", "shown", "-m", model, wall=MAKES_TABLES))
    assert (tmp_path / "shown" / "matrix.png").is_file()


def test_model_commands(walled: Walled, tmp_path: Path) -> None:
    model = make_tiny_bundle(tmp_path / "tiny")
    assert_ran(walled("models", "list"))
    assert_ran(walled("models", "show", model))
    assert_ran(walled("models", "verify", model))


def test_graphs_of_others_need_no_torch(walled: Walled, tmp_path: Path) -> None:
    theirs = make_transformers_js(tmp_path / "theirs")
    wall = tuple(name for name in WALLED if name != "onnx")  # graphs are looked at before they run
    assert_ran(walled("models", "import", theirs, wall=wall))
    assert_ran(walled("models", "verify", "theirs"))
    assert_ran(walled("models", "list", "--known"))


def test_the_wall_is_a_wall(walled: Walled, tmp_path: Path) -> None:
    """`clip train` has to reach for torch; here it finds none, and names the extra that is missing."""
    (tmp_path / "pairs.csv").write_text("image,text\na.jpg,a red thing\n", encoding="utf-8")
    done = walled("train", "pairs.csv")
    assert done.returncode == 10
    assert "WALL" in done.stderr
    assert re.search(r"pip install .*\[train\]'", done.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_large(arguments: list[str]) -> None:
    """Start-up is a feature: help and completion load no arrays, pictures, models or databases."""
    large = ["numpy", "PIL", "onnxruntime", "tokenizers", "sqlite3", "rich"]
    program = (
        "import atexit, sys\n"
        "before = set(sys.modules)\n"  # where coverage is measured, it has loaded sqlite3 for itself
        f"atexit.register(lambda: print('LOADED', sorted(set({large!r}) & set(sys.modules) - before)))\n"
        "from clipcli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("LOADED []\n")


SCRIPTS = Path(sys.executable).parent


def complete(line: str) -> list[str]:
    """What the tab key offers after `line` in bash; the first word is the installed program."""
    words = line.split(" ")
    environment = os.environ | {
        f"_{words[0].upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([SCRIPTS / words[0]], env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_completion_offers_the_commands() -> None:
    assert complete("clip ") == [entry.name for entry in ENTRIES]
    assert complete("clip se") == ["search"]
    assert complete("clipcli se") == ["search"]


def test_completion_offers_options_of_a_command() -> None:
    assert "--format" in complete("clip search --f")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", ["clip", "clipcli"])
def test_completion_scripts(program: str, shell: str) -> None:
    variable = f"_{program.upper()}_COMPLETE"
    done = subprocess.run(
        [SCRIPTS / program],
        env=os.environ | {variable: f"source_{shell}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"{variable}=complete_{shell}" in done.stdout


def test_completion_works_in_a_real_bash() -> None:
    """The script as a person's shell runs it, up to the words it offers."""
    script = (
        'eval "$(_CLIP_COMPLETE=source_bash clip)"; COMP_WORDS=(clip mo); COMP_CWORD=1; '
        '_clip_completion clip; echo "${COMPREPLY[@]}"'
    )
    path = os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "models\n"

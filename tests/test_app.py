"""The program around the commands: help, errors as one line, exit codes, signals, pipes, what is not imported."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from clipcli import app as program
from clipcli.commands import listing
from clipcli.errors import (
    ClipError,
    DataError,
    DeviceError,
    InputError,
    LibraryDamagedError,
    LibraryLockedError,
    MissingExtraError,
    ModelError,
    NetworkError,
    NotFoundError,
    UsageError,
)
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_library import make_tiny_library

Run = Callable[..., "subprocess.CompletedProcess[str]"]

HEAVY = ["torch", "onnx", "onnxruntime", "numpy", "PIL", "huggingface_hub", "sqlite_utils", "sqlite3", "tokenizers"]
HEAVY += ["rich", "platformdirs", "matplotlib", "skimage"]
COMMAND_MODULES = [f"clipcli.commands.{entry.name}" for entry in listing.ENTRIES]


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(program.app, list(arguments))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """`command(function)` puts a made-up body behind `clip demo`."""

    def use(body: Callable[..., Any]) -> None:
        made = typer.Typer(add_completion=False, rich_markup_mode=None)
        made.command("demo", context_settings=listing.CONTEXT_SETTINGS)(body)
        monkeypatch.setattr(listing, "load", lambda name: typer.main.get_command(made))

    return use


def test_help_lists_every_command_in_its_section() -> None:
    shown = invoke("--help")
    assert shown.exit_code == 0
    for entry in listing.ENTRIES:
        line = next(line for line in shown.stdout.splitlines() if line.startswith(f"  {entry.name} "))
        assert line.split(None, 1)[1] == entry.summary
    assert shown.stdout.index("Everyday:") < shown.stdout.index("  search") < shown.stdout.index("Look around:")


def test_without_a_command_the_help_is_shown() -> None:
    bare = invoke()
    assert bare.exit_code == 0
    assert bare.stdout == invoke("--help").stdout == invoke("-h").stdout


def test_a_command_with_subcommands_alone_shows_its_help() -> None:
    alone = invoke("models")
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert alone.stdout == invoke("models", "--help").stdout
    assert "..." not in alone.stdout.split("Commands:")[1]  # no summary is cut off


def test_arguments_are_named_plainly() -> None:
    assert invoke("matrix", "--help").stdout.startswith("Usage: clip matrix [OPTIONS] IMAGE...\n")
    assert invoke("classify", "--help").stdout.startswith("Usage: clip classify [OPTIONS] [IMAGE...]\n")
    assert "\n  IMAGE...  Pictures, or folders" in invoke("matrix", "--help").stdout


def test_help_needs_next_to_nothing(run_clip: Run, tmp_path: Path) -> None:
    """`clip --help` with everything heavy made impossible to import, and so are all the commands it lists."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nfor name in {HEAVY + COMMAND_MODULES!r}:\n    sys.modules[name] = None\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    for arguments in (["--help"], ["--version"], []):
        shown = run_clip(*arguments, env=environment)
        assert (shown.returncode, shown.stderr) == (0, ""), arguments


def test_version_is_the_package_s() -> None:
    from importlib.metadata import version

    for flag in ("--version", "-V"):
        assert invoke(flag).stdout == f"clip {version('clipcli')}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClipError("x"), 1),
        (UsageError("x"), 2),
        (InputError("x"), 3),
        (NotFoundError("x"), 4),
        (LibraryLockedError("x"), 5),
        (LibraryDamagedError("x"), 6),
        (OSError(errno.ENOSPC, "No space left on device", "/photos/a.db"), 7),
        (ModelError("x"), 8),
        (NetworkError("x"), 9),
        (MissingExtraError("demo", "this"), 10),
        (DeviceError("x"), 11),
        (DataError("x"), 12),
    ],
)
def test_an_error_is_one_line_and_its_code(
    error: Exception, code: int, command: Callable[[Callable[..., Any]], None]
) -> None:
    def body() -> None:
        raise error

    command(body)
    ended = invoke("demo")
    assert ended.exit_code == code
    assert ended.stdout == ""
    assert ended.stderr.startswith("clip: ")
    assert ended.stderr.count("\n") == 1


def test_a_full_disk_names_the_file(command: Callable[[Callable[..., Any]], None]) -> None:
    def body() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/photos/a.db")

    command(body)
    assert invoke("demo").stderr == "clip: no space left on the disk (/photos/a.db)\n"


def test_an_error_message_cannot_act_on_the_terminal(command: Callable[[Callable[..., Any]], None]) -> None:
    def body() -> None:
        raise NotFoundError("no such file: a\x1b[2J\nb\u202e.jpg")

    command(body)
    assert invoke("demo").stderr == "clip: no such file: a\\x1b[2J\\nb\\u202e.jpg\n"


def test_a_returned_number_is_the_exit_code(command: Callable[[Callable[..., Any]], None]) -> None:
    command(lambda: 3)
    assert invoke("demo").exit_code == 3
    command(lambda: True)
    assert invoke("demo").exit_code == 0


def test_the_unexpected_is_one_line_with_the_details_in_a_file(
    command: Callable[[Callable[..., Any]], None], home: Path
) -> None:
    def body() -> None:
        raise RuntimeError("the sky fell")

    command(body)
    ended = invoke("demo")
    assert ended.exit_code == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("clip: unexpected RuntimeError: the sky fell (details are in ")
    kept = Path(ended.stderr.rstrip(")\n").rpartition("details are in ")[2])
    assert home in kept.parents
    assert "Traceback" in kept.read_text("utf-8")
    assert 'raise RuntimeError("the sky fell")' in kept.read_text("utf-8")
    assert [path.name for path in kept.parent.iterdir()] == ["last-error.txt"]


def test_where_no_details_can_be_kept_the_way_to_see_them_is_said(
    command: Callable[[Callable[..., Any]], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import platformdirs

    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(platformdirs, "user_log_path", lambda *a, **k: tmp_path / "file" / "log")

    def body() -> None:
        raise RuntimeError

    command(body)
    assert invoke("demo").stderr == "clip: unexpected RuntimeError (CLIP_DEBUG=1 shows the details)\n"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_traceback_only_where_asked_for(
    how: str, command: Callable[[Callable[..., Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        raise NotFoundError("no such thing")

    command(body)
    monkeypatch.setenv("CLIP_DEBUG", "0")
    assert "Traceback" not in invoke("demo").stderr
    if how == "variable":
        monkeypatch.setenv("CLIP_DEBUG", "1")
    ended = invoke(*(["--debug"] if how == "option" else []), "demo")
    assert "Traceback" in ended.stderr
    assert ended.stderr.endswith("clip: no such thing\n")
    assert ended.exit_code == 4


def test_help_may_be_asked_for_as_a_command() -> None:
    assert invoke("help").stdout == invoke("--help").stdout
    assert invoke("help", "search").stdout == invoke("search", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serch"], "clip: no such command 'serch'. Did you mean 'search'? (see 'clip --help')\n"),
        (["--nonsense"], "clip: no such option: --nonsense (see 'clip --help')\n"),
        (["demo"], "clip: missing argument 'NAME' (see 'clip demo --help')\n"),
        (["demo", "a", "--count"], "clip: option '--count' requires an argument (see 'clip demo --help')\n"),
        (
            ["demo", "a", "--count", "0"],
            "clip: invalid value for '--count': it should be greater than or equal to 1 (see 'clip demo --help')\n",
        ),
        (
            ["demo", "a", "--count", "few"],
            "clip: invalid value for '--count': it should be a valid integer (see 'clip demo --help')\n",
        ),
        (
            ["demo", "a", "--cout", "1"],
            "clip: no such option: --cout. Did you mean --count? (see 'clip demo --help')\n",
        ),
    ],
)
def test_a_usage_error_is_one_line_with_a_hint(
    arguments: list[str], said: str, command: Callable[[Callable[..., Any]], None]
) -> None:
    def body(name: str = typer.Argument(metavar="NAME"), count: int = typer.Option(1, min=1)) -> None: ...

    command(body)
    ended = invoke(*arguments)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, "", said)


def test_help_of_a_command_is_that_command_s(command: Callable[[Callable[..., Any]], None]) -> None:
    def body(shiny: bool = False) -> None:
        """Make it shine."""

    command(body)
    shown = invoke("demo", "-h")
    assert shown.exit_code == 0
    assert "Make it shine." in shown.stdout
    assert "--shiny" in shown.stdout


def test_ctrl_c_ends_with_130(command: Callable[[Callable[..., Any]], None]) -> None:
    def body() -> None:
        raise KeyboardInterrupt

    command(body)
    ended = invoke("demo")
    assert (ended.exit_code, ended.stderr) == (130, "clip: interrupted\n")


def test_sigterm_tidies_up_like_ctrl_c_and_ends_with_143(command: Callable[[Callable[..., Any]], None]) -> None:
    tidied = []

    def body() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            tidied.append(True)
            raise

    before = signal.getsignal(signal.SIGTERM)
    command(body)
    ended = invoke("demo")
    assert (ended.exit_code, ended.stderr) == (143, "clip: terminated\n")
    assert tidied == [True]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes there")
@pytest.mark.parametrize("script", ["clip --help", "clip --version", "clip"])
def test_a_closed_pipe_ends_quietly(script: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "clipcli", *script.split()[1:]],
            stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_pipe_closed_halfway_ends_quietly(command: Callable[[Callable[..., Any]], None]) -> None:
    def body() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    command(body)
    ended = invoke("demo")
    assert (ended.exit_code, ended.stderr) == (0, "")


@pytest.mark.parametrize(("typed", "offered"), [("", "search"), ("se", "search"), ("--ver", "--version")])
def test_completion_of_commands_imports_none_of_them(typed: str, offered: str, run_clip: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nfor name in {COMMAND_MODULES!r}: sys.modules[name] = None\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "_CLIP_COMPLETE": "complete_bash",
        "COMP_WORDS": f"clip {typed}",
        "COMP_CWORD": "1",
    }
    completed = run_clip(env=environment)
    assert completed.returncode == 0
    assert offered in completed.stdout.split()


def test_completion_reaches_the_options_of_a_command(
    command: Callable[[Callable[..., Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(shiny: bool = False, polish: int = 1) -> None: ...

    command(body)
    monkeypatch.setenv("_CLIP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "clip demo --")
    monkeypatch.setenv("COMP_CWORD", "2")
    completed = CliRunner().invoke(program.app, [], prog_name="clip")
    assert {"--shiny", "--polish", "--help"} <= set(completed.stdout.split())


def test_completion_offers_installed_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_MODELS", str(tmp_path))
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("_CLIP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "clip search -m ")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert "mine" in CliRunner().invoke(program.app, [], prog_name="clip").stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None or not Path("/proc").is_dir(), reason="no bash to complete in")
def test_completion_is_installed_for_the_shell_it_is_run_from(home: Path) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", '"$0" -m clipcli --install-completion; echo "ended with $?"', sys.executable],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "ended with 0" in done.stdout, done.stderr
    installed = home / ".bash_completions" / "clip.sh"
    assert "_CLIP_COMPLETE=complete_bash" in installed.read_text()
    assert str(installed) in (home / ".bashrc").read_text()


def test_a_search_ends_without_taking_modules_apart_and_loses_no_output(
    photo_folder: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = make_tiny_bundle(tmp_path / "models" / "tiny")
    library = make_tiny_library(tmp_path / "library.db", photo_folder(), [bundle])
    program = (
        "import atexit, sys; atexit.register(print, 'taken apart'); "
        "sys.argv = ['clip', *sys.argv[1:]]; from clipcli.app import main; main()"
    )
    for arguments, code, late in (
        (["search", "red", "--db", str(library), "--format", "json", "-k", "0"], 0, False),
        (["search", "red", "--db", str(tmp_path / "none.db")], 4, False),
        (["library", "stats", "--db", str(library)], 0, True),
    ):
        ended = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr
        assert ended.stdout.endswith("taken apart\n") == late
        if code == 0 and not late:
            assert len(json.loads(ended.stdout)) > 1
        elif code:
            assert ended.stderr.startswith("clip: ")

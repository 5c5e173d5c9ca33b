"""The `clip` program: global options, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from clipcli.commands.listing import CONTEXT_SETTINGS, LateGroup
from clipcli.errors import ClipError, NoSpaceError
from clipcli.render.notes import say, write_text

INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: whatever tidies up after Ctrl-C tidies up after this as well."""


class ClipGroup(LateGroup):
    """The group whose `main` keeps the promises about errors and exit codes, in a process as in a test."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - the signature is typer's; every way in is stand-alone
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        code = 0
        given = list(sys.argv[1:] if args is None else args)
        if given[:1] == ["help"]:  # as git and many others have it: clip help search
            args = [*given[1:], "--help"]
        state = _State()
        previous = state.listen()
        try:
            outcome = super().main(
                args,
                prog_name or "clip",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            code = outcome if isinstance(outcome, int) and not isinstance(outcome, bool) else 0
            if code == INTERRUPTED:  # typer turns KeyboardInterrupt into this
                code = state.interrupted()
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = state.interrupted()
        except SystemExit as stop:
            # typer meets a closed pipe with exit code 1; `--install-completion` and the like leave this way too.
            code = 0 if isinstance(stop.__context__, BrokenPipeError) else _exit_code(stop)
        except BrokenPipeError:
            code = 0
        except Exception as error:  # noqa: BLE001 - the last place that can turn it into one line
            code = report(error)
        finally:
            state.ignore(previous)
            drop_unwritable_output()
        sys.exit(code)


app = typer.Typer(
    name="clip",
    cls=ClipGroup,
    context_settings=CONTEXT_SETTINGS,
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog="'clip COMMAND --help' explains a command.",
)


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback with every error (or CLIP_DEBUG=1).")
    ] = False,
) -> None:
    """Ask your own folders of pictures questions, on your own machine.

    \b
      clip embed ~/Pictures                    index a folder
      clip search red motorcycle               find by words
      clip search --like bike.jpg              find by a picture
      clip classify *.jpg -l cat -l dog        sort by labels of your own
    """
    if debug:
        os.environ["CLIP_DEBUG"] = "1"
    if version:
        import clipcli

        write_text(f"clip {clipcli.__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        write_text(context.get_help() + "\n")


class _State:
    """Whether a SIGTERM came, and the signal handler that notes it."""

    def __init__(self) -> None:
        self.terminated = False

    def listen(self) -> Any:
        """Turn SIGTERM into an exception; only the main thread may ask for signals."""
        try:
            return signal.signal(signal.SIGTERM, self._terminate)
        except ValueError:
            return None

    def ignore(self, previous: Any) -> None:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)

    def _terminate(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is signal's
        self.terminated = True
        raise Terminated

    def interrupted(self) -> int:
        _line("terminated" if self.terminated else "interrupted")
        return TERMINATED if self.terminated else INTERRUPTED


def report(error: Exception) -> int:
    """One line about an error on stderr, a traceback before it where asked for; the exit code."""
    if _debugging():
        import traceback

        traceback.print_exception(error)
    if isinstance(error, OSError) and NoSpaceError.is_meant_by(error):
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        error = NoSpaceError(f"no space left on the disk{where}")
    if isinstance(error, ClipError):
        _line(str(error))
        return error.exit_code
    if type(error).__name__ == "NoArgsIsHelpError":  # `clip models` alone
        write_text(f"{error}\n")
        return 0
    if isinstance(error, typer.TyperException):
        _line(_usage_message(error))
        return error.exit_code
    if isinstance(error, typer.Abort):
        _line("aborted")
        return 1
    summary = f"unexpected {type(error).__name__}: {error}" if str(error) else f"unexpected {type(error).__name__}"
    if _debugging():
        _line(summary)
    else:
        from clipcli.render.crash import keep_details

        kept = keep_details(error)
        _line(f"{summary} ({f'details are in {kept}' if kept else 'CLIP_DEBUG=1 shows the details'})")
    return 1


def _usage_message(error: typer.TyperException) -> str:
    """typer's own complaint, and which help to look at."""
    message = " ".join(error.format_message().split()).rstrip(". ")
    message = message.replace("Value error, ", "").replace("Input should be", "it should be")
    message = re.sub(r", unable to (?:parse|interpret) [^()]*$", "", message)
    message = re.sub(r" \(Possible options: (.+)\)$", r". Did you mean \1?", message)
    if message[:1].isupper() and not message[:2].isupper():
        message = message[0].lower() + message[1:]
    context = getattr(error, "ctx", None)
    return f"{message} (see '{context.command_path if context else 'clip'} --help')"


def _line(message: str) -> None:
    say(f"clip: {message}")


def _debugging() -> bool:
    return os.environ.get("CLIP_DEBUG", "0") not in ("", "0")


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    return stop.code if isinstance(stop.code, int) else 1


def drop_unwritable_output() -> None:
    """After a closed pipe, point stdout at nothing: Python would complain once more when it flushes at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            return


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of `clip` and `clipcli`."""
    command = typer.main.get_command(app)
    called = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    try:
        command.main(
            args=list(sys.argv[1:] if arguments is None else arguments),
            prog_name="clipcli" if called == "clipcli" else "clip",  # completion is for the name typed
        )
    except SystemExit as stop:
        if _exit_code(stop) in (INTERRUPTED, TERMINATED):
            _leave_working_threads(_exit_code(stop))
        if "clipcli.commands.results" in sys.modules:
            _leave_at_once(_exit_code(stop))
        raise
    raise AssertionError("ClipGroup.main always exits")


def _leave_working_threads(code: int) -> None:
    """Python waits at its end for every thread, and a model that is computing cannot be told to stop."""
    if threading.active_count() > 1:
        sys.stderr.flush()
        os._exit(code)


def _leave_at_once(code: int) -> None:
    """The end of a search: all files are closed, and a tenth of its time would go into taking modules apart."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a reader that left: `drop_unwritable_output` has seen to it
            stream.flush()
    os._exit(code)

"""The commands by name: what `clip --help` and shell completion show without importing any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from clipcli.commands.plain_values import spared


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the listing. `name` is the command, its module in this package, and the function in the module."""

    name: str
    summary: str
    section: str


EVERYDAY = "Everyday"
MODELS = "Models and training"
SHOW = "Look around"

ENTRIES: tuple[Entry, ...] = (
    Entry(name="embed", summary="Index folders of pictures into a library.", section=EVERYDAY),
    Entry(name="search", summary="Find pictures by words, by a picture, or by both.", section=EVERYDAY),
    Entry(name="similar", summary="Find pictures that look like another one.", section=EVERYDAY),
    Entry(name="duplicates", summary="Find pictures that are there more than once.", section=EVERYDAY),
    Entry(name="classify", summary="Sort pictures by labels of your own.", section=EVERYDAY),
    Entry(name="browse", summary="Look through the library in the browser.", section=EVERYDAY),
    Entry(name="tags", summary="Give, list and export tags; sort pictures by them.", section=EVERYDAY),
    Entry(name="library", summary="Make, inspect and look after a library.", section=EVERYDAY),
    Entry(name="train", summary="Train a model on pictures with texts.", section=MODELS),
    Entry(name="caption", summary="Write captions by a run that has learnt to.", section=MODELS),
    Entry(name="export", summary="Turn a training run into a model to use.", section=MODELS),
    Entry(name="eval", summary="Measure how good models are on your own pictures.", section=MODELS),
    Entry(name="models", summary="List, fetch, import, show, verify and remove models.", section=MODELS),
    Entry(name="demo", summary="See it work on a handful of photographs.", section=SHOW),
    Entry(name="matrix", summary="Draw pictures against sentences, cosines written in.", section=SHOW),
)

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}


class LateCommand(TyperCommand):
    """A command known by name and summary; its module is imported when the command line is about to be parsed.

    The context it makes belongs to the real command, so invocation, help and completion of options all see that one.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.summary, short_help=entry.summary, rich_markup_mode=None)
        self.entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        try:
            return load(self.entry.name).make_context(info_name, args, parent=parent, **extra)
        except typer.TyperException as error:
            if getattr(error, "ctx", self) is None:  # some complaints of the parser do not say whose they are
                vars(error)["ctx"] = typer.Context(self, info_name=info_name, parent=parent)
            raise


class LateGroup(TyperGroup):
    """The group behind `clip`: every entry is a `LateCommand`, and help lists them in sections."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {entry.name: LateCommand(entry) for entry in ENTRIES}

    def get_params(self, ctx: Any) -> list[Any]:
        return spared(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is typer's
        return [entry.name for entry in ENTRIES]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is typer's
        width = max(len(entry.name) for entry in ENTRIES)
        for section in dict.fromkeys(entry.section for entry in ENTRIES):
            with formatter.section(section):
                formatter.write_dl(
                    [(entry.name.ljust(width), entry.summary) for entry in ENTRIES if entry.section == section]
                )


def load(name: str) -> Any:
    """The real command: imports `clipcli.commands.NAME` and nothing of the others."""
    module = import_module(f"clipcli.commands.{name}")
    app = getattr(module, "app", None)
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name, context_settings=CONTEXT_SETTINGS)(getattr(module, name))
    command = typer.main.get_command(app)
    command.name = name
    _plain([command])
    return command


def _plain(commands: Sequence[Any]) -> None:
    """Help without boxes, the same for every command and at every depth."""
    for command in commands:
        command.rich_markup_mode = None
        # typer would cut the first paragraph off at 45 characters in the list of subcommands.
        command.short_help = command.short_help or " ".join((command.help or "").split("\n\n")[0].split())
        command.context_settings = {**CONTEXT_SETTINGS, **command.context_settings}
        command.get_params = _sparing(command.get_params)
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                _name_plainly(parameter)
        _plain(list(getattr(command, "commands", {}).values()))


def _sparing(get_params: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    return lambda ctx: spared(get_params(ctx))


def _name_plainly(argument: Any) -> None:
    """`PHOTOS...` in usage and help, where typer writes `{PHOTOS}...` and `PHOTOS <list[Path]>`."""
    shown = argument.display_name_raw.upper().strip("[].") + ("..." if argument.nargs != 1 else "")
    argument._usage_display_name = lambda: shown if argument.required else f"[{shown}]"
    argument._rich_display_name = lambda: shown
    argument.display_type_rich = lambda ctx: None  # noqa: ARG005 - the signature is typer's

"""Who may import whom (docs/architecture.md), held against the syntax trees.

    app -> commands -> {browse, datasets, library, bundle, photos, evaluate, render} -> errors
    commands -> browse -> {library, bundle, photos, evaluate, render}
    clipcli/__init__ -> interface -> {library, bundle, photos, evaluate}
    datasets -> {library, bundle, photos}
    trainer -> clipcli.{datasets, bundle, photos, evaluate}
    export -> trainer, clipcli.{datasets, bundle, photos, evaluate}

Only render prints, and only app leaves the program.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.structure.source import ROOT, calls, dotted, imports, modules, unit_of

FILES = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in modules()]
CLIPCLI = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in modules("clipcli")]

ROOMS = {"library", "bundle", "photos", "evaluate", "render"}

# Own imports allowed per unit, late ones included. `clipcli` alone is its `__init__`.
ARROWS: dict[str, set[str]] = {
    "clipcli": {"interface"},
    "interface": {"errors", "library", "bundle", "photos", "evaluate"},
    "errors": set(),
    "photos": {"errors"},
    "evaluate": {"errors"},
    "render": {"errors"},
    "bundle": {"errors", "photos"},
    "library": {"errors", "photos", "bundle"},
    "browse": {"errors", *ROOMS},
    "datasets": {"errors", "library", "bundle", "photos"},
    "commands": {"errors", "browse", "datasets", *ROOMS},
    "app": {"errors", "commands", "render"},
    "__main__": {"app"},
    "trainer": {"errors", "datasets", "bundle", "photos", "evaluate"},
    "export": {"errors", "datasets", "bundle", "photos", "evaluate", "trainer"},  # parity: real photographs, recall@10
}
LATE_EXCEPTIONS = {
    f"clipcli.commands.{command}": {"trainer", "export"}
    for command in (
        "bringing",
        "caption",
        "data_doctor",
        "export",
        "measured_models",
        "models_convert",
        "piped",
        "train",
        "training_options",
        "training_run",
    )
}

HEAVY = {"torch", "onnx", "onnxscript", "trainer", "export", "huggingface_hub", "sqlite_utils"}
HUB = "clipcli.bundle.hub"
NEVER_IN_CLIPCLI = {"torch", "onnxscript"}
COMMANDS_AT_MODULE_LEVEL = {"typer", "clipcli"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", FILES)
def test_own_imports_follow_the_arrows(path: Path) -> None:
    here = dotted(path)
    unit = unit_of(here)
    assert unit in ARROWS, f"{here} is a new unit: say in this table and in docs/architecture.md what it may import"
    for found in imports(path):
        if found.module.split(".")[0] not in {"clipcli", "trainer", "export"}:
            continue
        target = unit_of(found.module)
        if target in {unit, "clipcli"} or (found.module.startswith("clipcli.") and target not in ARROWS):
            continue  # within the unit, or a name of `clipcli/__init__.py` such as its version
        allowed = ARROWS[unit] | (LATE_EXCEPTIONS.get(here, set()) if found.late else set())
        assert target in allowed, f"{path.name}:{found.line}: {unit} may not import {found.module}"


@pytest.mark.parametrize("path", CLIPCLI)
def test_clipcli_imports_nothing_heavy_at_module_level(path: Path) -> None:
    for found in imports(path):
        top = found.module.split(".")[0]
        assert top not in NEVER_IN_CLIPCLI, f"{path.name}:{found.line}: {top} has no place in clipcli"
        allowed = found.late or top not in HEAVY or (top == "huggingface_hub" and dotted(path).startswith(HUB))
        assert allowed, f"{path.name}:{found.line}: {top} at module level"


@pytest.mark.parametrize("path", CLIPCLI)
def test_the_hub_is_reached_for_late(path: Path) -> None:
    """Its room may import the hub's client, because nobody imports the room before a model is to be fetched."""
    for found in imports(path):
        inside = dotted(path).startswith(HUB) or not found.module.startswith(f"{HUB}.")
        assert inside or found.late, f"{path.name}:{found.line}: {found.module} at module level"


@pytest.mark.parametrize("path", [p for p in CLIPCLI if "clipcli/commands/" in str(p.id)])
def test_command_files_start_with_typer_and_the_standard_library(path: Path) -> None:
    for found in imports(path):
        if found.late:
            continue
        top = found.module.split(".")[0]
        assert top in COMMANDS_AT_MODULE_LEVEL, f"{path.name}:{found.line}: {found.module} belongs inside the function"
        if top == "clipcli":
            assert unit_of(found.module) in {"errors", "commands"}, f"{path.name}:{found.line}: {found.module}"


PRINTING = {"print", "typer.echo", "typer.secho", "click.echo", "rich.print", "pprint.pprint", "warnings.warn"}
STREAMS = ("sys.stdout.", "sys.stderr.", "sys.__stdout__.", "sys.__stderr__.")


@pytest.mark.parametrize("path", [p for p in FILES if "clipcli/render/" not in str(p.id)])
def test_only_render_prints(path: Path) -> None:
    for name, line in calls(path):
        prints = name in PRINTING or (name.startswith(STREAMS) and ".write" in name) or name.endswith("Console")
        assert not prints, f"{path.name}:{line}: {name}() outside clipcli/render"


LEAVING = {"sys.exit", "exit", "quit", "os._exit", "SystemExit", "typer.Exit", "click.exceptions.Exit"}


@pytest.mark.parametrize("path", [p for p in FILES if p.id not in {"clipcli/app.py", "clipcli/__main__.py"}])
def test_only_app_leaves_the_program(path: Path) -> None:
    for name, line in calls(path):
        assert name not in LEAVING, f"{path.name}:{line}: {name}() outside app.py; raise an error of clipcli.errors"


def test_the_reader_of_imports_sees_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above are only as good as this reader, so it is shown each form once."""
    monkeypatch.setattr("tests.structure.source.ROOT", tmp_path)
    path = tmp_path / "clipcli" / "library" / "store.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "import torch.nn as nn\n"
        "from . import vectors\n"
        "from ..photos.decode import open_image\n"
        "if TYPE_CHECKING:\n    import onnx\n"
        "try:\n    import rawpy\nexcept ImportError:\n    pass\n"
        "class A:\n    import json\n    def f(self):\n        from clipcli import errors\n"
    )
    seen = [(found.module, found.late) for found in imports(path)]
    assert seen == [
        ("typing.TYPE_CHECKING", False),
        ("torch.nn", False),
        ("clipcli.library.vectors", False),
        ("clipcli.photos.decode.open_image", False),
        ("rawpy", False),
        ("json", False),
        ("clipcli.errors", True),
    ]

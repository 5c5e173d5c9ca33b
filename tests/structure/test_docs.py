"""The documentation and the program say the same."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.environments import PEERS
from clipcli import errors
from docs.write_cli import TARGET, command_lines, page
from tests.structure.source import PACKAGES, ROOT, modules, tree_of

DOCS = ROOT / "docs"
TABLES = ("## Everyday", "## Extras", "## Peers of the benchmarks")  # of what is installed
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("clipcli/**/*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its two head lines."""
    section = text.split(f"\n{heading}\n", 1)[1]
    lines = []
    for line in section.splitlines():
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
        elif lines:
            break
    return lines[2:]


def test_the_page_of_commands_is_current() -> None:
    assert TARGET.read_text("utf-8") == page(), "run `make docs`"


@pytest.mark.parametrize("line", list(command_lines()), ids=" ".join)
def test_every_command_and_option_is_explained(line: list[str]) -> None:
    from clipcli.app import app as program
    from clipcli.commands.listing import load

    if not line:
        assert program.info.epilog
        return
    command = load(line[0])
    for name in line[1:]:
        command = command.commands[name]
    assert command.help
    for parameter in command.params:
        # An argument stands in the usage line and is explained by the command's own text.
        assert parameter.param_type_name == "argument" or parameter.help, f"{parameter.name} has no help"


def test_the_readme_names_every_extra_where_it_tells_how_to_install() -> None:
    beginning = (ROOT / "README.md").read_text("utf-8").split("\n## Quick start\n")[1].split("\n## ")[0]
    assert not {name for name in PROJECT["optional-dependencies"] if f"`{name}`" not in beginning} - {"dev"}


def test_exit_codes_are_those_of_the_error_tree() -> None:
    table = rows((DOCS / "contract.md").read_text("utf-8"), "## Exit codes")
    written = {name.strip("`"): int(code) for code, _, name in table if name}
    assert written == {
        error.__name__: error.exit_code
        for error in (getattr(errors, name) for name in errors.__all__)
        if error is not errors.ImageError  # a picture by itself never ends a command
    }
    assert {int(code) for code, _, name in table if not name} == {0, 130, 143}


def test_environment_variables_are_those_the_code_reads() -> None:
    read = {
        node.value
        for path in modules("clipcli")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch("CLIP_[A-Z_]+", node.value)
    }
    table = rows((DOCS / "contract.md").read_text("utf-8"), "## Environment variables")
    assert {name.strip("`") for name, _ in table} == read


def test_records_are_those_the_commands_write() -> None:
    from clipcli.commands import (
        caption,
        checking,
        compared,
        duplicate_groups,
        eval_calibration,
        eval_figures,
        eval_probe,
        eval_retrieval,
        eval_robustness,
        export,
        index_run,
        judging,
        library,
        models,
        results,
        showing,
        sorting,
        tags,
    )

    written = {
        "embed": index_run.FIELDS,
        "search`, `similar": results.FIELDS,
        "search --facts`, `similar --facts": results.FIELDS + results.FACT_FIELDS,
        "duplicates": duplicate_groups.FIELDS,
        "classify": judging.FIELDS,
        "caption": caption.FIELDS,
        "tags list": tags.LIST_FIELDS,
        "tags export": tags.EXPORT_FIELDS,
        "tags sort --dry-run": sorting.SORT_FIELDS,
        "models list": models.LIST_FIELDS,
        "models list --known": models.KNOWN_FIELDS,
        "models verify": models.VERIFY_FIELDS,
        "library stats": library.STATS_FIELDS,
        "library show": showing.SHOW_FIELDS,
        "library roots": library.ROOTS_FIELDS,
        "library skipped": library.SKIPPED_FIELDS,
        "library check": checking.CHECK_FIELDS,
        "eval zero-shot": eval_figures.FIELDS,
        "eval zero-shot --per-class": eval_figures.CLASS_FIELDS,
        "eval probe": eval_probe.FIELDS,
        "eval retrieval": eval_retrieval.FIELDS,
        "eval robustness": eval_robustness.FIELDS,
        "eval calibration": eval_calibration.FIELDS,
        "eval compare": compared.FIELDS,
        "export": export.FIELDS,
    }
    table = rows((DOCS / "contract.md").read_text("utf-8"), "### Records")
    assert {command.strip("`"): tuple(re.findall("`([a-z0-9_]+)`", fields)) for command, fields in table} == written


def test_faults_are_those_a_check_looks_for() -> None:
    from clipcli.library.faults import KINDS

    table = rows((DOCS / "contract.md").read_text("utf-8"), "## What `library check` looks for")
    assert [(kind.strip("`"), *rest) for kind, *rest in table] == [
        (name, "yes" if kind.damage else "no", kind.meaning, kind.remedy) for name, kind in KINDS.items()
    ]


def requirement_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return found.group()


def test_every_dependency_has_a_reason() -> None:
    text = (DOCS / "decisions" / "0001-dependencies.md").read_text("utf-8")
    assert {name.strip("`") for name, _ in rows(text, "## Everyday")} == {
        requirement_name(requirement) for requirement in PROJECT["dependencies"]
    }
    asked = {
        (extra, requirement_name(requirement))
        for extra, requirements in PROJECT["optional-dependencies"].items()
        for requirement in requirements
        if not requirement.startswith("clipcli[")
    }
    assert {(extra.strip("`"), name.strip("`")) for extra, name, _ in rows(text, "## Extras")} == asked
    peers = rows(text, "## Peers of the benchmarks")
    assert {(where.strip("`"), name.strip("`")) for where, name, _ in peers} == {
        (peer.environment, peer.name) for peer in PEERS
    }


def test_every_reason_says_something() -> None:
    text = (DOCS / "decisions" / "0001-dependencies.md").read_text("utf-8")
    assert all(len(row[-1]) > 10 for heading in TABLES for row in rows(text, heading))


def test_every_pin_is_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins}
    everything = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    asked = {requirement_name(requirement) for requirement in everything} - {"clipcli"}
    assert asked <= pinned
    assert "torch==2.13.0" in pins


def test_the_map_shows_every_room() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    rooms = {path.parent.relative_to(ROOT) for path in modules()}
    assert {f"{room}/" for room in rooms if str(room) != "clipcli" and f"`{room}/`" not in text} == set()


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (DOCS / "decisions" / "README.md").read_text("utf-8"))
    assert listed == sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_version_stands_in_the_changelog() -> None:
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_types_are_strict_without_exemptions() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]
    assert mypy["strict"] is True
    assert mypy["packages"] == list(PACKAGES)
    assert "overrides" not in mypy
    for path in modules():
        assert not re.search(r"#\s*(type:\s*ignore|mypy:)", path.read_text("utf-8")), f"{path.name} is exempt somewhere"


def test_per_cent_is_spelled_one_way() -> None:
    """`79.2 %`, with a blank, in all that the program writes (formats as `.1%` would not) and in the documentation."""
    texts = {path: path.read_text("utf-8") for path in PAGES}
    for name in (*PACKAGES, "benchmarks", "docs"):
        for path in (ROOT / name).rglob("*.py"):
            if path.name != "html_page.py":  # the measures of its style sheet
                nodes = ast.walk(ast.parse(path.read_text("utf-8")))
                said = (node.value for node in nodes if isinstance(node, ast.Constant))
                texts[path] = "\n".join(text for text in said if isinstance(text, str))
    joined = {path: re.findall(r"(?<![\w%])\d[\d.,]*%(?!\w)", text) for path, text in texts.items()}
    assert not {str(path): found for path, found in joined.items() if found}

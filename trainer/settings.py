"""`--set NAME=VALUE`: any field of `TrainOptions` from the command line, read as its type says.

docs/training.md has the table of all of them; a test compares it with the dataclass.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from clipcli.errors import UsageError
from trainer.options import TrainOptions

__all__ = ["SETTABLE", "kind_of", "read_settings"]

# These say what a run is made from, and have an argument or an option of their own that checks more than a value.
ELSEWHERE = {
    "data": "DATA",
    "name": "--name",
    "validation": "--validation",
    "keep": "--keep",
    "by_pairs": "nothing: it is what a run has still to decide",
    "start": "--from",
    "distill": "--distill",
    "arch": "--arch",
}
SETTABLE = frozenset(TrainOptions.__dataclass_fields__) - set(ELSEWHERE)
YES_NO = {"true": True, "false": False}


def read_settings(given: Sequence[str]) -> dict[str, Any]:
    """`["lr=1e-4", "flip=true"]` as values by name. A list of texts is given by repeating its name, one of numbers by
    commas; "none" empties what may be empty.

    Raises:
        UsageError: no such option, no "=", the same name twice, or a value of another kind.
    """
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE, as in --set warmup=0.1, not {each!r}")
        _check_name(name)
        kind = _types()[name]
        made = _read(name, value.strip(), kind)
        if name in found and kind != tuple[str, ...]:
            raise UsageError(f"--set gives {name} twice")
        found[name] = found[name] + made if name in found else made
    return found


def kind_of(name: str) -> str:
    """What values the option `name` takes, in words."""
    return _in_words(_types()[name])


def _types() -> dict[str, Any]:
    return get_type_hints(TrainOptions)


def _check_name(name: str) -> None:
    if name in SETTABLE:
        return
    if name in ELSEWHERE:
        raise UsageError(f"{name} is not given by --set but by {ELSEWHERE[name]}")
    near = difflib.get_close_matches(name, SETTABLE, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(SETTABLE))}"
    raise UsageError(f"--set: there is no training option {name!r}{hint}")


def _in_words(kind: Any) -> str:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [part for part in get_args(kind) if part is not type(None)]
        return f"{_in_words(inner[0])}, or none"
    if origin is Literal:
        return " or ".join(", ".join(map(str, get_args(kind))).rsplit(", ", 1))
    if origin is tuple:
        return "numbers with commas between them" if get_args(kind)[0] is float else "a text; repeat it for several"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]


def _read(name: str, value: str, kind: Any) -> Any:
    """Raises UsageError."""
    try:
        return _as(value, kind)
    except (KeyError, ValueError):
        raise UsageError(f"--set {name}={value}: {name} is {_in_words(kind)}") from None


def _as(value: str, kind: Any) -> Any:
    """Raises KeyError or ValueError."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [part for part in get_args(kind) if part is not type(None)]
        return None if value.lower() == "none" else _as(value, inner[0])
    if origin is Literal:
        return {str(choice): choice for choice in get_args(kind)}[value]
    if origin is tuple:
        item = get_args(kind)[0]
        return (value,) if item is str else tuple(item(part) for part in value.split(",") if part.strip())
    if kind is bool:
        return YES_NO[value.lower()]
    if kind is int:
        return int(value.replace("_", ""))
    return kind(value)

"""Values of a command line that need no checking, taken past typer's checks.

typer checks each value, the ones nobody gave included, with a machinery that takes a tenth of a second to import: a
fifth of what a search takes. Texts, defaults of the right type and ordinary paths are what they are without it;
everything else goes the usual way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["spared"]

_ODD_PATHS = ("exists", "writable", "resolve_path", "allow_dash")  # what a path may be asked for beyond being readable


class _Odd(Exception):
    """A value that has to be looked at."""


def spared(parameters: Sequence[Any]) -> list[Any]:
    """The same options and arguments of typer's, which from now on look only at values that have to be looked at."""
    for parameter in parameters:
        _spare(parameter)
    return list(parameters)


def _spare(parameter: Any) -> None:
    if "process_value" in vars(parameter):
        return
    usual = parameter.process_value

    def process_value(context: Any, value: Any) -> Any:
        if parameter.required and parameter.value_is_missing(value):
            return usual(context, value)
        try:
            taken = _taken(parameter, value)
        except _Odd:
            return usual(context, value)
        return taken if parameter.callback is None else parameter.callback(context, parameter, taken)

    parameter.process_value = process_value


def _taken(parameter: Any, value: Any) -> Any:
    """What typer would make of it. Raises _Odd where that cannot be said."""
    several = parameter.multiple or parameter.nargs == -1
    if value is None:
        return () if several else None
    kind = parameter.type_descriptor.annotation
    info = parameter.type_descriptor.parameter_info
    if not several:
        return _one(kind, info, value)
    if kind not in (list[str], list[Path]) or not isinstance(value, list | tuple):
        raise _Odd
    return [_one(kind.__args__[0], info, each) for each in value]


def _one(kind: Any, info: Any, value: Any) -> Any:
    if getattr(info, "parser", None) is not None or getattr(info, "click_type", None) is not None:
        raise _Odd
    if kind in (str, bool) and type(value) is kind:
        return value
    if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(value, kind):
        return value
    if kind in (int, float) and type(value) is kind and _within(info, value):
        return value
    if kind is Path and type(value) is str:
        return _path(info, value)
    raise _Odd


def _within(info: Any, value: float) -> bool:
    return (info.min is None or info.min <= value) and (info.max is None or value <= info.max)


def _path(info: Any, value: str) -> Path:
    if any(getattr(info, name) for name in _ODD_PATHS) or not (info.file_okay and info.dir_okay):
        raise _Odd
    try:
        os.stat(value)
    except OSError:
        return Path(value)  # not there: whoever needs it will say so
    except ValueError as error:
        raise _Odd from error
    if info.readable and not os.access(value, os.R_OK):
        raise _Odd
    return Path(value)

"""Configurations of other projects: JSON, read with nothing taken for granted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipcli.errors import ModelError

__all__ = ["fail_on_unknown", "licence_of", "missing_processor", "read_json", "section", "three"]

_LARGEST = 16 << 20  # bytes


def read_json(path: Path) -> dict[str, Any]:
    """An object. Raises ModelError."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"{path} is too large for a configuration")
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds no object")
    return values


def missing_processor(folder: Path) -> str:
    """What to say where nothing tells how pictures are prepared: it has to come from whoever made the model."""
    return (
        f"{folder / 'preprocessor_config.json'} is missing, which says how pictures are prepared (size, mean, "
        "deviation): fetch it from the model's repository, where it lies beside config.json (in that of the model "
        "this one was made from, where it has none), and put it there"
    )


def section(values: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """An object inside; an empty one where it is missing. Raises ModelError."""
    inner = values.get(name)
    if inner is None:
        return {}
    if not isinstance(inner, dict):
        raise ModelError(f"{where}: {name} is no object")
    return inner


def fail_on_unknown(values: Mapping[str, Any], plain: Mapping[str, Any], where: str) -> None:
    """Raise ModelError where a setting asks for what the towers here do not have.

    `plain` has every setting that is understood: the value that changes nothing, or ... where any value is taken
    account of elsewhere.
    """
    for name, value in values.items():
        if name not in plain:
            if value in (None, False, 0, "", [], {}):
                continue
            raise ModelError(f"{where}: {name} is {value!r}, which is not known here")
        if plain[name] is not ... and value is not None and value != plain[name]:
            raise ModelError(f"{where}: {name} is {value!r}; only {plain[name]!r} can be built here")


def three(value: Any, where: str) -> tuple[float, float, float]:
    """A mean or a deviation: three numbers, or one for all. Raises ModelError."""
    values = [value] * 3 if isinstance(value, int | float) else value
    if isinstance(values, list) and len(values) == 3 and all(isinstance(one, int | float) for one in values):
        return float(values[0]), float(values[1]), float(values[2])
    raise ModelError(f"{where}: {value!r} is not a number for each colour")


def licence_of(folder: Path) -> str | None:
    """What the model card's heading says (`license: mit`)."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            heading = file.read(20_000).split("\n---", 1)[0]
    except OSError:
        return None
    found = re.search(r"^license:\s*([\w.+-]+)\s*$", heading, re.MULTILINE)
    named = re.search(r"^license_name:\s*([\w.+-]+)\s*$", heading, re.MULTILINE)
    return (named or found or [None, None])[1]

"""Whether the files of a bundle are the ones `model.json` speaks of.

Hashes are taken when a bundle is installed or verified, and then a stamp of each file's size and time is left beside
them; loading compares stamps only, and takes a hash again just where a stamp has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clipcli.bundle.damage import next_step
from clipcli.bundle.spec import ModelSpec
from clipcli.errors import ModelError

__all__ = ["STAMPS_FILE", "check_hashes", "check_stamps", "file_facts", "write_stamps"]

STAMPS_FILE = ".stamps.json"


def file_facts(path: Path) -> dict[str, Any]:
    """What `model.json` records of a file: {"sha256", "bytes"}."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def check_hashes(folder: Path, spec: ModelSpec, names: Iterable[str] | None = None) -> None:
    """Compare size and SHA-256 of every file, or of `names`. Raises ModelError for the first that differs.

    Every file means those recorded, among which must be all that the model needs to run.
    """
    for name in dict.fromkeys((*spec.required_files, *spec.files)) if names is None else names:
        _check_size(folder, spec, name)
        if file_facts(folder / name) != dict(spec.files[name]):
            raise _damaged(folder, spec, f"{name} does not have the recorded SHA-256")


def write_stamps(folder: Path, spec: ModelSpec) -> None:
    """Remember size and time of every file, after `check_hashes` has passed."""
    path = folder / STAMPS_FILE
    partial = path.with_name(f"{STAMPS_FILE}.{os.getpid()}.part")
    with partial.open("w", encoding="utf-8") as out:
        json.dump({name: _stamp(folder / name) for name in spec.files}, out)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)


def check_stamps(folder: Path, spec: ModelSpec, names: Iterable[str]) -> None:
    """On load: sizes always, times where a stamp was left, a hash only where a time has changed. Raises ModelError."""
    stamps = _read_stamps(folder)
    for name in names:
        _check_size(folder, spec, name)
        if name in stamps and stamps[name] != _stamp(folder / name):
            check_hashes(folder, spec, (name,))


def _damaged(folder: Path, spec: ModelSpec, what: str) -> ModelError:
    return ModelError(f"model {spec.name} is damaged: {what} ({folder}); {next_step(folder)}")


def _check_size(folder: Path, spec: ModelSpec, name: str) -> None:
    if name not in spec.files:
        raise _damaged(folder, spec, f"{name} is not recorded in its model.json")
    try:
        size = (folder / name).stat().st_size
    except OSError:
        raise _damaged(folder, spec, f"{name} is missing") from None
    recorded = spec.files[name]["bytes"]
    if size != recorded:
        raise _damaged(folder, spec, f"{name} has {size} bytes, not {recorded}")


def _stamp(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def _read_stamps(folder: Path) -> dict[str, Any]:
    """No stamps is the ordinary state of a bundle that was copied by hand, or that came with the package."""
    try:
        stamps = json.loads((folder / STAMPS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}

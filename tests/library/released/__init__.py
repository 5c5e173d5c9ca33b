"""Libraries as earlier versions left them; README.md says how they come about."""

from __future__ import annotations

import gzip
from pathlib import Path

__all__ = ["FOLDER", "VERSIONS", "unpack"]

FOLDER = Path(__file__).parent
VERSIONS = tuple(sorted(int(file.name[len("version-") : -len(".db.gz")]) for file in FOLDER.glob("version-*.db.gz")))


def unpack(version: int, target: Path) -> Path:
    """The library of that schema, as a file of its own at `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.decompress((FOLDER / f"version-{version}.db.gz").read_bytes()))
    return target

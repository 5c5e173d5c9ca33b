"""A bundle that somebody else has made: its graphs are looked at like any other's before it is installed."""

from __future__ import annotations

from pathlib import Path

from clipcli.bundle.foreign.graph_file import read_graph
from clipcli.bundle.spec import ModelSpec
from clipcli.errors import ModelError

__all__ = ["check_graphs"]


def check_graphs(folder: Path, spec: ModelSpec) -> None:
    """Raises ModelError where a graph must not be run, or keeps weights in files that `model.json` does not name."""
    for variant in spec.variants:
        for name in (variant.image, variant.text):
            if not (folder / name).is_file():
                raise ModelError(f"model {spec.name} is damaged: {name} is missing ({folder})")
            strange = set(read_graph(folder / name).data) - set(variant.data)
            if strange:
                raise ModelError(f"{folder / name} is refused: it keeps weights in {', '.join(sorted(strange))}")

"""The first use of a low precision on a machine: measured once with the probe, then remembered.

Quantised arithmetic is not the same on every processor (saturation of 16-bit sums where there is no VNNI, for one), so
the parity in `model.json`, measured where the model was made, does not hold here until it was measured here.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import onnxruntime

from clipcli.bundle.probe import COSINE_FLOORS
from clipcli.bundle.spec import ModelSpec, Variant
from clipcli.errors import ModelError

__all__ = ["check_first_use", "known_cosines"]


def check_first_use(spec: ModelSpec, variant: Variant, tower: str, device: str, measure: Callable[[], float]) -> None:
    """Call `measure` for the smallest cosine unless it is known here already. Raises ModelError where it is poor."""
    record = _record()
    key = _key(spec, variant, tower, device)
    known = _read(record)
    cosine = known.get(key)
    if cosine is None:
        cosine = measure()
        _write(record, {**known, key: cosine})
    floor = COSINE_FLOORS[variant.precision]
    if cosine < floor:
        raise ModelError(
            f"the {variant.precision} {tower} tower of {spec.name} is not exact enough on this machine: cosine "
            f"{cosine:.4f}, at least {floor} wanted (choose another --precision; auto will from now on)"
        )


def known_cosines(spec: ModelSpec, variant: Variant, device: str) -> list[float]:
    """What was measured of the variant's two towers on this machine so far."""
    known = _read(_record())
    keys = (_key(spec, variant, tower, device) for tower in ("image", "text"))
    return [known[key] for key in keys if key in known]


def _key(spec: ModelSpec, variant: Variant, tower: str, device: str) -> str:
    return "|".join(
        (spec.graph_digest(variant, tower), device, platform.node(), platform.machine(), onnxruntime.__version__)
    )


def _record() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("clip", appauthor=False) / "parity.json"


def _read(path: Path) -> dict[str, float]:
    """What was measured before; a cache that is missing or damaged only costs a second measurement."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): float(value) for key, value in known.items()} if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, float]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):  # a home that cannot be written to is no reason not to search
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(known, indent=1), encoding="utf-8")
        partial.replace(path)

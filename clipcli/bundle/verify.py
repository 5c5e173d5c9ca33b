"""Is an installed model still what it was, and does it compute the same on this machine?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipcli.bundle.encoder import Model
from clipcli.bundle.probe import COSINE_FLOORS, Probe, read_probe, tower_cosine
from clipcli.bundle.spec import PROBE_FILE, ModelSpec, read_spec
from clipcli.bundle.stamps import check_hashes
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import ModelError

__all__ = ["Check", "verify"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at. `cosine` and `floor` where it was a measurement."""

    what: str
    passed: bool
    detail: str = ""
    cosine: float | None = None
    floor: float | None = None


def verify(folder: Path, *, device: str = "auto") -> list[Check]:
    """Hash every file, run the tokenizer and every variant on the probe. Faults are reported, not raised.

    Raises NotFoundError and ModelError only where there is no readable `model.json`, DeviceError for a device that
    cannot be used.
    """
    spec = read_spec(folder)
    checks = list(_files(folder, spec))
    if not all(check.passed for check in checks):
        return checks  # what a damaged graph computes tells nobody anything
    if PROBE_FILE not in spec.files:
        return [*checks, Check(what="parity", passed=False, detail=f"no {PROBE_FILE} to measure it with")]
    try:
        probe = read_probe(folder, spec)
    except ModelError as error:
        return [*checks, Check(what=PROBE_FILE, passed=False, detail=str(error))]
    checks.append(_tokenizer(folder, spec, probe))
    for variant in spec.variants:
        checks += _parity(Model.load(folder, device=device, precision=variant.precision), probe)
    return checks


def _files(folder: Path, spec: ModelSpec) -> Iterator[Check]:
    for name in dict.fromkeys((*spec.files, *spec.required_files)):
        try:
            check_hashes(folder, spec, (name,))
        except ModelError as error:
            yield Check(what=name, passed=False, detail=str(error))
        else:
            yield Check(what=name, passed=True, detail="SHA-256 as recorded")


def _tokenizer(folder: Path, spec: ModelSpec, probe: Probe) -> Check:
    try:
        same = np.array_equal(Tokenizer.of(folder, spec)(probe.texts), probe.tokens)
    except ModelError as error:
        return Check(what="tokenizer", passed=False, detail=str(error))
    detail = "same tokens" if same else "other tokens than recorded: another version of the tokenizers library?"
    return Check(what="tokenizer", passed=same, detail=detail)


def _parity(model: Model, probe: Probe) -> Iterator[Check]:
    floor = COSINE_FLOORS[model.precision]
    for tower in ("image", "text"):
        what = f"{model.precision} {tower} tower"
        try:
            cosine = tower_cosine(model, probe, tower)
        except ModelError as error:
            yield Check(what=what, passed=False, detail=str(error))
            continue
        detail = f"smallest cosine {cosine:.6f} on {model.device}, at least {floor} wanted"
        yield Check(what=what, passed=cosine >= floor, detail=detail, cosine=cosine, floor=floor)

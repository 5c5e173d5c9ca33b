"""Which variant of a model runs where nobody has asked for one: the fastest that is known to be exact enough.

On a processor 8-bit products are 2 to 3 times as fast as those of 32 bits (docs/experiments.md), but nearly all of the
first ten results have to stay what they were. A GPU has nothing to gain from 8 bits in ONNX Runtime. fp16 is stored
halves, which a processor computes with as fp32, and so no faster; a GPU computes in halves (`half_graphs`).
"""

from __future__ import annotations

from clipcli.bundle.probe import COSINE_FLOORS
from clipcli.bundle.spec import PRECISIONS, ModelSpec, Variant

__all__ = ["FIRST_TEN_FLOOR", "IN_HALVES", "choose_variant", "worst_cosine"]

_FAST, _FAST_ON_GPU = "int8", "fp16"
IN_HALVES = "cuda in halves"  # the device, to `first_use`, of a graph that does not only store them
FIRST_TEN_FLOOR = 0.99  # the share of the exact first ten that has to be found, where texts and photographs were given


def choose_variant(spec: ModelSpec, precision: str, *, device: str) -> Variant:
    """The variant of this precision; of "auto" the fastest whose measured parity passes, else the model's own default.

    `device` is where it is to run, "auto", "cpu" or "cuda". Raises NotFoundError.
    """
    if precision != "auto" or len(spec.variants) == 1:
        return spec.variant(precision)
    others = sorted(
        (variant for variant in spec.variants if variant.precision != _FAST),
        key=lambda variant: (variant.precision != spec.default_precision, PRECISIONS.index(variant.precision)),
    )
    from clipcli.bundle.sessions import may_use_cuda  # late: where there is no choice it is not needed

    if device == "cuda" or (device == "auto" and may_use_cuda()):
        fast, place = _FAST_ON_GPU, IN_HALVES
    else:
        fast, place = _FAST, "cpu"
    found = next((variant for variant in spec.variants if variant.precision == fast), None)
    return found if found is not None and _passes(spec, found, place) else others[0]


def _passes(spec: ModelSpec, variant: Variant, place: str) -> bool:
    """Whether it was exact enough where the model was made, and here, as far as that was measured."""
    from clipcli.bundle.first_use import known_cosines

    cosines = (worst_cosine(variant), *known_cosines(spec, variant, place))
    floor = COSINE_FLOORS[variant.precision]
    kept = (variant.parity or {}).get("top10_overlap", 1.0)  # where nobody could measure it, cosines have to do
    return all(cosine is not None and cosine >= floor for cosine in cosines) and kept >= FIRST_TEN_FLOOR


def worst_cosine(variant: Variant) -> float | None:
    """The smallest that was measured where the model was made; None where nothing was."""
    parity = variant.parity or {}
    measured = [parity.get(f"{tower}_min_cosine") for tower in ("image", "text")]
    found = [cosine for cosine in measured if cosine is not None]
    return min(found) if len(found) == len(measured) else None

"""One opened graph: what it is given, in the types and the numbers it wants, and what it gives back.

Graphs that this project exports are all alike. Those of other projects want int32 or int64 tokens, float32 or float16
pixels, an attention mask beside the tokens, or exactly one input at a time.
Shapes: B batch, D embedding, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import GraphNames
from clipcli.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from clipcli.bundle.device_memory import BoundSession

__all__ = ["Tower"]

# The element types of inputs that this program can make, by ONNX Runtime's names for them.
_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tower:
    """A session with the names of its input, its mask where it has one, and its output."""

    session: InferenceSession
    given: str
    mask: str | None
    output: str
    types: dict[str, Any]  # of each input
    fixed_batch: int | None  # how many it takes at a time, where that is not up to the caller
    fixed_length: int | None  # of texts, likewise
    bound: BoundSession | None = None  # on a GPU

    @classmethod
    def of(cls, session: InferenceSession, tower: str, names: GraphNames, *, device: str = "cpu") -> Tower:
        """Of a session on `device`. Raises ModelError where the graph does not have what `names` says."""
        given, output = (
            (names.image_input, names.image_output) if tower == "image" else (names.text_input, names.text_output)
        )
        mask = names.text_mask if tower == "text" else None
        inputs = {one.name: one for one in session.get_inputs()}
        wanted = {given, mask} - {None}
        if set(inputs) != wanted or output not in {one.name for one in session.get_outputs()}:
            raise ModelError(f"the {tower} graph has the inputs {', '.join(inputs)}, not what its model.json says")
        unknown = [one.type for one in inputs.values() if one.type not in _TYPES]
        if unknown:
            raise ModelError(f"the {tower} graph takes {unknown[0]}, which is not known here")
        shape = inputs[given].shape
        return cls(
            session=session,
            given=given,
            mask=mask,
            output=output,
            types={name: _TYPES[one.type] for name, one in inputs.items()},
            fixed_batch=shape[0] if isinstance(shape[0], int) else None,
            fixed_length=shape[1] if tower == "text" and isinstance(shape[1], int) else None,
            bound=_bound(session, output, device, divisible=not isinstance(shape[0], int)),
        )

    def run(self, batch: NDArray[Any], lengths: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """(B, ...) -> (B, D) as the graph gives it. `lengths` (B,) are tokens with the end marker, for the mask."""
        feeds = {self.given: batch.astype(self.types[self.given], copy=False)}
        if self.mask is not None:
            assert lengths is not None
            feeds[self.mask] = (np.arange(batch.shape[1]) < lengths[:, None]).astype(self.types[self.mask])  # (B, L)
        count = self.fixed_batch
        if count is None:
            return self._run(feeds)
        starts = range(0, len(batch), count)
        parts = [self._run({name: _padded(rows[i : i + count], count) for name, rows in feeds.items()}) for i in starts]
        return np.concatenate(parts)[: len(batch)]

    def _run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        if self.bound is not None:
            return self.bound.run(feeds)
        (outcome,) = self.session.run([self.output], feeds)
        return np.asarray(outcome)


def _bound(session: InferenceSession, output: str, device: str, *, divisible: bool) -> BoundSession | None:
    if device == "cpu":  # there is nothing to copy
        return None
    from clipcli.bundle.device_memory import BoundSession  # late: few machines have a GPU

    return BoundSession(session, output, device=device, divisible=divisible)


def _padded(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """`count` rows, the last one repeated where some are missing."""
    missing = count - len(rows)
    return rows if missing == 0 else np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])

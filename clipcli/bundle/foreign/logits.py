"""The logit scale (and bias) of a model that comes as graphs: told, or measured where the source can be asked.

The graphs of single towers end before it. A graph of both towers gives embeddings and logits side by side, and logits
are `scale * cosine + bias`: a straight line, whose slope and height are what is looked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.foreign.graph_file import read_graph
from clipcli.bundle.foreign.graph_source import Answers, GraphSource
from clipcli.bundle.sessions import RUNTIME_ERRORS, first_line, open_session
from clipcli.errors import ModelError, UsageError

__all__ = ["logit_line"]

_NEEDED = ("logits_per_image", "image_embeds", "text_embeds")
_STRAIGHT = (
    0.02  # the largest distance from the line; logits run to a hundred, their last digits are float16's at worst
)
_SPREAD = 1e-4  # of cosines: with less there is no line to see
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


def logit_line(
    source: GraphSource,
    answers: Answers,
    *,
    pixels: NDArray[np.float32],
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> tuple[float, float | None, str]:
    """(scale, bias, where they are from); the bias of a model without sigmoids is None.

    Raises UsageError where nobody says, ModelError where a graph of both towers contradicts itself.
    """
    scale, bias = answers.logit_scale, answers.logit_bias
    if bias is not None and not source.sigmoid:
        raise UsageError("--logit-bias is for sigmoid models; this one has none")
    if scale is not None and (bias is not None or not source.sigmoid):
        return scale, bias, "told"
    if source.combined is not None:
        slope, height = _measured(source, pixels, tokens, lengths)
        return scale or slope, (height if bias is None else bias) if source.sigmoid else None, source.combined.name
    wanted = "--logit-scale and --logit-bias" if source.sigmoid else "--logit-scale"
    known = "its graphs leave it out" if source.sigmoid else "its graphs leave it out; OpenAI's models have 100"
    raise UsageError(f"the source does not say its logit scale: give {wanted} ({known})")


def _measured(
    source: GraphSource, pixels: NDArray[np.float32], tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[float, float]:
    """Slope and height of the line through (cosine, logit), over all pairs of these pictures and texts."""
    assert source.combined is not None
    graph = source.combined
    read_graph(graph)
    session, _ = open_session(graph, device="cpu")
    given = {one.name: _TYPES.get(one.type) for one in session.get_inputs()}
    mask = np.arange(tokens.shape[1]) < lengths[:, None]
    feeds: dict[str, NDArray[Any]] = {"pixel_values": pixels, "input_ids": tokens, "attention_mask": mask}
    if not set(_NEEDED) <= {one.name for one in session.get_outputs()} or not set(given) <= set(feeds):
        raise ModelError(f"{graph} does not give {', '.join(_NEEDED)} for pictures and texts: give --logit-scale")
    try:
        results = session.run(list(_NEEDED), {name: feeds[name].astype(kind) for name, kind in given.items()})
    except RUNTIME_ERRORS as error:
        raise ModelError(f"{graph} failed: {first_line(error)}") from error
    logits, images, texts = (np.asarray(result, dtype=np.float64) for result in results)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    cosines, heights = (images @ texts.T).ravel(), logits.ravel()
    if np.ptp(cosines) < _SPREAD:
        raise ModelError(f"{graph} cannot tell pictures and texts apart: give --logit-scale")
    if source.sigmoid:
        slope, height = (float(value) for value in np.polyfit(cosines, heights, 1))
    else:
        slope, height = float(cosines @ heights / (cosines @ cosines)), 0.0
    if slope <= 0 or not np.abs(slope * cosines + height - heights).max() < _STRAIGHT * max(1.0, slope / 100):
        raise ModelError(f"{graph} gives logits that are not on a line with its cosines: give --logit-scale")
    return round(slope, 4), round(height, 4)

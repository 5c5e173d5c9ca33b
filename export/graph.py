"""One torch tower -> one clean ONNX graph. The model given is put into evaluation mode and must be float32 on the CPU.

The exporter is torch's own (`torch.onnx.export`, the one built on `torch.export`). It is the one that stays: the older
TorchScript exporter warns of its removal. What it leaves in the file that no inference needs is taken out here.
Shapes: B batch, S image size, L tokens, D embedding.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import onnx
import torch
from torch import Tensor, nn

from clipcli.errors import ModelError
from export.graph_files import LARGEST, weight_bytes

if TYPE_CHECKING:
    from trainer.towers import Clip

__all__ = ["Tower", "image_graph", "text_graph"]

Tower = Literal["image", "text"]

OPSET = 18  # the first with ReduceL2 over given axes; every ONNX Runtime this project allows knows it
_OUTPUT = "embedding"


class _ImageTower(nn.Module):
    """Pixels (B, 3, S, S) -> unit vectors (B, D)."""

    def __init__(self, model: Clip) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels, normalise=True)


class _TextTower(nn.Module):
    """Tokens (B, L) -> unit vectors (B, D)."""

    def __init__(self, model: Clip) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model.encode_text(tokens, normalise=True)


def image_graph(model: Clip, image_size: int) -> onnx.ModelProto:
    """Input "pixels" (batch, 3, S, S) float32, output "embedding" (batch, D) float32."""
    pixels = torch.zeros(2, 3, image_size, image_size)
    return _export(_ImageTower(model), pixels, "pixels", {0: "batch"})


def text_graph(model: Clip, context_length: int) -> onnx.ModelProto:
    """Input "tokens" (batch, length) int64, output "embedding" (batch, D) float32.

    Length may be anything up to the context length: what follows the last end marker of a batch can be left out.
    """
    tokens = torch.zeros(2, context_length, dtype=torch.int64)
    return _export(_TextTower(model), tokens, "tokens", {0: "batch", 1: "length"})


def _export(tower: nn.Module, example: Tensor, given: str, axes: dict[int, str]) -> onnx.ModelProto:
    # Sizes of 2 and more in the example keep torch from taking 0 and 1, its special cases, for the general one.
    sizes = {"batch": torch.export.Dim("batch"), "length": torch.export.Dim("length", min=2, max=example.shape[-1])}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            tower,
            (example,),
            input_names=[given],
            output_names=["result"],
            dynamic_shapes={given: {axis: sizes[name] for axis, name in axes.items()}},
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ModelError("torch gave no ONNX graph")
    graph = program.model_proto
    _tidy(graph)
    if weight_bytes(graph) <= LARGEST:  # a larger one can only be checked by its file
        onnx.checker.check_model(graph, full_check=True)
    return graph


def _tidy(model: onnx.ModelProto) -> None:
    """Name the output, and leave out what only describes the origin: source lines, inferred shapes, unused weights."""
    graph = model.graph
    rename = {"result": _OUTPUT, _OUTPUT: f"inner_{_OUTPUT}"}  # torch calls the word vectors "embedding" too
    for node in graph.node:
        node.input[:] = [rename.get(name, name) for name in node.input]
        node.output[:] = [rename.get(name, name) for name in node.output]
        node.doc_string = ""
        del node.metadata_props[:]
    graph.output[0].name = _OUTPUT
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
    used = {name for node in graph.node for name in node.input}
    kept = [weight for weight in graph.initializer if weight.name in used]
    for weight in kept:
        weight.doc_string = ""
        del weight.metadata_props[:]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.name = "tower"
    graph.doc_string = ""
    model.producer_name, model.producer_version, model.doc_string = "clipcli", "", ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch and its exporter speak of missing torchvision, deprecated internals, progress: nothing one could act on."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

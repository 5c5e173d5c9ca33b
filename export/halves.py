"""fp16: weights stored in half the space, computed with in fp32.

ONNX Runtime's CPU kernels compute in fp32; a graph that is fp16 throughout gets casts around nearly every operator
there and runs several times slower. Stored halves are cast once, when the model is loaded, and then run at full speed;
what changes is only the rounding of the weights.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["SMALL", "store_as_half"]

SMALL = 1024  # values: gains and biases are worth more exact than short


def store_as_half(model: onnx.ModelProto, *, smallest: int = SMALL) -> onnx.ModelProto:
    """A copy whose fp32 weights of `smallest` values and more are fp16 with a `Cast` behind each.

    Weights beyond fp16's range stay fp32.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    graph = halved.graph
    casts = []
    for weight in graph.initializer:
        apart = weight.data_location == TensorProto.EXTERNAL
        if apart or weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < smallest:
            continue
        values = numpy_helper.to_array(weight)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    return halved

"""The tiny bundle as other projects would have exported it: other names, types and layouts, and nothing of ours.

No weights of the world are needed: what is tested is the reading, and the graphs compute what the tiny bundle computes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.tiny_bundle import CONTEXT, DIM, SIZE, make_tiny_bundle

__all__ = ["LOGIT_BIAS", "LOGIT_SCALE", "make_immich", "make_transformers_js", "renamed", "save"]

LOGIT_SCALE = 57.25
LOGIT_BIAS = -11.5
MEAN, STD = [0.48, 0.45, 0.41], [0.27, 0.26, 0.28]
ENDINGS = {"fp32": "", "fp16": "_fp16", "int8": "_quantized"}


def renamed(source: Path, names: dict[str, str], *, bare: bool = True) -> onnx.ModelProto:
    """A graph of the tiny bundle under other names; `bare` ends before vectors are brought to length 1."""
    model = onnx.load(str(source))
    graph = model.graph
    if bare:
        last = next(node for node in graph.node if "feature" in node.output)
        kept = list(graph.node)[: list(graph.node).index(last) + 1]
        del graph.node[:]
        graph.node.extend(kept)
        names = {**names, "feature": names["embedding"]}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    return model


def save(model: onnx.ModelProto, path: Path, *, external: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.checker.check_model(model)
    options: dict[str, Any] = {"save_as_external_data": True, "location": f"{path.name}_data", "size_threshold": 100}
    onnx.save(model, str(path), **(options if external else {}))


def make_transformers_js(
    folder: Path,
    *,
    family: str = "clip",
    precisions: tuple[str, ...] = ("fp32",),
    combined: bool = True,
    external: bool = False,
    mask: bool = False,
    seed: int = 0,
) -> Path:
    """`onnx/` with graphs of each tower and one of both, and the configurations of transformers beside it."""
    source = make_tiny_bundle(folder.with_name(f"{folder.name}-source"), seed=seed)
    image_out, text_out = ("image_embeds", "text_embeds") if family == "clip" else ("pooler_output", "pooler_output")
    for precision in precisions:
        graph = "onnx" if precision == "fp32" else "fp16.onnx"
        image = renamed(source / f"image.{graph}", {"pixels": "pixel_values", "embedding": image_out})
        text = renamed(source / f"text.{graph}", {"tokens": "input_ids", "embedding": text_out})
        if mask:
            _take_a_mask(text)
        ending = ENDINGS[precision]
        save(image, folder / "onnx" / f"vision_model{ending}.onnx", external=external)
        save(text, folder / "onnx" / f"text_model{ending}.onnx", external=external)
    if combined:
        save(_both(source, sigmoid=family == "siglip"), folder / "onnx" / "model.onnx")
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    size = {"shortest_edge": SIZE} if family == "clip" else {"height": SIZE, "width": SIZE}
    _write(folder / "preprocessor_config.json", {
        "do_resize": True, "size": size, "resample": 3, "do_center_crop": family == "clip", "do_rescale": True,
        "crop_size": {"height": SIZE, "width": SIZE}, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": MEAN, "image_std": STD, "image_processor_type": "CLIPImageProcessor",
    })  # fmt: skip
    _write(folder / "config.json", {
        "model_type": family, "text_config": {"max_position_embeddings": CONTEXT, "hidden_act": "quick_gelu"},
        "vision_config": {"hidden_act": "quick_gelu"},
    })  # fmt: skip
    _write(folder / "tokenizer_config.json", {"model_max_length": CONTEXT, "pad_token": "<|endoftext|>"})
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n", "utf-8")
    return folder


def make_immich(folder: Path, *, external: bool = False, seed: int = 0) -> Path:
    """Graphs that take one int32 text or one picture at a time, with OpenCLIP's configuration."""
    source = make_tiny_bundle(folder.with_name(f"{folder.name}-source"), seed=seed)
    image = renamed(source / "image.onnx", {"pixels": "image"}, bare=False)
    text = renamed(source / "text.onnx", {"tokens": "wide_text"}, bare=False)
    graph = text.graph
    graph.node.insert(0, helper.make_node("Cast", ["text"], ["wide_text"], to=TensorProto.INT64))
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("text", TensorProto.INT32, [1, CONTEXT]))
    image.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for model in (image, text):
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    save(image, folder / "visual" / "model.onnx", external=external)
    save(text, folder / "textual" / "model.onnx", external=external)
    (folder / "textual" / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    _write(folder / "textual" / "tokenizer_config.json", {"pad_token": "<|endoftext|>"})
    _write(folder / "visual" / "preprocess_cfg.json", {
        "size": [SIZE, SIZE], "mode": "RGB", "mean": MEAN, "std": STD, "interpolation": "bicubic",
        "resize_mode": "shortest", "fill_color": 0,
    })  # fmt: skip
    _write(folder / "config.json", {"embed_dim": DIM, "vision_cfg": {}, "text_cfg": {"context_length": CONTEXT}})
    return folder


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values), "utf-8")


def _take_a_mask(model: onnx.ModelProto) -> None:
    """Words count only where the mask says so; what it hides is left out of the sum."""
    graph = model.graph
    graph.input.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "length"]))
    place = next(number for number, node in enumerate(graph.node) if "masked" in node.output)
    graph.node[place].output[0] = "shown"
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["shown_number"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["shown_number", "last"], ["shown_mask"]),
        helper.make_node("Mul", ["shown", "shown_mask"], ["masked"]),
    ]
    for number, node in enumerate(nodes, place + 1):
        graph.node.insert(number, node)


def _both(source: Path, *, sigmoid: bool) -> onnx.ModelProto:
    """Both towers in one graph, with the logits that the graphs of single towers leave out."""
    image = onnx.compose.add_prefix(onnx.load(str(source / "image.onnx")), "image_")
    text = onnx.compose.add_prefix(onnx.load(str(source / "text.onnx")), "text_")
    nodes = [*image.graph.node, *text.graph.node]
    names = {"image_pixels": "pixel_values", "image_embedding": "image_embeds"}
    names |= {"text_tokens": "input_ids", "text_embedding": "text_embeds"}
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    nodes += [
        helper.make_node("Transpose", ["text_embeds"], ["turned"]),
        helper.make_node("MatMul", ["image_embeds", "turned"], ["cosines"]),
        helper.make_node("Mul", ["cosines", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits_per_image"]),
    ]
    constants = [*image.graph.initializer, *text.graph.initializer]
    constants.append(numpy_helper.from_array(np.array(LOGIT_SCALE, dtype=np.float32), "scale"))
    constants.append(numpy_helper.from_array(np.array(LOGIT_BIAS if sigmoid else 0, dtype=np.float32), "bias"))
    inputs = [
        helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["pictures", 3, SIZE, SIZE]),
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "length"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits_per_image", TensorProto.FLOAT, ["pictures", "texts"]),
        helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["pictures", DIM]),
        helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, ["texts", DIM]),
    ]
    graph = helper.make_graph(nodes, "both", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

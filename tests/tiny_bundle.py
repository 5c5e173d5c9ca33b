"""A complete small model without torch, for tests: it knows colours.

Its image tower averages the picture over a 4 x 4 grid; its text tower adds up word vectors. The words of `COLOURS`
point where pictures of that colour point, so that a search for "red" really finds the red picture; everything else is
a little random noise, different for every seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import tokenizers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from clipcli.bundle.preprocess import normalise, to_pixels
from clipcli.bundle.spec import ModelSpec, Preprocess, Variant, write_spec
from clipcli.bundle.stamps import file_facts
from clipcli.bundle.tokenizer import Tokenizer

__all__ = [
    "COLOURS",
    "CONTEXT",
    "DIM",
    "PREPROCESS",
    "SIZE",
    "make_tiny_bundle",
    "save_tokenizer",
    "solid_picture",
    "solid_pixels",
]

COLOURS = {
    "red": (230, 25, 25),
    "green": (25, 200, 40),
    "blue": (30, 50, 230),
    "yellow": (240, 230, 30),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
}
DIM = 24
SIZE = 32
CONTEXT = 16
GRID = 4
PREPROCESS = Preprocess(image_size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SENTENCES = [f"a photo of a {colour} thing." for colour in COLOURS] + [
    "a cat and a dog in the park",
    "a red motorcycle",
]


def save_tokenizer(path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.normalizer = tokenizers.normalizers.Lowercase()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        min_frequency=1,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES * 4, trainer)
    start, end = (backend.token_to_id(marker) for marker in ("<|startoftext|>", "<|endoftext|>"))
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)]
    )
    backend.save(str(path))


def _colour_direction(colour: tuple[int, int, int]) -> NDArray[np.float32]:
    """Where a picture of one colour points in the first four dimensions: centred channels, and a constant."""
    return np.array([*((np.array(colour) / 255 - 0.5) / 0.5), 0.5], dtype=np.float32)


def _weights(folder: Path, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Image projection (3 * GRID * GRID, DIM), image bias (DIM,), word vectors (V, DIM)."""
    random = np.random.default_rng(seed)
    cells = GRID * GRID
    image = random.normal(0, 0.15 / np.sqrt(3 * cells), (3 * cells, DIM)).astype(np.float32)
    for channel in range(3):
        image[channel * cells : (channel + 1) * cells, channel] += 1 / cells
    bias = np.zeros(DIM, dtype=np.float32)
    bias[3] = 0.5
    tokenizer = Tokenizer.load(folder, CONTEXT)
    words = random.normal(0, 0.05, (tokenizer.vocab_size, DIM)).astype(np.float32)
    for name, colour in COLOURS.items():
        ids = tokenizer([name])[0]
        for token in ids[1 : tokenizer.lengths(ids[None])[0] - 1]:
            words[token, :4] += _colour_direction(colour)
    return image, bias, words


def _normalised(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceL2", [name, "last"], ["length"], keepdims=1),
        helper.make_node("Max", ["length", "tiny"], ["safe_length"]),
        helper.make_node("Div", [name, "safe_length"], ["embedding"]),
    ]


def _stored(name: str, values: NDArray[np.float32], precision: str) -> tuple[list[onnx.NodeProto], onnx.TensorProto]:
    """A weight as the precision keeps it: fp16 is stored half as large and cast when the model is loaded."""
    if precision == "fp32":
        return [], numpy_helper.from_array(values, name)
    node = helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT)
    return [node], numpy_helper.from_array(values.astype(np.float16), f"{name}_half")


def _save(
    path: Path, given: onnx.ValueInfoProto, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]
) -> None:
    constants = [
        *constants,
        numpy_helper.from_array(np.array([-1], dtype=np.int64), "last"),
        numpy_helper.from_array(np.array(1e-12, dtype=np.float32), "tiny"),
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])
    graph = helper.make_graph(nodes, path.stem.replace(".", "_"), [given], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _save_image_tower(path: Path, projection: NDArray[np.float32], bias: NDArray[np.float32], precision: str) -> None:
    casts, weight = _stored("projection", projection, precision)
    cell = SIZE // GRID
    nodes = [
        *casts,
        helper.make_node("AveragePool", ["pixels"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], ["projected"]),
        helper.make_node("Add", ["projected", "bias"], ["feature"]),
        *_normalised("feature"),
    ]
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    _save(path, given, nodes, [weight, numpy_helper.from_array(bias, "bias")])


def _save_text_tower(path: Path, words: NDArray[np.float32], end_id: int, precision: str) -> None:
    """Sum of the word vectors before the first end marker: what follows it cannot change the embedding."""
    casts, weight = _stored("words", words, precision)
    nodes = [
        *casts,
        helper.make_node("Gather", ["words", "tokens"], ["vectors"], axis=0),
        helper.make_node("Equal", ["tokens", "end"], ["is_end"]),
        helper.make_node("Cast", ["is_end"], ["end_number"], to=TensorProto.FLOAT),
        helper.make_node("CumSum", ["end_number", "axis"], ["ends_so_far"]),
        helper.make_node("Less", ["ends_so_far", "half"], ["before"]),
        helper.make_node("Cast", ["before"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept", "last"], ["mask"]),
        helper.make_node("Mul", ["vectors", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens_axis"], ["feature"], keepdims=0),
        *_normalised("feature"),
    ]
    constants = [
        weight,
        numpy_helper.from_array(np.array(end_id, dtype=np.int64), "end"),
        numpy_helper.from_array(np.array(1, dtype=np.int64), "axis"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "tokens_axis"),
        numpy_helper.from_array(np.array(0.5, dtype=np.float32), "half"),
    ]
    given = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])
    _save(path, given, nodes, constants)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _save_probe(
    folder: Path,
    image: NDArray[np.float32],
    bias: NDArray[np.float32],
    words: NDArray[np.float32],
    tokenizer: Tokenizer,
) -> None:
    """Inputs and the embeddings NumPy computes for them, so that the graphs are checked against something else."""
    pictures = np.stack([np.full((SIZE, SIZE, 3), colour, dtype=np.uint8) for colour in COLOURS.values()])
    pixels = np.stack([normalise(picture, PREPROCESS) for picture in pictures])  # (B, 3, S, S)
    cell = SIZE // GRID
    cells = pixels.reshape(len(pixels), 3, GRID, cell, GRID, cell).mean(axis=(3, 5)).reshape(len(pixels), -1)
    texts = list(COLOURS)
    tokens = tokenizer(texts)
    sums = np.stack(
        [words[row[: length - 1]].sum(axis=0) for row, length in zip(tokens, tokenizer.lengths(tokens), strict=True)]
    )
    np.savez(
        folder / "probe.npz",
        images=pictures,
        image_embeddings=_unit(cells @ image + bias).astype(np.float32),
        texts=np.array(texts),
        tokens=tokens,
        text_embeddings=_unit(sums).astype(np.float32),
    )


def make_tiny_bundle(folder: Path, *, name: str = "tiny", seed: int = 0) -> Path:
    """Write a whole bundle (fp32 and fp16 variants) into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder / "tokenizer.json")
    tokenizer = Tokenizer.load(folder, CONTEXT)
    image, bias, words = _weights(folder, seed)
    variants = []
    for precision in ("fp32", "fp16"):
        ending = ".onnx" if precision == "fp32" else f".{precision}.onnx"
        _save_image_tower(folder / f"image{ending}", image, bias, precision)
        _save_text_tower(folder / f"text{ending}", words, tokenizer.end_id, precision)
        parity = {"image_min_cosine": 1.0, "text_min_cosine": 1.0, "images": 6, "texts": 6}
        variants.append(Variant(precision=precision, image=f"image{ending}", text=f"text{ending}", parity=parity))
    _save_probe(folder, image, bias, words, tokenizer)
    spec = ModelSpec(
        name=name,
        architecture="tiny",
        embedding_dim=DIM,
        preprocess=PREPROCESS,
        context_length=CONTEXT,
        activation="gelu",
        logit_scale=20.0,
        templates=("a photo of a {}.", "a {} thing."),
        variants=tuple(variants),
        default_precision="fp32",
        licence="MIT",
        identity=f"{seed:064x}",
        files={path.name: file_facts(path) for path in sorted(folder.iterdir()) if path.name != "model.json"},
    )
    write_spec(folder, spec)
    return folder


def solid_picture(colour: str, *, width: int = 48, height: int = 40) -> Image.Image:
    """A picture of one of `COLOURS`."""
    return Image.new("RGB", (width, height), COLOURS[colour])


def solid_pixels(colour: str) -> NDArray[np.float32]:
    return to_pixels(solid_picture(colour), PREPROCESS)

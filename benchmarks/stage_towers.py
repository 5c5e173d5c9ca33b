"""The towers of ViT-B/32 alone, warm, over ready pixels and ready tokens: ours and those of open_clip and transformers.

Each function prepares one candidate (see `stage_worker`), with random weights: how long a product takes does not depend
on them. Image towers take as many pictures at a time as each is quickest with.
Shapes: B batch, L tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "clip_image",
    "clip_text",
    "copied",
    "multiplied",
    "openclip_image",
    "openclip_text",
    "transformers_image",
    "transformers_text",
]

Prepared = tuple[Callable[[], None], dict[str, Any]]
SIZE, CONTEXT, VOCABULARY = 224, 77, 49_408
PHRASE = 7  # tokens, both markers counted
PRODUCTS = 4.37e9  # multiplications with a sum that one picture takes in this image tower: its matrices alone
SIDE = 8192  # of a matrix large enough for a GPU to be at its peak


def clip_image(
    label: str, bundle: str, precision: str, count: int, batches: Sequence[int], device: str = "cpu"
) -> Prepared:
    from clipcli.bundle.encoder import Model

    model = Model.load(Path(bundle), device=device, precision=precision)
    return _at_its_best(model.encode_images, label, count, batches)


def openclip_image(label: str, precision: str, count: int, batches: Sequence[int], device: str = "cpu") -> Prepared:
    """In bf16 and fp16 all of it is, which is quicker than autocast."""
    return _in_torch(_openclip().visual, label, precision, count, batches, "open_clip_torch", device)


def transformers_image(label: str, precision: str, count: int, batches: Sequence[int]) -> Prepared:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=SIZE,
        patch_size=32, projection_dim=512,
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config).eval()
    return _in_torch(model, label, precision, count, batches, "transformers", of=lambda given: given.image_embeds)


def _in_torch(
    model: Any,
    label: str,
    precision: str,
    count: int,
    batches: Sequence[int],
    distribution: str,
    device: str = "cpu",
    *,
    of: Callable[[Any], Any] = lambda given: given,
) -> Prepared:
    """From pixels in the computer's memory to embeddings there, which are `of` what the model gives."""
    import torch

    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    model = model.to(device, kind)

    def encode(pixels: Any) -> None:
        with torch.no_grad():
            of(model(torch.from_numpy(pixels).to(device).to(kind))).cpu()

    return _at_its_best(encode, label, count, batches, peer=f"{distribution} {version(distribution)}")


def copied(count: int, device: str) -> Prepared:
    """No tower at all: the pixels of `count` pictures to the device."""
    import torch

    pixels = torch.from_numpy(_pixels(count))

    def turn() -> None:
        pixels.to(device, copy=True)
        _wait_for(device)

    return turn, {}


def multiplied(count: int, precision: str, device: str) -> Prepared:
    """As many products as the tower of `count` pictures has, in large square matrices, which are there already."""
    import torch

    kind = {"fp32": torch.float32, "fp16": torch.float16}[precision]
    side = SIDE if device != "cpu" else SIDE // 8
    matrix = torch.randn(side, side, device=device).to(kind)
    times = max(1, round(count * PRODUCTS / side**3))

    def turn() -> None:
        for _ in range(times):
            matrix @ matrix
        _wait_for(device)

    return turn, {}


def _wait_for(device: str) -> None:
    """What a GPU was told is done later."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


def clip_text(bundle: str, precision: str, count: int) -> Prepared:
    from clipcli.bundle.encoder import Model

    model = Model.load(Path(bundle), precision=precision)
    return _one_by_one(model.encode_tokens, count, CONTEXT)


def openclip_text(count: int) -> Prepared:
    """Padded to the context length: its tokenizer knows nothing else."""
    import torch

    model = _openclip()

    def encode(tokens: Any) -> None:
        with torch.no_grad():
            model.encode_text(torch.from_numpy(tokens))

    return _one_by_one(encode, count, CONTEXT, peer=f"open_clip_torch {version('open_clip_torch')}")


def transformers_text(count: int) -> Prepared:
    """As long as the phrase: its tokenizer pads to the longest of a batch, which is this one."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    model = CLIPTextModelWithProjection(
        CLIPTextConfig(hidden_size=512, intermediate_size=2048, num_attention_heads=8, projection_dim=512)
    ).eval()

    def encode(tokens: Any) -> None:
        with torch.no_grad():
            model(input_ids=torch.from_numpy(tokens))

    return _one_by_one(encode, count, PHRASE, peer=f"transformers {version('transformers')}")


def _openclip() -> Any:
    from benchmarks.torchvision_stub import stand_in

    stand_in()
    import open_clip

    return open_clip.create_model("ViT-B-32").eval()


def _at_its_best(
    encode: Callable[[Any], object], label: str, count: int, batches: Sequence[int], peer: str | None = None
) -> Prepared:
    """A turn is `count` pictures, so many at a time as take least."""
    pixels = _pixels(count)

    def turn(batch: int) -> float:
        begin = time.perf_counter()
        for start in range(0, count, batch):
            encode(pixels[start : start + batch])
        return time.perf_counter() - begin

    best = quickest(turn, batches)
    return lambda: void(turn(best)), {"label": f"{label}, {best} at a time", "peer": peer}


def _pixels(count: int) -> Any:
    return np.random.default_rng(0).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def quickest(turn: Callable[[int], float], batches: Sequence[int]) -> int:
    """The batch whose better one of two turns is the shortest; the first turn of all is not counted."""
    turn(batches[0])
    taken = {batch: min(turn(batch), turn(batch)) for batch in batches}
    return min(taken, key=taken.__getitem__)


def void(_: object) -> None:
    """What a turn returns is of no interest to who measures it."""


def _one_by_one(encode: Callable[[Any], object], count: int, length: int, peer: str | None = None) -> Prepared:
    """A turn is `count` phrases, one after the other."""
    tokens = np.zeros((1, length), dtype=np.int64)
    tokens[0, :PHRASE] = [VOCABULARY - 2, *range(1000, 1000 + PHRASE - 2), VOCABULARY - 1]

    def turn() -> None:
        for _ in range(count):
            encode(tokens)

    return turn, {"peer": peer}

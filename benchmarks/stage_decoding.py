"""From files to the pixels a model takes, one core, one picture after the other: ours, rclip's and transformers'.

Each function prepares one candidate (see `stage_worker`). Nothing is imported here but the standard library, since
rclip's environment has nothing of this project.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["clip_pixels", "rclip_pixels", "transformers_pixels"]

Prepared = tuple[Callable[[], None], dict[str, Any]]
SIZE = 224


def clip_pixels(folder: str) -> Prepared:
    from clipcli.bundle.preprocess import to_pixels
    from clipcli.bundle.spec import Preprocess
    from clipcli.photos.decode import open_image

    rule = Preprocess(
        image_size=SIZE, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
    )
    return _all_of(folder, lambda file: to_pixels(open_image(file, hint=SIZE), rule))


def rclip_pixels(folder: str) -> Prepared:
    """What its loader does with a file, but for the hash; at 224 pixels, where its own model takes 256."""
    from rclip.utils import helpers, preprocess

    preprocess.IMAGE_SIZE = SIZE
    prepared = _all_of(folder, lambda file: preprocess.preprocess(helpers.read_image(str(file))))
    return prepared[0], {"peer": f"rclip {version('rclip')}"}


def transformers_pixels(folder: str) -> Prepared:
    from PIL import Image
    from transformers import CLIPImageProcessorPil

    prepare = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    prepared = _all_of(folder, lambda file: prepare(Image.open(file), return_tensors="np"))
    return prepared[0], {"peer": f"transformers {version('transformers')}"}


def _all_of(folder: str, prepare: Callable[[Path], object]) -> Prepared:
    files = sorted(Path(folder).iterdir())

    def turn() -> None:
        for file in files:
            prepare(file)

    return turn, {}

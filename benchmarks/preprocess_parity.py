"""Our preprocessing against the reference transform, pixel for pixel: `python -m benchmarks.preprocess_parity PHOTOS`.

PHOTOS is a Parquet file of photographs. Odd sizes and modes are made of them: sides of 1 to 1000, ribbons, grey,
palette, CMYK, 16 bit, alpha. How a mode becomes RGB is not the transform's business: both get RGB.
Needs open_clip_torch and torchvision's transforms.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
from PIL import Image
from PIL.Image import Image as Picture

from clipcli.bundle.preprocess import to_pixels
from clipcli.bundle.spec import Preprocess

COUNT = 200
MODES = ("RGB", "RGB", "L", "P", "CMYK", "I;16", "RGBA", "LA", "1")
CLIP = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
RULES = (
    ("CLIP, 224", Preprocess(image_size=224, **CLIP)),
    ("CLIP, 336", Preprocess(image_size=336, **CLIP)),
    ("SigLIP, 384", Preprocess(image_size=384, resize="squash", **HALF)),
    ("SigLIP bilinear, 256", Preprocess(image_size=256, resize="squash", interpolation="bilinear", **HALF)),
    ("MobileCLIP, 256", Preprocess(image_size=256, interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3)),
)


def pictures(photos: Path) -> Iterator[Picture]:
    """Photographs in every size and mode, as they are after decoding and orientation."""
    import pyarrow.parquet

    random = np.random.default_rng(5)
    table = pyarrow.parquet.read_table(photos, columns=["image"]).slice(0, COUNT)
    for number, content in enumerate(table["image"]):
        picture = Image.open(io.BytesIO(content.as_py())).convert("RGB")
        if number % 4:
            width, height = (int(side) for side in np.exp(random.uniform(0, np.log(1000), 2)) + 0.5)
            picture = picture.resize((max(1, width), max(1, height)))
        mode = MODES[number % len(MODES)]
        if mode == "I;16":
            grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
            picture = Image.fromarray((grey >> 8).astype(np.uint8))
        else:
            picture = picture.convert(mode)
        yield picture.convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    chosen = list(pictures(parser.parse_args().photos))
    for name, rule in RULES:
        reference = open_clip.image_transform(
            rule.image_size,
            is_train=False,
            mean=rule.mean,
            std=rule.std,
            interpolation=rule.interpolation,
            resize_mode=rule.resize,
        )
        worst, differing = 0.0, 0
        for picture in chosen:
            difference = float(np.abs(to_pixels(picture, rule) - reference(picture).numpy()).max())
            worst, differing = max(worst, difference), differing + (difference > 0)
        print(f"{name}: largest difference {worst:g}, {differing} of {len(chosen)} pictures differ", flush=True)


if __name__ == "__main__":
    main()

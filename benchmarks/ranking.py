"""What faster decoding and a lower precision change in the order of results.

    python -m benchmarks.ranking BUNDLE flickr8k-dev.parquet … [--precision int8]

Every caption of a file is asked for, or where there are none every label in the model's templates' last form, against
all photographs of it. Exact: JPEGs decoded in full and both towers in float32 by torch. Told is how many of the exact
first ten are among the first ten that the program finds, the mean over all questions; with only the one or the other
changed as well. Shapes: N photographs, Q questions, D embedding.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.photos.decode import open_image
from export.source import open_source
from trainer.towers import Clip

TOP = 10
BATCH = 64


def pixels_of(pictures: Sequence[bytes], model: Model, *, faster: bool) -> NDArray[np.float32]:
    """(N, 3, S, S)"""
    rule = model.spec.preprocess
    return np.stack([to_pixels(open_image(one, hint=rule.image_size if faster else None), rule) for one in pictures])


@torch.inference_mode()
def exact_vectors(clip: Clip, rows: NDArray[np.float32] | NDArray[np.int64], *, texts: bool) -> NDArray[np.float64]:
    """(N, D) in float32, of pixels or of tokens."""
    encode = clip.encode_text if texts else clip.encode_image
    parts = [encode(torch.from_numpy(rows[start : start + BATCH])) for start in range(0, len(rows), BATCH)]
    return torch.cat(parts).double().numpy()


def run_vectors(model: Model, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, D), in batches of the size that an index run has."""
    parts = [model.encode_images(pixels[start : start + 16]) for start in range(0, len(pixels), 16)]
    return np.concatenate(parts).astype(np.float64)


def first_ten(questions: NDArray[np.float64], photographs: NDArray[np.float64]) -> NDArray[np.intp]:
    """(Q, 10)"""
    return np.argsort(-(questions @ photographs.T), axis=1, kind="stable")[:, :TOP]


def overlap(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
    return float(np.mean([len(set(a) & set(b)) / TOP for a, b in zip(one.tolist(), other.tolist(), strict=True)]))


def compare(model: Model, clip: Clip, path: Path) -> str:
    table = pyarrow.parquet.read_table(path, columns=["image", "captions", "label"])
    pictures, captions, labels = (table[name].to_pylist() for name in ("image", "captions", "label"))
    asked = [text for texts in captions for text in texts or ()]
    if not asked:
        asked = [model.spec.templates[-1].format(label.split(",")[0]) for label in dict.fromkeys(labels)]
    whole, smaller = (pixels_of(pictures, model, faster=faster) for faster in (False, True))
    tokens = model.tokenizer(asked)
    exact_questions, questions = exact_vectors(clip, tokens, texts=True), model.encode_texts(asked).astype(np.float64)
    exact = first_ten(exact_questions, exact_vectors(clip, whole, texts=False))
    told = {
        "as the program runs": first_ten(questions, run_vectors(model, smaller)),
        "decoding alone": first_ten(exact_questions, exact_vectors(clip, smaller, texts=False)),
        f"{model.precision} alone": first_ten(questions, run_vectors(model, whole)),
    }
    figures = ", ".join(f"{name} {overlap(exact, found):.4f}" for name, found in told.items())
    return f"{path.name}: {len(pictures):,} photographs, {len(asked):,} questions, of the first ten: {figures}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    model = Model.load(given.bundle, device="cpu", precision=given.precision)
    clip = open_source(given.bundle).model.float()
    for path in given.files:
        print(compare(model, clip, path), flush=True)


if __name__ == "__main__":
    main()

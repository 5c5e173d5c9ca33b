"""How good a bundle is on labelled or captioned photographs, through ONNX Runtime, as everyday commands use it.

    python -m benchmarks.dev_figures BUNDLE flickr8k-dev.parquet caltech101-dev.parquet

A class is called by its label up to the first comma; its prototype is the normalised mean over the model's own
templates; candidates are all classes of the file. Retrieval: all captions against all photographs that have some. Ties
count half. One line of JSON a file, shares from 0 to 1; --record keeps them in the bundle's `model.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.bundle.spec import read_spec, write_spec
from clipcli.bundle.templates import class_prototypes
from clipcli.evaluate.retrieval import recall_at_k
from clipcli.evaluate.zero_shot import mean_per_class, top_k_accuracy
from clipcli.photos.decode import open_image

BATCH = 64


def image_vectors(model: Model, pictures: Sequence[bytes]) -> NDArray[np.float32]:
    """(N, D), decoded as `clip embed` decodes."""
    size = model.spec.preprocess.image_size
    parts = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(pictures), BATCH):
            piece = pictures[start : start + BATCH]
            pixels = pool.map(lambda data: to_pixels(open_image(data, hint=size), model.spec.preprocess), piece)
            parts.append(model.encode_images(np.stack(list(pixels))))
    return np.concatenate(parts)


def figures(model: Model, path: Path) -> dict[str, Any]:
    """Shares on one file."""
    table = pyarrow.parquet.read_table(path, columns=["image", "captions", "label"])
    pictures, captions, labels = (table[name].to_pylist() for name in ("image", "captions", "label"))
    vectors = image_vectors(model, pictures)
    found: dict[str, Any] = {
        "file": path.name,
        "model": model.name,
        "precision": model.precision,
        "photos": len(pictures),
    }
    told = [row for row, texts in enumerate(captions) if texts]
    if told:
        texts = [text for row in told for text in captions[row]]
        owners = np.asarray([place for place, row in enumerate(told) for _ in captions[row]])
        recalls = recall_at_k(model.encode_texts(texts), vectors[told], owners)
        found["captions"] = len(texts)
        found |= {f"{way} R@{k}": round(share, 5) for way, by_k in recalls.items() for k, share in by_k.items()}
    names = sorted({label for label in labels if label})
    if len(names) > 1:
        labelled = [row for row, label in enumerate(labels) if label]
        wanted = np.asarray([names.index(labels[row]) for row in labelled])
        classes = class_prototypes(model, [name.split(",")[0].strip() for name in names], model.spec.templates)
        shares = top_k_accuracy(vectors[labelled], classes, wanted)
        found["classes"] = len(names)
        found |= {f"top-{k}": round(share, 5) for k, share in shares.items()}
        found["mean per class"] = round(mean_per_class(vectors[labelled], classes, wanted), 5)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("files", type=Path, nargs="+", metavar="PARQUET")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--record", action="store_true", help="replace the metrics in model.json by these")
    chosen = parser.parse_args()
    model = Model.load(chosen.bundle, device="cpu", precision=chosen.precision)
    metrics = {}
    for file in chosen.files:
        metrics[file.stem] = figures(model, file)
        print(json.dumps(metrics[file.stem], ensure_ascii=False), flush=True)
    if chosen.record:
        write_spec(chosen.bundle, dataclasses.replace(read_spec(chosen.bundle), metrics=metrics))


if __name__ == "__main__":
    main()

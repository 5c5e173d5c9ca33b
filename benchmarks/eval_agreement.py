"""Whether `clip eval` and CLIP_benchmark find the same figures on the same embeddings.

    pip download clip-benchmark --no-deps && unzip clip_benchmark-*.whl -d PEERS
    PYTHONPATH=PEERS python -m benchmarks.eval_agreement BUNDLE flickr8k-dev.parquet caltech101-dev.parquet

Its evaluation runs whole, with a model that gives out our embeddings; ours is what `clip eval` calls. Top-1, top-5,
mean per class; recall at 1, 5 and 10 both ways. One line of JSON for each file: the largest difference, and
both figures of each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipcli.bundle.encoder import Model
from clipcli.bundle.templates import class_prototypes
from clipcli.datasets.examples import captioned, labelled
from clipcli.datasets.features import Features
from clipcli.datasets.rows import Row
from clipcli.datasets.sources import read_source
from clipcli.errors import DataError
from clipcli.evaluate.retrieval import recall_at_k
from clipcli.evaluate.zero_shot import mean_per_class, top_k_accuracy

BATCH = 64


class Told:
    """A model that gives out embeddings by number: pictures are numbers of rows, texts the numbers of `seen`."""

    def __init__(self, images: np.ndarray[Any, Any], features: Features) -> None:
        self.images = torch.from_numpy(images)
        self.features = features
        self.seen: list[str] = []

    def tokenise(self, texts: Sequence[str]) -> torch.Tensor:
        self.seen += texts
        return torch.arange(len(self.seen) - len(texts), len(self.seen))

    def encode_image(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.images[numbers]

    def encode_text(self, numbers: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.features.encode_texts([self.seen[number] for number in numbers.tolist()]))


class Batches(list[Any]):
    """What CLIP_benchmark takes for a loader: batches, and a data set that knows its classes."""

    def __init__(self, batches: list[Any], classes: Sequence[str] = ()) -> None:
        super().__init__(batches)
        self.dataset = self
        self.classes = list(classes)


def zero_shot(features: Features, rows: Sequence[Row], where: str) -> tuple[dict[str, float], dict[str, float]]:
    """Our figures and theirs."""
    from clip_benchmark.metrics import zeroshot_classification

    # It turns arrays of one number into floats, which NumPy 2.4 takes for numbers no more.
    vars(zeroshot_classification)["float"] = lambda value: np.asarray(value).item()
    examples = labelled(rows, where=where)
    vectors, places, _ = features.encode_pictures(examples.pictures, lambda _: None)
    examples = examples.only(places)
    templates = features.model.spec.templates
    classes = class_prototypes(features, examples.spoken, templates)
    shares = top_k_accuracy(vectors, classes, examples.wanted)
    ours = {"acc1": shares[1], "acc5": shares[5]}
    ours["mean_per_class_recall"] = mean_per_class(vectors, classes, examples.wanted)
    told = Told(vectors, features)
    numbers = torch.arange(len(vectors)).split(BATCH)
    batches = [(part, torch.from_numpy(examples.wanted[part.numpy()])) for part in numbers]
    asked = [template.replace("{}", "{c}") for template in templates]
    loader = Batches(batches, examples.classes)
    measure = zeroshot_classification.evaluate
    return ours, measure(told, loader, told.tokenise, examples.spoken, asked, "cpu", amp=False)


def retrieval(features: Features, rows: Sequence[Row], where: str) -> tuple[dict[str, float], dict[str, float]]:
    """Our figures and theirs."""
    from clip_benchmark.metrics.zeroshot_retrieval import evaluate

    pairs = captioned(rows, where=where)
    vectors, places, _ = features.encode_pictures(pairs.pictures, lambda _: None)
    pairs = pairs.only(places)
    recalls = recall_at_k(features.encode_texts(pairs.captions), vectors, pairs.owners)
    called = {"image_retrieval": "text_to_image", "text_retrieval": "image_to_text"}
    ours = {f"{name}_recall@{k}": recalls[way][k] for name, way in called.items() for k in (1, 5, 10)}
    said: list[list[str]] = [[] for _ in pairs.pictures]
    for text, owner in zip(pairs.captions, pairs.owners, strict=True):
        said[owner].append(text)
    told = Told(vectors, features)
    numbers = torch.arange(len(vectors)).split(BATCH)
    loader = Batches([(part, [said[number] for number in part.tolist()]) for part in numbers])
    return ours, evaluate(told, loader, told.tokenise, "cpu", amp=False, recall_k_list=[1, 5, 10])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("files", type=Path, nargs="+", metavar="DATA")
    parser.add_argument("--precision", default="auto")
    chosen = parser.parse_args()
    features = Features(Model.load(chosen.bundle, device="cpu", precision=chosen.precision))
    for file in chosen.files:
        rows = read_source(file).rows
        for measure in (zero_shot, retrieval):
            try:
                ours, theirs = measure(features, rows, file.name)
            except DataError:
                continue  # the file holds labels or captions, seldom both
            apart = max(abs(ours[name] - theirs[name]) for name in ours)
            line = {"file": file.name, "what": measure.__name__, "largest difference": apart}
            print(json.dumps(line | {name: [ours[name], theirs[name]] for name in ours}), flush=True)


if __name__ == "__main__":
    main()

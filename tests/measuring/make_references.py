"""What CLIP_benchmark and scikit-learn measure on the made embeddings. The values are committed; tests need neither.

pip download clip-benchmark --no-deps && unzip clip_benchmark-*.whl -d PEERS
PYTHONPATH=PEERS python -m tests.measuring.make_references
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import sklearn
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from benchmarks.eval_agreement import Batches, Told
from tests.measuring import made_embeddings as made

BATCH = 64


class Texts:
    """What `Told` asks for the embeddings of texts."""

    @staticmethod
    def encode_texts(sentences: Sequence[str]) -> NDArray[np.float32]:
        return made.texts(sentences)


def main() -> None:
    # It turns arrays of one number into floats, which NumPy 2.4 takes for numbers no more.
    vars(zeroshot_classification)["float"] = lambda value: np.asarray(value).item()
    images, labels, captions = made.images(), made.labels(), made.captions()
    told = Told(images, Texts)
    numbers = torch.arange(len(images)).split(BATCH)
    asked = [template.replace("{}", "{c}") for template in made.TEMPLATES]
    classes = Batches([(part, torch.from_numpy(labels[part.numpy()])) for part in numbers], made.NAMES)
    shot = zeroshot_classification.evaluate(told, classes, told.tokenise, made.NAMES, asked, "cpu", amp=False)
    told = Told(images, Texts)
    pairs = Batches([(part, [captions[number] for number in part.tolist()]) for part in numbers])
    found = zeroshot_retrieval.evaluate(told, pairs, told.tokenise, "cpu", amp=False, recall_k_list=[1, 5, 10])
    scores = _scores(images)
    values = {
        "made_by": {"clip_benchmark": version("clip_benchmark"), "scikit-learn": sklearn.__version__},
        "clip_benchmark": {**shot, **found},
        "scikit-learn": {
            "top1": top_k_accuracy_score(labels, scores, k=1, labels=range(made.CLASSES)),
            "top5": top_k_accuracy_score(labels, scores, k=5, labels=range(made.CLASSES)),
            "mean_per_class": balanced_accuracy_score(labels, scores.argmax(axis=1)),
        },
    }
    made.REFERENCES.parent.mkdir(exist_ok=True)
    made.REFERENCES.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def _scores(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, C): cosines with the normalised means over templates, in float64."""
    asked = made.texts([template.replace("{}", name) for name in made.NAMES for template in made.TEMPLATES])
    means = asked.astype(np.float64).reshape(made.CLASSES, len(made.TEMPLATES), -1).mean(axis=1)
    scores: NDArray[np.float64] = images @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    return scores


if __name__ == "__main__":
    main()

"""ViT-B/32 with random weights, as a bundle of ours and in the form that rclip keeps in its cache: the same weights.

Weights do not change how long a product takes, so speed can be measured where no trained ones are at hand.
"""

from __future__ import annotations

import gzip
import itertools
import string
from pathlib import Path

import torch

from benchmarks.plain_towers import export_plain
from clipcli.bundle.installed import install, set_default
from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess
from export.bundle import export_bundle
from export.samples import made_samples
from trainer.architectures import architecture
from trainer.reading.vocabulary import OPENCLIP_MARKERS, clip_tokenizer
from trainer.towers import Clip

__all__ = ["NAME", "install_random_model", "place_for_rclip", "plain_int8"]

NAME = "vit-b-32-random"
ARCHITECTURE = "ViT-B/32-gelu"
PREPROCESS = Preprocess(
    image_size=224, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)
_MERGES = 49_152 - 256 - 2  # as many as in the vocabulary of the original
_RCLIP_FOLDER = "ViT-B-32-256-datacomp_s34b_b86k"


def install_random_model(work: Path) -> Path:
    """Export fp32, fp16 and int8 and install them as the default model of `CLIP_MODELS`. About a minute."""
    tokenizer = work / TOKENIZER_FILE
    tokenizer.write_bytes(clip_tokenizer(_merges(), OPENCLIP_MARKERS))
    export_bundle(
        _model(),
        folder=work / "exported",
        name=NAME,
        tokenizer_file=tokenizer,
        text_cleaning="lower",
        preprocess=PREPROCESS,
        samples=made_samples(PREPROCESS, count=16),
        precisions=("fp32", "fp16", "int8"),
    )
    folder = install(work / "exported", name=NAME)
    set_default(NAME)
    return folder


def place_for_rclip(data: Path) -> None:
    """rclip's data folder with the same model, by the names it looks for and in the form it is published in, and its
    vocabulary.
    """
    models = data / _RCLIP_FOLDER
    models.mkdir(parents=True)
    export_plain(_model(), models / "visual.onnx", models / "textual.onnx")
    vocabulary = data / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"
    vocabulary.parent.mkdir()
    lines = ["made up", *(" ".join(pair) for pair in _merges())]
    vocabulary.write_bytes(gzip.compress("\n".join(lines).encode()))


def plain_int8(work: Path) -> Path:
    """The image tower of the same model as exporters write it, its products quantised by ONNX Runtime's own tool,
    dynamically and per channel, and nothing done besides. Made once in `work`.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = work / "plain" / "image-int8.onnx"
    if not made.exists():
        made.parent.mkdir(exist_ok=True)
        plain, passing = made.with_name("image.onnx"), made.with_suffix(".part")
        export_plain(_model(), plain, made.with_name("text.onnx"))
        quantize_dynamic(
            plain, passing, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8
        )
        passing.replace(made)
    return made


def _model() -> Clip:
    torch.manual_seed(0)
    return Clip(architecture(ARCHITECTURE)).eval()


def _merges() -> list[tuple[str, str]]:
    """Made up, each of parts that are there by then: pairs of letters, then pairs with a third, then with a fourth."""
    letters = string.ascii_lowercase
    pairs = [one + other for one, other in itertools.product(letters, letters)]
    made = [(one, other) for one, other in itertools.product(letters, letters)]
    made += [(one, f"{other}</w>") for one, other in itertools.product(letters, letters)]
    made += [(pair, f"{letter}</w>") for pair, letter in itertools.product(pairs, letters)]
    triples = [(pair, letter) for pair, letter in itertools.product(pairs, letters)]
    made += triples
    made += [(pair + letter, f"{other}</w>") for (pair, letter), other in itertools.product(triples, letters)]
    return made[:_MERGES]

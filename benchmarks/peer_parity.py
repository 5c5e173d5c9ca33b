"""Each architecture against the reference on the same random weights: `python -m benchmarks.peer_parity PHOTOS`.

PHOTOS is a Parquet file of photographs and captions as for training. The reference makes the weights, writes them in
its public format and embeds photographs and captions with its own preprocessing and tokenizer; then they are imported.
`--onnx` goes on to a bundle and ONNX Runtime. Needs open_clip_torch, timm and transformers beside the extra `train`.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = ("architecture", "format", "layers", "image", "text", "tokens", "onnx_image", "onnx_text", "other", "gib")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is compared: a format, the reference's name of the architecture, layers kept (image, text) where not all."""

    format: str
    name: str
    layers: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        return f"{self.format}:{self.name}"


PAPER = ("RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px")
CASES = (
    *(Case(format="openai", name=name) for name in PAPER),
    *(Case(format="open_clip", name=name.replace("/", "-").replace("@336px", "-336")) for name in PAPER),
    Case(format="open_clip", name="ViT-H-14"),
    Case(format="open_clip", name="ViT-g-14", layers=(20, 24)),
    Case(format="open_clip", name="ViT-bigG-14", layers=(12, 12)),
    *(
        Case(format="open_clip", name=f"ViT-{name}")
        for name in (
            "B-16-SigLIP",
            "B-16-SigLIP-256",
            "B-16-SigLIP-384",
            "B-16-SigLIP-512",
            "L-16-SigLIP-256",
            "L-16-SigLIP-384",
            "SO400M-14-SigLIP",
            "SO400M-14-SigLIP-384",
            "B-32-SigLIP2-256",
            "B-16-SigLIP2",
            "B-16-SigLIP2-384",
            "B-16-SigLIP2-512",
            "L-16-SigLIP2-256",
            "L-16-SigLIP2-512",
            "SO400M-14-SigLIP2",
            "SO400M-16-SigLIP2-256",
        )
    ),
    Case(format="open_clip", name="ViT-SO400M-16-SigLIP2-512", layers=(14, 14)),
    Case(format="open_clip", name="ViT-gopt-16-SigLIP2-256", layers=(12, 14)),
    *(
        Case(format="open_clip", name=name)
        for name in ("MobileCLIP2-S0", "MobileCLIP-S1", "MobileCLIP-S2", "MobileCLIP-B")
    ),
    *(Case(format="apple", name=name) for name in ("S0", "S1", "S2", "B")),
    *(Case(format="transformers", name=name) for name in ("clip-ViT-B/32", "clip-ViT-L/14", "siglip-B/16")),
    Case(format="transformers", name="siglip-So400m/14"),
    Case(format="transformers", name="siglip2-B/16"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, help="photographs and captions, Parquet")
    parser.add_argument("--only", metavar="TEXT", help="cases whose name has TEXT in it")
    parser.add_argument("--layers", type=int, metavar="N", help="keep at most N layers of each tower")
    parser.add_argument("--words", type=int, metavar="N", help="keep at most N entries of OpenCLIP's vocabularies")
    parser.add_argument("--onnx", action="store_true", help="go on to a bundle and ONNX Runtime")
    parser.add_argument("--count", type=int, default=6, help="photographs (default 6)")
    parser.add_argument("--one", metavar="KEY", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        case = next(case for case in CASES if case.key == given.one)
        print(json.dumps(measure(case, given.photos, given.count, given.layers, given.onnx, given.words)))
        return
    print("| " + " | ".join(FIELDS) + " |\n|" + " --- |" * len(FIELDS), flush=True)
    for case in CASES:
        if given.only is not None and given.only not in case.key:
            continue
        # A process for each: the memory of one model is given back before the next.
        own = [sys.executable, "-m", "benchmarks.peer_parity", str(given.photos), "--one", case.key]
        own += ["--count", str(given.count), *(["--onnx"] if given.onnx else [])]
        own += [] if given.layers is None else ["--layers", str(given.layers)]
        own += [] if given.words is None else ["--words", str(given.words)]
        done = subprocess.run(own, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {case.key} | FAILED: {(done.stderr.strip().splitlines() or ['?'])[-1]} |", flush=True)
            continue
        row = json.loads(done.stdout.strip().splitlines()[-1])
        print("| " + " | ".join(str(row.get(field, "")) for field in FIELDS) + " |", flush=True)


def measure(
    case: Case, photos: Path, count: int, layers: int | None, onnx: bool, words: int | None = None
) -> dict[str, Any]:
    """A row of the table. `other` is the largest cosine between different inputs: near 1 nothing would be proved."""
    import resource

    import pyarrow.parquet
    from PIL import Image

    from clipcli.bundle.probe import smallest_cosine

    table = pyarrow.parquet.read_table(photos, columns=["image", "captions"]).slice(0, count)
    pictures = [Image.open(io.BytesIO(content.as_py())) for content in table["image"]]
    texts = [caption for captions in table["captions"] for caption in captions.as_py()[:2]]
    texts += ["", "Café &amp; bar!! it's  30€ <b>", "日本語 😀", "a " * 200]
    with tempfile.TemporaryDirectory(prefix="clip-parity-") as folder:
        peer = _peer(case, Path(folder) / "model", pictures, texts, layers, words)
        row, images, sentences, tokens = _ours(peer.path, pictures, texts)
        row |= {
            "format": f"{case.format} ({peer.library})",
            "image": f"{smallest_cosine(images, peer.images):.9f}",
            "text": f"{smallest_cosine(sentences, peer.texts):.9f}",
            "tokens": int((tokens != peer.tokens).sum()),
            "other": f"{_other(images):.3f} {_other(sentences):.3f}",
        }
        if onnx:
            images, sentences = _through_onnx(peer.path, Path(folder) / "bundle", pictures, texts)
            row["onnx_image"] = f"{smallest_cosine(images, peer.images):.7f}"
            row["onnx_text"] = f"{smallest_cosine(sentences, peer.texts):.7f}"
    row["gib"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}"
    return row


def _peer(case: Case, path: Path, pictures: list[Any], texts: list[str], layers: int | None, words: int | None) -> Any:
    from benchmarks import peers

    def change(config: dict[str, Any]) -> None:
        for tower, kept in zip(("vision_cfg", "text_cfg"), case.layers or (layers, layers), strict=True):
            limit = min(kept or 1000, layers or 1000)
            settings = config[tower]
            if isinstance(settings.get("layers"), int):
                settings["layers"] = min(settings["layers"], limit)
            elif isinstance(settings.get("layers"), list) and layers:
                settings["layers"] = [min(blocks, layers) for blocks in settings["layers"]]
            elif settings.get("timm_model_name") and limit < 1000:
                settings["timm_depth"] = limit
        if words:
            config["text_cfg"]["vocab_size"] = min(words, config["text_cfg"]["vocab_size"])

    if case.format == "openai":
        return peers.openai_file(case.name, path / "model.pt", pictures, texts, change)
    if case.format == "open_clip":
        return peers.openclip_folder(case.name, path, pictures, texts, change)
    if case.format == "apple":
        return peers.apple_file(case.name, path / "model.pt", pictures, texts)
    return peers.transformers_folder(_configuration(case.name, layers), path, pictures, texts)


def _configuration(name: str, layers: int | None) -> Any:
    """A configuration of transformers for an architecture of the table."""
    import transformers

    from trainer.architectures import architecture
    from trainer.config import ViTConfig

    kind, _, size = name.partition("-")
    arch = architecture(size if kind == "clip" else f"{'SigLIP2' if kind == 'siglip2' else 'SigLIP'}-{size}")
    assert isinstance(arch.image, ViTConfig)
    limit = layers or 1000
    vision = {
        "hidden_size": arch.image.width,
        "intermediate_size": arch.image.hidden_width,
        "num_hidden_layers": min(limit, arch.image.layers),
        "num_attention_heads": arch.image.heads,
        "image_size": arch.image.image_size,
        "patch_size": arch.image.patch_size,
    }
    text = {
        "hidden_size": arch.text.width,
        "intermediate_size": arch.text.hidden_width,
        "num_hidden_layers": min(limit, arch.text.layers),
        "num_attention_heads": arch.text.heads,
        "max_position_embeddings": arch.text.context_length,
        "vocab_size": arch.text.vocab_size,
    }
    if kind == "clip":
        text |= {"eos_token_id": arch.text.vocab_size - 1, "bos_token_id": arch.text.vocab_size - 2}
        return transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=arch.embedding_dim)
    return transformers.SiglipConfig(text_config=text, vision_config=vision)


def _ours(path: Path, pictures: list[Any], texts: list[str]) -> tuple[dict[str, Any], Any, Any, Any]:
    import torch

    from clipcli.bundle.preprocess import to_pixels
    from clipcli.bundle.spec import TOKENIZER_FILE
    from clipcli.bundle.tokenizer import Tokenizer
    from trainer.config import ResNetConfig
    from trainer.reading.found import Choices
    from trainer.reading.importing import build, read_model

    found = read_model(path, Choices())
    model = build(found)
    with tempfile.TemporaryDirectory() as passing:
        file = Path(passing) / TOKENIZER_FILE
        file.write_bytes(found.tokenizer)
        text = found.config.text
        words = Tokenizer.load(file, text.context_length, cleaning=found.text_cleaning, pad_id=found.pad_id)
    tokens = words(texts)
    with torch.no_grad():
        pixels = [torch.from_numpy(to_pixels(picture, found.preprocess))[None] for picture in pictures]
        images = torch.cat([model.encode_image(one) for one in pixels]).numpy()
        sentences = model.encode_text(torch.from_numpy(tokens)).numpy()
    image = found.config.image
    kept = "/".join(map(str, image.layers)) if isinstance(image, ResNetConfig) else str(image.layers)
    row = {"architecture": found.config.name, "layers": f"{kept}, {found.config.text.layers}"}
    return row, images, sentences, tokens


def _through_onnx(path: Path, bundle: Path, pictures: list[Any], texts: list[str]) -> tuple[Any, Any]:
    """As `clip models import` does it, then the encoder of every day."""
    import os

    os.environ["CLIP_MODELS"] = str(bundle)
    from clipcli.bundle.encoder import Model
    from clipcli.bundle.preprocess import to_pixels
    from export.importing import import_model
    from trainer.reading.found import Choices

    done = import_model(path, name="parity", choices=Choices(), say=[].append)
    model = Model.load(done.folder, device="cpu")
    images = [model.encode_images(to_pixels(picture, model.spec.preprocess)[None]) for picture in pictures]
    return np.concatenate(images), model.encode_texts(texts)


def _other(vectors: Any) -> float:
    """The largest cosine between different rows (the same text twice would be 1, so it is not given)."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    return float(cosines.max())


if __name__ == "__main__":
    main()

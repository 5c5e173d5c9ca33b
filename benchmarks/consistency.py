"""The original package's consistency example with its nine models: `python -m benchmarks.consistency WORK`.

Fetches each file of the release into WORK (or takes it from there), holds it against its digest, imports it, and
compares ONNX Runtime with the towers it was made from: the probabilities of "a diagram", "a dog" and "a cat" for
`--picture`, which is CLIP.png of the release (0.9928 for "a diagram" with ViT-B/32). `--imagenette FOLDER` (its `val`)
adds zero-shot accuracy (98.7 % published).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from export.importing import import_model
from export.source import open_source
from trainer.reading.found import Choices

HOST = "https://openaipublic.azureedge.net/clip/models"
# Name and SHA-256, which is part of the address.
RELEASE = {
    "RN50": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "RN101": "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    "RN50x4": "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    "RN50x16": "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    "RN50x64": "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    "ViT-B-32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B-16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L-14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "ViT-L-14-336px": "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
}
LABELS = ("a diagram", "a dog", "a cat")
# Imagenette's ten folders, by WordNet number.
IMAGENETTE = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player", "n03000684": "chain saw",
    "n03028079": "church", "n03394916": "French horn", "n03417042": "garbage truck", "n03425413": "gas pump",
    "n03445777": "golf ball", "n03888257": "parachute",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for the weights and the imported models")
    parser.add_argument("--picture", type=Path, help="CLIP.png of the release")
    parser.add_argument("--imagenette", type=Path, help="Imagenette's val folder")
    parser.add_argument("--tokenizer", type=Path, help="bpe_simple_vocab_16e6.txt.gz, where open_clip is not installed")
    parser.add_argument("--only", metavar="NAME", help="one of the nine")
    given = parser.parse_args(arguments)
    os.environ["CLIP_MODELS"] = str(given.work / "models")
    for name in [given.only] if given.only else RELEASE:
        file = fetch(name, given.work)
        folder = import_model(
            file, name=name, choices=Choices(tokenizer=given.tokenizer), replace=True, say=[].append
        ).folder
        line = [name]
        if given.picture:
            ours, towers = probabilities(folder, given.picture)
            line.append(" ".join(f"{share:.4f}" for share in ours) + f" (torch {np.abs(ours - towers).max():.1e} away)")
        if given.imagenette:
            line.append(f"Imagenette {100 * zero_shot(folder, given.imagenette):.1f} %")
        print("  ".join(line), flush=True)


def fetch(name: str, work: Path) -> Path:
    """The file of the release, from `work` or from where it is published. Raises SystemExit for a wrong digest."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"{name}.pt"
    if not path.exists():
        partial = path.with_suffix(".part")
        urllib.request.urlretrieve(f"{HOST}/{RELEASE[name]}/{name}.pt", partial)
        partial.replace(path)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != RELEASE[name]:
            raise SystemExit(f"{path} is not the file of the release: remove it and run again")
    return path


def probabilities(folder: Path, picture: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of LABELS for the picture, by ONNX Runtime and by the torch towers."""
    model = Model.load(folder, device="cpu")
    pixels = to_pixels(Image.open(picture).convert("RGB"), model.spec.preprocess)[None]
    towers = open_source(folder).model
    with torch.no_grad():
        image = towers.encode_image(torch.from_numpy(pixels)).numpy()
        texts = towers.encode_text(torch.from_numpy(model.tokenizer(LABELS))).numpy()
    scale = model.spec.logit_scale
    return _softmax(scale * model.encode_images(pixels) @ model.encode_texts(LABELS).T), _softmax(
        scale * image @ texts.T
    )


def zero_shot(folder: Path, pictures: Path) -> float:
    """The share of pictures whose own class is the nearest, the sentence being "a photo of a CLASS."."""
    model = Model.load(folder, device="cpu")
    classes = sorted(folder.name for folder in pictures.iterdir() if folder.name in IMAGENETTE)
    texts = model.encode_texts([f"a photo of a {IMAGENETTE[name]}." for name in classes])
    right = total = 0
    for number, name in enumerate(classes):
        for file in sorted((pictures / name).iterdir()):
            pixels = to_pixels(Image.open(file).convert("RGB"), model.spec.preprocess)[None]
            right += int((model.encode_images(pixels) @ texts.T).argmax() == number)
            total += 1
    return right / total


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shares = np.exp(logits[0].astype(np.float64) - logits.max())
    return np.asarray(shares / shares.sum())


if __name__ == "__main__":
    main()

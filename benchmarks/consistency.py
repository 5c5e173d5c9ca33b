"""The original package's consistency example with its nine models: `python -m benchmarks.consistency WORK`.

Fetches into WORK, unless it lies there, all that is needed: the nine files of the release, held against their digests,
their vocabulary, the release's picture CLIP.png, and Imagenette (0.34 GB). Each model is imported, and ONNX Runtime is
compared with the towers it was made from: the probabilities of "a diagram", "a dog" and "a cat" for the picture, and
zero-shot accuracy on Imagenette's validation part. Beside them stand the published figures for ViT-B/32, 0.9928 for "a
diagram" and 98.7 %. The nine take 5.6 GB; `--only ViT-B-32` takes one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tarfile
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
VOCABULARY = "https://raw.githubusercontent.com/openai/CLIP/main/clip/bpe_simple_vocab_16e6.txt.gz"
PICTURE = "https://raw.githubusercontent.com/openai/CLIP/main/CLIP.png"
IMAGENETTE_TAR = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz"
PUBLISHED = {"ViT-B-32": (0.9928, 0.987)}  # "a diagram" for the picture, as the release's README has it; Imagenette
TOLERANCE = 0.005
LABELS = ("a diagram", "a dog", "a cat")
# Imagenette's ten folders, by WordNet number.
IMAGENETTE = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player", "n03000684": "chain saw",
    "n03028079": "church", "n03394916": "French horn", "n03417042": "garbage truck", "n03425413": "gas pump",
    "n03445777": "golf ball", "n03888257": "parachute",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for what is fetched and for the imported models")
    parser.add_argument("--picture", type=Path, help="CLIP.png of the release, where it lies elsewhere")
    parser.add_argument("--imagenette", type=Path, help="Imagenette's val folder, where it lies elsewhere")
    parser.add_argument("--tokenizer", type=Path, help="the vocabulary of the release, where it lies elsewhere")
    parser.add_argument("--only", metavar="NAME", choices=sorted(RELEASE), help="one of the nine")
    given = parser.parse_args(arguments)
    os.environ["CLIP_MODELS"] = str(given.work / "models")
    picture = given.picture or fetch(PICTURE, given.work / "CLIP.png")
    pictures = given.imagenette or unpacked(fetch(IMAGENETTE_TAR, given.work / "imagenette2-320.tgz"))
    words = given.tokenizer or fetch(VOCABULARY, given.work / VOCABULARY.rpartition("/")[2])
    far = []
    for name in [given.only] if given.only else RELEASE:
        folder = import_model(
            released(name, given.work), name=name, choices=Choices(tokenizer=words), replace=True, say=lambda _: None
        ).folder
        ours, towers = probabilities(folder, picture)
        right = zero_shot(folder, pictures)
        published = PUBLISHED.get(name)
        print(
            f"{name}  {' '.join(f'{share:.4f}' for share in ours)} (torch {np.abs(ours - towers).max():.1e} away)  "
            f"Imagenette {100 * right:.1f} %"
            + (f"  (published: {published[0]:.4f}, {100 * published[1]:.1f} %)" if published else ""),
            flush=True,
        )
        if np.abs(ours - towers).max() > TOLERANCE:
            far.append(f"{name}: ONNX Runtime is {np.abs(ours - towers).max():.1e} from the towers")
        if published and (abs(ours[0] - published[0]) > TOLERANCE or abs(right - published[1]) > TOLERANCE):
            far.append(f"{name}: more than {TOLERANCE} from what was published")
    if far:
        raise SystemExit("\n".join(far))


def fetch(address: str, path: Path) -> Path:
    """What is published at `address`, at `path`, where it gets its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_name(f"{path.name}.part")
        urllib.request.urlretrieve(address, partial)
        partial.replace(path)
    return path


def released(name: str, work: Path) -> Path:
    """The file of the release. Raises SystemExit for a wrong digest."""
    path = fetch(f"{HOST}/{RELEASE[name]}/{name}.pt", work / f"{name}.pt")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != RELEASE[name]:
            raise SystemExit(f"{path} is not the file of the release: remove it and run again")
    return path


def unpacked(archive: Path) -> Path:
    """Imagenette's val folder, beside its archive."""
    folder = archive.with_suffix("")
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=archive.parent) as passing, tarfile.open(archive) as tar:
            tar.extractall(passing, filter="data")
            next(Path(passing).iterdir()).rename(folder)
    return folder / "val"


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


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    shares = np.exp(logits[0].astype(np.float64) - logits.max())
    return np.asarray(shares / shares.sum())


if __name__ == "__main__":
    main()

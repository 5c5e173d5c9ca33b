"""Written for others, loaded by them: `python -m benchmarks.convert_parity PHOTOS`.

A model of each kind, two layers a tower and random weights, is written by the reference in its public format, imported,
converted with `clip models convert`, and loaded by the reference again. Its embeddings are compared with those of the
model it all began with: smallest cosine of pictures, of texts, and of texts that need mending (HTML entities, broken
encodings), which one library mends and another does not. PHOTOS is a Parquet file of photographs and captions. Needs
open_clip_torch, timm and transformers beside the extra `train`.
Shapes: N images, T texts, D embedding.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.parquet
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from benchmarks import peers
from clipcli.bundle.probe import smallest_cosine
from clipcli.errors import ClipError
from export.converting import FORMATS, convert_model
from export.importing import import_model
from trainer.reading.found import Choices

LAYERS = 2
CASES = (
    *(("openai", name) for name in ("ViT-B/32", "RN50")),
    *(("open_clip", name) for name in ("ViT-B-32", "RN50", "ViT-H-14", "ViT-g-14", "ViT-bigG-14")),
    *(("open_clip", name) for name in ("ViT-B-16-SigLIP", "ViT-B-32-SigLIP2-256", "MobileCLIP-S1")),
    *(("transformers", name) for name in ("clip, gelu text", "clip, quick_gelu", "siglip")),
)
PLAIN = ("", "A Photo of a CAT", "naïve café, 30 €", "日本語 😀", "don't!! stop... #1", "a dog and " * 60)
MENDED = ("Café &amp; bar <b>", "it&#39;s &quot;quoted&quot;", "schÃ¶n â€œquotedâ€\x9d", "a &amp;amp; b")

Floats = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, help="photographs and captions, Parquet")
    parser.add_argument("--only", metavar="TEXT", help="cases whose name has TEXT in it")
    given = parser.parse_args()
    table = pyarrow.parquet.read_table(given.photos, columns=["image", "captions"]).slice(0, 6)
    pictures: list[Any] = [Image.open(io.BytesIO(content.as_py())).convert("RGB") for content in table["image"]]
    texts = [*(captions.as_py()[0] for captions in table["captions"]), *PLAIN, *MENDED]
    print("| from | into | image | texts | texts to be mended |\n|" + " --- |" * 5)
    for form, name in CASES:
        if given.only is not None and given.only not in f"{form}:{name}":
            continue
        with tempfile.TemporaryDirectory(prefix="clip-convert-") as folder:
            os.environ["CLIP_MODELS"] = f"{folder}/models"
            peer = _peer(form, name, Path(folder) / "model", pictures, texts)
            made = import_model(peer.path, name="converted", choices=Choices(), say=lambda _: None).folder
            for to in FORMATS:
                print(
                    f"| {form}: {name} | {to} | {_row(made, Path(folder) / to, to, peer, pictures, texts)} |",
                    flush=True,
                )


def _row(made: Path, folder: Path, to: str, peer: peers.Peer, pictures: list[Any], texts: list[str]) -> str:
    try:
        convert_model(made, folder, to=to)
    except ClipError as error:
        return f"refused: {error} | |"
    load = _by_open_clip if to == "open-clip" else _by_transformers
    images, sentences = load(str(folder), pictures, texts)
    few = len(texts) - len(MENDED)
    figures = (
        smallest_cosine(images, peer.images),
        smallest_cosine(sentences[:few], peer.texts[:few]),
        smallest_cosine(sentences[few:], peer.texts[few:]),
    )
    return " | ".join(f"{figure:.9f}" for figure in figures)


def _peer(form: str, name: str, path: Path, pictures: list[Any], texts: list[str]) -> peers.Peer:
    if form == "openai":
        return peers.openai_file(name, path / "model.pt", pictures, texts, _fewer_layers)
    if form == "open_clip":
        return peers.openclip_folder(name, path, pictures, texts, _fewer_layers)
    layers = {"num_hidden_layers": LAYERS}
    if name == "siglip":
        config: Any = transformers.SiglipConfig(text_config=layers, vision_config=layers)
    else:
        ends = {"eos_token_id": 49_407, "bos_token_id": 49_406}
        text = layers | ends | ({"hidden_act": "gelu"} if "gelu text" in name else {})
        config = transformers.CLIPConfig(text_config=text, vision_config=layers)
    return peers.transformers_folder(config, path, pictures, texts)


def _fewer_layers(config: dict[str, Any]) -> None:
    for tower in ("vision_cfg", "text_cfg"):
        settings = config[tower]
        if isinstance(settings.get("layers"), int):
            settings["layers"] = min(LAYERS, settings["layers"])


def _by_open_clip(folder: str, pictures: list[Any], texts: list[str]) -> tuple[Floats, Floats]:
    """(N, D) and (T, D) of what open_clip itself makes of the folder, with its own preprocessing and tokenizer."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    model.eval()
    with torch.no_grad():
        images = torch.cat([model.encode_image(transform(one)[None]) for one in pictures])
        return _unit(images), _unit(model.encode_text(tokens))


def _by_transformers(folder: str, pictures: list[Any], texts: list[str]) -> tuple[Floats, Floats]:
    """The same of transformers. Its tokenizer pads to the length and by the token that the folder names."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    siglip = model.config.model_type == "siglip"
    kind = transformers.SiglipImageProcessorPil if siglip else transformers.CLIPImageProcessorPil
    pixels = kind.from_pretrained(folder)(pictures, return_tensors="pt").pixel_values
    length = model.config.text_config.max_position_embeddings
    tokens = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        images = model.get_image_features(pixel_values=pixels).pooler_output
        return _unit(images), _unit(model.get_text_features(input_ids=tokens).pooler_output)


def _unit(features: Any) -> Floats:
    found: Floats = torch.nn.functional.normalize(features, dim=-1).numpy()
    return found


if __name__ == "__main__":
    main()

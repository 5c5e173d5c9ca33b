"""A text tower that keeps the geometry of a sentence-embedding model, learnt from sentences alone.

    python -m benchmarks.text_start sentences.parquet --arch RN-nano-64 --output text-start

The Parquet file has the columns `text` and `vector`: sentences, and what any sentence-embedding model makes of them.
The text tower of the bundle it writes places sentences as those vectors lie, reduced to the embedding's dimensions. Its
image tower knows nothing yet: `clip train PAIRS --from text-start --tune image` teaches it (a locked text tower: Zhai
et al. 2022, "LiT"). Words that no caption has then lie where the sentence model puts them, near their kin.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
from numpy.typing import NDArray

from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import ClipError, DataError
from export.bundle import export_bundle
from export.samples import made_samples
from trainer.architectures import architecture
from trainer.beginning import CLIP_MEAN, CLIP_STD
from trainer.device import choose_compute
from trainer.encoding import Encoder
from trainer.options import TrainOptions
from trainer.text_start import learn_text_tower, reduced
from trainer.towers import Clip
from trainer.vocabulary import learn_vocabulary


def _read(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    try:
        table = pyarrow.parquet.read_table(path, columns=["text", "vector"])
    except (OSError, pyarrow.ArrowException, KeyError) as error:
        raise DataError(f"{path} is no Parquet file with the columns 'text' and 'vector': {error}") from error
    texts = table["text"].to_pylist()
    rows = table["vector"].to_pylist()
    if not texts or len({len(row or ()) for row in rows}) != 1 or any(text is None for text in texts):
        raise DataError(f"{path}: every row needs a text and a vector as long as the others")
    vectors = np.asarray(rows, dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: a vector has numbers that are none")
    return texts, vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("sentences", type=Path, metavar="PARQUET")
    parser.add_argument("--arch", default="RN-nano-64")
    parser.add_argument("--output", type=Path, required=True, help="the bundle's folder, to be named with --from")
    parser.add_argument("--vocabulary", type=int, default=8_000)
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    try:
        texts, vectors = _read(chosen.sentences)
        options = TrainOptions(
            data=(str(chosen.sentences),),
            arch=chosen.arch,
            epochs=chosen.epochs,
            batch_size=chosen.batch_size,
            lr=chosen.lr,
            warmup=0.05,
            seed=chosen.seed,
            device="cpu",
        )
        torch.manual_seed(chosen.seed)
        config = architecture(chosen.arch)
        words = learn_vocabulary(texts, max_size=chosen.vocabulary)
        size = words.get_vocab_size(with_added_tokens=True)
        config = dataclasses.replace(config, text=dataclasses.replace(config.text, vocab_size=size))
        preprocess = Preprocess(image_size=config.image.image_size, mean=CLIP_MEAN, std=CLIP_STD)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / TOKENIZER_FILE
            words.save(str(file))
            tokenizer = Tokenizer.load(file, config.text.context_length)
            model = Clip(config)
            found = learn_text_tower(
                Encoder(model, preprocess, choose_compute(options)),
                tokenizer,
                texts,
                reduced(vectors, config.embedding_dim),
                options,
                say=print,
            )
            print(f"mean cosine on sentences held out: {found:.4f}")
            export_bundle(
                model.eval(),
                folder=chosen.output,
                name=chosen.output.name,
                tokenizer_file=file,
                preprocess=preprocess,
                samples=made_samples(preprocess),
                precisions=("fp32",),
                exact_weights=True,
                provenance={"sentences": len(texts), "cosine_held_out": round(found, 4)},
            )
    except ClipError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()

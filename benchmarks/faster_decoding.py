"""What reading a JPEG smaller changes: `python -m benchmarks.faster_decoding PHOTOS BUNDLE…`.

`clip embed` lets the JPEG decoder halve a large photograph as long as twice the model's side is left. Here both ways
are embedded and compared. PHOTOS is a Parquet file of photographs. Large ones are made of its small ones: each enlarged
to 1,600 pixels, and sheets of many side by side, with edges as sharp as in the originals.
Shapes: N photographs, D embedding.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.photos.decode import open_image

COUNT = 200
QUALITY = 90
_WIDTH, _ROWS, _COLUMNS = 1600, 7, 8


def photographs(file: Path) -> list[Any]:
    import pyarrow.parquet

    contents = pyarrow.parquet.read_table(file, columns=["image"])["image"].to_pylist()[:COUNT]
    return [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]


def enlarged(small: Sequence[Any]) -> Iterator[bytes]:
    for one in small:
        yield jpeg(one.resize((_WIDTH, round(_WIDTH * one.height / one.width)), Image.Resampling.BICUBIC))


def sheets(small: Sequence[Any]) -> Iterator[bytes]:
    """Each begins one photograph later than the one before; pictures keep their size, 200 x 160 pixels of each."""
    for first in range(len(small)):
        sheet = Image.new("RGB", (200 * _COLUMNS, 160 * _ROWS))
        for place in range(_ROWS * _COLUMNS):
            one = small[(first + 3 * place) % len(small)]
            sheet.paste(one.crop((0, 0, 200, 160)), (200 * (place % _COLUMNS), 160 * (place // _COLUMNS)))
        yield jpeg(sheet)


def compare(model: Model, contents: Iterator[bytes]) -> NDArray[np.float64]:
    """Of each photograph the cosine of both ways, and of its exact way with the next photograph's, (N, 2)."""
    rule = model.spec.preprocess
    ways: tuple[list[NDArray[np.float32]], ...] = ([], [])
    for content in contents:
        for hint, vectors in zip((None, rule.image_size), ways, strict=True):
            vectors.append(model.encode_images(to_pixels(open_image(content, hint=hint), rule)[None])[0])
    exact, faster = (np.asarray(vectors, dtype=np.float64) for vectors in ways)  # (N, D), (N, D)
    exact, faster = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (exact, faster))
    return np.stack([(exact * faster).sum(axis=1), (exact * np.roll(exact, 1, axis=0)).sum(axis=1)], axis=1)


def jpeg(picture: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+", help="folders of models")
    parser.add_argument("--precision", default="fp32", help="of the towers (default fp32, for decoding's share alone)")
    given = parser.parse_args()
    small = photographs(given.photos)
    for bundle in given.bundles:
        model = Model.load(bundle, device="cpu", precision=given.precision)
        for kind, made in (("enlarged", enlarged), ("sheets", sheets)):
            found = compare(model, made(small))
            print(
                f"{model.name} {model.precision}, {model.spec.preprocess.image_size} pixels, {kind}: "
                f"{len(found)} photographs, cosine mean {found[:, 0].mean():.6f}, smallest {found[:, 0].min():.6f} "
                f"(between different photographs: mean {found[:, 1].mean():.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()

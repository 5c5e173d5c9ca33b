"""What is being looked for: words, pictures, or both at once, as one vector.

Shapes: D embedding.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import ImageError, InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Phrases and pictures that count the same; the result is what is like all of them together."""

    phrases: tuple[str, ...] = ()
    pictures: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.phrases and not self.pictures:
            raise UsageError("nothing to search for: give words, a picture, or --like FILE (see 'clip search --help')")

    def __str__(self) -> str:
        return " + ".join([*(f'"{phrase}"' for phrase in self.phrases), *(str(path) for path in self.pictures)])


def read_query(words: Sequence[str], like: Sequence[Path]) -> Query:
    """The words of a command line as a query: all of them are one phrase, but a single one may name a picture.

    It does where it is a file that is a picture. A name that ends like a picture's and is no file raises NotFoundError:
    somebody mistyped it. Raises UsageError where there is nothing to look for.
    """
    for path in like:
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder; --like takes a picture")
        if not os.path.exists(path):
            raise NotFoundError(f"no such file: {path}")
    if len(words) == 1 and _names_a_picture(words[0]):
        return Query(pictures=(Path(words[0]), *like))
    phrase = " ".join(" ".join(words).split())
    return Query(phrases=(phrase,) if phrase else (), pictures=tuple(like))


def _names_a_picture(word: str) -> bool:
    from clipcli.photos.formats import IMAGE_SUFFIXES
    from clipcli.photos.scan import looks_like_picture

    path = os.fsencode(os.path.expanduser(word))
    if os.path.isfile(path):
        return looks_like_picture(path) or os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES
    if os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES:
        raise NotFoundError(f"no such file: {word}")
    return False


def query_vector(model: Model, query: Query) -> NDArray[np.float32]:
    """The normalised sum of the embeddings of everything in the query (D,), so that scores against it are cosines.

    Raises InputError for a picture that cannot be read, UsageError where the parts cancel out.
    """
    import numpy as np

    from clipcli.bundle.preprocess import to_pixels
    from clipcli.photos.decode import open_image

    parts = []
    if query.phrases:
        parts.append(model.encode_texts(query.phrases))
    if query.pictures:
        pixels = []
        for path in query.pictures:
            try:
                image = open_image(path.expanduser(), hint=model.spec.preprocess.image_size)
            except ImageError as error:
                raise InputError(f"{path} cannot be read: {error}") from error
            pixels.append(to_pixels(image, model.spec.preprocess))
        parts.append(model.encode_images(np.stack(pixels)))
    total = np.concatenate(parts).astype(np.float64).sum(axis=0)  # (D,)
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise UsageError(f"{query}: these mean the opposite of each other and add up to nothing")
    return np.asarray(total / length, dtype=np.float32)

"""Pictures that were dropped or pasted: looked at once, then only their vector and a thumbnail are kept, for a while.

Shapes: D embedding.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.browse.answers import GONE, NOT_A_PICTURE, Refusal
from clipcli.errors import ImageError
from clipcli.photos.decode import DEFAULT_MAX_MEGAPIXELS

if TYPE_CHECKING:
    from clipcli.browse.library_access import LibraryAccess
    from clipcli.browse.makers import Makers
    from clipcli.browse.vectors_in_use import VectorsInUse

__all__ = ["UPLOAD_BYTES", "UPLOAD_MEGAPIXELS", "Upload", "Uploads"]

UPLOAD_BYTES = 64 << 20
UPLOAD_MEGAPIXELS = min(150.0, DEFAULT_MAX_MEGAPIXELS)  # less where that does not fit into memory
_KEPT = 64
_THUMB = 320
_MOST_COPIES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """`vector` (D,) is of length 1; `same_as` are pictures of the library with the same bytes."""

    token: str
    vector: NDArray[np.float64]
    thumb: bytes
    width: int
    height: int
    format: str
    same_as: tuple[int, ...]


class Uploads:
    """The last few, by token."""

    def __init__(self, access: LibraryAccess, vectors: VectorsInUse, makers: Makers) -> None:
        self._access = access
        self._vectors = vectors
        self._makers = makers
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Upload] = OrderedDict()

    def take(self, data: bytes) -> Upload:
        """Decode within limits, encode, keep. Raises Refusal for what is no picture."""
        encoding = self._vectors.current().encoding
        with tempfile.TemporaryDirectory(prefix="clip-dropped-") as folder:  # nobody else's to read
            path = os.path.join(os.fsencode(folder), b"picture")
            with open(path, "wb") as file:
                file.write(data)
            try:
                made = self._makers.make(
                    path, long_side=_THUMB, preprocess=encoding.preprocess, max_megapixels=UPLOAD_MEGAPIXELS
                )
            except ImageError as error:
                raise Refusal(*NOT_A_PICTURE, str(error)) from error
        assert made.levels is not None
        upload = Upload(
            token=secrets.token_urlsafe(12),
            vector=encoding.picture(made.levels),
            thumb=made.jpeg,
            width=made.width,
            height=made.height,
            format=made.format,
            same_as=self._copies(hashlib.sha256(data).hexdigest()),
        )
        with self._lock:
            self._kept[upload.token] = upload
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return upload

    def known(self, token: str) -> Upload:
        """Raises Refusal for one that has been forgotten."""
        with self._lock:
            if token not in self._kept:
                raise Refusal(*GONE, "this picture has been forgotten; drop it again")
            self._kept.move_to_end(token)
            return self._kept[token]

    def _copies(self, digest: str) -> tuple[int, ...]:
        with self._access.reading() as library, library.read() as connection:
            rows = connection.execute(
                "SELECT id FROM images WHERE digest = ? ORDER BY id LIMIT ?", (digest, _MOST_COPIES)
            ).fetchall()
        return tuple(row[0] for row in rows)

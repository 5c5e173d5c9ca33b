"""A library of given files, made without the indexing pipeline: for tests of what only reads it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from clipcli.bundle.encoder import Model
from clipcli.bundle.preprocess import to_pixels
from clipcli.library.models import register_model
from clipcli.library.roots import add_root
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored
from clipcli.photos.decode import open_image

__all__ = ["make_tiny_library"]


def make_tiny_library(path: Path, folder: Path, bundles: Sequence[Path]) -> Path:
    """A library at `path` with every file of `folder` in it, embedded by each bundle; the last one is its own model."""
    names = sorted(os.listdir(os.fsencode(folder)))
    with Library.open(path, write=True, create=True) as library, library.write() as connection:
        root = add_root(library, connection, os.path.realpath(os.fsencode(folder)))
        for number, name in enumerate(names, start=1):
            content = (folder / os.fsdecode(name)).read_bytes()
            connection.execute(
                "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format) "
                "VALUES (?, ?, ?, ?, 0, ?, 40, 30, 'PNG')",
                (number, root, to_stored(name), len(content), hashlib.sha256(content).hexdigest()),
            )
        for bundle in bundles:
            model = Model.load(bundle)
            model_id = register_model(
                connection,
                identity=model.identity,
                precision=model.precision,
                name=model.name,
                folder=str(bundle),
                dimension=model.spec.embedding_dim,
            )
            library.set_setting("own_model", str(model_id))
            for number, name in enumerate(names, start=1):
                content = (folder / os.fsdecode(name)).read_bytes()
                vector = model.encode_images(to_pixels(open_image(content), model.spec.preprocess)[None])[0]
                connection.execute(
                    "INSERT INTO embeddings (image_id, model_id, digest, vector) VALUES (?, ?, ?, ?)",
                    (number, model_id, hashlib.sha256(content).hexdigest(), vector.astype("<f4").tobytes()),
                )
    return path

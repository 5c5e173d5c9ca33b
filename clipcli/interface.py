"""`from clipcli import Library, Model`: the suite for Python programs. docs/python.md shows it at work.

Paths are `str` or `Path`; errors are those of `clipcli.errors`. Nothing is printed.
Shapes: B batch, N images, C labels, D embedding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model as Encoder
from clipcli.bundle.installed import find_model
from clipcli.bundle.spec import read_spec
from clipcli.errors import NotFoundError
from clipcli.library.models import StoredModel, installed_folder, own_model, stored_models
from clipcli.library.run_lock import RunLock
from clipcli.library.store import Library as LibraryFile

if TYPE_CHECKING:
    from clipcli.library.counts import LibraryCounts
    from clipcli.library.faults import Fault
    from clipcli.library.filters import Filters
    from clipcli.library.forgetting import Forgotten
    from clipcli.library.relocation import Moved
    from clipcli.library.repair import Mended
    from clipcli.library.report import IndexReport, Progress

__all__ = ["Library", "Match", "Model"]

_PICTURES_AT_ONCE = 32

AnyPath = str | Path
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A picture that was found. `score` is the cosine with the query."""

    rank: int
    score: float
    file: Path
    image_id: int


class Model:
    """A model on this machine: texts and pictures in, unit vectors out. It is loaded at its first use, tower by tower.

    `name` is an installed model or a model folder; without one it is the default model. Raises NotFoundError where
    there is no such model, ModelError where it is damaged; DeviceError comes with the first use.
    """

    def __init__(
        self,
        name: AnyPath | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        folder = find_model(None if name is None else os.fspath(name))
        self.encoder = Encoder.load(folder, device=device, precision=precision, threads=threads)

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def dimension(self) -> int:
        """How many numbers an embedding has."""
        return self.encoder.spec.embedding_dim

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, D), each of length 1."""
        return self.encoder.encode_texts(_several(texts))

    def encode_pictures(self, files: Sequence[AnyPath]) -> NDArray[np.float32]:
        """(B, D), each of length 1. Raises ImageError for a file that cannot be read."""
        from clipcli.bundle.preprocess import to_pixels
        from clipcli.photos.decode import open_image

        preprocess = self.encoder.spec.preprocess
        files = _several(files)
        found = [np.empty((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(files), _PICTURES_AT_ONCE):
            images = (open_image(file, hint=preprocess.image_size) for file in files[start : start + _PICTURES_AT_ONCE])
            found.append(self.encoder.encode_images(np.stack([to_pixels(image, preprocess) for image in images])))
        return np.concatenate(found)

    def classify(
        self, files: Sequence[AnyPath], labels: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """(B, C): how probable each label is for each picture, by the model's own prompt templates or by these.

        A row adds up to 1, except with a model trained with sigmoids, whose labels are independent.
        """
        from clipcli.bundle.templates import class_prototypes
        from clipcli.evaluate.probabilities import label_probabilities

        spec = self.encoder.spec
        prototypes = class_prototypes(self.encoder, _several(labels), templates or spec.templates)  # (C, D)
        cosines = self.encode_pictures(files) @ prototypes.T
        return label_probabilities(cosines, logit_scale=spec.logit_scale, logit_bias=spec.logit_bias)


class Library:
    """A library of pictures. `path` is its file; without one it is the one that `clip` would use here.

    The file is opened for each call, so an object may be kept, and used by several threads. Where there is no library
    yet, `embed` makes it.
    """

    def __init__(self, path: AnyPath | None = None) -> None:
        from clipcli.library.location import find_library

        self.path = find_library(None if path is None else Path(path))
        self._models: dict[tuple[str, str], Model] = {}

    def embed(
        self,
        *paths: AnyPath,
        model: Model | None = None,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        force: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> IndexReport:
        """Bring the library up to date with folders of pictures or single ones, as `clip embed` does.

        Without `model` it is the library's own. Files that cannot be read are in the report. Raises NotFoundError for a
        path that is not there, LibraryLockedError while another run is at work, and what a model raises.
        """
        from clipcli.library.indexing import IndexOptions, index_folders
        from clipcli.library.roots import targets

        options = IndexOptions(force=force, exclude=tuple(_several(exclude)), include=tuple(_several(include)))
        named = [os.fsencode(path) for path in paths]
        targets(named, ())  # a name that is not there makes no library
        with ExitStack() as stack:
            stack.enter_context(RunLock(self.path))
            there = os.path.lexists(self.path)
            library = stack.enter_context(LibraryFile.open(self.path, write=True)) if there else None
            chosen = model or self._model_for(library)
            if library is None:  # made only once it is clear that there is a model
                library = stack.enter_context(LibraryFile.open(self.path, write=True, create=True))
            return index_folders(library, named, chosen.encoder, options, on_progress or _say_nothing)

    def search(
        self,
        query: str | Path | int | NDArray[np.floating],
        *,
        k: int | None = 10,
        threshold: float | None = None,
        min_sigma: float | None = None,
        filters: Filters | None = None,
        model: Model | None = None,
    ) -> list[Match]:
        """The `k` nearest pictures (None: all), best first.

        `query` is a phrase (str), a picture (Path), a picture of the library (its id), or a vector (D,), such as a sum
        of vectors. Without `model` it is the library's own. `threshold` is a cosine, `min_sigma` counts standard
        deviations above the mean of all scores, `filters` is a `clipcli.library.filters.Filters`. An empty library has
        no matches. Raises NotFoundError where the library has nothing by the model, or it is not installed.
        """
        from clipcli.library.pictures import vector_of
        from clipcli.library.search import find

        with LibraryFile.open(self.path) as library:
            if not any(stored.pictures for stored in stored_models(library)):
                return []
            stored = self._stored(library, model)
            identity, precision = stored.identity, stored.precision
            if isinstance(query, int):
                vector: NDArray[np.floating] = vector_of(library, query, identity=identity, precision=precision)
            elif isinstance(query, str):
                vector = (model or self._own(stored)).encode_texts([query])[0]
            elif isinstance(query, Path):
                vector = (model or self._own(stored)).encode_pictures([query])[0]
            else:
                vector = query
            answer = find(
                library,
                vector,
                identity=identity,
                precision=precision,
                k=k,
                threshold=threshold,
                min_sigma=min_sigma,
                filters=filters,
            )
        return [
            Match(rank=hit.rank, score=hit.score, file=Path(os.fsdecode(hit.path)), image_id=hit.image_id)
            for hit in answer.hits
        ]

    def vectors(self, *, model: Model | None = None) -> tuple[list[Path], NDArray[np.float32]]:
        """Every picture's file, and the vectors (N, D) in the same order; read-only, and perhaps larger than memory."""
        from clipcli.library.search import paths_of
        from clipcli.library.vectors import vectors

        with LibraryFile.open(self.path) as library:
            stored = self._stored(library, model)
            ids, rows = vectors(library, identity=stored.identity, precision=stored.precision)
            paths = paths_of(library, ids.tolist())
        return [Path(os.fsdecode(paths[number])) for number in ids.tolist()], rows

    def counts(self) -> LibraryCounts:
        """What `clip library stats` shows."""
        from clipcli.library.counts import count_library

        with LibraryFile.open(self.path) as library:
            return count_library(library)

    def check(self, *, deep: bool = False) -> list[Fault]:
        """What `clip library check` finds; empty where nothing is wrong. With `deep` every file is read."""
        from clipcli.library.checking import check_library

        with LibraryFile.open(self.path) as library:
            return check_library(library, deep=deep, on_progress=_say_nothing)

    def repair(self, *, deep: bool = False) -> Mended:
        """What `clip library check --repair` does; what it found, and what could not be mended."""
        from clipcli.library.repair import mend_library

        with self._changing() as library:
            return mend_library(library, deep=deep, on_progress=_say_nothing)

    def relocate(self, old: AnyPath, new: AnyPath) -> list[Moved]:
        """What `clip library relocate` does; each root in its new place."""
        from clipcli.library.relocation import relocate

        with self._changing() as library:
            return relocate(library, os.fsencode(old), os.fsencode(new))

    def forget(self, *paths: AnyPath) -> list[Forgotten]:
        """What `clip library forget` does; what was taken out, folder by folder."""
        from clipcli.library.forgetting import forget

        with self._changing() as library:
            return forget(library, [os.fsencode(path) for path in paths])

    def backup(self, target: AnyPath) -> int:
        """What `clip library backup` does; how many bytes the copy has."""
        from clipcli.library.backup import backup_library

        with LibraryFile.open(self.path) as library:
            return backup_library(library, Path(target), on_progress=_say_nothing)

    @contextmanager
    def _changing(self) -> Iterator[LibraryFile]:
        LibraryFile.open(self.path).close()  # before a lock file is made beside something that is no library
        with RunLock(self.path), LibraryFile.open(self.path, write=True) as library:
            yield library

    def _stored(self, library: LibraryFile, model: Model | None) -> StoredModel:
        """The embeddings to compare with: of `model`, in its own precision where the library has that; else its own."""
        filled = [stored for stored in stored_models(library) if stored.pictures]
        if model is None:
            own = own_model(library)
            if not filled:
                raise NotFoundError(f"the library {self.path} is empty")
            return own if own is not None and own.pictures else filled[0]
        fitting = [stored for stored in filled if stored.identity == model.encoder.identity]
        if not fitting:
            raise NotFoundError(f"the library {self.path} has no embeddings by the model {model.name}")
        return next((stored for stored in fitting if stored.precision == model.encoder.precision), fitting[0])

    def _own(self, stored: StoredModel) -> Model:
        """The library's own model, loaded once, in the precision of its embeddings where it comes in that."""
        key = (stored.identity, stored.precision)
        if key not in self._models:
            folder = installed_folder(stored)
            offered = {variant.precision for variant in read_spec(folder).variants}
            precision = stored.precision if stored.precision in offered else "auto"
            self._models[key] = Model(folder, precision=precision)
        return self._models[key]

    def _model_for(self, library: LibraryFile | None) -> Model:
        """The model to embed with where none is named."""
        own = own_model(library) if library is not None else None
        return Model() if own is None or not own.pictures else self._own(own)


def _say_nothing(*progress: object) -> None:
    """For a call that nobody listens to."""


def _several(values: Sequence[_T]) -> Sequence[_T]:
    """A single text where several were meant would be taken letter by letter."""
    if isinstance(values, str | Path):
        raise TypeError(f"a list is wanted, not {values!r} alone")
    return values

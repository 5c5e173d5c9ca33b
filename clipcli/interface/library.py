"""A library for Python programs: what the commands do, as methods.

Shapes: N images, D embedding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import read_spec
from clipcli.errors import NotFoundError, UsageError
from clipcli.interface.model import AnyPath, Model, several
from clipcli.interface.pictures import PicturesOfLibrary
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

__all__ = ["Library", "Match"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A picture that was found. `score` is the cosine with the query."""

    rank: int
    score: float
    file: Path
    image_id: int


class Library(PicturesOfLibrary):
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
        frames: int | None = None,
        accept_truncated: bool = False,
        force: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> IndexReport:
        """Bring the library up to date with folders of pictures or single ones, as `clip embed` does.

        Without `model` it is the library's own, without `frames` as many as the library was told last, at first 1.
        Files that cannot be read are in the report. Raises NotFoundError for a path that is not there,
        LibraryLockedError while another run is at work or `clip embed --watch` keeps a path up to date, and what a
        model raises.
        """
        from clipcli.library.indexing import IndexOptions, index_folders
        from clipcli.library.remembered import with_frames_of
        from clipcli.library.roots import targets
        from clipcli.library.watch_lock import refuse_watched

        options = IndexOptions(
            frames=1 if frames is None else frames,
            accept_truncated=accept_truncated,
            force=force,
            exclude=tuple(several(exclude)),
            include=tuple(several(include)),
        )
        named = [os.fsencode(path) for path in paths]
        targets(named, ())  # a name that is not there makes no library
        refuse_watched(self.path, named)
        with ExitStack() as stack:
            stack.enter_context(RunLock(self.path))
            there = os.path.lexists(self.path)
            library = stack.enter_context(LibraryFile.open(self.path, write=True)) if there else None
            chosen = model or self._model_for(library)
            if library is None:  # made only once it is clear that there is a model that can be used
                _ = chosen.encoder.device
                library = stack.enter_context(LibraryFile.open(self.path, write=True, create=True))
            if frames is None:
                options = with_frames_of(library, options)
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
        no matches. Raises UsageError for a phrase without a word, NotFoundError where the library has nothing by the
        model, or it is not installed.
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
                if not query.strip():
                    raise UsageError("a query needs a word in it")
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

    def classify(
        self,
        labels: Sequence[str],
        *,
        multi: bool = False,
        threshold: float | None = None,
        none_label: str | None = None,
        templates: Sequence[str] | None = None,
        filters: Filters | None = None,
        model: Model | None = None,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Tag the pictures as `clip classify --library` does; how many each label fits.

        Raises UsageError where every picture would get every label, and what `search` raises.
        """
        from clipcli.bundle.templates import class_prototypes
        from clipcli.evaluate.probabilities import label_probabilities
        from clipcli.library.filters import chosen_ids
        from clipcli.library.labelling import Rule, label_pictures

        with LibraryFile.open(self.path, write=not dry_run) as library:
            stored = self._stored(library, model)
            encoder = (model or self._own(stored)).encoder
            spec = encoder.spec
            rule = Rule(
                labels=tuple(several(labels)),
                multi=multi,
                threshold=threshold,
                none_label=none_label,
                independent=spec.logit_bias is not None,
            )
            result = label_pictures(
                library,
                stored,
                class_prototypes(encoder, rule.labels, templates or spec.templates),
                rule,
                probabilities=lambda cosines: label_probabilities(
                    cosines, logit_scale=spec.logit_scale, logit_bias=spec.logit_bias
                ),
                image_ids=chosen_ids(library, filters) if filters else None,
                dry_run=dry_run,
                on_progress=_say_nothing,
            )
        return {label: total.pictures for label, total in result.totals.items()}

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

    def forget(self, *paths: AnyPath, gone: bool = False) -> list[Forgotten]:
        """What `clip library forget` does; what was taken out, folder by folder. `gone`: only what is not there."""
        from clipcli.library.forgetting import forget

        with self._changing() as library:
            return forget(library, [os.fsencode(path) for path in paths], gone=gone)

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

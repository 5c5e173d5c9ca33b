"""The vectors that are searched: one state of the library at a time, replaced in the background by a newer one.

While `clip embed` is at work the library changes with every batch, and to gather a hundred thousand vectors takes a
second. So a search uses what there is, and the next state is gathered beside it, a tenth of the time at most.
Shapes: N images, D embedding.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.browse.answers import NO_MODEL, Refusal
from clipcli.browse.model_in_use import Encoding, ModelInUse, OpenModel
from clipcli.errors import ClipError, NotFoundError
from clipcli.library.models import StoredModel, find_stored
from clipcli.library.vectors import matrix

if TYPE_CHECKING:
    from clipcli.browse.library_access import LibraryAccess

__all__ = ["Snapshot", "VectorsInUse"]

_SHARE = 0.1  # of the time may go into gathering while a run is at work
_NEVER_OFTENER_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Snapshot:
    """Vectors of one state: image ids (N,), ascending, and unit vectors (N, D), mapped into memory."""

    stored: StoredModel
    ids: NDArray[np.int64]
    rows: NDArray[np.float32]
    encoding: Encoding


class VectorsInUse:
    """`change` counts the states that have been shown; the page asks for it to know whether it is out of date."""

    def __init__(self, access: LibraryAccess, open_model: OpenModel) -> None:
        self._access = access
        self._open_model = open_model
        self._lock = threading.Lock()
        self._gathering = threading.Lock()
        self._using: ModelInUse | None = None
        self._encoding: Encoding | None = None
        self._snapshot: Snapshot | None = None
        self._shown = 0  # the version of the library that is shown
        self._change = 0
        self._took_s = 0.0
        self._finished = float("-inf")
        with access.reading() as library:  # a model that is not there is found out at the start
            self._use(open_model(library))

    @property
    def model(self) -> ModelInUse | None:
        return self._using

    @property
    def encoding(self) -> Encoding | None:
        return self._encoding

    @property
    def pictures(self) -> int:
        """How many pictures have a vector that is searched."""
        snapshot = self._snapshot
        return 0 if snapshot is None else snapshot.stored.pictures

    def look(self) -> int:
        """`change` at this moment; begins to gather the next state where the library has one."""
        if self._access.version() == self._shown:
            return self._change
        rest = max(self._took_s / _SHARE, _NEVER_OFTENER_S)
        if time.monotonic() - self._finished >= rest and self._gathering.acquire(blocking=False):
            threading.Thread(target=self._gather_and_release, name="clip-gathering", daemon=True).start()
        return self._change

    def refresh(self) -> int:
        """As `look`, after a change of one's own: waits for the state to be gathered, which tags do not make longer."""
        with self._gathering:
            self._gather()
        return self._change

    def current(self) -> Snapshot:
        """Raises Refusal for a library without embeddings, or whose model is not here."""
        self.look()
        if self._snapshot is None:
            with self._gathering:
                if self._snapshot is None:
                    self._gather()
        if self._snapshot is None:
            raise Refusal(*NO_MODEL, "the library has no embeddings yet; 'clip embed FOLDER' makes them")
        return self._snapshot

    def _gather_and_release(self) -> None:
        try:
            self._gather()
        except ClipError:
            return  # the state that was shown stays; the next look tries again
        finally:
            self._gathering.release()

    def _gather(self) -> None:
        started = time.monotonic()
        version = self._access.version()
        try:
            with self._access.reading() as library, library.read():
                if self._using is None:
                    self._use(self._open_model(library))
                using, encoding = self._using, self._encoding
                found = None
                if using is not None and encoding is not None:
                    try:
                        stored = find_stored(library, identity=using.model.identity, precision=using.stored_precision)
                    except NotFoundError:  # all of them have been taken out
                        pass
                    else:
                        before = self._snapshot
                        if before is not None and before.stored == stored:
                            found = before
                        else:
                            ids, rows = matrix(library, stored)
                            found = Snapshot(stored=stored, ids=ids, rows=rows, encoding=encoding)
        finally:
            self._finished = time.monotonic()
            self._took_s = self._finished - started
        with self._lock:
            if version != self._shown:
                self._change += 1
            self._snapshot, self._shown = found, version

    def _use(self, using: ModelInUse | None) -> None:
        self._using = using
        self._encoding = None if using is None else Encoding(using.model)

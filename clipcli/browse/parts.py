"""The parts that the routes work with, put together once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.browse.answers import Refusal
from clipcli.browse.asked import Asked
from clipcli.browse.jobs import Jobs
from clipcli.browse.lanes import Lanes
from clipcli.browse.library_access import LibraryAccess
from clipcli.browse.makers import Makers
from clipcli.browse.searching import Searches
from clipcli.browse.state import State
from clipcli.browse.thumbs import Thumbs
from clipcli.browse.uploads import Uploads
from clipcli.browse.vectors_in_use import VectorsInUse
from clipcli.errors import ClipError

if TYPE_CHECKING:
    from clipcli.browse.model_in_use import OpenModel

__all__ = ["Parts"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """All of one running server."""

    access: LibraryAccess
    vectors: VectorsInUse
    uploads: Uploads
    searches: Searches
    state: State
    thumbs: Thumbs
    makers: Makers
    jobs: Jobs = field(default_factory=Jobs)
    lanes: Lanes = field(default_factory=Lanes)

    @classmethod
    def of(cls, library: Path, open_model: OpenModel, thumbs: Path) -> Parts:
        """Raises what opening the library and its model does."""
        access = LibraryAccess(library)
        vectors = VectorsInUse(access, open_model)
        makers = Makers()
        uploads = Uploads(access, vectors, makers)
        return cls(
            access=access,
            vectors=vectors,
            uploads=uploads,
            searches=Searches(access, vectors, uploads),
            state=State(access, vectors),
            thumbs=Thumbs(thumbs, lambda path, size: makers.make(path, long_side=size).jpeg),
            makers=makers,
        )

    def warm_up(self) -> None:
        """What the first visitor would otherwise wait for: counts, the order by date, the vectors, the text tower."""
        with contextlib.suppress(Refusal, ClipError):  # whoever asks will be told
            self.makers.start()
            self.searches.search(Asked())
            self.state.state()
            self.vectors.current().encoding.text("a photo")

    def close(self) -> None:
        self.jobs.close()
        self.lanes.close()
        self.makers.close()
        self.access.close()

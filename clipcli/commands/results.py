"""What `clip search` and `clip similar` have in common: from a query to results, however they are wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.commands.galleries import Wanted, day_of, look, put_down, taken
from clipcli.commands.handing_on import hand_on, open_first
from clipcli.commands.query import Query
from clipcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model
    from clipcli.commands.opening import Chosen
    from clipcli.datasets.feature_cache import FeatureCache
    from clipcli.library.filters import Filters
    from clipcli.library.search import Answer, Hit
    from clipcli.library.store import Library
    from clipcli.render.gallery import Gallery

FIELDS = ("rank", "score", "path", "path_b64", "image_id", "model")
FACT_FIELDS = ("width", "height", "format", "taken_at", "taken_from", "camera", "lens", "latitude", "longitude")

Facts = Mapping[int, Mapping[str, object]]  # by image id


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What is to become of the results."""

    written: str
    print0: bool = False
    facts: bool = False
    copy_to: Path | None = None
    link_to: Path | None = None
    open: bool = False
    wanted: Wanted = field(default_factory=Wanted)

    @property
    def pictured(self) -> bool:
        """Whether the pictures themselves are to be seen somewhere."""
        return self.wanted.seen or self.wanted.kept


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A query, and which of its results are wanted. `k` 0 means all; `leave_out` leaves out what was asked with."""

    query: Query
    k: int = 10
    threshold: float | None = None
    min_sigma: float | None = None
    filters: Filters | None = None
    leave_out: bool = False
    facts: bool = False

    def __post_init__(self) -> None:
        if self.min_sigma is not None and not 0 < self.min_sigma < float("inf"):
            raise UsageError(f"--min-sigma is a number above zero, not {self.min_sigma:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Results with their facts where those were asked for; `remark` for a person, `nothing` where there are none,
    `away` where files of theirs are not there.

    `title` is the query in words, `asked_with` the pictures in it that are wanted more of.
    """

    hits: Sequence[Hit]
    title: str = ""
    asked_with: Sequence[bytes] = ()
    facts: Facts = field(default_factory=dict)
    remark: str = ""
    nothing: str = ""
    away: str = ""


def look_up(asked: Asked, db: Path | None, model: str | None, *, device: str, precision: str) -> Found:
    """Ask the library. Raises what opening it and its model does, and what the query and the filters do."""
    from clipcli.commands.opening import open_library, open_model_of
    from clipcli.render.notes import counted, say

    with open_library(db) as library:
        chosen = open_model_of(library, model, device=device, precision=precision, brief=True)
        if chosen is None:
            return Found(
                hits=[],
                title=str(asked.query),
                nothing=f"the library {library.path} is empty; 'clip embed FOLDER' fills it",
            )
        if chosen.without:
            say(
                f"{counted(chosen.without, 'picture')} without embeddings by {chosen.model.name} cannot be found with "
                f"it; 'clip embed -m {chosen.model.name} FOLDER' makes them"
            )
        with library.read():  # one state, so that what is found and what is said about it go together
            return _answer(asked, library, chosen)


def _answer(asked: Asked, library: Library, chosen: Chosen) -> Found:
    from clipcli.commands.away import those_away
    from clipcli.commands.query import query_vector
    from clipcli.library.pictures import facts_of, image_at, vector_at, vector_of
    from clipcli.library.search import find

    here = {"identity": chosen.model.identity, "precision": chosen.stored_precision}
    itself: set[int] = set()
    if asked.leave_out:
        paths = [os.fsencode(term.what) for term in asked.query.terms if isinstance(term.what, Path)]
        known = (image_at(library, path) for path in paths)
        itself = {*asked.query.ids, *(number for number in known if number is not None)}
    stored: dict[int | Path, NDArray[np.float32]] = {each: vector_of(library, each, **here) for each in asked.query.ids}
    for term in asked.query.terms:  # a picture that is in the library as it is need not be looked at again
        if isinstance(term.what, Path):
            vector = vector_at(library, os.fsencode(term.what), **here)
            if vector is not None:
                stored[term.what] = vector
    answer = find(
        library,
        query_vector(chosen.model, asked.query, stored, before=_asked_before(chosen.model)),
        **here,
        k=asked.k or None,
        threshold=asked.threshold,
        min_sigma=asked.min_sigma,
        filters=asked.filters,
        leave_out=itself,
    )
    return Found(
        hits=answer.hits,
        title=str(asked.query),
        asked_with=_asked_with(asked.query, library),
        facts=facts_of(library, [hit.image_id for hit in answer.hits]) if asked.facts else {},
        remark=_remark(answer, library, chosen),
        nothing=_why_nothing(asked, answer),
        away=those_away([hit.path for hit in answer.hits], library),
    )


def _asked_with(query: Query, library: Library) -> list[bytes]:
    """The pictures of the query that count for it, as absolute paths, in order."""
    from clipcli.library.search import paths_of

    meant = [term.what for term in query.terms if term.weight > 0 and not isinstance(term.what, str)]
    stored = paths_of(library, [what for what in meant if isinstance(what, int)])
    paths = [stored.get(what) if isinstance(what, int) else os.path.abspath(os.fsencode(what)) for what in meant]
    return [path for path in paths if path is not None]


def _asked_before(model: Model) -> FeatureCache:
    """The embeddings of words that this person has searched for; the words themselves are not in it."""
    from clipcli.datasets.feature_cache import FeatureCache, feature_cache_path

    path = feature_cache_path().with_name("queries.db")
    return FeatureCache(path, identity=model.identity, precision=model.precision, dimension=model.spec.embedding_dim)


def _remark(answer: Answer, library: Library, chosen: Chosen) -> str:
    from clipcli.commands.opening import model_and_device
    from clipcli.render.notes import counted
    from clipcli.render.text import short_path

    found = f"{len(answer.hits):,} of {counted(answer.searched, 'picture')}"
    if answer.considered < answer.searched:
        found += f" ({answer.considered:,} looked at)"
    where = short_path(os.fsencode(library.path.absolute()), from_here=False)  # it stands in files, read elsewhere
    return f"{found} in {where}, by {model_and_device(chosen.model)}"


def _why_nothing(asked: Asked, answer: Answer) -> str:
    from clipcli.render.notes import counted

    if not answer.considered:
        return f"none of {counted(answer.searched, 'picture')} passes the filters" if asked.filters else "nothing found"
    if asked.threshold is not None and answer.best is not None and answer.best < asked.threshold:
        return f"no picture scores {asked.threshold:g} or more"
    if asked.min_sigma is not None and answer.best_sigma is not None:
        return (
            f"nothing like that here: the best picture is {answer.best_sigma:.1f} standard deviations above the mean, "
            f"not {asked.min_sigma:g}"
        )
    return "nothing found"


def show(found: Found, output: Output) -> None:
    """Write the results to stdout, hand the pictures on, and say on stderr what there is to say.

    Raises InputError where pictures could not be drawn, copied or linked because they cannot be read, UsageError where
    nothing opens them.
    """
    from clipcli.render.notes import aside, say
    from clipcli.render.records import write_records
    from clipcli.render.viewer import find_viewer

    viewer = find_viewer() if output.open else None
    gallery = _gallery(found) if output.pictured else None
    seen = gallery is not None and look(gallery, output.wanted, output.written)
    if output.written == "table":
        if not seen:
            write_hits(found.hits, found.facts if output.facts else None)
        if found.remark:
            aside(found.remark)
    else:
        facts = found.facts if output.facts else {}
        records = [as_record(hit) | dict(facts.get(hit.image_id, {})) for hit in found.hits]
        fields = FIELDS + FACT_FIELDS if output.facts else FIELDS
        write_records(records, format=output.written, fields=fields, print0=output.print0)
    if not found.hits:
        say(found.nothing)
    elif found.away and not (output.copy_to or output.link_to or output.pictured):  # these name each of them
        say(found.away)
    paths = [hit.path for hit in found.hits]
    with ExitStack() as last_first:  # each is done whatever becomes of the others
        if output.open and paths:
            last_first.callback(open_first, paths, viewer)
        if paths:
            last_first.callback(hand_on, paths, copy_folder=output.copy_to, link_folder=output.link_to)
        if gallery is not None:
            put_down(gallery, output.wanted)


def _gallery(found: Found) -> Gallery:
    from clipcli.render.gallery import Gallery, Section, Tile

    tiles = [
        Tile(
            path=hit.path,
            figures=(str(hit.rank), f"{hit.score:z.3f}"),
            detail=day_of(found.facts.get(hit.image_id, {})),
        )
        for hit in found.hits
    ]
    asked = tuple(Tile(path=path) for path in found.asked_with)
    sections = (Section(tiles=tuple(tiles), heading="Found" if asked else ""),) if tiles else ()
    if tiles and asked:
        sections = (Section(tiles=asked, heading="Asked with"), *sections)
    return Gallery(title=found.title, sections=sections, remark=found.remark, nothing=found.nothing)


def as_record(hit: Hit) -> dict[str, object]:
    """A result as scripts get it; scores to six digits, which is more than float32 embeddings tell apart."""
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "path": hit.path,
        "image_id": hit.image_id,
        "model": hit.model,
    }


def write_hits(hits: Sequence[Hit], facts: Facts | None = None) -> None:
    """Results as a table; nothing at all for none."""
    from clipcli.render.tables import Cell, Column, PathCell, write_table

    columns = [
        Column(title="", right=True, style="dim"),
        Column(title="score", right=True, style="green"),
        *([Column(title="size"), Column(title="taken"), Column(title="camera")] if facts is not None else []),
        Column(title="picture", wide=True),
    ]
    rows: list[list[Cell]] = []
    for hit in hits:
        row: list[Cell] = [str(hit.rank), f"{hit.score:z.3f}"]
        if facts is not None:
            known = facts.get(hit.image_id, {})
            row += [f"{known['width']}×{known['height']}", taken(known), str(known["camera"] or "")]
        rows.append([*row, PathCell(path=hit.path)])
    if rows:
        write_table(columns, rows)

"""`clip classify --library`: the pictures of the library tagged by a model, from the vectors that are there.

Shapes: N images, B batch, C labels, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.commands import galleries
from clipcli.commands.options import Device, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model
    from clipcli.commands.judging import Batch
    from clipcli.library.filters import Filters
    from clipcli.library.labelling import Labelled, Probabilities, Rule
    from clipcli.library.models import StoredModel
    from clipcli.library.store import Library
    from clipcli.render.records import Record


_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the options of `clip classify --library` say. `k` None: only the labels a picture gets are shown."""

    names: tuple[str, ...]
    templates: tuple[str, ...]
    multi: bool
    threshold: float | None
    none_label: str | None
    filters: Filters | None
    dry_run: bool
    k: int | None
    only: frozenset[str]


def label_library(
    wanted: Wanted,
    written: str | None,
    db: Path | None,
    name: str | None,
    *,
    device: Device,
    precision: Precision,
    print0: bool,
    pictures: galleries.Wanted,
) -> None:
    """Tag, and say how many pictures got which label; with `written`, a format, which pictures; `pictures` themselves
    in the terminal, on a page or on a sheet.
    """
    from clipcli.bundle.templates import class_prototypes
    from clipcli.commands.judged_pictures import judged_gallery
    from clipcli.commands.judging import FIELDS, Tally, judge, write_judged
    from clipcli.commands.opening import model_and_device, open_model_of
    from clipcli.library.labelling import Rule
    from clipcli.library.location import find_library
    from clipcli.library.models import find_stored
    from clipcli.library.store import Library
    from clipcli.render.notes import aside, counted, say
    from clipcli.render.records import write_records

    with Library.open(find_library(db), write=not wanted.dry_run) as library:
        chosen = open_model_of(library, name, device=device, precision=precision)
        if chosen is None:
            if written is not None and written != "table":
                write_records([], format=written, fields=FIELDS, print0=print0)
            say("there are no pictures to classify")
            return
        model = chosen.model
        rule = Rule(
            labels=wanted.names,
            multi=wanted.multi,
            threshold=wanted.threshold,
            none_label=wanted.none_label,
            independent=model.spec.logit_bias is not None,
        )
        prototypes = class_prototypes(model, wanted.names, wanted.templates or model.spec.templates)  # (C, D)
        stored = find_stored(library, identity=model.identity, precision=chosen.stored_precision)
        ids = _chosen(library, wanted.filters)
        result = _tag(library, stored, prototypes, rule, model, ids, wanted.dry_run)
        gallery = None
        if written is not None or pictures.seen or pictures.kept:
            tally = Tally()
            batches = _stored(library, stored, ids)
            records: Iterable[Record]
            if wanted.k is None:
                records = _given(batches, prototypes, rule, model, wanted.only)
            else:
                top = wanted.k or len(rule.labels)
                records = judge(batches, prototypes, rule.labels, model, top, wanted.only, tally)
            if pictures.seen or pictures.kept:
                records = kept = list(records)
                names = [*rule.labels, *([rule.none_label] if rule.none_label else [])]
                gallery = judged_gallery(kept, names, every_label=rule.multi)
            shown = gallery is not None and galleries.look(gallery, pictures, written or "table")
            if written == "table" and not shown:
                write_judged(list(records))
            elif written is not None and written != "table":
                write_records(records, format=written, fields=FIELDS, print0=print0)
    if written is None:
        _write_totals(result, wanted.dry_run)
    aside(f"{counted(result.seen, 'picture')}, by {model_and_device(model)}")
    if result.unusable:
        say(f"{counted(result.unusable, 'picture')} left alone: damaged vectors ('clip library check' tells more)")
    if not result.seen:
        say("there are no pictures to classify" if wanted.filters is None else "no picture passes the filters")
    else:
        say(_told(result, wanted.dry_run))
    if gallery is not None:
        galleries.put_down(gallery, pictures)


def _chosen(library: Library, filters: Filters | None) -> NDArray[np.int64] | None:
    if not filters:
        return None
    from clipcli.library.filters import chosen_ids

    return chosen_ids(library, filters)


def _probabilities(model: Model) -> Probabilities:
    from clipcli.evaluate.probabilities import label_probabilities

    return lambda cosines: label_probabilities(
        cosines, logit_scale=model.spec.logit_scale, logit_bias=model.spec.logit_bias
    )


def _tag(
    library: Library,
    stored: StoredModel,
    prototypes: NDArray[np.float32],
    rule: Rule,
    model: Model,
    ids: NDArray[np.int64] | None,
    dry_run: bool,
) -> Labelled:
    from clipcli.library.labelling import label_pictures
    from clipcli.render.progress import progress_bar

    with progress_bar("Tagging", total=stored.pictures if ids is None else len(ids), unit="pictures") as bar:
        return label_pictures(
            library,
            stored,
            prototypes,
            rule,
            probabilities=_probabilities(model),
            image_ids=ids,
            dry_run=dry_run,
            on_progress=bar.advance,
        )


def _stored(library: Library, stored: StoredModel, chosen: NDArray[np.int64] | None) -> Iterator[Batch]:
    """The pictures with the vectors the library has of them, in the order of their ids."""
    import numpy as np

    from clipcli.library.search import paths_of
    from clipcli.library.vectors import vectors

    with library.read():  # one state, so that every vector has its path
        ids, rows = vectors(library, identity=stored.identity, precision=stored.precision)  # (N,), (N, D)
        places = np.arange(len(ids)) if chosen is None else np.flatnonzero(np.isin(ids, chosen, assume_unique=True))
        for start in range(0, len(places), _AT_ONCE):
            part = places[start : start + _AT_ONCE]
            sound = part[np.isfinite(rows[part]).all(axis=1)]
            where = paths_of(library, ids[sound].tolist())
            yield [where[number] for number in ids[sound].tolist()], rows[sound]


def _given(
    batches: Iterator[Batch], prototypes: NDArray[np.float32], rule: Rule, model: Model, only: frozenset[str]
) -> Iterator[Record]:
    """A record per picture and label it gets, likeliest first."""
    import numpy as np

    from clipcli.commands.judging import judgement

    probabilities = _probabilities(model)
    for paths, vectors in batches:
        cosines = vectors.astype(np.float64) @ prototypes.astype(np.float64).T  # (B, C)
        chances = probabilities(cosines)
        fits = rule.choose(cosines, probabilities)
        order = np.argsort(-cosines, axis=1, kind="stable")
        for row, path in enumerate(paths):
            if only and rule.labels[order[row, 0]] not in only:
                continue
            columns = [column for column in order[row] if fits[row, column]]
            for rank, column in enumerate(columns, start=1):
                chance = chances[row, column] if rule.by_probability else None
                yield judgement(path, rule.labels[column], rank, cosines[row, column], chance)
            if not columns and rule.none_label is not None:
                yield judgement(path, rule.none_label, 1, None, None)


def _write_totals(result: Labelled, dry_run: bool) -> None:
    from clipcli.render.tables import Cell, Column, write_table

    columns = [
        Column(title="label", wide=True),
        Column(title="pictures", right=True),
        Column(title="by hand", right=True),
    ]
    columns += [Column(title="would be new" if dry_run else "new", right=True)]
    columns += [Column(title="would be taken back" if dry_run else "taken back", right=True)]
    columns += [Column(title="best cosine", right=True)]
    rows: list[list[Cell]] = [
        [
            total.label,
            f"{total.pictures:,}",
            f"{total.by_hand:,}",
            f"{total.added:,}",
            f"{total.removed:,}",
            "" if total.best is None else f"{total.best:z.3f}",
        ]
        for total in result.totals.values()
    ]
    if result.seen:
        write_table(columns, rows)


def _told(result: Labelled, dry_run: bool) -> str:
    from clipcli.render.notes import counted

    added = sum(total.added for total in result.totals.values())
    removed = sum(total.removed for total in result.totals.values())
    would = "would be " if dry_run else ""
    return f"{counted(result.seen, 'picture')}: {counted(added, 'tag')} {would}new, {removed:,} {would}taken back" + (
        "; nothing was written" if dry_run else ""
    )

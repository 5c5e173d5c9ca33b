"""What the page asks for, read field by field: all that comes in is somebody's text until it has been checked."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipcli.browse.answers import BAD, Refusal
from clipcli.library.filters import Around, Filters, MinSize
from clipcli.library.moments import Span

__all__ = ["MOST_IDS", "Asked", "AskedTerm", "Fields", "page_of", "read_filters", "read_search"]

MOST_IDS = 200_000
MOST_AT_ONCE = 2000  # of results with names
_MOST_TERMS = 16
_MOST_VALUES = 100  # of a filter
_LONGEST_TEXT = 2000
_LARGEST_WEIGHT = 100.0
_LARGEST_ID = 2**62
ORDERS = ("score", "newest", "oldest", "name")


class Fields:
    """The members of a JSON object, each asked for once by its type; `done` refuses what nobody asked for."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._left = dict(content)

    def done(self) -> None:
        for name in self._left:
            raise Refusal(*BAD, f"there is no field {str(name)[:40]!r}")

    def text(self, name: str, *, longest: int = _LONGEST_TEXT) -> str | None:
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise Refusal(*BAD, f"{name} is a text")
        if value is not None and len(value) > longest:
            raise Refusal(*BAD, f"{name} has at most {longest:,} characters")
        return value

    def number(self, name: str) -> float | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            raise Refusal(*BAD, f"{name} is a number")
        return float(value)

    def whole(self, name: str, *, least: int, most: int) -> int | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Refusal(*BAD, f"{name} is a whole number from {least} to {most}")
        return value

    def truth(self, name: str) -> bool:
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, bool):
            raise Refusal(*BAD, f"{name} is true or false")
        return bool(value)

    def texts(self, name: str, *, most: int = _MOST_VALUES, longest: int = _LONGEST_TEXT) -> tuple[str, ...]:
        value = self._left.pop(name, None)
        value = [] if value is None else value
        if not isinstance(value, list) or not all(isinstance(each, str) and len(each) <= longest for each in value):
            raise Refusal(*BAD, f"{name} is a list of texts")
        if len(value) > most:
            raise Refusal(*BAD, f"{name} has at most {most} entries")
        return tuple(value)

    def ids(self, name: str, *, most: int = MOST_IDS) -> list[int]:
        value = self._left.pop(name, None)
        value = [] if value is None else value
        if not isinstance(value, list) or not all(type(each) is int and 0 < each < _LARGEST_ID for each in value):
            raise Refusal(*BAD, f"{name} is a list of picture ids")
        if len(value) > most:
            raise Refusal(*BAD, f"{name} has at most {most:,} ids")
        return list(dict.fromkeys(value))

    def inner(self, name: str) -> Fields:
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, dict):
            raise Refusal(*BAD, f"{name} is an object")
        return Fields(value or {})

    def inners(self, name: str, *, most: int) -> list[Fields]:
        value = self._left.pop(name, None)
        value = [] if value is None else value
        if not isinstance(value, list) or len(value) > most or not all(isinstance(each, dict) for each in value):
            raise Refusal(*BAD, f"{name} is a list of at most {most} objects")
        return [Fields(each) for each in value]


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedTerm:
    """A phrase, a picture of the library by its id, or an upload by its token: one of the three."""

    weight: float
    text: str | None = None
    id: int | None = None
    upload: str | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.text, self.id, self.upload)) != 1:
            raise Refusal(*BAD, "a term has one of text, id and upload")
        if self.text is not None and not self.text:
            raise Refusal(*BAD, "the text of a term is empty")
        if not 0 < abs(self.weight) <= _LARGEST_WEIGHT:
            raise Refusal(*BAD, f"a weight is not 0 and at most {_LARGEST_WEIGHT:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A search. Without terms it is all pictures that pass the filters; limits of scores then mean nothing."""

    terms: tuple[AskedTerm, ...] = ()
    filters: Filters | None = None
    threshold: float | None = None
    min_sigma: float | None = None
    leave_out_terms: bool = False
    without: tuple[int, ...] = ()
    order: str = "score"
    count: int = 200

    def __post_init__(self) -> None:
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise Refusal(*BAD, "threshold lies between -1 and 1")
        if self.min_sigma is not None and not 0 < self.min_sigma < math.inf:
            raise Refusal(*BAD, "min_sigma is above zero")
        if self.order not in ORDERS:
            raise Refusal(*BAD, f"order is one of {', '.join(ORDERS)}")
        if self.order == "score" and not self.terms:
            object.__setattr__(self, "order", "newest")


def read_search(content: Mapping[str, Any]) -> Asked:
    fields = Fields(content)
    terms = []
    for one in fields.inners("terms", most=_MOST_TERMS):
        weight = one.number("weight")
        text = one.text("text")
        terms.append(
            AskedTerm(
                weight=1.0 if weight is None else weight,
                text=None if text is None else " ".join(text.encode("utf-8", "replace").decode().split()),
                id=one.whole("id", least=1, most=_LARGEST_ID),
                upload=one.text("upload", longest=64),
            )
        )
        one.done()
    asked = Asked(
        terms=tuple(terms),
        filters=read_filters(fields.inner("filters")),
        threshold=fields.number("threshold"),
        min_sigma=fields.number("min_sigma"),
        leave_out_terms=fields.truth("leave_out_terms"),
        without=tuple(fields.ids("without", most=1000)),
        order=fields.text("order") or "score",
        count=fields.whole("count", least=1, most=MOST_AT_ONCE) or 200,
    )
    fields.done()
    return asked


def read_filters(fields: Fields) -> Filters | None:
    """None where none is given. Raises Refusal, and UsageError for what a date, a place or a size is not."""
    since, until = fields.text("since"), fields.text("until")
    near, min_size = fields.text("near"), fields.text("min_size")
    folders, cameras, tags = fields.texts("in"), fields.texts("camera"), fields.texts("tag")
    formats = fields.texts("format_is")
    fields.done()
    if any("\0" in folder for folder in folders):
        raise Refusal(*BAD, "no folder is called that")
    filters = Filters(
        folders=tuple(_as_path(folder) for folder in folders),
        since=Span.read(since) if since else None,
        until=Span.read(until) if until else None,
        cameras=cameras,
        around=Around.read(near) if near else None,
        tags=tags,
        formats=formats,
        min_size=MinSize.read(min_size) if min_size else None,
    )
    return filters if filters else None


def _as_path(folder: str) -> bytes:
    try:
        return os.fsencode(folder)
    except UnicodeEncodeError:
        raise Refusal(*BAD, "no folder is called that") from None


def page_of(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number of a query string."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):
        raise Refusal(*BAD, f"{name} is a whole number up to {most:,}")
    return int(text)

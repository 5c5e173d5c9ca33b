"""Dates and times as a person gives them, as limits for when pictures were taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from clipcli.errors import UsageError

__all__ = ["Span", "date_conditions", "days_around"]

_SPAN = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?(?:\s*(Z|[+-]\d\d:?\d\d))?)?)?)?", re.IGNORECASE
)
_FIRST_YEAR, _LAST_YEAR = 1000, 9000  # whatever zone is added, the year keeps four digits

# What a clock on the wall showed. A picture whose only date is its file's has it in UTC; the wall is then the one here.
_WALL = "CASE WHEN images.taken_from = 'file' THEN datetime(images.taken_at, 'localtime') ELSE {written} END"
_WRITTEN = "replace(substr(images.taken_at, 1, 19), 'T', ' ')"
_CLOCKS_APART = timedelta(days=3)  # more than any two zones, and the rest of a day
_UTC = "datetime(images.taken_at)"  # SQLite takes the zone into account


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A year, month, day, minute or second: from `start` up to, not including, `end`. `zone` None means local time.

    Local is the place where each picture was taken: its own clock, whatever its zone. With a zone the span is a piece
    of time itself, and a picture without a zone is taken to be in that one.
    """

    start: datetime
    end: datetime
    zone: timezone | None = None

    def __post_init__(self) -> None:
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            raise ValueError("the zone stands apart")
        if not self.start < self.end:
            raise ValueError(f"a span from {self.start} to {self.end}")

    @classmethod
    def read(cls, text: str) -> Span:
        """`2021`, `2021-07`, `2021-07-04`, `2021-07-04 12:30`, with seconds, `Z` or `+02:00`. Raises UsageError."""
        match = _SPAN.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"{text!r} is no date; write 2021, 2021-07, 2021-07-04, '2021-07-04 12:30' or 2021-07-04T12:30:00+02:00"
            )
        year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[:6])
        assert year is not None
        try:
            start = datetime(year, month or 1, day or 1, hour or 0, minute or 0, second or 0)
            if not _FIRST_YEAR <= year <= _LAST_YEAR:
                raise ValueError(f"a year from {_FIRST_YEAR} to {_LAST_YEAR} is needed")
            zone = _zone(match[7])
        except ValueError as error:
            raise UsageError(f"{text!r} is no date: {error}") from None
        if month is None:
            end = datetime(year + 1, 1, 1)
        elif day is None:
            end = datetime(year + month // 12, month % 12 + 1, 1)
        elif hour is None:
            end = start + timedelta(days=1)
        else:
            end = start + (timedelta(minutes=1) if second is None else timedelta(seconds=1))
        return cls(start=start, end=end, zone=zone)


def date_conditions(since: Span | None, until: Span | None) -> Iterator[tuple[str, list[object]]]:
    """Conditions, with their values, that a picture was taken in `since` or later, and in `until` or earlier."""
    if since is not None:
        yield _compared(">=", since.start, since.zone)
    if until is not None:
        yield _compared("<", until.end, until.zone)


def days_around(moment: datetime) -> tuple[date, date]:
    """The days before and after which the date of a picture alone says on which side of a limit it lies."""
    return (moment - _CLOCKS_APART).date(), (moment + _CLOCKS_APART).date()


def _compared(sign: str, moment: datetime, zone: timezone | None) -> tuple[str, list[object]]:
    """The clocks of each picture are worked out only near the limit: for most its date says enough, and far sooner."""
    exact, values = _exactly(sign, moment, zone)
    surely, perhaps = (day.isoformat() for day in sorted(days_around(moment), reverse=sign == ">="))
    return (
        f"images.taken_at {sign} ? OR (images.taken_at {sign} ? AND ({exact}))",
        [surely, perhaps, *values],
    )


def _exactly(sign: str, moment: datetime, zone: timezone | None) -> tuple[str, list[str]]:
    wall = moment.isoformat(sep=" ")
    if zone is None:
        return f"{_WALL.format(written=_WRITTEN)} {sign} ?", [wall]
    utc = moment.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return (
        f"CASE WHEN length(images.taken_at) > 19 THEN {_UTC} {sign} ? ELSE {_WRITTEN} {sign} ? END",
        [utc, wall],
    )


def _zone(text: str | None) -> timezone | None:
    """Raises ValueError for hours and minutes that no clock has."""
    if not text:
        return None
    if text in "Zz":
        return UTC
    sign = -1 if text[0] == "-" else 1
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 14 or minutes > 59:
        raise ValueError(f"there is no zone {text}")
    return timezone(sign * timedelta(hours=hours, minutes=minutes))

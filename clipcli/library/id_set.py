"""Sets of row ids in an eighth of a byte each: a million pictures that were met take 160 kB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet

__all__ = ["IdSet"]

_PAGE_BITS = 12  # ids of one page; pages are made as needed, so that a stray large id costs no more than any other
_IN_PAGE = (1 << _PAGE_BITS) - 1
_BITS = tuple(1 << bit for bit in range(8))


class IdSet(MutableSet[int]):
    """Ids of one table; goes through them in ascending order."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0
        for one in ids:
            self.add(one)

    def add(self, value: int) -> None:
        number = value >> _PAGE_BITS
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = bytearray(1 << (_PAGE_BITS - 3))
        place, bit = (value & _IN_PAGE) >> 3, _BITS[value & 7]
        if not page[place] & bit:
            page[place] |= bit
            self._count += 1

    def discard(self, value: int) -> None:
        if value in self:
            self._pages[value >> _PAGE_BITS][(value & _IN_PAGE) >> 3] ^= _BITS[value & 7]
            self._count -= 1

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int):
            return False
        page = self._pages.get(value >> _PAGE_BITS)
        return page is not None and bool(page[(value & _IN_PAGE) >> 3] & _BITS[value & 7])

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for number in sorted(self._pages):
            for place, byte in enumerate(self._pages[number]):
                if byte:
                    first = (number << _PAGE_BITS) + (place << 3)
                    yield from (first + bit for bit in range(8) if byte & _BITS[bit])

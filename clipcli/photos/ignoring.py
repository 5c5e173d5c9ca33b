"""What people want left out: lines of `.clipignore` files and patterns of a command line, by the rules of gitignore(5).

`pathspec` is imported when the first pattern turns up. Paths are relative to the folder that is walked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipcli.errors import UsageError

__all__ = ["IGNORE_FILE", "Chain", "Ignoring", "LeftOut", "check_patterns", "places_left_out"]

IGNORE_FILE = b".clipignore"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rules:
    """Patterns, and how many bytes of a path lead to the folder they are relative to."""

    base: int
    patterns: tuple[tuple[bool, re.Pattern[str]], ...]  # whether what matches is left out; the last pattern first

    def verdict(self, path: bytes) -> bool | None:
        """True: left out. False: taken, by a pattern with `!`. None: nothing is said of this very path."""
        name = os.fsdecode(path[self.base :])
        return next((left_out for left_out, regex in self.patterns if _is_meant(regex, name)), None)

    def holds(self, path: bytes) -> bool:
        """Whether the file or a folder around it matches, by the last pattern that says anything of either."""
        name = os.fsdecode(path[self.base :])
        return next((chosen for chosen, regex in self.patterns if regex.search(name)), False)


@dataclass(kw_only=True, slots=True)
class LeftOut:
    """How much rules have left out: files that are named like pictures, and folders, whatever is in them."""

    files: int = 0
    folders: int = 0


Chain = tuple[_Rules, ...]  # of the folders from the root down, the nearest last


class Ignoring:
    """The rules of one walk. `above` is what lies between the root and the walked folder `top`: empty, or `a/b/`.

    `exclude` counts like lines of a `.clipignore` in `top` that nothing overrules. With `include`, only files that
    match one of its patterns are taken. The walk counts in `left_out`.
    """

    def __init__(
        self,
        top: bytes,
        *,
        above: bytes = b"",
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        left_out: LeftOut | None = None,
    ) -> None:
        self._above = above
        self._exclude = _Rules(base=len(above), patterns=_compiled(exclude)) if exclude else None
        self._include = _Rules(base=len(above), patterns=_compiled(include)) if include else None
        self._top = top
        self.left_out = left_out or LeftOut()

    def first(self) -> Chain:
        """The rules of the folders above the walked one. Raises OSError where one cannot be read."""
        chain: Chain = ()
        parts = self._above.split(b"/")[:-1]
        root = self._top
        for _ in parts:
            root = os.path.dirname(root)
        for depth in range(len(parts)):
            folder = b"/".join([root, *parts[:depth]])
            if os.path.isfile(folder + b"/" + IGNORE_FILE):
                chain += (_read(folder, base=sum(len(part) + 1 for part in parts[:depth])),)
        return chain

    def inside(self, chain: Chain, folder: bytes, prefix: bytes) -> Chain:
        """The rules within a folder that has a file of rules. Raises OSError."""
        return (*chain, _read(folder, base=len(self._above) + len(prefix)))

    def leaves_out(self, chain: Chain, path: bytes, *, folder: bool) -> bool:
        if not chain and self._exclude is None and (self._include is None or folder):
            return False
        whole = self._above + path + (b"/" if folder else b"")
        for rules in (self._exclude, *reversed(chain)):
            verdict = None if rules is None else rules.verdict(whole)
            if verdict is not None:
                if verdict:
                    return True
                break
        return self._include is not None and not folder and not self._include.holds(whole)


def places_left_out(root: bytes, paths: Iterable[bytes]) -> dict[bytes, int]:
    """Of files below `root`, by paths relative to it, those that its `.clipignore` files leave out: how many in which
    place, the topmost folder that is left out, else the file itself. Raises OSError where one cannot be read.
    """
    ignoring = Ignoring(root)
    chains: dict[bytes, Chain] = {}
    places: dict[bytes, bytes] = {}  # folders that are left out, and the topmost around each

    def look(folder: bytes) -> None:
        if folder in chains or folder in places:
            return
        chain: Chain = ()
        if folder:
            around = os.path.dirname(folder)
            look(around)
            if around in places or ignoring.leaves_out(chains[around], folder, folder=True):
                places[folder] = places.get(around, folder)
                return
            chain = chains[around]
        here = os.path.join(root, folder)
        if os.path.isfile(os.path.join(here, IGNORE_FILE)):
            chain = ignoring.inside(chain, here, folder + b"/" if folder else b"")
        chains[folder] = chain

    found: dict[bytes, int] = {}
    for path in paths:
        folder = os.path.dirname(path)
        look(folder)
        place = places.get(folder)
        if place is None and ignoring.leaves_out(chains[folder], path, folder=False):
            place = path
        if place is not None:
            found[place] = found.get(place, 0) + 1
    return found


def check_patterns(patterns: Iterable[str]) -> None:
    """Raises UsageError for one that cannot be understood."""
    for pattern in patterns:
        try:
            _compiled([pattern])
        except ValueError:
            raise UsageError(f"not a pattern: {pattern!r}") from None


def _read(folder: bytes, *, base: int) -> _Rules:
    with open(folder + b"/" + IGNORE_FILE, "rb") as file:
        content = file.read().removeprefix(b"\xef\xbb\xbf")
    # Line ends of any system, but nothing else that Python takes for one: it may be part of a name.
    lines = [line.removesuffix(b"\r").decode("utf-8", errors="surrogateescape") for line in content.split(b"\n")]
    try:
        patterns = _compiled(lines)
    except ValueError:  # as git does, a line that means nothing is passed over
        patterns = _compiled(line for line in lines if _is_pattern(line))
    return _Rules(base=base, patterns=patterns)


def _is_pattern(line: str) -> bool:
    try:
        _compiled([line])
    except ValueError:
        return False
    return True


def _compiled(lines: Iterable[str]) -> tuple[tuple[bool, re.Pattern[str]], ...]:
    from pathspec import GitIgnoreSpec

    patterns = reversed(list(GitIgnoreSpec.from_lines(lines).patterns))
    return tuple((each.include, each.regex) for each in patterns if each.include is not None and each.regex is not None)


def _is_meant(regex: re.Pattern[str], name: str) -> bool:
    """Whether a pattern matches this path, and not only a folder around it.

    The walk has asked about the folders around before, as git does; pathspec's own verdict mixes the two and differs
    from git where patterns with `!` are among them. The group `ps_d` is where a folder's name ends.
    """
    if "ps_d" in regex.groupindex:
        return any(found.end("ps_d") in (-1, len(name)) for found in regex.finditer(name))
    found = regex.search(name)
    # `a/**` is all that is in `a`, not `a/` itself.
    return found is not None and not (regex.pattern.endswith("/") and found.end() == len(name))

"""What is being looked for: words, pictures, and sums and differences of them, as one vector.

Shapes: D embedding.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import ImageError, InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model
    from clipcli.datasets.feature_cache import FeatureCache
    from clipcli.library.decoded_picture import PictureDecoder

_WEIGHTED = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)):(.*)", re.DOTALL)
_ID = re.compile(r"id:(\d{1,18})")
_CERTAINLY_PATHS = ("./", "../", "~/", "/") + ((".\\", "..\\", "~\\", "\\") if os.name == "nt" else ())


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A phrase (text), a picture (its path) or a picture of the library (its id), and how much it counts.

    A negative weight takes away.
    """

    what: str | Path | int
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or self.weight == 0:
            raise UsageError(f"a weight is a number above zero, not {self.weight:g}")

    @property
    def shown(self) -> str:
        """The term for a message, without its sign."""
        name = f'"{self.what}"' if isinstance(self.what, str) else f"id:{self.what}"
        name = str(self.what) if isinstance(self.what, Path) else name
        return name if abs(self.weight) == 1 else f"{abs(self.weight):g} × {name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Terms that are added up, each as a vector of length 1 times its weight."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise UsageError("nothing to search for: give words, a picture, or --like FILE (see 'clip search --help')")

    def __str__(self) -> str:
        signed = "".join(f" {'-' if term.weight < 0 else '+'} {term.shown}" for term in self.terms)
        return signed.removeprefix(" + ").lstrip()

    @property
    def ids(self) -> tuple[int, ...]:
        """The pictures of the library that it names."""
        return tuple(dict.fromkeys(term.what for term in self.terms if isinstance(term.what, int)))


def read_query(
    words: Sequence[str], like: Sequence[Path], plus: Sequence[str] = (), minus: Sequence[str] = ()
) -> Query:
    """The words of a command line as a query: all of them are one phrase, but a single one may name a picture.

    It does where it is a file that is a picture, or `id:NUMBER`. A name that ends like a picture's and is no file
    raises NotFoundError: somebody mistyped it. `plus` and `minus` are terms of the same kinds, with `WEIGHT:` before
    them if need be. Raises UsageError where there is nothing to look for, or a picture's file among several words.
    """
    for path in like:
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder; --like takes a picture")
        if not os.path.exists(path):
            raise NotFoundError(f"no such file: {path}")
    if len(words) > 1 and (picture := next(filter(_is_a_picture, words), None)) is not None:
        others = " ".join(word for word in words if word != picture)
        raise UsageError(
            f"{picture} is a picture and stands among words: ask by it alone, or by both with --like {picture} {others}"
        )
    phrase = " ".join(" ".join(words).split())
    terms = [Term(what=_meant(words[0] if len(words) == 1 else phrase, alone=len(words) == 1))] if phrase else []
    terms += [Term(what=path) for path in like]
    terms += [_weighted(text, "--plus", 1) for text in plus]
    terms += [_weighted(text, "--minus", -1) for text in minus]
    return Query(terms=tuple(terms))


def read_picture(text: str) -> Term:
    """`id:NUMBER`, or the path of a picture whatever it is called. Raises NotFoundError, UsageError for a folder."""
    if match := _ID.fullmatch(text):
        return Term(what=int(match[1]))
    path = Path(text).expanduser()
    if os.path.isdir(path):
        raise UsageError(f"{text} is a folder; a picture is wanted")
    if not os.path.exists(path):
        raise NotFoundError(f"no such file: {text}")
    return Term(what=path)


def _weighted(text: str, option: str, sign: int) -> Term:
    weight = 1.0
    if match := _WEIGHTED.fullmatch(text):
        weight, text = float(match[1]), match[2]
        if not weight > 0:
            raise UsageError(f"{option} {match[0]}: a weight is above zero; --minus takes away")
    if not text.strip():
        raise UsageError(f"{option} needs words, a picture, or id:NUMBER")
    return Term(what=_meant(text, alone=True), weight=sign * weight)


def _meant(text: str, *, alone: bool) -> str | Path | int:
    """A picture's path or id where the text stands alone and names one, else the phrase."""
    if alone:
        if match := _ID.fullmatch(text):
            return int(match[1])
        if _names_a_picture(text):
            return Path(text)
    return " ".join(text.split())


def _is_a_picture(word: str) -> bool:
    """Whether one of several words is surely a file and no word: it is there, and called like a picture or a path."""
    from clipcli.photos.formats import IMAGE_SUFFIXES

    path = os.fsencode(os.path.expanduser(word))
    called = os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES or word.startswith(_CERTAINLY_PATHS)
    return called and os.path.isfile(path)


def _names_a_picture(word: str) -> bool:
    from clipcli.photos.formats import IMAGE_SUFFIXES
    from clipcli.photos.scan import looks_like_picture

    path = os.fsencode(os.path.expanduser(word))
    suffixed = os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES
    if os.path.isfile(path):
        return suffixed or word.startswith(_CERTAINLY_PATHS) or looks_like_picture(path)
    if suffixed or word.startswith(_CERTAINLY_PATHS):
        raise UsageError(f"{word} is a folder") if os.path.isdir(path) else NotFoundError(f"no such file: {word}")
    return False


def query_vector(
    model: Model,
    query: Query,
    stored: Mapping[int | Path, NDArray[np.float32]] | None = None,
    *,
    before: FeatureCache | None = None,
) -> NDArray[np.float64]:
    """The normalised weighted sum of the embeddings of all terms (D,), so that scores against it are cosines.

    `stored` has the unit vectors of the pictures the query names by id, and of files that need not be read; `before`
    those of words that were asked for before, and takes up the new ones. Raises InputError for a picture that cannot be
    read, UsageError where the terms cancel out.
    """
    from contextlib import closing

    import numpy as np

    phrases = [term for term in query.terms if isinstance(term.what, str)]
    at_hand: Mapping[int | Path, NDArray[np.float32]] = stored or {}
    rows = {term: at_hand[term.what] for term in query.terms if not isinstance(term.what, str) and term.what in at_hand}
    pictures = {term: term.what for term in query.terms if isinstance(term.what, Path) and term not in rows}
    if phrases:
        rows.update(_encoded(model, phrases, before))
    if pictures:
        from clipcli.library.decoded_picture import PictureDecoder  # late: words do without

        with closing(PictureDecoder(model.spec.preprocess, count=len(pictures))) as decoder:
            pixels = np.stack([_pixels(decoder, path) for path in pictures.values()])  # (B, 3, H, W)
        rows.update(zip(pictures, model.encode_images(pixels), strict=True))
    total = np.sum([term.weight * _unit(rows[term]) for term in query.terms], axis=0)  # (D,)
    length = float(np.linalg.norm(total))
    if length < 1e-6 * sum(abs(term.weight) for term in query.terms):
        raise UsageError(f"{query}: these mean the opposite of each other and add up to nothing")
    return np.asarray(total / length)


def _unit(row: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    wide = np.asarray(row, dtype=np.float64)
    return wide / np.linalg.norm(wide)


def _encoded(model: Model, phrases: Sequence[Term], before: FeatureCache | None) -> dict[Term, NDArray[np.float32]]:
    if before is None:
        _say_what_is_cut(model, phrases)
        return dict(zip(phrases, model.encode_texts([str(term.what) for term in phrases]), strict=True))

    from clipcli.datasets.feature_cache import text_digest

    digests = {term: text_digest(str(term.what)) for term in phrases}
    known = before.known(list(digests.values()))
    new = [term for term in phrases if digests[term] not in known]
    if new:
        model.open_text_tower()  # while the tokenizer is read
        cut = _say_what_is_cut(model, new)  # each time it is asked for: it is not remembered
        vectors = model.encode_texts([str(term.what) for term in new])
        known |= {digests[term]: vector for term, vector in zip(new, vectors, strict=True)}
        before.keep({digests[term]: known[digests[term]] for term in new if term not in cut})
    return {term: known[digests[term]] for term in phrases}


def _say_what_is_cut(model: Model, phrases: Sequence[Term]) -> set[Term]:
    """A line for each text that is longer than the model's context: it reads the beginning only. Which those are."""
    from clipcli.render.notes import say

    cut = set()
    texts = [str(term.what) for term in phrases]
    for term, text, length in zip(phrases, texts, model.tokenizer.full_lengths(texts), strict=True):
        most = model.tokenizer.context_length
        if length <= most:
            continue
        cut.add(term)
        words = text.split()
        kept, beyond = 0, len(words)  # how many words fit, found by halving
        while beyond - kept > 1:
            middle = (kept + beyond) // 2
            fits = model.tokenizer.full_lengths([" ".join(words[:middle])])[0] <= most
            kept, beyond = (middle, beyond) if fits else (kept, middle)
        first = f"the first {kept:,}" if kept else "the beginning of the first"
        say(
            f"{model.name} reads {most} tokens at once: of the {len(words):,} words of "
            f'"{" ".join(words[:4])[:60]}…" it was asked with {first}'
        )
    return cut


def _pixels(decoder: PictureDecoder, path: Path) -> NDArray[np.float32]:
    try:
        return decoder.pixels(os.fsencode(path.expanduser()))
    except ImageError as error:
        raise InputError(f"{path} cannot be read: {error}") from error

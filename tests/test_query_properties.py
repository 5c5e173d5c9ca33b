"""Sums and differences of phrases, pictures and vectors of the library, against plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipcli.commands import query as query_module
from clipcli.commands.query import Query, Term, query_vector, read_query
from clipcli.errors import NotFoundError, UsageError
from clipcli.library import decoded_picture
from tests.test_search_options import LongContext

DIMENSION = 6
WEIGHTS = st.floats(0.01, 100).map(lambda weight: round(weight, 3))
PHRASES = st.text(st.characters(categories=("L", "Nd", "Zs")), min_size=1, max_size=12).filter(
    lambda text: text.strip() and not Path(text.split()[0]).exists()
)
TERMS = st.lists(
    st.tuples(st.sampled_from(["text", "picture", "id"]), st.integers(0, 3), WEIGHTS, st.booleans()),
    min_size=1,
    max_size=6,
    unique_by=lambda term: term[:2],
)


def known(kind: str, number: int) -> NDArray[np.float32]:
    """The vector that a phrase, a picture or a row of the library has; not quite of length 1, as float32 has it."""
    values = np.random.default_rng(["text", "picture", "id"].index(kind) * 10 + number).normal(size=DIMENSION)
    return (values / np.linalg.norm(values)).astype(np.float32)


class Known:
    """A model whose vectors are known."""

    tokenizer = LongContext()
    spec = SimpleNamespace(preprocess=None)  # what decodes is not asked here

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        return np.stack([known("text", int(text)) for text in texts])

    def encode_images(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([known("picture", int(each[0])) for each in pixels])


class NoDecoder:
    """Stands where several pictures start processes."""

    def __init__(self, preprocess: object, *, count: int) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_picture, "PictureDecoder", NoDecoder)
    monkeypatch.setattr(query_module, "_pixels", lambda model, path: np.array([float(path.stem)]))


def as_query(terms: list[tuple[str, int, float, bool]]) -> Query:
    what: dict[str, Callable[[int], str | Path | int]] = {
        "text": str,
        "picture": lambda number: Path(f"{number}.png"),
        "id": int,
    }
    return Query(
        terms=tuple(Term(what=what[kind](number), weight=w if plus else -w) for kind, number, w, plus in terms)
    )


def vector(terms: list[tuple[str, int, float, bool]]) -> NDArray[np.float64]:
    stored = {number: known("id", number) for kind, number, _, _ in terms if kind == "id"}
    return query_vector(Known(), as_query(terms), stored)  # type: ignore[arg-type]


@given(terms=TERMS)
def test_as_plain_numbers_have_it(terms: list[tuple[str, int, float, bool]]) -> None:
    total = [0.0] * DIMENSION
    for kind, number, weight, plus in terms:
        row = [float(part) for part in known(kind, number)]
        length = math.sqrt(sum(part * part for part in row))
        for place, part in enumerate(row):
            total[place] += (weight if plus else -weight) * part / length
    length = math.sqrt(sum(part * part for part in total))
    assume(length > 1e-3)
    found = vector(terms)
    assert found.tolist() == pytest.approx([part / length for part in total], abs=1e-9)
    assert float(np.linalg.norm(found)) == pytest.approx(1, abs=1e-12)  # so that scores are cosines


@given(terms=TERMS, factor=st.sampled_from([0.25, 2.0, 8.0]), seed=st.randoms(use_true_random=False))
def test_neither_order_nor_a_common_factor_matters(
    terms: list[tuple[str, int, float, bool]], factor: float, seed: object
) -> None:
    found = vector(terms)
    scaled = [(kind, number, weight * factor, plus) for kind, number, weight, plus in terms]
    assert vector(scaled).tolist() == pytest.approx(found.tolist(), abs=1e-9)
    assert vector(terms[::-1]).tolist() == pytest.approx(found.tolist(), abs=1e-9)
    turned = [(kind, number, weight, not plus) for kind, number, weight, plus in terms]
    assert vector(turned).tolist() == pytest.approx((-found).tolist(), abs=1e-9)


@given(kind=st.sampled_from(["text", "picture"]), number=st.integers(0, 3), weight=WEIGHTS)
def test_what_adds_up_to_nothing_is_refused(kind: str, number: int, weight: float) -> None:
    what = str(number) if kind == "text" else Path(f"{number}.png")
    query = Query(terms=(Term(what=what, weight=weight), Term(what=what, weight=-weight)))
    with pytest.raises(UsageError, match="add up to nothing"):
        query_vector(Known(), query)  # type: ignore[arg-type]


@given(phrase=PHRASES, weight=WEIGHTS)
def test_a_term_reads_back(phrase: str, weight: float) -> None:
    plain = " ".join(phrase.split())
    for text in (f"{weight}:{phrase}", f"+{weight}:{phrase}"):
        assert read_query([], [], [text]).terms == (Term(what=plain, weight=weight),)
        assert read_query([], [], [], [text]).terms == (Term(what=plain, weight=-weight),)
    assert read_query([], [], [phrase]).terms == (Term(what=plain),)
    assert read_query(phrase.split(), []).terms == (Term(what=plain),)  # quoted or not


@given(text=st.text(max_size=20))
def test_no_text_makes_it_stumble(text: str) -> None:
    """Understood or refused, whatever somebody types."""
    assume("\0" not in text)
    for plus, minus in (([text], []), ([], [text])):
        try:
            query = read_query([], [], plus, minus)
        except (UsageError, NotFoundError):
            continue
        assert all(math.isfinite(term.weight) and term.weight for term in query.terms)

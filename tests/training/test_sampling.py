"""What a batch is made of: rows, texts, who belongs to whom, crops; all of it by seed and step alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipcli.datasets.sources import Row
from tests.training.tiny import PREPROCESS, SIDE
from trainer.encoding import split_by_length
from trainer.options import SameText
from trainer.pictures import Crop, PictureStore
from trainer.row_plan import RowPlan
from trainer.sampling import Batch, BatchMaker, synonyms

END = 999


class Painted(PictureStore):
    """Each row's picture is its number, and each crop is kept."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(rows, PREPROCESS, crop_min=0.5, budget=0)
        self.crops: list[Crop] = []

    def crop(self, number: int, crop: Crop, out: NDArray[np.uint8]) -> None:
        if number >= 200:
            raise RuntimeError("no such picture")
        self.crops.append(crop)
        out[:] = number


class Heard:
    """A tokenizer that keeps the texts: the number of words, then the end."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        self.texts.append(list(texts))
        tokens = np.zeros((len(texts), 12), dtype=np.int64)
        for row, text in zip(tokens, texts, strict=True):
            row[: len(text.split())] = 1
            row[len(text.split())] = END
        return tokens


def maker_of(rows: Sequence[Row], *, plan: RowPlan | None = None, **chosen: Any) -> BatchMaker:
    settings: dict[str, Any] = {
        "rows": rows,
        "plan": plan or RowPlan([range(len(rows))], (), len(rows), 0),
        "store": Painted(rows),
        "tokenise": Heard(),
        "end_id": END,
        "templates": ("a photo of a {}.",),
        "same_text": "positive",
        "crop_min": 0.5,
        "flip": True,
        "seed": 0,
    }
    return BatchMaker(**{**settings, **chosen})


def captioned(count: int) -> list[Row]:
    return [Row(image=bytes([number]), name=str(number), captions=(f"text {number}",)) for number in range(count)]


def assert_same(one: Batch, other: Batch) -> None:
    for name in ("pixels", "tokens", "lengths", "positives", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


# Which rows


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(2, 20), st.integers(0, 3), st.data())
def test_every_row_once_a_pass(sizes: list[int], batch_size: int, seed: int, data: st.DataObject) -> None:
    ends = np.cumsum(sizes)
    groups = [list(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    weights = data.draw(st.one_of(st.just([]), st.lists(st.floats(0.1, 9), min_size=len(sizes), max_size=len(sizes))))
    plan = RowPlan(groups, weights, batch_size, seed)
    shares = np.asarray(weights or sizes) / sum(weights or sizes)
    assert sum(plan.counts) == batch_size
    assert all(abs(count - batch_size * share) < 1 for count, share in zip(plan.counts, shares, strict=True))
    assert plan.steps_per_epoch == -(-sum(sizes) // batch_size)
    batches = [plan(step).tolist() for step in range(12)]
    for group, count in zip(groups, plan.counts, strict=True):
        seen = [number for batch in batches for number in batch if number in group]
        assert all(sum(number in group for number in batch) == count for batch in batches)
        for start in range(0, len(seen) - len(group) + 1, len(group)):
            assert sorted(seen[start : start + len(group)]) == group


def test_rows_of_a_step_do_not_depend_on_what_came_before() -> None:
    def plan(seed: int = 5) -> RowPlan:
        return RowPlan([range(50), range(50, 57)], (1, 1), 8, seed)

    straight = plan()
    steps = [straight(step).tolist() for step in range(40)]
    wandering = plan()
    for step in (39, 3, 17, 3, 0, 25):
        assert wandering(step).tolist() == steps[step]
        assert plan()(step).tolist() == steps[step]
    assert plan(6)(0).tolist() != steps[0]


def test_each_pass_has_an_order_of_its_own() -> None:
    plan = RowPlan([range(40)], (), 40, 0)
    assert sorted(plan(0)) == sorted(plan(1)) == list(range(40))
    assert plan(0).tolist() != plan(1).tolist()


# Which batch


def test_a_batch_is_the_same_whatever_came_before() -> None:
    rows = captioned(20) + [Row(image=b"x", name="x", label="a, b", captions=("one", "two"))] * 5
    plan = RowPlan([range(20), range(20, 25)], (3, 1), 8, 1)
    templates = ("a {}", "the {}")
    straight = maker_of(rows, plan=plan, templates=templates)
    batches = [straight.make(step) for step in range(6)]
    other = maker_of(rows, plan=plan, templates=templates)
    for step in (4, 1, 4, 0):
        assert_same(other.make(step), batches[step])
    differing = maker_of(rows, plan=plan, templates=templates, seed=9)
    differing.make(0)
    straight.make(0)
    assert isinstance(differing.store, Painted)
    assert isinstance(straight.store, Painted)
    assert differing.store.crops != straight.store.crops[-8:]


def test_arrays_of_a_batch() -> None:
    rows = [*captioned(3), Row(image=b"l", name="l", label="dog"), Row(image=b"m", name="m", label="cat")]
    maker = maker_of(rows)
    batch = maker.make(0)
    numbers = maker.plan(0)
    assert batch.pixels.shape == (5, SIDE, SIDE, 3)
    assert batch.pixels[:, 0, 0, 0].tolist() == numbers.tolist()
    assert maker.labels == ["cat", "dog"]
    assert batch.labels.tolist() == [{3: 1, 4: 0}.get(number, -1) for number in numbers.tolist()]
    assert isinstance(maker.tokenise, Heard)
    assert batch.lengths.tolist() == [len(text.split()) + 1 for text in maker.tokenise.texts[0]]
    assert (batch.tokens[np.arange(5), batch.lengths - 1] == END).all()


# Who belongs to whom

said = st.tuples(st.integers(0, 3), st.sampled_from(["c A dog", "c a DOG", "c cat", "c bird", "l dog", "l cat"]))


def key(text: str) -> str:
    return text.casefold()


def row_of(picture: int, text: str) -> Row:
    image = bytes([picture])
    if text.startswith("c"):
        return Row(image=image, name=text, captions=(text,))
    return Row(image=image, name=text, label=text)


@given(st.lists(said, min_size=2, max_size=9), st.integers(0, 5))
def test_same_text_against_brute_force(given_rows: list[tuple[int, str]], seed: int) -> None:
    rows = [row_of(picture, text) for picture, text in given_rows]
    plan = RowPlan([range(len(rows))], (), len(rows), seed)
    order = plan(0).tolist()
    pictures = [given_rows[number][0] for number in order]
    keys = [key(given_rows[number][1]) for number in order]
    places = range(len(order))

    def made(same_text: SameText) -> tuple[Batch, list[str]]:
        heard = Heard()
        maker = maker_of(rows, plan=plan, same_text=same_text, templates=("{}",), tokenise=heard)
        return maker.make(0), [key(text) for text in heard.texts[0]]

    batch, columns = made("positive")
    assert sorted(columns) == sorted(set(keys))  # each text once
    assert batch.ignored is None
    said_of = {(pictures[place], keys[place]) for place in places}
    expected = [[(pictures[place], column) in said_of for column in columns] for place in places]
    assert batch.positives.tolist() == expected

    batch, columns = made("negative")
    assert columns == keys
    assert batch.ignored is None
    assert (batch.positives == np.eye(len(keys), dtype=bool)).all()

    batch, columns = made("ignore")
    assert columns == keys
    assert (batch.positives == np.eye(len(keys), dtype=bool)).all()
    assert batch.ignored is not None
    alike = [[keys[a] == keys[b] or pictures[a] == pictures[b] for b in places] for a in places]
    assert batch.ignored.tolist() == alike


def test_one_label_said_in_different_words_is_one_text() -> None:
    """Synonyms and templates are drawn per row, but what they stand for is the same."""
    rows = [Row(image=bytes([number]), name="x", label="tub, bath") for number in range(6)]
    maker = maker_of(rows, templates=("a {}", "the {}"), plan=RowPlan([range(6)], (), 6, 0))
    for step in range(4):
        batch = maker.make(step)
        assert len(batch.tokens) == 1
        assert batch.positives.all()


def test_a_row_with_captions_and_a_label_says_either() -> None:
    row = Row(image=b"1", name="x", captions=("one", "two"), label="dog")
    maker = maker_of([row, *captioned(1)], templates=("a {}", "the {}"))
    for step in range(200):
        maker.make(step)
    assert isinstance(maker.tokenise, Heard)
    said = Counter(text for texts in maker.tokenise.texts for text in texts if text != "text 0")
    assert set(said) == {"one", "two", "a dog", "the dog"}
    assert 60 < said["one"] + said["two"] < 140
    assert all(count > 20 for count in said.values())


def test_synonyms() -> None:
    assert synonyms("cat, house cat ,, ") == ["cat", "house cat"]
    assert synonyms(",") == [","]
    assert synonyms("dog") == ["dog"]


def test_the_first_name_is_said_most() -> None:
    maker = maker_of([Row(image=b"1", name="x", label="a, b, c"), *captioned(1)], templates=("{}",))
    for step in range(300):
        maker.make(step)
    assert isinstance(maker.tokenise, Heard)
    said = Counter(text for texts in maker.tokenise.texts for text in texts)
    assert 170 < said["a"] < 230  # two thirds of 300
    assert 25 < said["b"] < 75
    assert 25 < said["c"] < 75


# Crops


def test_crops_are_drawn_from_the_whole_range() -> None:
    rows = captioned(100)
    for flip in (True, False):
        maker = maker_of(rows, flip=flip, crop_min=0.5)
        for step in range(4):
            maker.make(step)
        assert isinstance(maker.store, Painted)
        crops = maker.store.crops
        sides = np.asarray([crop.side for crop in crops])
        assert 0.5 <= sides.min() < 0.55
        assert 0.97 < sides.max() <= 1.0
        assert np.mean(sides**2) == pytest.approx((0.25 + 1) / 2, abs=0.05)  # even in area
        for places in ([crop.across for crop in crops], [crop.down for crop in crops]):
            assert 0 <= min(places) < 0.05
            assert 0.95 < max(places) <= 1
        mirrored = sum(crop.mirrored for crop in crops)
        assert (150 < mirrored < 250) if flip else mirrored == 0


def test_whole_pictures_where_nothing_is_cropped() -> None:
    maker = maker_of(captioned(10), crop_min=1.0)
    maker.make(0)
    assert isinstance(maker.store, Painted)
    assert {crop.side for crop in maker.store.crops} == {1.0}


def test_pictures_are_varied_after_they_are_cropped_and_texts_stay_the_same() -> None:
    rows = captioned(100)
    plain, varied = maker_of(rows).make(3), maker_of(rows, colour=0.4, erase=1.0).make(3)
    assert not np.array_equal(plain.pixels, varied.pixels)
    assert np.array_equal(plain.tokens, varied.tokens)
    assert np.array_equal(plain.positives, varied.positives)
    assert np.array_equal(varied.pixels, maker_of(rows, colour=0.4, erase=1.0).make(3).pixels)


# The thread


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_batches_come_in_order_and_the_thread_ends() -> None:
    maker = maker_of(captioned(12), plan=RowPlan([range(12)], (), 4, 0))
    with maker.stream(2, 9) as batches:
        found = list(batches)
        assert threads()
    assert not threads()
    assert len(found) == 7
    for step, batch in enumerate(found, 2):
        assert_same(batch, maker.make(step))


def test_the_thread_ends_when_the_loop_is_left_early() -> None:
    maker = maker_of(captioned(12), plan=RowPlan([range(12)], (), 4, 0))
    with maker.stream(0, 10_000) as batches:
        next(batches)
    assert not threads()


def test_nothing_to_make() -> None:
    with maker_of(captioned(4)).stream(5, 5) as batches:
        assert list(batches) == []
    assert not threads()


def test_an_error_in_the_thread_comes_out() -> None:
    rows = [Row(image=b"%d" % number, name="x", captions=("x",)) for number in range(260)]
    maker = maker_of(rows, plan=RowPlan([range(200, 260)], (), 4, 0))
    with pytest.raises(RuntimeError, match="no such picture"), maker.stream(0, 3) as batches:
        next(batches)
    assert not threads()


# Texts by length


@given(st.lists(st.integers(2, 12), min_size=1, max_size=30))
def test_the_split_by_length_costs_least(lengths: list[int]) -> None:
    given_lengths = np.asarray(lengths, dtype=np.int64)
    order, split = split_by_length(given_lengths)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert 1 <= split <= len(lengths)

    def cost(parts: Sequence[Sequence[int]]) -> int:
        return sum(len(part) * max(part) for part in parts if part)

    ranked = sorted(lengths)
    ours = cost([given_lengths[order[:split]].tolist(), given_lengths[order[split:]].tolist()])
    assert ours == min(cost([ranked[:at], ranked[at:]]) for at in range(1, len(ranked) + 1))

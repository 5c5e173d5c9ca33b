"""Tags by hand and by models: whose they are, and that a person's own are never lost to a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import NotFoundError, UsageError
from clipcli.library.store import Library
from clipcli.library.tags import add_tags, checked_label, count_labels, labels, remove_tags, tags_of
from tests.library.conftest import Index, rows
from tests.library.test_search import fill, unit

PICTURES = 6
LABELS = ["cat", "Cat", "größe", "100%", "it's", "日本"]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "tags.db", write=True, create=True) as opened:
        fill(opened, unit(PICTURES))
        yield opened


def everything(library: Library) -> dict[tuple[int, str], tuple[float | None, int | None]]:
    with library.read() as connection:
        found = connection.execute("SELECT image_id, label, score, model_id FROM tags").fetchall()
    return {(image_id, label): (score, model_id) for image_id, label, score, model_id in found}


def test_by_hand(library: Library) -> None:
    assert add_tags(library, [1, 2, 2], " cat ") == 2
    assert add_tags(library, [2, 3], "cat") == 1
    assert add_tags(library, [3], "dog") == 1
    assert labels(library) == [("cat", 3), ("dog", 1)]
    assert tags_of(library, [3, 4, 1]) == {3: ["cat", "dog"], 4: [], 1: ["cat"]}
    assert remove_tags(library, [1, 3, 99], "cat") == 2
    assert remove_tags(library, [1], "cat") == 0
    assert labels(library) == [("cat", 1), ("dog", 1)]


def test_a_model_never_writes_over_a_persons_tag(library: Library) -> None:
    add_tags(library, [1], "cat")
    assert add_tags(library, [1, 2], "cat", score=0.3, model_id=1) == 1
    assert everything(library) == {(1, "cat"): (None, None), (2, "cat"): (0.3, 1)}
    assert add_tags(library, [2], "cat", score=0.3, model_id=1) == 0  # nothing new
    assert add_tags(library, [2], "cat", score=0.4, model_id=1) == 1
    assert add_tags(library, [2], "cat") == 1  # taken over by a person
    assert add_tags(library, [2], "cat", score=0.9, model_id=1) == 0
    assert everything(library)[2, "cat"] == (None, None)


def test_the_order_of_a_pictures_tags(library: Library) -> None:
    for label, score in (("b", 0.2), ("a", 0.1), ("c", 0.3)):
        add_tags(library, [1], label, score=score, model_id=1)
    add_tags(library, [1], "z", model_id=1)
    add_tags(library, [1], "mine")
    assert tags_of(library, [1]) == {1: ["mine", "c", "b", "a", "z"]}
    (count,) = [one for one in count_labels(library) if one.label == "b"]
    assert (count.pictures, count.by_hand, count.lowest, count.highest) == (1, 0, 0.2, 0.2)


def test_what_is_not_there(library: Library) -> None:
    with pytest.raises(NotFoundError, match="no picture with the id 99"):
        add_tags(library, [1, 99], "cat")
    with pytest.raises(NotFoundError, match="no model with the id 7"):
        add_tags(library, [1], "cat", score=0.5, model_id=7)
    assert everything(library) == {}
    assert add_tags(library, [], "cat") == 0


@pytest.mark.parametrize("label", ["", "  ", "two\nlines", "nul\0", "\ud800", "bell\x07", "x" * 201, "a\u2028b"])
def test_labels_that_are_none(label: str, library: Library) -> None:
    with pytest.raises(UsageError):
        add_tags(library, [1], label)
    with pytest.raises(UsageError):
        checked_label(label)


def test_a_score_is_a_number(library: Library) -> None:
    with pytest.raises(UsageError):
        add_tags(library, [1], "cat", score=float("nan"), model_id=1)


STEPS = st.tuples(
    st.sampled_from(["hand", "model", "remove"]),
    st.sets(st.integers(1, PICTURES), max_size=PICTURES),
    st.sampled_from(LABELS),
    st.sampled_from([0.1, 0.25]),
)


@given(steps=st.lists(STEPS, max_size=25))
def test_as_a_plain_dictionary_would_have_it(steps: list[tuple[str, set[int], str, float]], library: Library) -> None:
    with library.write() as connection:
        connection.execute("DELETE FROM tags")
    expected: dict[tuple[int, str], tuple[float | None, int | None]] = {}
    for what, ids, label, score in steps:
        before = dict(expected)
        for key in ((image_id, label) for image_id in ids):
            if what == "remove":
                expected.pop(key, None)
            elif what == "hand":
                expected[key] = (None, None)
            elif expected.get(key) != (None, None):
                expected[key] = (score, 1)
        changed = sum(before.get(key) != expected.get(key) for key in before.keys() | expected.keys())
        if what == "remove":
            assert remove_tags(library, sorted(ids), label) == changed
        elif what == "hand":
            assert add_tags(library, sorted(ids), label) == changed
        else:
            assert add_tags(library, sorted(ids), label, score=score, model_id=1) == changed
        assert everything(library) == expected
    for image_id, found in tags_of(library, range(1, PICTURES + 1)).items():
        assert set(found) == {label for number, label in expected if number == image_id}
    assert dict(labels(library)) == {
        label: sum(name == label for _, name in expected) for label in {name for _, name in expected}
    }


def test_tags_go_with_the_picture_and_follow_a_move(
    photo_folder: Callable[..., Path], index: Index, library_file: Path
) -> None:
    folder = photo_folder(count=2)
    index(folder)
    with Library.open(library_file, write=True) as library:
        add_tags(library, [1, 2], "kept")
    (folder / "000.jpg").rename(folder / "renamed.jpg")
    (folder / "001.jpg").unlink()
    index(folder)
    assert rows(library_file, "SELECT images.path, label FROM tags JOIN images ON images.id = image_id") == [
        ("renamed.jpg", "kept")
    ]

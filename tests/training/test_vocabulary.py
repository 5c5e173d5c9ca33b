"""A vocabulary of one's own: the markers' order, lower case, and that every text can be spelt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError
from trainer.vocabulary import END_TOKEN, START_TOKEN, learn_vocabulary

TEXTS = [
    "A brown dog runs over the green grass .",
    "Two dogs run in the park .",
    "The brown dogs in the park run over the grass .",
    "A girl and a boy in a red coat",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.json"
    learn_vocabulary(TEXTS * 3).save(str(path))
    return Tokenizer.load(path, 24)


def test_markers_are_last_and_the_end_is_largest(tokenizer: Tokenizer) -> None:
    backend = learn_vocabulary(TEXTS * 3)
    size = backend.get_vocab_size(with_added_tokens=True)
    assert backend.token_to_id(START_TOKEN) == size - 2
    assert backend.token_to_id(END_TOKEN) == size - 1
    assert (tokenizer.vocab_size, tokenizer.start_id, tokenizer.end_id) == (size, size - 2, size - 1)


def test_empty_text_is_two_markers(tokenizer: Tokenizer) -> None:
    row = tokenizer([""])[0].tolist()
    assert row == [tokenizer.start_id, tokenizer.end_id] + [0] * 22


def test_case_and_space_do_not_matter(tokenizer: Tokenizer) -> None:
    said = tokenizer(["two dogs", "TWO  Dogs", " \ttwo\ndogs "])
    assert (said == said[0]).all()
    assert not (tokenizer(["two dog"])[0] == said[0]).all()


def test_frequent_words_become_one_piece(tokenizer: Tokenizer) -> None:
    assert tokenizer.lengths(tokenizer(["brown dogs park"])).tolist() == [5]


def test_long_texts_are_cut_before_the_end_marker(tokenizer: Tokenizer) -> None:
    rows = tokenizer(["a dog", "girl " * 40])
    assert (rows == tokenizer.end_id).sum(axis=1).tolist() == [1, 1]
    assert rows[1, -1] == tokenizer.end_id


_BACKEND = learn_vocabulary(TEXTS)


@given(st.text(max_size=30))
def test_any_text_can_be_spelt(text: str) -> None:
    spelt = _BACKEND.decode(_BACKEND.encode(text, add_special_tokens=False).ids)
    assert spelt.strip() == _BACKEND.normalizer.normalize_str(text).strip()


def test_every_byte_has_a_piece() -> None:
    pieces = set(_BACKEND.get_vocab())
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= pieces
    assert len(pre_tokenizers.ByteLevel.alphabet()) == 256


def test_size_is_bounded_and_ends_where_merges_are_seen_once() -> None:
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghijklm"), size=6)) for _ in range(300)]
    texts = [" ".join(random.choice(words, size=8)) for _ in range(400)]
    assert learn_vocabulary(texts, max_size=400).get_vocab_size() == 400
    assert learn_vocabulary(TEXTS, max_size=2000).get_vocab_size() < 400
    once = learn_vocabulary(["ab ab", "xyz"])
    assert {"Ġab"} <= set(once.get_vocab())
    assert "xy" not in once.get_vocab()  # stood once


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["q w e r t z"]])
def test_too_little_text(texts: list[str]) -> None:
    with pytest.raises(DataError, match="too few to learn a vocabulary from"):
        learn_vocabulary(texts)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    learned = learn_vocabulary(TEXTS)
    learned.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path, 20)
    expected = learned.encode("a girl in the park").ids
    assert loaded(["a girl in the park"])[0, : len(expected)].tolist() == expected

"""The tokenizer: markers where the text tower expects them, whatever the text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.bundle.tokenizer import PAD_ID, Tokenizer
from clipcli.errors import ModelError, NotFoundError
from tests.tiny_bundle import CONTEXT, save_tokenizer


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    save_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(tokenizer_file: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_file, CONTEXT)


@given(texts=st.lists(st.text(max_size=200), max_size=5))
def test_every_row_is_start_words_end_padding(tokenizer: Tokenizer, texts: list[str]) -> None:
    rows = tokenizer(texts)
    assert rows.shape == (len(texts), CONTEXT)
    assert rows.dtype == np.int64
    for row, length in zip(rows, tokenizer.lengths(rows), strict=True):
        assert row[0] == tokenizer.start_id
        assert row[length - 1] == tokenizer.end_id
        assert 2 <= length <= CONTEXT
        assert row.min() >= 0
        assert row.max() < tokenizer.vocab_size


@given(text=st.text(alphabet=st.characters(blacklist_characters="<|>"), min_size=1))
def test_nothing_but_padding_follows_the_end(tokenizer: Tokenizer, text: str) -> None:
    (row,) = tokenizer([text])
    (length,) = tokenizer.lengths(row[None])
    assert (row[length:] == PAD_ID).all()


@given(text=st.text())
def test_a_text_has_the_same_tokens_alone_and_in_company(tokenizer: Tokenizer, text: str) -> None:
    alone = tokenizer([text])[0]
    company = tokenizer(["a photo of a red thing, and many more words than that one", text, ""])[1]
    assert np.array_equal(alone, company)


def test_truncation_keeps_the_end_marker_last(tokenizer: Tokenizer) -> None:
    (row,) = tokenizer(["red " * 500])
    assert row[-1] == tokenizer.end_id
    assert tokenizer.lengths(row[None]).tolist() == [CONTEXT]
    assert (row[:-1] != tokenizer.end_id).all()


def test_a_text_that_just_fits_is_not_cut(tokenizer: Tokenizer) -> None:
    fits = tokenizer([" ".join(["red"] * (CONTEXT - 2))])[0]
    longer = tokenizer([" ".join(["red"] * (CONTEXT - 1))])[0]
    assert np.array_equal(fits, longer)
    assert tokenizer.lengths(tokenizer([" ".join(["red"] * (CONTEXT - 3))])).tolist() == [CONTEXT - 1]


def test_an_empty_text_is_the_two_markers(tokenizer: Tokenizer) -> None:
    (row,) = tokenizer([""])
    assert row[:2].tolist() == [tokenizer.start_id, tokenizer.end_id]
    assert (row[2:] == PAD_ID).all()


def test_no_texts_are_no_rows(tokenizer: Tokenizer) -> None:
    assert tokenizer([]).shape == (0, CONTEXT)


@pytest.mark.parametrize("text", ["🏍️", "猫", "naïve café", "\x00\x1b[31m", "&amp;", "\u202e", "\udcff"])
def test_any_character_has_tokens(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.lengths(tokenizer([text])).item() > 2


def test_case_does_not_matter(tokenizer: Tokenizer) -> None:
    assert np.array_equal(tokenizer(["A Red THING"]), tokenizer(["a red thing"]))


def test_the_files_own_truncation_and_padding_are_not_used(tokenizer_file: Path, tmp_path: Path) -> None:
    """Exports of other libraries carry their own settings; the context length of the model decides."""
    values = json.loads(tokenizer_file.read_text("utf-8"))
    values["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    values["padding"] = {
        "strategy": {"Fixed": 40},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 7,
        "pad_type_id": 0,
        "pad_token": "x",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), "utf-8")
    loaded = Tokenizer.load(tmp_path, CONTEXT)
    plain = Tokenizer.load(tokenizer_file, CONTEXT)
    texts = ["a photo of a red thing.", ""]
    assert np.array_equal(loaded(texts), plain(texts))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path, CONTEXT)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"version": "1.0", "model": {"type": "unheard of"}}'])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(ModelError, match="damaged") as caught:
        Tokenizer.load(tmp_path, CONTEXT)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_markers_is_refused(tokenizer_file: Path, tmp_path: Path) -> None:
    values = json.loads(tokenizer_file.read_text("utf-8"))
    values["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(ModelError, match="a start and an end marker"):
        Tokenizer.load(tmp_path, CONTEXT)


def test_bytes_that_are_no_text_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="damaged"):
        Tokenizer.load(tmp_path, CONTEXT)


def test_a_context_without_room_for_words_is_refused(tokenizer_file: Path) -> None:
    with pytest.raises(ModelError, match="no room"):
        Tokenizer.load(tokenizer_file, 2)

"""The quick form of a vocabulary: the same numbers, made once, thrown away where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipcli.bundle import ready_tokenizers
from clipcli.bundle.spec import TOKENIZER_FILE, read_spec
from clipcli.bundle.tokenizer import Tokenizer
from tests.tiny_bundle import make_tiny_bundle

TEXTS = ["a red motorcycle 4711", "Größe, 日本 & <|endoftext|>", "", "zzz'll do!"]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ready_tokenizers, "_WORTH_IT", 1)
    return make_tiny_bundle(tmp_path / "tiny")


def kept(home: Path) -> list[Path]:
    return sorted((home / "cache" / "clip" / "tokenizers").glob("*"))


def test_the_quick_form_gives_the_same_numbers(bundle: Path, home: Path) -> None:
    spec = read_spec(bundle)
    first = Tokenizer.of(bundle, spec)(TEXTS)
    (file,) = kept(home)
    written, given = json.loads(file.read_text("utf-8")), json.loads((bundle / TOKENIZER_FILE).read_text("utf-8"))
    assert {type(pair) for pair in written["model"]["merges"]} == {str}
    assert written["model"]["vocab"] == given["model"]["vocab"]
    (bundle / TOKENIZER_FILE).write_bytes(b"{}")  # not looked into any more
    assert (Tokenizer.of(bundle, spec)(TEXTS) == first).all()


def test_a_damaged_quick_form_is_made_anew(bundle: Path, home: Path) -> None:
    spec = read_spec(bundle)
    first = Tokenizer.of(bundle, spec)(TEXTS)
    (file,) = kept(home)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert (Tokenizer.of(bundle, spec)(TEXTS) == first).all()
    assert file.read_bytes() == whole


def test_no_more_than_a_few_are_kept(bundle: Path, home: Path) -> None:
    folder = home / "cache" / "clip" / "tokenizers"
    folder.mkdir(parents=True)
    for number in range(12):
        (folder / f"{number}.json").write_text("{}")
    Tokenizer.of(bundle, read_spec(bundle))
    assert len(kept(home)) == ready_tokenizers._KEPT


def test_where_nothing_can_be_kept_the_own_file_is_read(bundle: Path, home: Path) -> None:
    (home / "cache").mkdir()
    (home / "cache" / "clip").write_text("in the way")
    assert Tokenizer.of(bundle, read_spec(bundle))(["red"]).shape[0] == 1


def test_small_files_are_left_alone(tmp_path: Path, home: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    Tokenizer.of(bundle, read_spec(bundle))
    assert kept(home) == []

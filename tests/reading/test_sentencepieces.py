"""SigLIP folders as transformers writes them: `spiece.model`, and no `tokenizer.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import ModelError, UsageError
from tests.reading.lively import load
from tests.reading.public_formats import write
from trainer.reading.found import Choices
from trainer.reading.importing import read_model
from trainer.reading.sentencepieces import _kind, siglip_tokenizer

PIECES = [("<pad>", 3), ("</s>", 3), ("<unk>", 2)] + [
    (piece, 1) for piece in ("▁a", "▁cat", "▁", "c", "a", "t", "s", "b")
]
CAT, END, UNKNOWN = 4, 1, 2


def write_pieces(path: Path, pieces: list[tuple[str, int]] | None = None, kind: int = 1) -> Path:
    message: Any = _kind()()
    for number, (piece, type_) in enumerate(pieces or PIECES):
        message.pieces.add(piece=piece, score=0.0 if type_ != 1 else -1.0 - 0.01 * number, type=type_)
    message.trainer_spec.model_type = kind
    path.write_bytes(message.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write(load("transformers-siglip"), tmp_path / "model")
    (made / "tokenizer.json").unlink()
    (made / "tokenizer_config.json").write_text('{"pad_token": "</s>", "do_lower_case": true}')
    write_pieces(made / "spiece.model")
    return made


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", [END]),
        ("a cat", [3, CAT, END]),
        ("A  CAT!! ", [3, CAT, END]),
        ("ca-ts", [CAT, 9, END]),
        ("a\x1fcat\n", [3, CAT, END]),
        ("!?", [END]),
        ("a ☃☃ cat", [3, 5, UNKNOWN, CAT, END]),
    ],
)
def test_pieces_as_transformers_takes_them(text: str, ids: list[int], tmp_path: Path) -> None:
    """The numbers are those of transformers 5.23's SiglipTokenizer with a vocabulary like this one."""
    (tmp_path / "tokenizer.json").write_bytes(siglip_tokenizer(write_pieces(tmp_path / "spiece.model"), lower=True))
    row = Tokenizer.load(tmp_path, 12, pad_id=END)([text])[0]
    assert row.tolist() == ids + [END] * (12 - len(ids))


def test_letters_keep_their_size_where_the_tokenizer_says_so(folder: Path, tmp_path: Path) -> None:
    assert b"Lowercase" in read_model(folder, Choices()).tokenizer
    (folder / "tokenizer_config.json").write_text('{"pad_token": "</s>", "do_lower_case": false}')
    assert b"Lowercase" not in read_model(folder, Choices()).tokenizer


def test_a_folder_without_tokenizer_json(folder: Path, tmp_path: Path) -> None:
    found = read_model(folder, Choices())
    assert (found.pad_id, found.text_cleaning) == (END, "none")
    elsewhere = (folder / "spiece.model").rename(tmp_path / "spiece.model")
    with pytest.raises(UsageError, match=r"tokenizer.json is missing, and spiece.model with it: .*--tokenizer FILE"):
        read_model(folder, Choices())
    chosen = read_model(folder, Choices(tokenizer=elsewhere))
    assert json.loads(chosen.tokenizer) == json.loads(found.tokenizer)
    assert chosen.pad_id == END


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [(PIECES, 2), ([*PIECES, ("<loc>", 4)], 1), ([piece for piece in PIECES if piece[0] != "</s>"], 1)],
)
def test_other_kinds_are_refused(pieces: list[tuple[str, int]], kind: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tokenizer FILE"):
        siglip_tokenizer(write_pieces(tmp_path / "spiece.model", pieces, kind), lower=True)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"hello"])
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(ModelError, match="or is damaged"):
        siglip_tokenizer(tmp_path / "spiece.model", lower=True)


def test_pieces_that_are_there_twice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there twice"):
        siglip_tokenizer(write_pieces(tmp_path / "spiece.model", [*PIECES, ("c", 1)]), lower=True)

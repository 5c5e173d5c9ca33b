"""Embeddings with what is known of their pictures as a file for other programs: NumPy's .npz, or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

from clipcli.errors import InputError, MissingExtraError, UsageError
from clipcli.library.embedding_npz import read_npz, read_npz_texts, write_npz
from clipcli.library.embedding_parquet import read_parquet, read_parquet_texts, write_parquet
from clipcli.library.embedding_rows import Block, Extras, Origin

__all__ = ["SUFFIXES", "check_suffix", "read_blocks", "read_extras", "read_origin", "write_blocks"]

SUFFIXES = (".npz", ".parquet")
_KIND = "clip embeddings 1"


def check_suffix(path: Path) -> None:
    """Raise UsageError for a name of another kind, MissingExtraError where what reads it is not installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} ends neither in .npz nor in .parquet")
    if path.suffix.lower() == ".parquet":
        from importlib.util import find_spec

        if find_spec("pyarrow") is None:
            raise MissingExtraError("parquet", "a Parquet file")


def write_blocks(
    file: BinaryIO, suffix: str, origin: Origin, extras: Extras, rows: int, blocks: Iterable[Block]
) -> None:
    """Write blocks that have `rows` rows together. Vectors go through memory a block at a time."""
    texts = {"clip": json.dumps({"kind": _KIND, **asdict(origin)}), "clip_extras": json.dumps(asdict(extras))}
    if suffix.lower() == ".parquet":
        write_parquet(file, texts, origin.dimension, blocks)
    else:
        write_npz(file, texts, (rows, origin.dimension), blocks)


def read_origin(path: Path) -> Origin:
    """Raises InputError where the file is none of ours."""
    try:
        fields = json.loads(_read_texts(path)["clip"])
        if fields.pop("kind") != _KIND:
            raise ValueError("of another kind")
        return Origin(**fields)
    except FileNotFoundError:
        raise
    except Exception as error:  # a file of any other kind fails in any way
        raise InputError(f"{path} was not written by 'clip library export' ({_first_line(error)})") from error


def read_extras(path: Path) -> Extras:
    """Of a file that `read_origin` has read; empty where an earlier version wrote it. Raises InputError."""
    try:
        fields = json.loads(_read_texts(path).get("clip_extras") or "{}")
        return Extras(
            models=[Origin(**model) for model in fields.get("models", ())],
            not_duplicates=[(str(one), str(other), str(at)) for one, other, at in fields.get("not_duplicates", ())],
            kept_tags=[(str(digest), str(label), str(at)) for digest, label, at in fields.get("kept_tags", ())],
        )
    except (KeyError, ValueError, TypeError, OSError, BadZipFile) as error:
        raise InputError(f"{path} is damaged ({_first_line(error)})") from error


def _read_texts(path: Path) -> dict[str, str]:
    read = read_parquet_texts if path.suffix.lower() == ".parquet" else read_npz_texts
    return read(path, ("clip", "clip_extras"))


def read_blocks(path: Path, dimension: int) -> Iterator[Block]:
    """Raises InputError where a column is missing or does not fit."""
    read = read_parquet if path.suffix.lower() == ".parquet" else read_npz
    try:
        yield from read(path, dimension)
    except (KeyError, ValueError, TypeError, IndexError, OSError, BadZipFile) as error:
        raise InputError(f"{path} is damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

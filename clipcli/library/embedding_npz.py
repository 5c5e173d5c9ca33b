"""Embeddings as NumPy's .npz.

Optional text is empty where there is none, an optional number is NaN, or 0 where it is whole. Tags are arrays of their
own, in the order of the rows: `tag_row` says of which picture, `tag_label` which of `tag_labels`.
Shapes: N rows, B rows of a block, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as array_format
from numpy.typing import NDArray

from clipcli.library.embedding_rows import ADDED_LATER, COLUMNS, ROWS_AT_ONCE, Block, TagGiven

__all__ = ["read_npz", "read_npz_texts", "write_npz"]

_TAG_COLUMNS: Mapping[str, type] = {"row": int, "label": int, "score": float, "model": int, "at": str}


def write_npz(file: BinaryIO, texts: Mapping[str, str], shape: tuple[int, int], blocks: Iterable[Block]) -> None:
    """What `numpy.savez` writes, but without all vectors in memory."""
    types: dict[type, Any] = {str: np.str_, int: np.int64, float: np.float64}
    columns: dict[str, list[NDArray[Any]]] = {name: [np.array([], dtype=types[COLUMNS[name][0]])] for name in COLUMNS}
    tags: dict[str, list[Any]] = {name: [] for name in _TAG_COLUMNS}
    labels: dict[str, int] = {}  # each once, since in NumPy the longest text says how much room all of them take
    done = 0
    with ZipFile(file, "w") as archive:
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            array_format.write_array_header_1_0(member, header)
            for block in blocks:
                member.write(np.ascontiguousarray(block.vectors, dtype="<f4").data)
                for name, (kind, _) in COLUMNS.items():
                    missing: Any = {str: "", float: np.nan, int: 0}[kind]
                    values = [missing if value is None else value for value in block.columns[name]]
                    columns[name].append(np.array(values, dtype=types[kind]))
                for row, given in enumerate(block.tags, start=done):
                    for tag in given:
                        tags["row"].append(row)
                        tags["label"].append(labels.setdefault(tag.label, len(labels)))
                        tags["score"].append(np.nan if tag.score is None else tag.score)
                        tags["model"].append(-1 if tag.model is None else tag.model)
                        tags["at"].append(tag.at)
                done += len(block.vectors)
        arrays = {name: np.array(text) for name, text in texts.items()}
        arrays |= {name: np.concatenate(parts) for name, parts in columns.items()}
        arrays |= {f"tag_{name}": np.array(tags[name], dtype=types[kind]) for name, kind in _TAG_COLUMNS.items()}
        arrays["tag_labels"] = np.array(list(labels), dtype=np.str_)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                array_format.write_array(member, array, allow_pickle=False)


def read_npz(path: Path, dimension: int) -> Iterator[Block]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in COLUMNS if name not in ADDED_LATER or name in arrays}
        tags = {name: arrays[f"tag_{name}"] for name in (*_TAG_COLUMNS, "labels")} if "tag_row" in arrays else None
    with ZipFile(path) as archive, archive.open("vectors.npy") as member:
        read_header = {
            (1, 0): array_format.read_array_header_1_0,
            (2, 0): array_format.read_array_header_2_0,
        }[array_format.read_magic(member)]
        shape, by_columns, dtype = read_header(member)
        if by_columns or dtype != np.dtype("<f4") or len(shape) != 2 or shape[1] != dimension:
            raise ValueError(f"vectors of shape {shape} and type {dtype} instead of (N, {dimension}) and float32")
        if any(len(column) != shape[0] for column in columns.values()):
            raise ValueError("columns of different lengths")
        if tags is not None and (np.diff(tags["row"]) < 0).any():
            raise ValueError("tags in disorder")
        for start in range(0, shape[0], ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, shape[0]))
            count = part.stop - part.start
            found = {}
            for name, (kind, optional) in COLUMNS.items():
                if name not in columns:
                    found[name] = [ADDED_LATER[name]] * count
                    continue
                values = columns[name][part].tolist()
                if optional:
                    missing = {int: 0, str: ""}.get(kind)
                    values = [None if value == missing or value != value else value for value in values]
                found[name] = [value if value is None else kind(value) for value in values]
            vectors = np.frombuffer(member.read(4 * count * dimension), dtype="<f4")
            given = _tags_of_rows(tags, part.start, part.stop)
            yield Block(columns=found, vectors=vectors.reshape(count, dimension), tags=given)


def _tags_of_rows(arrays: Mapping[str, NDArray[Any]] | None, start: int, stop: int) -> list[list[TagGiven]]:
    """Those of the rows from `start` on; the arrays are in the order of the rows."""
    given: list[list[TagGiven]] = [[] for _ in range(start, stop)]
    if arrays is not None:
        first, last = np.searchsorted(arrays["row"], [start, stop])
        row, label, score, model, at = (arrays[name][first:last].tolist() for name in _TAG_COLUMNS)
        for each in zip(row, label, score, model, at, strict=True):
            given[each[0] - start].append(
                TagGiven(
                    label=str(arrays["labels"][each[1]]),
                    score=None if each[2] != each[2] else each[2],
                    model=None if each[3] < 0 else each[3],
                    at=each[4],
                )
            )
    return given


def read_npz_texts(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Those that are there."""
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: str(arrays[name]) for name in names if name in arrays}

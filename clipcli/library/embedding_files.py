"""Embeddings with what is known of their pictures as a file for other programs: NumPy's .npz, or Parquet.

A row is a picture. Optional text is empty in .npz where there is none, and optional numbers are NaN; Parquet has nulls.
Shapes: N rows, B rows of a block, D embedding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as array_format
from numpy.typing import NDArray

from clipcli.errors import InputError, MissingExtraError, UsageError

__all__ = ["COLUMNS", "SUFFIXES", "Block", "Origin", "check_suffix", "read_blocks", "read_origin", "write_blocks"]

SUFFIXES = (".npz", ".parquet")
_KIND = "clip embeddings 1"
_ROWS_AT_ONCE = 4096

# Name -> type and whether it may be missing. `root_b64` and `path_b64` have the bytes where they are not UTF-8.
COLUMNS: Mapping[str, tuple[type, bool]] = {
    "root": (str, False),
    "root_b64": (str, True),
    "path": (str, False),  # relative to the root
    "path_b64": (str, True),
    "size": (int, False),
    "mtime_ns": (int, False),
    "digest": (str, False),
    "width": (int, False),
    "height": (int, False),
    "format": (str, False),
    "orientation": (int, False),
    "taken_at": (str, True),
    "taken_from": (str, True),
    "camera": (str, True),
    "lens": (str, True),
    "latitude": (float, True),
    "longitude": (float, True),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The model that made the vectors."""

    identity: str
    precision: str
    model: str
    folder: str
    dimension: int

    def __post_init__(self) -> None:
        if not (self.identity and self.precision and self.model and self.dimension > 0):
            raise ValueError("a model has an identity, a precision, a name and a dimension")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Rows as lists, one per column of `COLUMNS`, and their vectors."""

    columns: Mapping[str, Sequence[Any]]
    vectors: NDArray[np.float32]  # (B, D)


def check_suffix(path: Path) -> None:
    """Raise UsageError for a name of another kind, MissingExtraError where what reads it is not installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} ends neither in .npz nor in .parquet")
    if path.suffix.lower() == ".parquet":
        from importlib.util import find_spec

        if find_spec("pyarrow") is None:
            raise MissingExtraError("parquet", "a Parquet file")


def write_blocks(file: BinaryIO, suffix: str, origin: Origin, rows: int, blocks: Iterable[Block]) -> None:
    """Write blocks that have `rows` rows together. Vectors go through memory a block at a time."""
    meta = json.dumps({"kind": _KIND, **asdict(origin)})
    if suffix.lower() == ".parquet":
        _write_parquet(file, meta, origin.dimension, blocks)
    else:
        _write_npz(file, meta, (rows, origin.dimension), blocks)


def read_origin(path: Path) -> Origin:
    """Raises InputError where the file is none of ours."""
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as parquet

            text = (parquet.read_schema(path).metadata or {}).get(b"clip", b"").decode()
        else:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                text = str(arrays["clip"])
        fields = json.loads(text)
        if fields.pop("kind") != _KIND:
            raise ValueError("of another kind")
        return Origin(**fields)
    except FileNotFoundError:
        raise
    except Exception as error:  # a file of any other kind fails in any way
        raise InputError(f"{path} was not written by 'clip library export' ({_first_line(error)})") from error


def read_blocks(path: Path, dimension: int) -> Iterator[Block]:
    """Raises InputError where a column is missing or does not fit."""
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_npz
    try:
        yield from read(path, dimension)
    except (KeyError, ValueError, OSError, BadZipFile) as error:
        raise InputError(f"{path} is damaged ({_first_line(error)})") from error


def _write_npz(file: BinaryIO, meta: str, shape: tuple[int, int], blocks: Iterable[Block]) -> None:
    """What `numpy.savez` writes, but without all vectors in memory."""
    types: dict[type, Any] = {str: np.str_, int: np.int64, float: np.float64}
    columns: dict[str, list[NDArray[Any]]] = {name: [np.array([], dtype=types[COLUMNS[name][0]])] for name in COLUMNS}
    with ZipFile(file, "w") as archive:
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            array_format.write_array_header_1_0(member, header)
            for block in blocks:
                member.write(np.ascontiguousarray(block.vectors, dtype="<f4").data)
                for name, (kind, _) in COLUMNS.items():
                    missing: Any = {str: "", float: np.nan}.get(kind)
                    values = [missing if value is None else value for value in block.columns[name]]
                    columns[name].append(np.array(values, dtype=types[kind]))
        for name, parts in (("clip", [np.array([meta])]), *columns.items()):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                whole = np.concatenate(parts)
                array_format.write_array(member, whole.reshape(()) if name == "clip" else whole, allow_pickle=False)


def _read_npz(path: Path, dimension: int) -> Iterator[Block]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in COLUMNS}
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
        for start in range(0, shape[0], _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, shape[0]))
            count = part.stop - part.start
            found = {}
            for name, (kind, optional) in COLUMNS.items():
                values = columns[name][part].tolist()
                if optional:
                    values = [None if value == "" or value != value else value for value in values]
                found[name] = [value if value is None else kind(value) for value in values]
            vectors = np.frombuffer(member.read(4 * count * dimension), dtype="<f4")
            yield Block(columns=found, vectors=vectors.reshape(count, dimension))


def _write_parquet(file: BinaryIO, meta: str, dimension: int, blocks: Iterable[Block]) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    fields = [arrow.field(name, types[kind], nullable=optional) for name, (kind, optional) in COLUMNS.items()]
    vector = arrow.list_(arrow.float32(), dimension)
    schema = arrow.schema([*fields, arrow.field("vector", vector, nullable=False)], metadata={"clip": meta})
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for block in blocks:
            flat = arrow.array(np.ascontiguousarray(block.vectors, dtype=np.float32).reshape(-1))
            columns = [arrow.array(block.columns[field.name], type=field.type) for field in fields]
            columns.append(arrow.FixedSizeListArray.from_arrays(flat, type=vector))
            writer.write_batch(arrow.record_batch(columns, schema=schema))


def _read_parquet(path: Path, dimension: int) -> Iterator[Block]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
            if flat.size != batch.num_rows * dimension:
                raise ValueError(f"vectors that have not {dimension} numbers each")
            columns = {name: batch.column(name).to_pylist() for name in COLUMNS}
            yield Block(columns=columns, vectors=flat.reshape(-1, dimension).astype(np.float32))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

"""Embeddings as Parquet. A row's tags are a list of records; optional values are null where there is none.

Shapes: B rows of a block, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from clipcli.library.embedding_rows import ADDED_LATER, COLUMNS, ROWS_AT_ONCE, Block, TagGiven

__all__ = ["read_parquet", "read_parquet_texts", "write_parquet"]


def write_parquet(file: BinaryIO, texts: Mapping[str, str], dimension: int, blocks: Iterable[Block]) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    fields = [arrow.field(name, types[kind], nullable=optional) for name, (kind, optional) in COLUMNS.items()]
    vector = arrow.list_(arrow.float32(), dimension)
    tag = arrow.struct(
        {"label": arrow.string(), "score": arrow.float64(), "model": arrow.int64(), "at": arrow.string()}
    )
    own = [arrow.field("vector", vector, nullable=False), arrow.field("tags", arrow.list_(tag))]
    metadata: dict[str | bytes, str | bytes] = {name.encode(): text.encode() for name, text in texts.items()}
    schema = arrow.schema([*fields, *own], metadata=metadata)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for block in blocks:
            flat = arrow.array(np.ascontiguousarray(block.vectors, dtype=np.float32).reshape(-1))
            columns = [arrow.array(block.columns[field.name], type=field.type) for field in fields]
            columns.append(arrow.FixedSizeListArray.from_arrays(flat, type=vector))
            columns.append(arrow.array([[asdict(one) for one in given] for given in block.tags], type=arrow.list_(tag)))
            writer.write_batch(arrow.record_batch(columns, schema=schema))


def read_parquet(path: Path, dimension: int) -> Iterator[Block]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
            if flat.size != batch.num_rows * dimension:
                raise ValueError(f"vectors that have not {dimension} numbers each")
            there = set(batch.schema.names)
            columns = {
                name: batch.column(name).to_pylist()
                if name in there or name not in ADDED_LATER
                else [ADDED_LATER[name]] * batch.num_rows
                for name in COLUMNS
            }
            tags = batch.column("tags").to_pylist() if "tags" in there else [[]] * batch.num_rows
            yield Block(
                columns=columns,
                vectors=flat.reshape(-1, dimension).astype(np.float32),
                tags=[[TagGiven(**one) for one in given or ()] for given in tags],
            )


def read_parquet_texts(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Those that are there."""
    import pyarrow.parquet as parquet

    found = parquet.read_schema(path).metadata or {}
    return {name: found[name.encode()].decode() for name in names if name.encode() in found}

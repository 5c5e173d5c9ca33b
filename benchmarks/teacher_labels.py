"""Writes training files anew with a column of soft labels, for `clip train --soft-labels teacher`.

    python -m benchmarks.teacher_labels FOLDER TRAIN.parquet... --classes teacher-classes.txt

Beside TRAIN.parquet, TRAIN.teacher.parquet has for each of its rows the likeliest classes and their probabilities
(columns `class` and `probability`, row for row): what they leave of 1 goes evenly to all other classes. Rows without
one, whose label is a class of the teacher's (its line of the file of classes), have that class for certain. All others
have none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

COLUMN = "teacher"


def completed(classes: Sequence[int], probabilities: Sequence[float], count: int) -> NDArray[np.float32]:
    """(`count`,) that add up to 1, of the likeliest classes."""
    told = np.asarray(probabilities, dtype=np.float64)
    rest = max(0.0, 1 - told.sum())
    values = np.full(count, rest / (count - len(told)))
    values[list(classes)] = told
    return np.asarray(values / values.sum(), dtype=np.float32)


def soft_labels(path: Path, classes: Sequence[str]) -> list[NDArray[np.float32] | None]:
    """One for each row of `path`, or None."""
    beside = path.with_suffix(".teacher.parquet")
    if beside.exists():
        table = pyarrow.parquet.read_table(beside, columns=["class", "probability"])
        told = zip(table["class"].to_pylist(), table["probability"].to_pylist(), strict=True)
        return [completed(numbers, shares, len(classes)) for numbers, shares in told]
    certain = {name: np.eye(1, len(classes), number, np.float32)[0] for number, name in enumerate(classes)}
    return [certain.get(label) for label in pyarrow.parquet.read_table(path, columns=["label"])["label"].to_pylist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", type=Path, nargs="+", metavar="PARQUET")
    parser.add_argument("--classes", type=Path, required=True, metavar="FILE", help="a class on each line")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    classes = chosen.classes.read_text("utf-8").splitlines()
    for path in chosen.files:
        values = soft_labels(path, classes)
        table = pyarrow.parquet.read_table(path)
        table = table.append_column(COLUMN, pa.array(values, type=pa.list_(pa.float32())))
        target = chosen.folder / path.name
        pyarrow.parquet.write_table(table, target, compression="zstd", row_group_size=1024)
        print(f"{target}: soft labels for {sum(value is not None for value in values):,} of {len(table):,} rows")


if __name__ == "__main__":
    main()

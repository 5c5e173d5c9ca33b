"""Soft labels beside training files, as `clip train --soft-labels teacher` reads them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from benchmarks import teacher_labels
from clipcli.datasets.sources import read_source
from trainer.soft_labels import read_soft_labels

CLASSES = ["background", "tench, Tinca tinca", "goldfish", "lynx"]


def write(path: Path, labels: list[str | None]) -> Path:
    held = io.BytesIO()
    Image.new("RGB", (4, 4)).save(held, "PNG")
    rows = [
        {"name": str(at), "image": held.getvalue(), "captions": ["x"], "label": one} for at, one in enumerate(labels)
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_teachers_classes_and_labels_that_are_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = write(tmp_path / "a-train.parquet", [None, "lynx"])
    told = {"name": ["0", "1"], "class": [[2, 1], [3, 0]], "probability": [[0.5, 0.3], [0.75, 0.5]]}
    pyarrow.parquet.write_table(pa.table(told), tmp_path / "a-train.teacher.parquet")
    named = write(tmp_path / "b-train.parquet", ["tench, Tinca tinca", "lynx", "a cup", None])
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    line = ["x", str(tmp_path / "out"), str(taught), str(named), "--classes", str(tmp_path / "classes.txt")]
    monkeypatch.setattr(sys, "argv", line)
    teacher_labels.main()
    rows = [
        row
        for path in (taught, named)
        for row in read_source(tmp_path / "out" / path.name, further=(teacher_labels.COLUMN,)).rows
    ]
    found = read_soft_labels(rows, range(len(rows)), 0, teacher_labels.COLUMN)
    assert found.probabilities
    np.testing.assert_allclose(
        found.values,
        [
            [0.1, 0.3, 0.5, 0.1],  # what is left goes to the others
            [0.4, 0, 0, 0.6],  # rounded shares that are more than 1 in all
            [0, 1, 0, 0],
            [0, 0, 0, 1],
            [np.nan] * 4,
            [np.nan] * 4,
        ],
        atol=1e-7,
    )
    assert isinstance(rows[0].further[0], np.ndarray)  # not 1,000 of Python's numbers a row
    assert {row.captions for row in rows} == {("x",)}

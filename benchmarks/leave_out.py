"""Writes training files without some of their classes, so that a model can be measured on classes it never heard of.

    python -m benchmarks.leave_out FOLDER TRAIN.parquet... [--share 0.1] [--seed 0]

Chosen by lot among classes that no other text names: neither a caption nor the label of another class. Rows of a chosen
class are left out of every file; files that lose none are linked. FOLDER/left-out.txt lists the classes. Train with
FOLDER's files in place of the others, then `benchmarks.unseen_classes --train FOLDER/*.parquet` measures.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet

from benchmarks.unseen_classes import is_unseen, said_in


def choose(labels: Sequence[str], captions: Sequence[str], *, share: float, seed: int) -> list[str]:
    """So many of the labels, none of which is named by a caption or by a label that stays."""
    spoken = said_in(captions)
    lonely = [
        label
        for label in labels
        if is_unseen(label, spoken) and is_unseen(label, said_in(other for other in labels if other != label))
    ]
    count = min(len(lonely), round(share * len(labels)))
    return sorted(random.Random(seed).sample(lonely, count))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", type=Path, nargs="+", metavar="PARQUET")
    parser.add_argument("--share", type=float, default=0.1, help="of the classes")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    labels: set[str] = set()
    captions: list[str] = []
    for path in chosen.files:
        table = pyarrow.parquet.read_table(path, columns=["label", "captions"])
        labels |= {label for label in table["label"].to_pylist() if label}
        captions += [text for row in table["captions"].to_pylist() for text in row or ()]
    out = choose(sorted(labels), captions, share=chosen.share, seed=chosen.seed)
    (chosen.folder / "left-out.txt").write_text("".join(f"{label}\n" for label in out), "utf-8")
    for path in chosen.files:
        table = pyarrow.parquet.read_table(path)
        gone = pyarrow.compute.fill_null(pyarrow.compute.is_in(table["label"], value_set=pyarrow.array(out)), False)
        kept = table.filter(pyarrow.compute.invert(gone))
        target = chosen.folder / path.name
        target.unlink(missing_ok=True)
        if len(kept) == len(table):
            os.symlink(path.resolve(), target)
        else:
            pyarrow.parquet.write_table(kept, target, compression="zstd", row_group_size=1024)
        print(f"{target}: {len(kept):,} of {len(table):,} rows")
    print(f"{len(out)} of {len(labels)} classes left out: {chosen.folder / 'left-out.txt'}")


if __name__ == "__main__":
    main()

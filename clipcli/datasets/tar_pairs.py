"""Pairs from WebDataset shards: tar files in which a picture and its texts share a name up to the first dot.

`shard-{0000..0009}.tar` stands for ten files. Nothing is unpacked to the disk, and of a tar file that is not compressed
only the texts are read: where each picture lies is noted, and it is read when it is needed.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from clipcli.datasets.jsonl_pairs import texts_of
from clipcli.datasets.rows import Row, Source, Stored, as_text, is_picture_name
from clipcli.errors import DataError, NotFoundError

__all__ = ["is_shards", "read_shards"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 100_000  # more is a slip of the finger


@dataclass(slots=True)
class _Sample:
    image: bytes | Stored = b""
    captions: list[str] = field(default_factory=list)
    label: str | None = None
    values: dict[str, Any] = field(default_factory=dict)  # of its JSON object


def is_shards(path: Path) -> bool:
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def read_shards(path: Path, text_column: str | None, further: Sequence[str] = ()) -> Source:
    """The rows of a shard, or of all shards of a range in braces. Pictures of a compressed one are kept in memory.

    Raises:
        NotFoundError: a shard of the range does not exist.
        DataError: one is damaged or no tar file.
    """
    source = Source(path)
    for shard in _shards(path):
        if not shard.is_file():
            raise NotFoundError(f"no such file or folder: {shard}")
        try:
            samples = _samples(shard, text_column)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{shard} cannot be read as a tar file: {error}") from error
        for key, sample in samples.items():
            where = f"{shard.name}: {key}"
            if not sample.image:
                source.refused.append((where, "missing file"))
            elif not sample.captions and not sample.label:
                source.refused.append((where, "empty caption"))
            else:
                captions, given = tuple(sample.captions), tuple(map(sample.values.get, further))
                row = Row(image=sample.image, name=where, captions=captions, label=sample.label, further=given)
                source.rows.append(row)
    return source


def _shards(path: Path) -> Iterator[Path]:
    text = str(path)
    found = _RANGE.search(text)
    if found is None or path.exists():
        yield path
        return
    first, last = found.groups()
    if not 0 <= int(last) - int(first) < MOST_SHARDS:
        raise DataError(f"{path.name}: a range goes from its least to its greatest number, over 100,000 at most")
    for number in range(int(first), int(last) + 1):
        yield from _shards(Path(f"{text[: found.start()]}{number:0{len(first)}}{text[found.end() :]}"))


@contextmanager
def _opened(shard: Path) -> Iterator[tuple[tarfile.TarFile, bool]]:
    """The file, and whether what is in it lies there as it is. Raises what `tarfile` does."""
    with shard.open("rb") as start:
        plain = start.read(6)[:2] not in (b"\x1f\x8b", b"BZ") and not shard.name.lower().endswith(
            (".gz", ".tgz", ".xz")
        )
    with tarfile.open(shard, "r:" if plain else "r:*") as tar:
        yield tar, plain


def _samples(shard: Path, text_column: str | None) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    with _opened(shard) as (tar, plain):
        for member in tar:
            folder, _, base = member.name.rpartition("/")
            stem, dot, ending = base.partition(".")
            if not member.isfile() or not dot or not stem:
                continue
            file = tar.extractfile(member)
            assert file is not None  # it is a file
            sample = samples.setdefault(f"{folder}/{stem}" if folder else stem, _Sample())
            if is_picture_name(base):
                in_place = plain and not member.issparse() and member.size
                found = Stored(shard, member.offset_data, member.size) if in_place else file.read()
                sample.image = sample.image or found
            else:
                _add_text(sample, ending.lower(), file, text_column)
    return samples


def _add_text(sample: _Sample, ending: str, file: IO[bytes], text_column: str | None) -> None:
    if ending == "json":
        try:
            values = json.loads(file.read())
        except (ValueError, RecursionError):
            return
        if isinstance(values, dict):
            captions, label, _ = texts_of(values, text_column)
            sample.values.update(values)
            # The usual writers store a caption twice, as text and in the object.
            sample.captions.extend(text for text in captions if text not in sample.captions)
            sample.label = sample.label or label
    elif ending in ("txt", "text", "caption"):
        text = as_text(file.read().decode("utf-8", "replace"))
        if text and text not in sample.captions:
            sample.captions.append(text)
    elif ending in ("cls", "label"):
        sample.label = as_text(file.read().decode("utf-8", "replace")) or None

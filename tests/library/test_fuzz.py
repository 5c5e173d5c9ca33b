"""A few hundred of the damaged pictures that `python -m benchmarks.fuzz_decoding` makes twenty thousand of."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import fuzz_decoding
from benchmarks.fuzz_decoding import damaged, fuzz
from benchmarks.fuzz_samples import made_samples
from clipcli.bundle.encoder import Model
from clipcli.photos.decode import decode


def test_every_sample_is_a_picture_before_it_is_damaged(tmp_path: Path) -> None:
    formats = set()
    for name, data in made_samples().items():
        path = tmp_path / name
        path.write_bytes(data)
        with open(path, "rb") as file:
            formats.add(decode(file, name=bytes(path))[1].format)
    assert formats >= {"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF", "JPEG2000", "PPM", "ICO", "TGA"}
    assert formats >= {"QOI", "RAW"}


def test_damage_depends_on_the_seed_alone() -> None:
    samples = made_samples()
    assert damaged(samples, 7, 1) == damaged(samples, 7, 1) != damaged(samples, 7, 2)
    assert len({damaged(samples, number, 0)[1] for number in range(200)}) > 190


def test_damaged_pictures_bring_down_nothing(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_decoding, "_AT_ONCE", 200)  # both kinds of runs
    found = fuzz(model, tmp_path, count=400, seed=3, seconds=30)
    assert found.pictures == 400
    assert found.cut_off == []
    assert found.outcomes["a picture, embedded"] > 50
    assert found.outcomes["damaged"] > 50

"""The consistency example's logic on random weights and made pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import consistency
from tests.reading.lively import load
from tests.reading.public_formats import write


def test_the_example_runs_from_a_file_to_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLIP_MODELS", "")
    file = write(load("openai-vit-quick"), tmp_path / "source")
    work = tmp_path / "work"
    work.mkdir()
    file.rename(work / "ViT-B-32.pt")
    (tmp_path / "source" / "merges.txt").rename(work / "merges.txt")
    random = np.random.default_rng(1)
    for name in list(consistency.IMAGENETTE)[:2]:
        (tmp_path / "val" / name).mkdir(parents=True)
        for number in range(2):
            noise = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "val" / name / f"{number}.png")
    picture = tmp_path / "val" / "n01440764" / "0.png"
    own = [str(work), "--only", "ViT-B-32", "--picture", str(picture), "--imagenette", str(tmp_path / "val")]
    with pytest.raises(SystemExit, match="is not the file of the release"):
        consistency.main(own)
    digest = hashlib.sha256((work / "ViT-B-32.pt").read_bytes()).hexdigest()
    monkeypatch.setitem(consistency.RELEASE, "ViT-B-32", digest)
    consistency.main(own)
    name, *shares = capsys.readouterr().out.split()
    assert name == "ViT-B-32"
    assert sum(map(float, shares[:3])) == pytest.approx(1, abs=2e-4)
    assert float(shares[4]) < 1e-4  # the towers' own probabilities
    assert 0 <= float(shares[7]) <= 100

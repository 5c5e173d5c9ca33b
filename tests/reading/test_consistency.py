"""The consistency example's logic on random weights and made pictures."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import consistency
from tests.reading.lively import load
from tests.reading.public_formats import write


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What there is to fetch, by address: a random model in the release's form, made pictures."""
    monkeypatch.setenv("CLIP_MODELS", "")
    file = write(load("openai-vit-quick"), tmp_path / "source")
    random = np.random.default_rng(1)
    for name in list(consistency.IMAGENETTE)[:2]:
        (tmp_path / "imagenette2-320" / "val" / name).mkdir(parents=True)
        for number in range(2):
            noise = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "imagenette2-320" / "val" / name / f"{number}.png")
    with tarfile.open(tmp_path / "pictures.tgz", "w:gz") as tar:
        tar.add(tmp_path / "imagenette2-320", "imagenette2-320")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(consistency.RELEASE, "ViT-B-32", digest)
    there = {
        f"{consistency.HOST}/{digest}/ViT-B-32.pt": file,
        consistency.VOCABULARY: file.with_name("merges.txt"),
        consistency.PICTURE: tmp_path / "imagenette2-320" / "val" / "n01440764" / "0.png",
        consistency.IMAGENETTE_TAR: tmp_path / "pictures.tgz",
    }
    monkeypatch.setattr("urllib.request.urlretrieve", lambda address, path: shutil.copy(there[address], path))
    return there


def test_one_command_from_nothing_to_the_figures(
    tmp_path: Path, published: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [str(tmp_path / "work"), "--only", "ViT-B-32"]
    with pytest.raises(SystemExit, match=r"ViT-B-32: more than 0.005 from what was published"):
        consistency.main(own)  # random weights are far from it
    name, *shares = capsys.readouterr().out.split()
    assert name == "ViT-B-32"
    assert sum(map(float, shares[:3])) == pytest.approx(1, abs=2e-4)
    assert float(shares[4]) < 1e-4  # the towers' own probabilities
    assert 0 <= float(shares[7]) <= 100
    assert shares[9:] == ["(published:", "0.9928,", "98.7", "%)"]
    monkeypatch.setitem(consistency.PUBLISHED, "ViT-B-32", (float(shares[0]), float(shares[7]) / 100))
    for file in published.values():
        file.unlink()  # nothing is fetched twice
    consistency.main(own)


def test_another_file_than_the_release_is_refused(tmp_path: Path, published: dict[str, Path]) -> None:
    next(iter(published.values())).write_bytes(b"something else")
    with pytest.raises(SystemExit, match="is not the file of the release"):
        consistency.main([str(tmp_path / "work"), "--only", "ViT-B-32"])

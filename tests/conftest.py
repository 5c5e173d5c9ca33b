"""What every test gets: a home of its own, quiet surroundings, and pictures made on the spot.

Nothing a test does may touch the data, cache or configuration of the person who runs it, so every test (and every
command it starts) sees an empty home below its own temporary folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Two workers on two cores: native thread pools that each take the whole machine only get in one another's way.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell that runs `make test &` makes its children deaf to Ctrl-C; tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# `derandomize`: the same examples on every machine, so that a red run is red again. `thorough` is for a hunt by hand:
# pytest --hypothesis-profile thorough
settings.register_profile(
    "default",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile("default")

_FORGOTTEN = ("CLIP_DB", "CLIP_MODELS", "CLIP_OFFLINE", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, for this test and the commands it starts."""
    folder = tmp_path_factory.mktemp("home")
    for name in _FORGOTTEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.setenv("LOCALAPPDATA", str(folder / "AppData" / "Local"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TERM", "dumb")
    _forget_what_a_process_gathers()
    return folder


def _forget_what_a_process_gathers() -> None:
    """Letters that no font has are named once a picture is written: those of a test before this one are not its own."""
    fonts = sys.modules.get("clipcli.render.fonts")
    if fonts is not None:
        fonts.missing_letters()


@pytest.fixture
def photo_folder(tmp_path: Path) -> Callable[..., Path]:
    """`photo_folder("name", count=3, seed=0)`: a folder below the test's own with that many small different JPEGs."""

    def make(name: str = "photos", *, count: int = 3, seed: int = 0, size: tuple[int, int] = (48, 36)) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(seed)
        for number in range(count):
            # Large flat patches survive JPEG, so that two pictures stay as different as they were drawn.
            patches = generator.integers(0, 256, size=(3, 4, 3), dtype=np.uint8)
            image = Image.fromarray(patches).resize(size, Image.Resampling.NEAREST)
            image.save(folder / f"{number:03d}.jpg", quality=90)
        return folder

    return make


@pytest.fixture
def run_clip(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_clip("search", "red")`: the installed command in a process of its own, in the test's folder."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("cwd", tmp_path)
        command = [sys.executable, "-m", "clipcli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)

    return run


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path

"""The limit in megapixels follows the machine's memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

import pytest

from clipcli.photos import memory
from clipcli.photos.memory import fitting_megapixels

GIB = 1 << 30


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    fitting_megapixels.cache_clear()
    yield
    fitting_megapixels.cache_clear()


@pytest.mark.parametrize(
    ("memory_bytes", "container", "megapixels"),
    [
        (8 * GIB, None, 134),  # 134 megapixels of 16 bytes are a quarter of it
        (8 * GIB, "max", 134),
        (64 * GIB, str(4 * GIB), 67),
        (4 * GIB, str(64 * GIB), 67),
        (1 * GIB, None, 50),  # what any camera makes is always taken
        (256 * GIB, None, 1000),
    ],
)
def test_a_quarter_of_the_memory(
    memory_bytes: int, container: str | None, megapixels: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str) -> Any:
        if container is None:
            raise FileNotFoundError(name)
        return io.StringIO(container + "\n")

    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else memory_bytes // 4096)
    monkeypatch.setattr(memory, "open", opened, raising=False)
    assert fitting_megapixels() == megapixels


def test_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", ())
    assert fitting_megapixels() == 134

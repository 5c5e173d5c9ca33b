"""A hub to ask, and a network that ends at this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from huggingface_hub import close_session
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.hub import client
from tests.foreign_layouts import make_transformers_js
from tests.hub.loopback import Hub, serving

Clip = Callable[..., Any]


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for another machine fails the test."""
    connect = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> None:
        assert not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1"), f"a request to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the tests run with the hub forbidden; what reads that has read it already."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nowhere/token")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; nobody really waits."""
    asked: list[float] = []
    monkeypatch.setattr(client, "sleep", asked.append)
    return asked


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Hub]:
    """`owner/model` has graphs in the layout of transformers.js."""
    with serving(make_transformers_js(tmp_path / "repository" / "model")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
        close_session()


@pytest.fixture
def clip() -> Clip:
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def pull(clip: Clip) -> Clip:
    return lambda *arguments: clip("models", "pull", "hf:owner/model", *arguments)

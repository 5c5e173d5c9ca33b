"""A dropped picture is looked at within limits and is then a term of a search; anything else gets a reason."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image
from starlette.testclient import TestClient

from clipcli.browse import uploads
from tests.browse.conftest import Stage, code_of
from tests.tiny_bundle import solid_picture

BYTES = {"content-type": "application/octet-stream"}


def as_file(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it is `side` x `side`."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    squeezed = zlib.compress(b"\0" * 10_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", squeezed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_a_dropped_picture_finds_its_like(kind: str, client: TestClient) -> None:
    data = as_file(solid_picture("green", width=700, height=500), kind)
    taken = client.post("/api/upload", content=data, headers={"content-type": f"image/{kind.lower()}"}).json()
    assert (taken["width"], taken["height"], taken["format"], taken["same_as"]) == (700, 500, kind, [])
    thumb = client.get(taken["thumb"])
    assert thumb.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(thumb.content)).size) == 320
    found = client.post("/api/search", json={"terms": [{"upload": taken["upload"]}]}).json()
    assert found["names"][0] == "green.jpg"


def test_a_picture_of_the_library_is_known_again(client: TestClient, stage: Stage) -> None:
    data = (stage.photos / "colours" / "red.jpg").read_bytes()
    taken = client.post("/api/upload", content=data, headers=BYTES).json()
    assert taken["same_as"] == [stage.id_of("colours/red.jpg")]
    terms = [{"upload": taken["upload"]}]
    found = client.post("/api/search", json={"terms": terms}).json()
    assert found["ids"][0] == taken["same_as"][0]
    assert found["scores"][0] == pytest.approx(1, abs=1e-5)
    left = client.post("/api/search", json={"terms": terms, "leave_out_terms": True}).json()
    assert taken["same_as"][0] not in left["ids"]


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    "data",
    [
        SVG,
        b"",
        b"<html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"%PDF-1.7\n",
        b"#!/bin/sh\n",
        as_file(solid_picture("red"))[:60],
        b"\xff\xd8\xff\xe0" + b"\0" * 5000,
        b"GIF89a" + b"\xff" * 300,
        b"PK\x03\x04" + b"\0" * 100,
    ],
    ids=["svg", "empty", "html", "eps", "pdf", "script", "cut short", "no jpeg", "no gif", "zip"],
)
def test_what_is_no_picture_is_refused(data: bytes, client: TestClient) -> None:
    for kind in ("application/octet-stream", "image/svg+xml", "image/png"):
        response = client.post("/api/upload", content=data, headers={"content-type": kind})
        assert code_of(response) == (415, "not-a-picture")
        assert b"<script" not in response.content


@pytest.mark.parametrize("side", [12_500, 20_000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_judged_by_its_header(side: int, client: TestClient) -> None:
    response = client.post("/api/upload", content=bomb(side), headers=BYTES)
    assert code_of(response) == (415, "not-a-picture")
    assert "megapixels" in response.json()["error"]["message"]


def test_a_body_is_counted_while_it_comes_in(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipcli.browse.search_routes.UPLOAD_BYTES", 1 << 20)
    sent = 0

    def endless() -> Iterator[bytes]:  # sent in chunks, without a length before it
        nonlocal sent
        for _ in range(1000):
            sent += 1 << 16
            yield b"\xff\xd8\xff" + b"\0" * ((1 << 16) - 3)

    response = client.post("/api/upload", content=endless(), headers=BYTES)
    assert code_of(response) == (413, "too-large")
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("length", ["1073741824", "99999999999999999999999999", "67108865"])
def test_a_length_that_is_too_large_is_refused_before_anything_is_read(length: str, client: TestClient) -> None:
    response = client.post("/api/upload", content=iter([b"x"]), headers=BYTES | {"content-length": length})
    assert code_of(response) == (413, "too-large")


def test_json_has_a_limit_of_its_own(client: TestClient) -> None:
    response = client.post("/api/search", content=b" " * (5 << 20), headers={"content-type": "application/json"})
    assert code_of(response) == (413, "too-large")


def test_the_oldest_upload_is_forgotten(client: TestClient) -> None:
    data = as_file(solid_picture("blue"))
    first = client.post("/api/upload", content=data, headers=BYTES).json()["upload"]
    for _ in range(uploads._KEPT):
        assert client.post("/api/upload", content=data, headers=BYTES).status_code == 200
    assert code_of(client.get(f"/api/upload/{first}/thumb")) == (410, "gone")
    assert code_of(client.post("/api/search", json={"terms": [{"upload": first}]})) == (410, "gone")

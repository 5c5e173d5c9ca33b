"""Pictures by id and never by path; whatever lies where a picture was, only a picture comes out."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from clipcli.browse.page_files import PageFiles
from tests.browse.conftest import Stage, code_of, serving

SIZES = (160, 320, 640, 1280)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_the_page_s_files_are_a_closed_list(client: TestClient) -> None:
    assert client.get("/").text.startswith("<!doctype html>")
    script = client.get("/page/app.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "no-cache"
    again = client.get("/page/app.js", headers={"if-none-match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = client.get("/page/app.js", headers={"accept-encoding": "identity"})
    assert plain.text == script.text
    assert plain.headers["etag"] != script.headers["etag"]  # a strong tag is of the bytes that are sent
    for name in ("notes.py", "none.js", "..%2fguard.py", "%2e%2e%2fguard.py", "....//guard.py", "app.js/", "APP.JS"):
        assert code_of(client.get(f"/page/{name}"))[0] == 404


def test_a_file_that_has_changed_is_read_again(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("one", encoding="utf-8")
    with serving(stage, PageFiles(tmp_path)) as client:
        first = client.get("/")
        (tmp_path / "index.html").write_text("two", encoding="utf-8")
        os.utime(tmp_path / "index.html", (1, 1))
        second = client.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (first.text, second.text) == ("one", "two")


@pytest.mark.parametrize(
    "path",
    [
        "/api/thumb/../../etc/passwd",
        "/api/thumb/..%2f..%2fetc%2fpasswd",
        "/api/thumb/%2fetc%2fpasswd",
        "/api/thumb/1/../../../etc/passwd",
        "/api/thumb/-1",
        "/api/thumb/1.5",
        "/api/thumb/0",
        "/api/thumb/999999",
        "/api/thumb/99999999999999999999999999",
        "/api/thumb/1e3",
        "/api/thumb/%00",
        "/api/picture/99999999999999999999999999/full",
        "/api/picture/../../../etc/passwd/full",
        "/api/picture/x/full",
        "/api/picture/999999",
        "/etc/passwd",
        "//etc/passwd",
        "/api",
        "/api/thumb",
        "/api/upload/../thumb",
    ],
)
def test_no_path_leads_out(path: str, client: TestClient) -> None:
    assert code_of(client.get(path)) in {(404, "not-found"), (410, "gone")}


def test_facts_of_a_picture(client: TestClient, stage: Stage) -> None:
    red = stage.id_of("colours/red.jpg")
    facts = client.get(f"/api/picture/{red}").json()
    assert facts["name"] == "red.jpg"
    assert facts["path"] == os.fspath(stage.photos / "colours" / "red.jpg")
    assert (facts["width"], facts["height"], facts["format"]) == (60, 40, "JPEG")
    assert (facts["taken_at"], facts["taken_from"], facts["camera"]) == ("2010-06-01T12:00:00", "exif", "Camera 0")
    assert (facts["present"], facts["stale"], facts["vector"]) == (True, False, True)
    assert facts["tags"] == facts["copies"] == []
    assert facts["bytes"] == (stage.photos / "colours" / "red.jpg").stat().st_size
    inside = client.post("/api/search", json={"filters": {"in": [facts["folder"]]}}).json()
    assert red in inside["ids"]


@pytest.mark.parametrize("size", SIZES)
def test_thumbnails(size: int, client: TestClient, stage: Stage) -> None:
    number = stage.id_of("patterns/1.png")
    answered = client.get(f"/api/thumb/{number}?size={size}")
    assert answered.headers["content-type"] == "image/jpeg"
    assert opened(answered.content).size == (30, 40)  # never made larger
    again = client.get(f"/api/thumb/{number}?size={size}", headers={"if-none-match": answered.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("size", ["0", "1", "321", "99999", "x", "-160", "1e3", "", "160 "])
def test_sizes_are_a_closed_list(size: str, client: TestClient) -> None:
    assert code_of(client.get(f"/api/thumb/1?size={size}")) == (400, "bad-request")


@pytest.fixture
def odd(own_stage: Stage, page: PageFiles) -> Iterator[tuple[Stage, TestClient]]:
    """Pictures that browsers cannot show, or would show lying on their side."""
    folder = own_stage.photos / "odd"
    folder.mkdir()
    wide = Image.new("RGB", (80, 40), (200, 30, 30))
    wide.save(folder / "picture.tiff")
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("turned.jpg", "turned.png", "turned.webp"):
        wide.save(folder / name, exif=turned)
    wide.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (80, 40), (0, 0, 0))])
    own_stage.embed()
    with serving(own_stage, page) as client:
        yield own_stage, client


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("odd/picture.tiff", "image/jpeg", (80, 40)),
        ("odd/turned.jpg", "image/jpeg", (80, 40)),  # its own bytes: a browser turns it
        ("odd/turned.png", "image/jpeg", (40, 80)),  # a browser might not
        ("odd/turned.webp", "image/jpeg", (40, 80)),
        ("odd/moving.gif", "image/gif", (80, 40)),
        ("patterns/0.png", "image/png", (30, 40)),
        ("colours/red.jpg", "image/jpeg", (60, 40)),
    ],
)
def test_the_picture_for_looking_at(name: str, kind: str, size: tuple[int, int], odd: tuple[Stage, TestClient]) -> None:
    stage, client = odd
    number = stage.id_of(name)
    answered = client.get(f"/api/picture/{number}/full")
    assert (answered.headers["content-type"], opened(answered.content).size) == (kind, size)
    assert opened(client.get(f"/api/picture/{number}/full?original=1").content).size == size
    untouched = answered.content == (stage.photos / name).read_bytes()
    assert untouched == (name not in {"odd/picture.tiff", "odd/turned.png", "odd/turned.webp"})
    upright = (40, 80) if "turned" in name else size
    assert opened(client.get(f"/api/thumb/{number}?size=160").content).size == upright


def test_what_took_a_picture_s_place_is_not_served(own_stage: Stage, own_client: TestClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret", encoding="utf-8")
    places = {
        name: own_stage.photos / "patterns" / f"{number}.png"
        for number, name in enumerate(["link", "text", "svg", "pipe", "gone", "folder"])
    }
    numbers = {name: own_stage.id_of(f"patterns/{path.name}") for name, path in places.items()}
    for path in places.values():
        path.unlink()
    places["link"].symlink_to(secret)
    places["text"].write_text("a secret", encoding="utf-8")
    places["svg"].write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', encoding="utf-8"
    )
    os.mkfifo(places["pipe"])
    places["folder"].mkdir()
    for name, number in numbers.items():
        for path in (f"/api/thumb/{number}", f"/api/picture/{number}/full", f"/api/picture/{number}/full?original=1"):
            answered = own_client.get(path)
            assert answered.status_code in (404, 415), name
            assert b"secret" not in answered.content
            assert b"<svg" not in answered.content
    assert own_client.get(f"/api/picture/{numbers['gone']}").json()["present"] is False


HOSTILE = [
    '"><img src=x onerror=alert(1)>.jpg',
    "<script>alert(1)</script>.jpg",
    "line\nbreak.jpg",
    "\x1b[31mred.jpg",
    "\u202egpj.exe.jpg",
    "javascript:alert(1).jpg",
    "%2e%2e%2f.jpg",
    "&lt;b&gt;'\".jpg",
]


def test_hostile_names_come_out_as_text(own_stage: Stage, page: PageFiles) -> None:
    folder = own_stage.photos / "<b>hostile\n"
    folder.mkdir()
    for number, name in enumerate(HOSTILE):
        Image.new("RGB", (20, 20), (number, 9, 9)).save(folder / name.replace("/", "_"), "JPEG")
    os.rename(folder / HOSTILE[-1], os.fsencode(folder) + b"/no\xffutf8.jpg")
    own_stage.embed()
    with serving(own_stage, page) as client:
        every = client.post("/api/search", json={"count": 100}).json()
        shown = list(every["names"])
        for number in every["ids"]:
            facts = client.get(f"/api/picture/{number}").json()
            shown += [facts["name"], facts["path"], facts["folder_shown"]]
        folders = client.get("/api/folders", params={"in": os.fspath(own_stage.photos)}).json()["folders"]
        shown += [text for one in folders for text in (one["name"], one["shown"])]
        assert "<b>hostile\\n" in shown
        assert not [text for text in shown if any(ord(each) < 32 or each == "\u202e" for each in text)]
        assert "no\\xffutf8.jpg" in every["names"]
        (key,) = [one["path"] for one in folders if "hostile" in one["name"]]
        body = json.dumps({"filters": {"in": [key]}})
        inside = client.post("/api/search", content=body, headers={"content-type": "application/json"}).json()
        assert inside["total"] == len(HOSTILE)
        for response in (client.get("/api/state"), client.get(f"/api/picture/{every['ids'][0]}")):
            assert response.headers["content-type"] == "application/json"


def test_hostile_metadata_comes_out_as_text(own_stage: Stage, page: PageFiles) -> None:
    with sqlite3.connect(own_stage.library) as connection:
        connection.execute("UPDATE images SET camera = ?, lens = ?", ("<img src=x onerror=alert(1)>\x1b[2J", "\u202eL"))
    connection.close()
    with serving(own_stage, page) as client:
        facts = client.get(f"/api/picture/{own_stage.id_of('colours/red.jpg')}").json()
    assert facts["camera"] == "<img src=x onerror=alert(1)>\\x1b[2J"
    assert facts["lens"] == "\\u202eL"

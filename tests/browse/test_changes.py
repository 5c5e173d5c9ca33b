"""What the page changes: tags and decisions about duplicates, nothing else; and what others change is seen."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from clipcli.browse.page_files import PageFiles
from clipcli.library.run_lock import RunLock
from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from tests.browse.conftest import Stage, code_of, finished, serving
from tests.tiny_bundle import COLOURS


def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never came about"
        time.sleep(0.05)


def tags_of(client: TestClient, number: int) -> list[str]:
    return [tag["label"] for tag in client.get(f"/api/picture/{number}").json()["tags"]]


def test_tags_are_given_and_taken(own_client: TestClient, own_stage: Stage) -> None:
    red, blue = own_stage.id_of("colours/red.jpg"), own_stage.id_of("colours/blue.jpg")
    given = own_client.post("/api/tags", json={"ids": [red, blue, red], "add": [" warm ", "<b>x</b>"]}).json()
    assert (given["added"], given["removed"]) == (4, 0)
    assert tags_of(own_client, red) == ["<b>x</b>", "warm"]
    assert own_client.get("/api/tags").json()["tags"] == [
        {"name": "<b>x</b>", "count": 2, "by_person": 2},
        {"name": "warm", "count": 2, "by_person": 2},
    ]
    found = own_client.post("/api/search", json={"filters": {"tag": ["warm"]}}).json()
    assert sorted(found["ids"]) == sorted([red, blue])
    assert found["tagged"] == [1, 1]
    taken = own_client.post("/api/tags", json={"ids": [blue], "remove": ["warm", "never"]}).json()
    assert (taken["added"], taken["removed"]) == (0, 1)
    assert taken["change"] > given["change"]
    assert own_client.post("/api/search", json={"filters": {"tag": ["warm"]}}).json()["ids"] == [red]


@pytest.mark.parametrize(
    "content",
    [{}, {"ids": [1]}, {"ids": [], "add": ["x"]}, {"ids": [1], "add": [""]}, {"ids": [1], "add": ["a\nb"]},
     {"ids": [1], "add": ["x" * 201]}, {"ids": [1], "add": "x"}, {"ids": ["1"], "add": ["x"]},
     {"ids": [True], "add": ["x"]},
     {"ids": [1], "add": ["x"], "delete": True}, {"ids": [1], "add": ["x"] * 101}],
    ids=str,
)  # fmt: skip
def test_tags_that_make_no_sense_are_refused(content: dict[str, Any], own_client: TestClient) -> None:
    assert code_of(own_client.post("/api/tags", json=content)) == (400, "bad-request")
    assert own_client.get("/api/tags").json() == {"tags": []}


def test_a_tag_for_a_picture_that_is_not_there(own_client: TestClient) -> None:
    assert code_of(own_client.post("/api/tags", json={"ids": [1, 999_999], "add": ["x"]})) == (404, "not-found")
    assert own_client.get("/api/tags").json() == {"tags": []}


def test_while_another_program_writes_a_tag_waits_its_turn_or_says_so(
    own_client: TestClient, own_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcli.library.store._BUSY_TIMEOUT_S", 0.2)
    other = sqlite3.connect(own_stage.library, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert code_of(own_client.post("/api/tags", json={"ids": [1], "add": ["x"]})) == (423, "locked")
        assert own_client.post("/api/search", json={}).status_code == 200  # readers never wait
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert own_client.post("/api/tags", json={"ids": [1], "add": ["x"]}).json()["added"] == 1


def test_tagging_goes_on_beside_a_run(own_client: TestClient, own_stage: Stage) -> None:
    with RunLock(own_stage.library) as lock:
        lock.tell(3, 12)
        run = own_client.get("/api/run").json()
        assert (run["live"], run["done"], run["total"]) == (True, 3, 12)
        assert run["since"]
        assert own_client.post("/api/tags", json={"ids": [1], "add": ["x"]}).json()["added"] == 1
    run = own_client.get("/api/run").json()
    assert (run["live"], run["since"], run["done"], run["total"]) == (False, None, None, None)
    assert (run["pictures"], run["vectors"]) == (12, 12)


def test_what_another_program_does_is_seen(own_client: TestClient, own_stage: Stage) -> None:
    before = own_client.post("/api/search", json={"terms": [{"text": "red"}]}).json()
    shutil.copy(own_stage.photos / "colours" / "red.jpg", own_stage.photos / "colours" / "again.jpg")
    (own_stage.photos / "patterns" / "0.png").unlink()
    own_stage.embed()
    until(lambda: own_client.get("/api/run").json()["change"] > before["change"])
    after = own_client.post("/api/search", json={"terms": [{"text": "red"}]}).json()
    assert after["names"][:2] == ["red.jpg", "again.jpg"]
    assert "0.png" not in after["names"]
    gone = own_client.get(f"/api/search/{before['search']}").json()  # what was found before still has its order
    assert gone["ids"] == before["ids"]
    assert sorted(set(before["names"]) - set(gone["names"])) == ["0.png"]
    with Library.open(own_stage.library, write=True) as library:
        add_tags(library, after["ids"][:1], "seen")
    assert own_client.post("/api/search", json={"filters": {"tag": ["seen"]}}).json()["total"] == 1
    assert [tag["name"] for tag in own_client.get("/api/state").json()["tags"]] == ["seen"]


def test_a_library_that_fills_up_while_it_is_looked_at(empty_stage: Stage, page: PageFiles) -> None:
    with serving(empty_stage, page) as client:
        assert code_of(client.post("/api/search", json={"terms": [{"text": "red"}]})) == (409, "no-model")
        Image.new("RGB", (30, 30), (255, 0, 0)).save(empty_stage.photos / "red.png")
        empty_stage.embed()
        found = client.post("/api/search", json={"terms": [{"text": "red"}]}).json()
        assert found["names"] == ["red.png"]
        assert client.get("/api/state").json()["model"]["name"] == "tiny"


def test_another_file_in_the_library_s_place(own_client: TestClient, own_stage: Stage, tmp_path: Path) -> None:
    """A backup that was put back, say."""
    copy = tmp_path / "copy.db"
    with sqlite3.connect(own_stage.library) as source, sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute("DELETE FROM images WHERE format = 'PNG'")
    source.close()
    target.close()
    assert own_client.post("/api/search", json={}).json()["total"] == 12
    os.replace(copy, own_stage.library)
    assert own_client.post("/api/search", json={}).json()["total"] == 6


def test_exports(own_client: TestClient, own_stage: Stage) -> None:
    red, blue = own_stage.id_of("colours/red.jpg"), own_stage.id_of("colours/blue.jpg")
    own_client.post("/api/tags", json={"ids": [red], "add": ["=cmd|' /C calc'!A0", "b"]})
    with sqlite3.connect(own_stage.library) as connection:
        connection.execute("UPDATE images SET camera = '@SUM(1)' WHERE id = ?", (red,))
    connection.close()
    token = own_client.post("/api/search", json={"terms": [{"text": "red"}]}).json()["search"]
    asked = {"ids": [blue, 999_999, red], "search": token}
    paths = own_client.post("/api/export", json={**asked, "format": "paths"})
    folder = os.fspath(own_stage.photos / "colours")
    assert paths.content.decode() == f"{folder}/blue.jpg\n{folder}/red.jpg\n"
    assert paths.headers["content-disposition"] == 'attachment; filename="clip-pictures.txt"'
    records = own_client.post("/api/export", json={**asked, "format": "json"}).json()
    assert [record["image_id"] for record in records] == [blue, red]
    assert records[1]["score"] > records[0]["score"]
    assert (records[1]["path"], records[1]["width"]) == (f"{folder}/red.jpg", 60)
    assert records[1]["tags"] == ["=cmd|' /C calc'!A0", "b"]
    lines = own_client.post("/api/export", json={**asked, "format": "ndjson"}).text.splitlines()
    assert [json.loads(line) for line in lines] == records
    table = own_client.post("/api/export", json={**asked, "format": "csv"})
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [int(row["image_id"]) for row in rows] == [blue, red]
    assert rows[1]["camera"] == "'@SUM(1)"  # a spreadsheet would reckon it
    assert rows[1]["tags"].startswith("'=cmd")
    for content in ({"ids": [red], "format": "zip"}, {"ids": [red]}, {"ids": [red], "format": "csv", "path": "/x"}):
        assert code_of(own_client.post("/api/export", json=content)) == (400, "bad-request")
    assert own_client.post("/api/export", json={"ids": [], "format": "json"}).json() == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_path_that_is_no_line_is_left_out_of_lines(own_client: TestClient, own_stage: Stage) -> None:
    """Pasted into a terminal, a line break in a name would run what stands behind it."""
    colours = own_stage.photos / "colours"
    names = [
        "ok.jpg",
        "two\nlines.jpg",
        "bell\x07.jpg",
        "esc\x1b[2J.jpg",
        "\u2028.jpg",
        "c1\x9b.jpg",
        "\u202eturned.jpg",
    ]
    for name in names:
        shutil.copy(colours / "red.jpg", colours / name)
    raw = os.fsencode(colours) + b"/not utf-8 \xff.jpg"
    shutil.copy(colours / "red.jpg", raw)
    own_stage.embed()
    found = own_client.post("/api/search", json={"filters": {"in": [os.fspath(colours)]}, "order": "name"}).json()
    there = [*(os.fsencode(path) for path in colours.iterdir())]
    assert len(found["ids"]) == len(there) == len(COLOURS) + 8
    left_out = {os.fsencode(colours / name) for name in names[1:6]}
    asked = {"ids": found["ids"], "format": "paths"}
    paths = own_client.post("/api/export", json=asked)
    assert sorted(paths.content.split(b"\n")[:-1]) == sorted(set(there) - left_out)
    assert paths.headers["clip-left-out"] == "5"
    text = own_client.post("/api/export", json={**asked, "format": "clipboard"})
    assert sorted(text.content.split(b"\n")[:-1]) == sorted(set(there) - left_out - {raw})
    assert text.headers["clip-left-out"] == "6"
    for form in ("json", "ndjson", "csv"):  # these have a way of writing anything
        whole = own_client.post("/api/export", json={**asked, "format": form})
        assert whole.headers["clip-left-out"] == "0"
    records = own_client.post("/api/export", json={**asked, "format": "json"}).json()
    assert {record["path"] for record in records} >= {os.fsdecode(path) for path in left_out}


def test_duplicates_are_reviewed_and_remembered(own_client: TestClient, own_stage: Stage) -> None:
    colours = own_stage.photos / "colours"
    shutil.copy(colours / "red.jpg", colours / "red copy.jpg")
    Image.open(colours / "green.jpg").resize((90, 60)).save(colours / "green large.jpg")
    own_stage.embed()
    exact = finished(own_client, own_client.post("/api/duplicates", json={}).json())["result"]
    assert (exact["total"], exact["copies"]) == (1, 1)
    assert [(one["name"], one["kind"]) for one in exact["groups"][0]] == [
        ("red.jpg", "kept"),
        ("red copy.jpg", "exact"),
    ]
    assert exact["copy_bytes"] == (colours / "red.jpg").stat().st_size
    near = finished(own_client, own_client.post("/api/duplicates", json={"threshold": 0.999}).json())["result"]
    pair = next(group for group in near["groups"] if group[0]["name"] == "green large.jpg")
    assert (pair[1]["name"], pair[1]["kind"], pair[1]["ratio"]) == (
        "green.jpg",
        "near",
        round(pair[1]["width"] / 40, 3),
    )
    ids = [one["id"] for one in exact["groups"][0]]
    decided = own_client.post("/api/duplicates/decide", json={"ids": ids, "distinct": True}).json()
    assert decided["pairs"] == 1
    assert finished(own_client, own_client.post("/api/duplicates", json={}).json())["result"]["total"] == 0
    assert own_client.post("/api/duplicates/decide", json={"ids": ids, "distinct": False}).json()["pairs"] == 1
    assert finished(own_client, own_client.post("/api/duplicates", json={}).json())["result"]["total"] == 1
    assert len(list(colours.iterdir())) == 8  # no file was touched
    assert code_of(own_client.post("/api/duplicates/decide", json={"ids": ids[:1], "distinct": True}))[0] == 400
    assert code_of(own_client.post("/api/duplicates/decide", json={"ids": [1, 999_999], "distinct": True}))[0] == 404
    refused = finished(own_client, own_client.post("/api/duplicates", json={"threshold": 2}).json())
    assert (refused["state"], refused["error"]["code"]) == ("failed", "bad-request")


def test_there_is_no_way_to_delete_a_file(own_client: TestClient, own_stage: Stage) -> None:
    before = sorted(path for path in own_stage.photos.rglob("*"))
    for path in (
        "/api/picture/1",
        "/api/thumb/1",
        "/api/picture/1/full",
        "/api/duplicates",
        "/api/search/x",
        "/api/tags",
    ):
        assert code_of(own_client.delete(path)) == (405, "wrong-method")
    assert sorted(path for path in own_stage.photos.rglob("*")) == before

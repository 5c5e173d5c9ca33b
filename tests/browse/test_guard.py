"""Only the page itself may read the library: every other web page in the same browser is kept out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from clipcli.browse.guard import Door
from clipcli.browse.page_files import PageFiles
from tests.browse.conftest import HERE, Stage, code_of, serving

TOKEN = "t" * 43
FROM_OTHERS = Door(only_here=False, names=frozenset(("localhost", "box", "box.local")), token=TOKEN, cookie="clip-8732")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8732", "localhost:8732", "LocalHost", "[::1]:8732", "127.9.9.9:1", "localhost:9000"],
)
def test_names_of_this_machine_are_known(host: str, client: TestClient) -> None:
    assert client.get("/api/state", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8732",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:8732@evil.example",
        "evil.example:8732,127.0.0.1",
        "192.168.1.5:8732",  # nobody can have got here by it
        "0.0.0.0:8732",
        "[::]:8732",
        "localhost:",
        "localhost:999999",
        " localhost",
        "",
        "127.1",
        "2130706433",
        "0x7f.1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/page/app.js", "/api/state", "/api/thumb/1", "/nothing"])
def test_a_name_pointed_at_this_machine_is_refused(host: str, path: str, client: TestClient) -> None:
    """DNS rebinding: a web page's own name resolves to 127.0.0.1, and the browser takes it for the page's server."""
    assert code_of(client.get(path, headers={"host": host})) == (403, "refused")


def test_two_hosts_are_refused(client: TestClient) -> None:
    headers = [("host", "127.0.0.1"), ("host", "evil.example")]
    assert code_of(client.get("/api/state", headers=headers)) == (403, "refused")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8732", "file://", "http://127.0.0.1"],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/state"), ("POST", "/api/search"), ("DELETE", "/api/jobs/x")]
)
def test_requests_of_other_pages_are_refused(origin: str, method: str, path: str, client: TestClient) -> None:
    assert code_of(client.request(method, path, headers={"origin": origin})) == (403, "refused")


def test_the_page_s_own_requests_pass(client: TestClient) -> None:
    own = {"origin": HERE, "sec-fetch-site": "same-origin"}
    assert client.post("/api/search", json={}, headers=own).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "invented"])
@pytest.mark.parametrize(
    ("mode", "dest"), [("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")]
)
@pytest.mark.parametrize("path", ["/api/thumb/1", "/api/picture/1/full", "/api/state", "/page/app.js", "/"])
def test_what_another_page_embeds_is_refused(site: str, mode: str, dest: str, path: str, client: TestClient) -> None:
    """An `<img>` of another page sends no Origin: Sec-Fetch-Site tells."""
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert code_of(client.get(path, headers=headers)) == (403, "refused")


def test_a_link_may_lead_to_the_page_and_nowhere_else(client: TestClient) -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=followed).status_code == 200
    for path in ("/api/picture/1/full", "/api/thumb/1", "/api/state", "/page/app.js"):
        assert client.get(path, headers=followed).status_code == 403
    assert client.post("/", headers=followed).status_code == 403


def test_an_address_typed_in_is_answered(client: TestClient) -> None:
    assert client.get("/api/state", headers={"sec-fetch-site": "none"}).status_code == 200


def test_a_person_is_answered_in_words_and_a_program_in_json(client: TestClient, from_others: TestClient) -> None:
    person = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    led = client.get("/map", headers=person)
    assert (led.status_code, led.headers["location"]) == (303, "/?view=map")
    nothing = client.get("/nothing", headers=person)
    assert (nothing.status_code, nothing.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert nothing.text == f"clip browse: there is nothing at this address; the page is at {HERE}/\n"
    for path in ("/api/nothing", "/page/nothing.js"):
        assert code_of(client.get(path, headers=person)) == (404, "not-found")
    assert code_of(client.get("/nothing")) == (404, "not-found")
    assert from_others.get("/map", headers=person).text.startswith("clip browse: open the whole address")


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND"])
def test_no_preflight_is_ever_answered(method: str, client: TestClient) -> None:
    response = client.request(method, "/api/search")
    assert code_of(response) == (405, "wrong-method")
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_cannot_ask(kind: str, client: TestClient) -> None:
    """These are what a page may send across origins without being asked about it first."""
    for path in ("/api/search", "/api/tags", "/api/duplicates/decide", "/api/export", "/api/map"):
        response = client.post(path, content=b'{"ids":[1],"add":["x"]}', headers={"content-type": kind})
        assert code_of(response) == (400, "bad-request")
    response = client.post("/api/upload", content=b"GIF89a", headers={"content-type": kind})
    assert code_of(response) == (415, "not-a-picture")


EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
@pytest.mark.parametrize(
    "path",
    ["/", "/page/app.js", "/page/none.js", "/api/state", "/api/thumb/1", "/api/picture/1/full", "/api/thumb/99", "/x"],
)
def test_every_answer_forbids_what_it_can(path: str, host: str, client: TestClient) -> None:
    headers = client.get(path, headers={"host": host}).headers
    assert {name: headers[name] for name in EVERYWHERE} == EVERYWHERE
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers
    if path.startswith(("/api/", "/x")):
        assert "sandbox" in policy


@pytest.fixture
def from_others(stage: Stage, page: PageFiles) -> Iterator[TestClient]:
    with serving(stage, page, FROM_OTHERS, base="http://192.168.1.5:8732") as client:
        yield client


def test_with_a_token_nobody_is_let_in_without(from_others: TestClient) -> None:
    client = from_others
    for path in ("/", "/page/app.js", "/api/state", "/api/thumb/1", "/?token=", f"/?token={TOKEN[:-1]}", "/?token=é"):
        assert code_of(client.get(path)) == (403, "no-token")
    assert code_of(client.get(f"/api/state?token={TOKEN}")) == (403, "no-token")  # it would stand in logs and histories
    assert code_of(client.get(f"/?token={TOKEN}&token=x")) == (403, "no-token")
    assert code_of(client.get("/api/state", headers={"cookie": "clip-8732=wrong"})) == (403, "no-token")
    assert code_of(client.get("/api/state", headers={"cookie": "\x7f;;=,"})) == (403, "no-token")
    told = client.get("/", headers={"accept": "text/html,*/*"})  # a person, who gets words and no JSON
    assert (told.status_code, told.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert told.text == "clip browse: open the whole address that clip printed, with its token\n"
    entered = client.get(f"/?token={TOKEN}")
    assert entered.status_code == 303
    assert entered.headers["location"] == "/"
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert entered.headers["cache-control"] == "no-store"
    assert client.get("/").status_code == 200  # the client kept the cookie
    assert client.get("/api/state").status_code == 200


@pytest.mark.parametrize("host", ["192.168.1.5:8732", "box:8732", "BOX.local", "[2001:db8::1]:8732", "localhost"])
def test_others_reach_it_by_address_or_by_a_name_it_knows(host: str, from_others: TestClient) -> None:
    client = from_others
    client.headers["cookie"] = f"clip-8732={TOKEN}"
    assert client.get("/api/state", headers={"host": host}).status_code == 200
    assert client.get("/api/state", headers={"host": "evil.example"}).status_code == 403


def test_a_door_to_others_has_a_token() -> None:
    with pytest.raises(ValueError, match="token"):
        Door(only_here=False)
    with pytest.raises(ValueError, match="token"):
        Door(only_here=False, token="")

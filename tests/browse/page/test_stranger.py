"""What others try: a hostile page in the same browser, bombs dropped on the page, fingers alone, exports, undo."""

from __future__ import annotations

import base64
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browse.page.conftest import Watch, until
from tests.browse.page.site import Site, serving
from tests.browse.page.test_searching import DROP, query, settled

ATTACK = """async (victim) => {
  const got = {};
  const image = (path) => new Promise((done) => {
    const picture = new Image();
    picture.onload = () => done(picture.naturalWidth);
    picture.onerror = () => done(0);
    picture.src = victim + path;
  });
  const script = (path) => new Promise((done) => {
    const node = document.createElement("script");
    node.onload = () => done("ran");
    node.onerror = () => done("no");
    node.src = victim + path;
    document.body.append(node);
  });
  const read = async (path, options) => {
    try {
      const answer = await fetch(victim + path, options);
      return `${answer.type} ${answer.status} ${(await answer.text()).length}`;
    } catch (error) {
      return error.name;
    }
  };
  const json = { "Content-Type": "application/json" };
  const tag = JSON.stringify({ ids: [1], add: ["stolen"] });
  got.thumb = await image("api/thumb/1?size=320");
  got.full = await image("api/picture/1/full");
  got.script = await script("page/theme.js");
  got.answer = await script("api/state");
  got.state = await read("api/state");
  got.blind = await read("api/state", { mode: "no-cors" });
  got.withCookie = await read("api/run", { credentials: "include" });
  got.post = await read("api/tags", { method: "POST", headers: json, body: tag });
  got.simple = await read("api/tags", { method: "POST", mode: "no-cors", body: tag });
  got.beacon = navigator.sendBeacon(victim + "api/tags", tag);
  const frame = document.createElement("iframe");
  frame.src = victim;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; setTimeout(done, 2000); });
  try { got.frame = frame.contentDocument ? frame.contentDocument.body.textContent : "closed"; }
  catch (error) { got.frame = error.name; }
  const other = window.open(victim);
  for (let look = 0; look < 40 && !["none", "SecurityError", "TypeError"].includes(got.window); look += 1) {
    await new Promise((done) => setTimeout(done, 50));
    try { got.window = other && !other.closed ? String(other.document.title) : "none"; }
    catch (error) { got.window = error.name; }
  }
  return got;
}"""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of somebody else's page; to the browser another origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>harmless</title><body>kittens")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("with_token", [False, True])
def test_a_hostile_page_in_the_same_browser_gets_nothing(
    browser: Browser, site: Site, elsewhere: str, with_token: bool
) -> None:
    """Not even beside an open page of one's own, whose cookie the browser holds."""
    alone = serving(site.library.parent, "--host", "0.0.0.0") if with_token else nullcontext(site.address)
    with alone as address:
        parts = urlsplit(address)
        victim = f"http://127.0.0.1:{parts.port}/"
        context = browser.new_context()
        own = context.new_page()
        own.goto(f"{victim}?{parts.query}")
        own.locator(".cell").first.wait_for()
        evil = context.new_page()
        evil.goto(elsewhere)
        got = evil.evaluate(ATTACK, victim)
        assert (got["thumb"], got["full"]) == (0, 0)
        assert (got["script"], got["answer"]) == ("no", "no")
        assert {got[name] for name in ("state", "withCookie", "post")} == {"TypeError"}
        assert got["blind"] in ("TypeError", "opaque 0 0")  # nothing that could be read
        assert got["simple"] in ("TypeError", "opaque 0 0")
        assert got["frame"] in ("closed", "SecurityError", "")
        assert got["window"] in ("SecurityError", "TypeError", "none", "")
        tags = own.evaluate("async () => (await (await fetch('/api/tags')).json()).tags.map(({ name }) => name)")
        assert "stolen" not in tags
        context.close()


def bomb(side: int) -> str:
    """A PNG of a few hundred bytes that says it is `side` x `side`, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100_000, 9))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")).decode()


def test_a_bomb_and_a_gigabyte_dropped_are_refused_in_words(page: Page, watch: Watch) -> None:
    watch.expected = ["415"]
    page.evaluate(DROP, ["drop", "bomb.png", "image/png", bomb(60_000)])
    expect(page.locator("#alerts")).to_contain_text("cannot be searched with")
    expect(page.locator("#alerts")).to_contain_text("megapixels")
    page.evaluate(
        """() => {
          const carried = new DataTransfer();
          const part = new Uint8Array(16 << 20);
          carried.items.add(new File(Array.from({ length: 64 }, () => part), "huge.png", { type: "image/png" }));
          const how = { dataTransfer: carried, bubbles: true, cancelable: true };
          for (const step of ["dragenter", "dragover", "drop"]) document.body.dispatchEvent(new DragEvent(step, how));
        }"""
    )
    expect(page.locator("#alerts")).to_contain_text("64 MB")
    expect(page.locator("#contact")).to_be_hidden()  # the program is well
    page.fill("#q", "red")
    settled(page, "red")


def test_with_fingers_alone(open_page: Callable[..., Page]) -> None:
    """Choose by staying, then by tapping; tag, undo, export, filter, duplicates: all on a telephone."""
    page = open_page("?q=green", width=390, height=780, has_touch=True, is_mobile=True)
    settled(page, "green")
    session = page.context.new_cdp_session(page)
    box = page.locator(".cell").first.bounding_box()
    assert box is not None
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    page.wait_for_timeout(700)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#actions")).to_contain_text("1 chosen")
    expect(page.locator("#viewer")).to_be_hidden()
    page.locator(".cell").nth(1).tap()
    expect(page.locator("#actions")).to_contain_text("2 chosen")
    page.get_by_role("button", name="Tag", exact=True).tap()
    page.get_by_placeholder("Tag to add").fill("by finger")
    page.get_by_role("button", name="Tag to add").tap()
    expect(page.locator("#notices")).to_contain_text("2 pictures tagged")
    page.get_by_role("button", name="Undo").tap()
    expect(page.locator("#notices")).to_contain_text("taken off again")
    page.get_by_role("button", name="Export").tap()
    page.locator("#sheet").get_by_text("JSON", exact=True).tap()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the file").tap()
    assert download.value.suggested_filename == "pictures.json"
    expect(page.locator("#notices")).to_contain_text("2 pictures exported")
    page.get_by_role("button", name="Choose none").tap()
    page.locator("#filter-button").tap()
    page.locator("#filters").get_by_label("JPEG").tap()
    until(page, lambda: query(page).get("format") == ["jpeg"])
    page.get_by_role("button", name="Done").tap()
    page.get_by_role("link", name="Duplicates").tap()
    group = page.locator(".group").first
    group.get_by_role("button", name="Not duplicates").tap()
    group.get_by_role("button", name="Undo").tap()
    expect(group.locator(".member").first).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_an_export_says_what_it_holds_and_where_it_is_abandoned_nothing_comes(page: Page) -> None:
    page.fill("#q", "red")
    settled(page, "red")
    for number in range(3):
        page.locator(".cell").nth(number).click(modifiers=["ControlOrMeta"])
    opener = page.get_by_role("button", name="Export")
    opener.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Export 3 pictures")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
    for label, name, lines in (("Paths", "txt", 3), ("NDJSON", "ndjson", 3), ("CSV", "csv", 4), ("JSON", "json", 5)):
        opener.click()
        dialog.get_by_role("radio", name=re.compile(f"^{label} ")).check()
        with page.expect_download() as download:
            dialog.get_by_role("button", name="Save the file").click()
        assert download.value.suggested_filename == f"pictures.{name}"
        assert len(download.value.path().read_text("utf-8").splitlines()) == lines


def test_the_program_ends_while_the_export_is_open(page: Page, watch: Watch) -> None:
    watch.expected = ["ERR_"]
    page.locator(".cell").first.click(modifiers=["ControlOrMeta"])
    page.keyboard.press("e")
    page.route("**/api/export", lambda route: route.abort())
    page.get_by_role("button", name="Save the file").click()
    expect(page.locator("#sheet #alerts")).to_contain_text("The export failed: clip browse does not answer")
    page.unroute("**/api/export")
    with page.expect_download():
        page.get_by_role("button", name="Save the file").click()
    expect(page.locator("#sheet")).to_be_hidden()


def test_undo_takes_back_only_what_was_done(page: Page) -> None:
    """Where some had the tag before, taking it off all of them would take off more: then there is no undo."""
    page.fill("#q", "yellow")
    settled(page, "yellow")
    page.locator(".cell").first.click(modifiers=["ControlOrMeta"])
    page.keyboard.press("t")
    page.keyboard.type("had before")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("1 picture tagged")
    page.locator(".cell").nth(1).click(modifiers=["ControlOrMeta"])
    page.keyboard.press("t")
    page.keyboard.type("had before")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("1 picture tagged")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.keyboard.press("t")
    page.get_by_placeholder("Tag to take off").fill("had before")
    page.get_by_placeholder("Tag to take off").press("Enter")
    expect(page.locator("#notices")).to_contain_text("taken off 2 pictures")

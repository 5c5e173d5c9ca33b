"""The program behind the page ends, is started anew, or is another one: the page says so, and goes on by itself."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from clipcli.library.run_lock import RunLock
from tests.browse.page.conftest import PATIENCE_MS, Watch
from tests.browse.page.gate import Gate
from tests.browse.page.site import Site, serving

REFUSED = ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "403"]


class Program:
    """`clip browse` that can be ended and started again at the same port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = 0
        self._stack = ExitStack()

    def start(self, *options: str, library: Path | None = None) -> str:
        address = self._stack.enter_context(serving(self.home, *options, library=library, port=self.port))
        parts = urlsplit(address)
        self.port = parts.port or 0
        return f"http://127.0.0.1:{self.port}/" + (f"?{parts.query}" if parts.query else "")

    def end(self) -> None:
        self._stack.close()


@pytest.fixture
def program(site: Site) -> Iterator[Program]:
    started = Program(site.library.parent)
    yield started
    started.end()


@pytest.fixture
def gate(site: Site) -> Iterator[Gate]:
    """To what the page sees the same as a program that ends and comes back, without the second that takes."""
    made = Gate(urlsplit(site.address).port or 0)
    yield made
    made.end()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """A page of a program of the test's own."""
    contexts = []

    def open_(address: str) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        watch = Watch(f"http://127.0.0.1:{urlsplit(address).port}/")
        watch.expected = REFUSED
        watch.over(context)
        page.goto(address)
        page.locator(".cell").first.wait_for()
        return page

    yield open_
    for context in contexts:
        context.close()


def first(page: Page) -> str:
    return str(page.locator('.cell[data-index="0"]').get_attribute("aria-label"))


def test_a_program_that_ends_and_comes_back(program: Program, visit: Callable[[str], Page]) -> None:
    page = visit(program.start())
    page.fill("#q", "red")
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^red"))
    program.end()
    contact = page.locator("#contact")
    expect(contact).to_contain_text("clip browse does not answer")  # by itself, before anybody does anything
    expect(contact).to_contain_text("What is shown is from before")
    assert first(page).startswith("red")  # the answer to this question may stay
    page.fill("#q", "blue")
    expect(page.locator("#search-blank")).to_contain_text("No answer")
    expect(page.locator("#grid")).to_be_hidden()  # red pictures are no answer to blue
    program.start()
    expect(contact).to_be_hidden()
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^blue"))
    expect(page.locator("#q")).to_have_value("blue")


def test_a_picture_that_does_not_come_has_its_true_reason(gate: Gate, visit: Callable[[str], Page]) -> None:
    page = visit(gate.start())
    page.fill("#q", "green")
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^green"))
    gate.end()
    expect(page.locator("#contact")).to_be_visible()
    page.locator(".cell").nth(2).click()
    trouble = page.locator("#viewer .blank")
    expect(trouble).to_contain_text("clip browse does not answer")
    expect(trouble).not_to_contain_text("file")
    gate.start()
    page.wait_for_function("() => document.querySelector('.stage .sharp').classList.contains('ready')")
    expect(trouble).to_be_hidden()
    expect(page.locator("#viewer .side h2")).to_have_text(re.compile("^green"))


def test_what_did_not_come_in_the_other_views_comes_later(gate: Gate, visit: Callable[[str], Page]) -> None:
    page = visit(gate.start())
    gate.end()
    page.get_by_role("link", name="Duplicates").click()
    expect(page.locator("section.view:visible")).to_contain_text("clip browse does not answer")
    page.get_by_role("link", name="Map").click()
    expect(page.locator("section.view:visible")).to_contain_text("clip browse does not answer")
    gate.start()
    page.locator(".legend .groups li").first.wait_for()
    page.get_by_role("link", name="Duplicates").click()
    page.locator(".group").first.wait_for()


def test_a_program_with_another_library_begins_anew(
    program: Program, visit: Callable[[str], Page], site: Site, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    shutil.copy(site.library, other)
    with sqlite3.connect(other) as connection:
        connection.execute("DELETE FROM images WHERE path NOT LIKE '%copies%'")
    connection.close()
    page = visit(program.start())
    page.fill("#q", "red")
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^red"))
    page.locator(".cell").first.click(modifiers=["ControlOrMeta"])
    program.end()
    program.start(library=other)
    expect(page.locator("#notices")).to_contain_text("Another library is open here now: other.db")
    expect(page.locator("#search-title")).to_contain_text("3 pictures")
    expect(page.locator("#actions")).to_be_hidden()  # the number of a picture means another one here
    expect(page.locator("#q")).to_have_value("")
    page.fill("#q", "red")  # asked before, of the other library
    expect(page.locator("#search-title")).to_contain_text("3 pictures")
    page.get_by_role("link", name="Library").click()
    expect(page.locator("section.view:visible h1")).to_have_text("other.db")


def test_another_token_is_asked_for_and_taken_up(program: Program, visit: Callable[[str], Page]) -> None:
    page = visit(program.start("--host", "0.0.0.0"))
    assert "token" not in page.url
    program.end()
    address = program.start("--host", "0.0.0.0")
    expect(page.locator("#contact")).to_contain_text("Open the address it printed")
    page.fill("#q", "red")
    expect(page.locator("#search-blank")).to_contain_text("with another token")
    second = page.context.new_page()
    second.goto(address)
    second.locator(".cell").first.wait_for()
    page.bring_to_front()
    expect(page.locator("#contact")).to_be_hidden()
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^red"))


def test_another_program_at_the_address_is_told_apart(page: Page, watch: Watch) -> None:
    watch.expected = ["404"]

    def other(route: Route) -> None:
        route.fulfill(status=404, body="<h1>Not here</h1>", content_type="text/html")

    page.clock.install()
    with page.expect_request("**/api/run"):  # from here on the page goes by that clock
        pass
    page.route("**/api/**", other)
    expect(page.locator("#contact")).to_contain_text("Another program answers")
    page.clock.pause_at(page.evaluate("() => Date.now()") / 1000 + 60)  # it does not look by itself now
    page.wait_for_timeout(300)  # for the last look of its own
    again = page.get_by_role("button", name="Try now")
    with page.expect_response("**/api/run"):
        again.click()
    expect(page.locator("#contact")).to_contain_text("Another program answers")
    page.unroute("**/api/**")
    again.click()
    expect(page.locator("#contact")).to_be_hidden()


def test_a_run_in_another_window_is_told_within_a_second_or_so(page: Page, site: Site) -> None:
    """Also a short one; counted in looks, as a busy machine may take longer for each."""
    page.locator(".cell").first.wait_for()
    looks: list[str] = []
    page.on("request", lambda request: looks.append(request.url) if request.url.endswith("/api/run") else None)

    def looked(most: int) -> None:
        assert len(looks) <= most, looks
        looks.clear()

    pill = page.locator("#run-pill")
    with RunLock(site.library) as lock:
        expect(pill).to_have_text("Indexing")  # it has not counted its files yet
        looked(3)
        lock.tell(3, 12)
        expect(pill).to_have_text("25 %")
        looked(3)
    expect(pill).to_be_hidden()
    expect(page.locator("#notices")).to_contain_text("Indexing has ended: 305 pictures in the library.")
    looked(3)
    for _ in range(2):  # and goes on looking
        with page.expect_request("**/api/run"):
            pass


def test_nobody_looks_at_a_page_that_is_hidden(page: Page) -> None:
    page.locator(".cell").first.wait_for()
    page.clock.install()  # the page's own: seconds pass in no time
    page.evaluate(
        "Object.defineProperty(document, 'hidden', { get: () => globalThis.away ?? false, configurable: true })"
    )

    def looks_in(seconds: int) -> int:
        looks: list[str] = []
        page.on("request", lambda request: looks.append(request.url) if request.url.endswith("/api/run") else None)
        for _ in range(seconds):
            page.clock.run_for(1000)
            page.wait_for_timeout(50)
        return len(looks)

    with page.expect_request("**/api/run"):  # from here on it goes by that clock
        pass
    assert looks_in(4) >= 2
    page.evaluate("globalThis.away = true")
    looks_in(1)
    assert looks_in(10) == 0
    with page.expect_request("**/api/run"):
        page.evaluate("globalThis.away = false; document.dispatchEvent(new Event('visibilitychange'))")

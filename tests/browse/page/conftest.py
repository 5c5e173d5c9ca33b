"""A browser, a page in it, and what must never happen on that page whatever the test does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browse.page.site import Site, chromium, launch_arguments, library_of, serving

PATIENCE_MS = 15_000


def _program() -> Path:
    if os.name == "nt":
        pytest.skip("the photographs of these tests have names that Windows does not allow")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium here: install one, or name it in the environment variable CHROMIUM")
    return program


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    _program()
    home = tmp_path_factory.mktemp("page")
    photos = library_of(home)
    with serving(home) as address:
        yield Site(address=address, photos=photos, library=home / "library.db")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = _program()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=launch_arguments())
        yield started
        started.close()


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait until something holds that the page itself cannot say; a busy machine may take its time."""
    for _ in range(PATIENCE_MS // 25):
        if holds():
            return
        page.wait_for_timeout(25)
    raise AssertionError("waited in vain")


class Watch:
    """What a page does that it must not."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        self.expected: list[str] = []  # pieces of complaints that a test provokes

    def over(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self._request(request.url))
        context.on("console", lambda message: self._console(message.type, message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def _request(self, url: str) -> None:
        # What the page has made itself and hands over as a file is no request to anywhere.
        if not url.startswith((self.address, f"blob:{self.address}")):
            self.elsewhere.append(url)

    def _console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(text)

    def check(self) -> None:
        assert self.elsewhere == []
        assert [text for text in self.complaints if not any(piece in text for piece in self.expected)] == []


@pytest.fixture
def watch(site: Site) -> Watch:
    return Watch(site.address)


@pytest.fixture
def open_page(site: Site, browser: Browser, watch: Watch) -> Iterator[Callable[..., Page]]:
    """`open_page("?q=red", width=360)`: a page in a context of its own; other options are Playwright's."""
    contexts: list[BrowserContext] = []

    def open_(path: str = "", *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        options.setdefault("color_scheme", "light")
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.add_init_script("globalThis.hurts = 0; globalThis.hurt = () => { globalThis.hurts += 1; };")
        watch.over(context)
        page = context.new_page()
        page.goto(site.address + path)
        return page

    yield open_
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("globalThis.hurts") == 0
        context.close()
    watch.check()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """The page at its beginning, with its first pictures."""
    opened = open_page()
    opened.locator(".cell").first.wait_for()
    return opened

"""A page of 500 hostile names in headless Chromium: it opens offline, fetches and runs nothing; axe is content."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from clipcli.errors import ImageError
from clipcli.photos.thumbnails import small_picture
from clipcli.render.gallery import Gallery, Section, Tile
from clipcli.render.html_page import write_page
from tests.browse.page.conftest import browser
from tests.browse.page.test_access import findings
from tests.pictures.test_html_page import HOSTILE, as_webp

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("page")
    names = [b"/photos/%d %s" % (number, HOSTILE[number % len(HOSTILE)]) for number in range(500)]
    tiles = [
        Tile(path=name, figures=(str(rank), "0.312"), detail="2017-07-14") for rank, name in enumerate(names, start=1)
    ]
    sections = (
        Section(tiles=tuple(tiles[:250]), heading="<b>one</b>"),
        Section(tiles=tuple(tiles[250:]), heading="two"),
    )
    gallery = Gallery(title="<img src=x onerror=alert(1)>", sections=sections, remark="500 of 500")
    picture = small_picture(photos / "green.jpg", long_side=320)
    write_page(gallery, [picture] * 499 + [ImageError("cut short")], folder / "page.html", encode=as_webp)
    return folder / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_offline_and_is_for_everybody(scheme: str, page_file: Path, browser: Browser) -> None:
    context = browser.new_context(color_scheme=scheme, offline=True, viewport={"width": 1200, "height": 800})
    asked: list[str] = []
    said: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda message: said.append(message.text))
    context.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
    try:
        page = context.new_page()
        page.goto(page_file.as_uri(), wait_until="load")
        assert (
            page.evaluate("[...document.images].filter(each => each.complete && each.naturalWidth > 0).length") == 499
        )
        assert [url for url in asked if not url.startswith("data:image/webp;")] == [page_file.as_uri()]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.href").startswith("file:///photos/0%20%3Cscript%3E")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert findings(page) == []
        page.set_viewport_size({"width": 360, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert said == []
    finally:
        context.close()

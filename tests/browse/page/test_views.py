"""Duplicates, the map, the library and a run that is under way."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route, expect

from tests.browse.page.conftest import Watch, until
from tests.browse.page.site import Site


def test_duplicates_are_reviewed_and_decisions_remembered(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("?view=duplicates")
    # Pasted anywhere, the command is about this library.
    command = page.get_by_role("button", name="clip duplicates --delete --dry-run")
    expect(command).to_have_text(f"clip duplicates --delete --dry-run --db {site.library}")
    groups = page.locator(".group")
    expect(groups).to_have_count(3)
    expect(page.locator(".view:visible .line")).to_contain_text("3 groups, 3 copies")
    group = groups.filter(has_text="blue again.jpg")
    expect(group).to_contain_text("keep")
    expect(group).to_contain_text("exact copy")
    group.get_by_role("button", name="Not duplicates").click()
    expect(group).to_have_class("group decided")
    page.reload()
    expect(groups).to_have_count(2)  # remembered by the library
    page.goto(page.url.split("?")[0])
    with closing(sqlite3.connect(site.library)) as connection, connection:  # the site is every test's
        assert connection.execute("DELETE FROM not_duplicates").rowcount == 1


def test_a_decision_is_taken_back(open_page: Callable[..., Page]) -> None:
    page = open_page("?view=duplicates")
    group = page.locator(".group").filter(has_text="coffee again.png")
    group.focus()
    page.keyboard.press("d")
    expect(group).to_contain_text("Not duplicates: ")
    page.keyboard.press("u")
    expect(group.locator(".member")).to_have_count(2)
    page.reload()
    expect(page.locator(".group").filter(has_text="coffee again.png")).to_have_count(1)


def test_near_copies_and_choosing_them(open_page: Callable[..., Page]) -> None:
    page = open_page("?view=duplicates&in=")
    page.locator(".group").first.wait_for()
    page.get_by_label("Nearly the same").check(force=True)
    expect(page.get_by_text("nearly the same", exact=False).first).to_be_visible()
    page.locator(".group.many").first.wait_for()
    page.locator(".group").first.focus()
    page.keyboard.press("j")
    assert page.evaluate("() => [...document.querySelectorAll('.group')].indexOf(document.activeElement)") == 1
    page.keyboard.press("x")
    expect(page.locator("#actions")).to_be_visible()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def points(page: Page) -> int:
    """How many pixels of the canvas are not empty."""
    return int(
        page.evaluate(
            "() => { const canvas = document.querySelector('canvas');"
            " const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
            " let number = 0; for (let at = 3; at < data.length; at += 4) number += data[at] > 0; return number; }"
        )
    )


def test_the_map_is_drawn_moved_named_and_opened(open_page: Callable[..., Page], watch: Watch) -> None:
    watch.expected = ["Canvas2D"]  # this test reads the canvas back
    page = open_page("?view=map")
    page.locator(".legend .groups li").first.wait_for()
    expect(page.locator(".legend")).to_contain_text("305 pictures")
    until(page, lambda: points(page) > 500)
    drawn = points(page)
    page.locator("#map-words").fill("red, green, blue")
    page.get_by_role("button", name="Name the groups").click()
    groups = page.locator(".legend .groups li")
    expect(groups.filter(has_text="red")).to_have_count(1)
    # What no word fits keeps its number, in the list and in words.
    expect(groups.filter(has_text=re.compile("^Group"))).not_to_have_count(0)
    expect(page.locator(".legend")).to_contain_text(re.compile(r"None of your words fits \d+ groups?\."))
    assert parse_qs(urlsplit(page.url).query) == {"view": ["map"], "words": ["red, green, blue"]}
    canvas = page.locator("canvas")
    canvas.focus()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    until(page, lambda: points(page) != drawn)
    page.keyboard.press("0")
    groups.first.get_by_role("button").first.click()
    canvas.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.reload()
    expect(groups.filter(has_text="red")).to_have_count(1)  # the words are kept


def test_the_words_for_the_map_stand_in_the_address(open_page: Callable[..., Page]) -> None:
    """A bookmark of somebody else's words shows those, and back leads to the words before."""
    page = open_page("?view=map&words=red")
    groups = page.locator(".legend .groups li")
    expect(page.locator("#map-words")).to_have_value("red")
    expect(groups.filter(has_text="red")).to_have_count(1)
    page.locator("#map-words").fill("blue, xylophone")
    page.get_by_role("button", name="Name the groups").click()
    expect(groups.filter(has_text="blue")).to_have_count(1)
    expect(groups.filter(has_text="red")).to_have_count(0)
    page.locator("#map-words").blur()
    page.go_back()
    expect(page.locator("#map-words")).to_have_value("red")
    expect(groups.filter(has_text="red")).to_have_count(1)
    page.go_forward()
    expect(groups.filter(has_text="blue")).to_have_count(1)
    page.locator("#map-words").fill("")
    page.get_by_role("button", name="Name the groups").click()
    expect(groups.filter(has_text="blue")).to_have_count(0)
    assert "words" not in page.url


def test_a_point_under_the_pointer_is_shown_and_opened(open_page: Callable[..., Page], watch: Watch) -> None:
    watch.expected = ["Canvas2D"]
    page = open_page("?view=library")
    page.route("**/api/map/labels", lambda route: route.fulfill(json={"clusters": []}))  # nothing but points
    page.get_by_role("link", name="Map").click()
    page.locator(".legend .groups li").first.wait_for()
    until(page, lambda: points(page) > 500)
    canvas = page.locator("canvas")
    box = canvas.bounding_box()
    assert box is not None
    spot = page.evaluate(
        "() => { const canvas = document.querySelector('canvas');"
        " const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        " const solid = []; for (let at = 0; at < data.length; at += 4) {"
        " const [red, green, blue] = [data[at], data[at + 1], data[at + 2]];"  # the number of a group has no colour
        " const coloured = Math.max(red, green, blue) - Math.min(red, green, blue) > 80;"
        " if (data[at + 3] > 200 && coloured) solid.push(at / 4); }"
        " const at = solid[Math.floor(solid.length / 2)]; return [at % canvas.width, Math.floor(at / canvas.width)]; }"
    )
    page.mouse.move(box["x"] + spot[0], box["y"] + spot[1])
    expect(page.locator(".preview:not(.stage *)")).to_be_visible()
    page.mouse.click(box["x"] + spot[0], box["y"] + spot[1])
    expect(page.get_by_role("dialog")).to_be_visible()


def test_the_library_shows_what_it_holds_and_leads_to_it(open_page: Callable[..., Page]) -> None:
    page = open_page("?view=library")
    view = page.locator("section.view:visible")
    expect(view.get_by_role("heading", level=1)).to_have_text("library.db")
    expect(view.locator(".card").first).to_contain_text("305")
    expect(view).to_contain_text("Up to date")
    view.get_by_role("button", name="2017: ").click()
    expect(page.locator(".chip").first).to_contain_text("from 2017")
    page.locator(".cell").first.wait_for()


def test_a_run_is_followed_live(open_page: Callable[..., Page]) -> None:
    run: dict[str, Any] = {
        "server": "this",
        "live": True,
        "since": None,
        "done": 120,
        "total": 480,
        "pictures": 305,
        "vectors": 300,
    }
    page = open_page("?view=library")
    change = page.evaluate("async () => (await (await fetch('/api/run')).json()).change")

    def answer(route: Route) -> None:
        route.fulfill(json={**run, "change": change})

    page.route("**/api/run", answer)
    page.reload()
    expect(page.locator("#run-pill")).to_contain_text("25 %")
    expect(page.locator("#run-live")).to_contain_text("120 of 480 files")
    run.update(done=240)
    expect(page.locator("#run-pill")).to_contain_text("50 %")
    assert page.locator("#run-live progress").evaluate("(bar) => bar.position") == 0.5
    run.update(live=False, pictures=665)
    expect(page.locator("#notices")).to_contain_text("Indexing has ended: 665 pictures")
    expect(page.locator("#run-pill")).to_be_hidden()


def test_new_pictures_appear(open_page: Callable[..., Page]) -> None:
    """When the count of changes grows, as it does when a run writes, the pictures are asked for anew."""
    page = open_page("?view=library")
    change = page.evaluate("async () => (await (await fetch('/api/run')).json()).change")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/api/search") else None)
    run = {"server": "this", "live": False, "since": None, "done": None, "total": None, "pictures": 306, "vectors": 306}
    page.route("**/api/run", lambda route: route.fulfill(json={**run, "change": change + len(asked)}))
    page.clock.install()
    page.reload()
    page.locator(".bars li").first.wait_for()
    page.get_by_role("link", name="Pictures", exact=True).click()
    until(page, lambda: len(asked) == 1)
    page.clock.run_for(10_000)
    until(page, lambda: len(asked) >= 2)

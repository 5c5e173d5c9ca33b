"""What cannot be asked: filters and addresses that make no sense are said, and never shown as if they were in use."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browse.page.conftest import Watch, until
from tests.browse.page.site import Site


def opened(page: Page) -> Page:
    """With the panel of filters."""
    page.locator("#filter-button").click()
    page.locator("#filters [role=group]").first.wait_for()
    return page


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_a_date_that_is_none_is_said_and_not_in_use(page: Page) -> None:
    panel = opened(page).locator("#filters")
    begin = panel.get_by_label("From")
    begin.fill("last summer")
    begin.press("Tab")
    expect(begin).to_have_attribute("aria-invalid", "true")
    expect(panel.locator("#wrong-date")).to_contain_text("“last summer” is no date")
    expect(panel.locator("#wrong-date")).to_contain_text("Not in use")
    expect(page.locator("#chips .chip")).to_have_count(0)
    assert query(page) == {}
    begin.fill("2016")
    begin.press("Tab")
    expect(panel.locator("#wrong-date")).to_be_hidden()
    expect(page.locator(".chip")).to_contain_text("from 2016")
    begin.fill("2016-02-30")
    begin.press("Tab")
    expect(panel.locator("#wrong-date")).to_contain_text("no day 2016-02-30 in the calendar. 2016 stays in use")
    expect(page.locator(".chip")).to_contain_text("from 2016")
    panel.get_by_role("button", name="Clear filters").click()
    expect(begin).to_have_value("")
    expect(begin).to_have_attribute("aria-invalid", "false")
    expect(panel.locator("#wrong-date")).to_be_hidden()


def test_a_place_that_is_none_is_said_and_not_in_use(page: Page) -> None:
    panel = opened(page).locator("#filters")
    north, east, reach = (panel.get_by_label(name) for name in ("Latitude", "Longitude", "Within km"))
    trouble = panel.locator("#wrong-place")
    north.fill("95")
    north.press("Tab")
    expect(trouble).to_contain_text("longitude is missing: not in use yet")
    expect(north).to_have_attribute("aria-invalid", "false")  # nothing is wrong yet
    east.fill("2.3")
    east.press("Tab")
    expect(trouble).to_contain_text("There is no latitude 95")
    expect(north).to_have_attribute("aria-invalid", "true")
    expect(east).to_have_attribute("aria-invalid", "false")
    expect(page.locator("#chips .chip")).to_have_count(0)
    assert query(page) == {}
    north.fill("48,86")
    reach.fill("far")
    reach.press("Tab")
    expect(trouble).to_contain_text("are numbers")
    reach.fill("20")
    reach.press("Tab")
    expect(trouble).to_be_hidden()
    expect(page.locator(".chip")).to_contain_text("near 48.86, 2.3")
    assert query(page) == {"near": ["48.86,2.3,20"]}
    expect(page.locator("#search-title")).to_contain_text("6 pictures")
    north.fill("x")
    north.press("Tab")
    expect(trouble).to_contain_text("The place of before stays in use")


@pytest.mark.parametrize("view", ["search", "map", "duplicates"])
def test_limits_that_exclude_each_other_are_said_in_every_view(open_page: Callable[..., Page], view: str) -> None:
    page = open_page(f"?view={view}&since=2020&until=2010")
    expect(page.locator("section.view:visible")).to_contain_text("“From 2020” is later than “to 2010”")
    assert page.locator(".cell:visible, .group, .groups li").count() == 0
    opened(page)
    expect(page.locator("#wrong-date")).to_contain_text("no picture can be both")


def test_what_an_address_says_in_vain_is_told_and_taken_out(open_page: Callable[..., Page]) -> None:
    page = open_page("?since=yesterday&near=here&camera=Pixel&colour=red&order=up")
    expect(page.locator("#alerts")).to_contain_text("since=yesterday; near=here")
    expect(page.locator("#alerts")).to_contain_text("colour=red")
    expect(page.locator("#alerts")).to_contain_text("order=up")
    expect(page.locator(".chip")).to_have_count(1)  # the camera
    expect(page.locator("#search-title")).to_contain_text("19 pictures")
    assert query(page) == {"camera": ["Pixel"]}
    page.evaluate("history.pushState({}, '', '?view=nowhere')")
    page.go_back()
    page.go_forward()
    expect(page.locator("#alerts")).to_contain_text("view=nowhere")
    assert query(page) == {}


def test_pictures_come_back_once_the_question_makes_sense(open_page: Callable[..., Page]) -> None:
    """Few of them, so that nothing but the first answer draws them."""
    page = open_page("?camera=Pixel&since=2016")
    page.locator(".cell").first.wait_for()
    panel = opened(page).locator("#filters")
    panel.get_by_role("textbox", name="To").fill("2010")
    panel.get_by_role("textbox", name="To").press("Tab")
    expect(page.locator("#search-blank")).to_contain_text("no picture can be both")
    expect(page.locator("#grid")).to_be_hidden()
    page.get_by_role("button", name="Remove the filter to 2010").click()
    expect(page.locator(".cell").first).to_be_visible()
    assert page.locator(".row").count() >= 2


def test_what_the_server_refuses_is_shown_in_place_of_pictures(open_page: Callable[..., Page], watch: Watch) -> None:
    watch.expected = ["404", "400"]
    page = open_page("?in=/no/such/folder&q=red")
    blank = page.locator("#search-blank")
    expect(blank).to_contain_text("This cannot be asked")
    expect(blank).to_contain_text("no such folder")
    expect(page.locator("#grid")).to_be_hidden()
    blank.get_by_role("button", name="Clear filters").click()
    page.locator(".cell").first.wait_for()
    expect(blank).to_be_hidden()


def test_a_library_that_offers_more_leaves_the_panel_alone_while_one_types(page: Page, site: Site) -> None:
    panel = opened(page).locator("#filters")
    panel.get_by_label("From").fill("20")
    made = page.evaluate(
        "async () => { const headers = { 'Content-Type': 'application/json' };"
        " const body = JSON.stringify({ ids: [1], add: ['just now'] });"
        " return (await fetch('/api/tags', { method: 'POST', headers, body })).status; }"
    )
    assert made == 200
    page.wait_for_timeout(2500)  # the page has heard of it
    expect(panel.get_by_label("From")).to_have_value("20")
    expect(panel.get_by_label("From")).to_be_focused()
    panel.get_by_label("From").fill("")
    page.locator("#q").focus()
    expect(panel.get_by_label("just now")).to_have_count(1)
    page.evaluate(
        "async () => { const headers = { 'Content-Type': 'application/json' };"
        " const body = JSON.stringify({ ids: [1], remove: ['just now'] });"
        " await fetch('/api/tags', { method: 'POST', headers, body }); }"
    )


def test_an_empty_library_that_is_asked_by_words_says_the_same(
    site: Site, open_page: Callable[..., Page], watch: Watch
) -> None:
    """Also where the answer is there before what is known of the library, and on the map."""
    watch.expected = ["409"]
    page = open_page()
    state = page.evaluate("async () => (await fetch('/api/state')).json()")
    state["library"]["pictures"] = 0
    held: list[Route] = []
    page.route("**/api/state", lambda route: held.append(route))
    refused = {"error": {"code": "no-model", "message": "the library has no embeddings yet"}}
    page.route("**/api/search", lambda route: route.fulfill(status=409, json=refused))
    page.route("**/api/map", lambda route: route.fulfill(status=409, json=refused))
    page.goto(page.url + "?q=dog")
    expect(page.locator("#search-blank")).to_contain_text("no embeddings yet")
    expect(page.locator("#search-blank code")).to_have_count(0)  # which library is not known yet
    until(page, lambda: bool(held))
    held.pop().fulfill(json=state)
    page.unroute("**/api/state")
    page.route("**/api/state", lambda route: route.fulfill(json=state))
    expect(page.get_by_role("heading", name="This library is empty")).to_be_visible()
    expect(page.locator("#search-blank code")).to_have_text(f"clip embed {site.photos} --db {site.library}")
    page.get_by_role("link", name="Map").click()
    expect(page.locator(".waiting code")).to_have_text(f"clip embed {site.photos} --db {site.library}")

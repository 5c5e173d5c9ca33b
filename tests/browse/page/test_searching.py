"""Asking: by words, by a picture, with further terms and filters; the address, and the way back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browse.page.conftest import Watch, until
from tests.browse.page.site import MANY, Site

DROP = """([kind, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type }));
  const how = { bubbles: true, cancelable: true };
  if (kind === "paste") dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried, ...how }));
  else for (const step of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(step, { dataTransfer: carried, ...how }));
}"""


def names(page: Page, number: int) -> list[str]:
    """The file names of the first cells, from what a screen reader is told."""
    labels = [page.locator(f'.cell[data-index="{index}"]').get_attribute("aria-label") for index in range(number)]
    return [str(label).split(",")[0] for label in labels]


def settled(page: Page, first: str) -> None:
    """Wait until the first picture's name begins so."""
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile(f"^{first}"))


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_words_find_pictures_while_one_types(page: Page) -> None:
    page.locator("#q").press_sequentially("red", delay=40)
    settled(page, "red")
    assert {name[:3] for name in names(page, 5)} == {"red"}
    assert query(page) == {"q": ["red"]}
    expect(page.locator("#search-title")).to_contain_text("pictures")
    page.fill("#q", "")
    expect(page.locator("#order option").first).to_have_text("Newest first")


def test_enter_leads_to_the_first_picture_and_escape_out_of_the_field(page: Page) -> None:
    first = page.locator('.cell[data-index="0"]')
    page.keyboard.press("/")
    page.keyboard.type("red")
    page.keyboard.press("Enter")  # before the answer is there
    expect(first).to_be_focused()
    expect(first).to_have_attribute("aria-label", re.compile("^red"))
    page.keyboard.press("/")
    page.keyboard.press("Enter")
    expect(first).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#q")).to_have_value("")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#sheet")).to_contain_text("to the first picture")
    expect(page.locator("#q")).to_have_value("")


def test_an_answer_that_comes_late_is_not_shown(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        words = json.loads(route.request.post_data or "{}")["terms"]
        if words and words[0]["text"] == "green":
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/search", hold)
    page.fill("#q", "green")
    until(page, lambda: len(held) == 1)
    page.fill("#q", "blue")
    until(page, lambda: "q=blue" in page.url)  # the question waits for its turn
    held[0].continue_()
    settled(page, "blue")
    page.wait_for_timeout(200)
    assert names(page, 1)[0].startswith("blue")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_dropped_or_pasted_is_searched_with(page: Page, site: Site, kind: str) -> None:
    data = (site.photos / "colours" / "green" / "green-1.jpg").read_bytes()
    page.evaluate(DROP, [kind, "mine.jpg", "image/jpeg", base64.b64encode(data).decode()])
    settled(page, "green")
    chip = page.locator(".chip.term")
    expect(chip).to_contain_text("your picture")
    assert chip.locator("img").evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 0
    expect(page.locator("#drop")).to_be_hidden()


def test_what_is_no_picture_is_refused_in_words(page: Page, watch: Watch) -> None:
    watch.expected = ["415"]  # the browser notes the refusal itself
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='hurt()'/>").decode()
    page.evaluate(DROP, ["drop", "x.svg", "image/svg+xml", svg])
    expect(page.locator("#alerts")).to_contain_text("cannot be searched with")
    page.get_by_role("button", name="Close this message").click()
    expect(page.locator("#alerts")).to_be_empty()


def test_a_file_is_chosen_by_hand(page: Page, site: Site) -> None:
    page.set_input_files("#file", site.photos / "colours" / "yellow" / "yellow-0.jpg")
    settled(page, "yellow")


def test_plus_and_minus_terms_are_chips_with_weights(page: Page) -> None:
    page.fill("#q", "red")
    settled(page, "red")
    page.get_by_role("button", name="More like…").click()
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    expect(page.locator(".chip.plus")).to_contain_text("blue")
    page.get_by_label("Weight of blue").fill("5")
    page.get_by_label("Weight of blue").press("Enter")
    settled(page, "blue")
    assert query(page)["term"] == ["5:text:blue"]
    page.get_by_role("button", name="More like blue: turn round").click()
    expect(page.locator(".chip.minus")).to_contain_text("blue")
    assert query(page)["term"] == ["-5:text:blue"]
    page.get_by_role("button", name="Remove blue").click()
    settled(page, "red")
    assert "term" not in query(page)


def test_a_sign_in_the_field_makes_a_term(page: Page) -> None:
    page.fill("#q", "- 0.5:red")
    page.keyboard.press("Enter")
    expect(page.locator(".chip.minus")).to_contain_text("red")
    assert query(page)["term"] == ["-0.5:text:red"]
    expect(page.locator("#q")).to_have_value("")


def test_words_in_the_field_stay_beside_a_term(page: Page) -> None:
    """`red + blue` is the words and a term; a sign typed over the words leaves them in force."""
    page.locator("#q").press_sequentially("red + bl", delay=15)
    expect(page.locator(".chip.pending")).to_contain_text("bl")
    settled(page, "red")
    assert query(page) == {"q": ["red"]}  # what waits for Enter is not asked yet
    page.locator("#q").press_sequentially("ue")
    page.keyboard.press("Enter")
    expect(page.locator("#q")).to_have_value("red")
    expect(page.locator(".chip.plus")).to_contain_text("blue")
    expect(page.locator(".chip.pending")).to_have_count(0)
    assert query(page) == {"q": ["red"], "term": ["1:text:blue"]}
    page.locator("#q").select_text()
    page.keyboard.type("- 0.5:black")
    expect(page.locator(".chip.pending")).to_contain_text("black")
    assert query(page)["q"] == ["red"]
    page.keyboard.press("Enter")
    expect(page.locator("#q")).to_have_value("red")
    assert query(page) == {"q": ["red"], "term": ["1:text:blue", "-0.5:text:black"]}
    page.fill("#q", "")  # who empties the field takes the words back
    until(page, lambda: "q" not in query(page))
    page.keyboard.type("+ white")
    page.keyboard.press("Enter")
    expect(page.locator("#q")).to_have_value("")
    assert query(page)["term"][-1] == "1:text:white"


def test_a_question_has_so_many_terms_and_no_more(open_page: Callable[..., Page]) -> None:
    page = open_page("?" + "&".join(f"term=1:text:t{number}" for number in range(17)))
    expect(page.locator(".chip.term")).to_have_count(15)
    expect(page.locator("#alerts")).to_contain_text("term=1:text:t15; term=1:text:t16")
    page.fill("#q", "+ one more")
    page.keyboard.press("Enter")
    expect(page.locator("#alerts")).to_contain_text("at most 15 terms")
    expect(page.locator(".chip.term")).to_have_count(15)


def total(page: Page) -> int:
    return int(page.locator("#search-title strong").inner_text().split()[0].replace(",", ""))


def test_filters(page: Page) -> None:
    everything = total(page)
    page.get_by_role("button", name="Filters", exact=True).click()
    panel = page.locator("#filters")
    panel.get_by_label("Canon EOS 80D").check()
    expect(page.locator("#search-title")).to_contain_text("13 pictures")  # two of five of each colour, one copy
    panel.get_by_role("button", name="2016").click()
    expect(page.locator("#search-title")).to_contain_text("7 pictures")
    assert query(page) == {"camera": ["Canon EOS 80D"], "since": ["2016"], "until": ["2016"]}
    panel.get_by_label("Canon EOS 80D").uncheck()
    panel.get_by_role("button", name="2016").click()
    panel.get_by_label("Place is known").check()
    expect(page.locator("#search-title")).to_contain_text("6 pictures")
    panel.get_by_label("Place is known").uncheck()
    panel.get_by_label("Latitude").fill("48.86")
    panel.get_by_label("Longitude").fill("2.3")
    panel.get_by_label("Longitude").press("Tab")
    expect(page.locator(".chip")).to_contain_text("near 48.86, 2.3")
    expect(page.locator("#search-title")).to_contain_text("6 pictures")
    page.get_by_role("button", name="Remove the filter near 48.86, 2.3").click()
    panel.get_by_label("PNG").check()
    page.wait_for_function(
        "before => !document.querySelector('#search-title').textContent.startsWith(before)", arg=f"{everything} "
    )
    assert total(page) < everything
    panel.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#search-title")).to_contain_text(f"{everything} pictures")
    panel.get_by_label("From").fill("last summer")
    panel.get_by_label("From").press("Tab")
    expect(panel.get_by_label("From")).to_have_attribute("aria-invalid", "true")


def test_folders_open_and_filter(page: Page) -> None:
    page.get_by_role("button", name="Filters", exact=True).click()
    page.locator("#filters .twist").first.click()
    page.locator("#filters").get_by_role("checkbox", name="copies").check()
    expect(page.locator("#search-title")).to_contain_text("3 pictures")
    assert query(page)["in"][0].endswith("copies")
    page.reload()
    expect(page.locator("#search-title")).to_contain_text("3 pictures")
    expect(page.locator(".chip")).to_contain_text("copies")


def test_nothing_that_passes_is_said_and_mended(open_page: Callable[..., Page]) -> None:
    page = open_page("?since=1901&until=1902")
    expect(page.get_by_role("heading", name="No picture passes these filters")).to_be_visible()
    page.locator("#search-blank").get_by_role("button", name="Clear filters").click()
    page.locator(".cell").first.wait_for()


def test_a_deep_link_asks_again(open_page: Callable[..., Page]) -> None:
    page = open_page("?q=green&term=2:text:blue&camera=Pixel&order=name")
    settled(page, "black-0")
    expect(page.locator("#q")).to_have_value("green")
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#order")).to_have_value("name")


def test_back_leads_to_the_search_before_and_to_where_one_was(page: Page) -> None:
    settled(page, "")
    page.wait_for_function("() => Number(document.querySelector('#grid').ariaRowCount) > 45")  # all of it has come
    page.evaluate("scrollTo(0, 2400)")
    page.wait_for_timeout(400)
    page.fill("#q", "red")
    settled(page, "red")
    assert page.evaluate("scrollY") == 0
    page.fill("#q", "blue")
    settled(page, "blue")
    page.locator("#q").blur()
    page.go_back()
    expect(page.locator("#q")).to_have_value("")
    page.wait_for_function("() => Math.abs(scrollY - 2400) < 3")
    page.go_forward()
    settled(page, "blue")  # what is typed in one go is one step


def test_an_error_is_shown_in_words_and_the_page_goes_on(page: Page, watch: Watch) -> None:
    watch.expected = ["503"]
    told = {"error": {"code": "busy", "message": "Too much is being asked at once; try again."}}
    page.route("**/api/search", lambda route: route.fulfill(status=503, json=told))
    page.fill("#q", "red")
    expect(page.locator("#search-blank")).to_contain_text("Too much is being asked at once")
    expect(page.locator("#grid")).to_be_hidden()  # the pictures of another question are no answer to this one
    page.unroute("**/api/search")
    page.get_by_role("button", name="Try again").click()
    settled(page, "red")
    expect(page.locator("#search-blank")).to_be_hidden()
    page.fill("#q", "blue")
    settled(page, "blue")


def test_all_pictures_of_a_long_answer_come(page: Page) -> None:
    page.wait_for_function("() => Number(document.querySelector('#grid').ariaRowCount) > 45")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    last = total(page) - 1
    assert last > MANY
    cell = page.locator(f'.cell[data-index="{last}"]')
    expect(cell).to_be_visible()
    # Names come with the first answer only; these have been asked for since.
    expect(cell).to_have_attribute("aria-label", re.compile(rf"^(?!Picture ).*\.\w+.*, {last + 1} of {last + 1}$"))


def test_an_empty_library_says_what_to_do(site: Site, tmp_path: Path, open_page: Callable[..., Page]) -> None:
    page = open_page()
    # Asked once and before: a page that closes in the middle of a handler that asks fails whichever test comes next.
    state = page.evaluate("async () => (await fetch('/api/state')).json()")
    state["library"]["pictures"] = 0
    page.route("**/api/state", lambda route: route.fulfill(json=state))
    nothing = {
        "search": "x",
        "total": 0,
        "searched": 0,
        "considered": 0,
        "best": None,
        "best_sigma": None,
        "took_ms": 1,
        "scored": False,
        "change": 1,
        "from": 0,
        "ids": [],
        "scores": None,
        "ratios": [],
        "names": [],
        "dates": [],
        "tagged": [],
    }
    page.route("**/api/search", lambda route: route.fulfill(json=nothing))
    page.reload()
    expect(page.get_by_role("heading", name="This library is empty")).to_be_visible()
    expect(page.locator(".blank code")).to_have_text(f"clip embed {site.photos} --db {site.library}")
    nobody = {"server": "x", "live": False, "since": None, "done": None, "total": None, "change": 1}
    page.route("**/api/run", lambda route: route.fulfill(json={**nobody, "pictures": 0, "vectors": 0}))
    page.goto(page.url.split("?")[0] + "?view=library")
    expect(page.locator("#run-live")).to_contain_text("Nothing is indexed yet")
    expect(page.locator("#run-live")).not_to_contain_text("Up to date")

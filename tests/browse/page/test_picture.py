"""A picture large: its facts, its tags, what looks like it, the next one, a closer look, and the way back."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browse.page.conftest import Watch
from tests.browse.page.site import Site


def searched(page: Page, words: str) -> None:
    page.fill("#q", words)
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile(f"^{words}"))


def title(page: Page) -> str:
    return page.locator("#viewer h2").inner_text()


def test_open_facts_next_previous_and_close(page: Page) -> None:
    searched(page, "red")
    page.locator(".cell").nth(1).click()
    viewer = page.get_by_role("dialog")
    expect(viewer).to_contain_text("2 of ")
    expect(viewer.get_by_role("heading", level=2)).to_have_text(re.compile(r"^red"))
    first = title(page)
    for words in ("Taken", "4 July 20", "Size", "×", "JPEG", "Camera"):
        expect(viewer.locator(".facts")).to_contain_text(words)
    page.wait_for_function("() => document.querySelector('.stage .sharp').classList.contains('ready')")
    assert page.locator(".stage .sharp").evaluate("(image) => image.naturalWidth") >= 300
    page.keyboard.press("ArrowRight")
    expect(viewer).to_contain_text("3 of ")
    expect(viewer.get_by_role("heading", level=2)).not_to_have_text(first)
    page.get_by_role("button", name="Previous picture").click()
    page.get_by_role("button", name="Previous picture").click()
    expect(viewer).to_contain_text("1 of ")
    expect(page.get_by_role("button", name="Previous picture")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    # The focus is where the last picture stands, and the search is as it was.
    assert page.evaluate("() => document.activeElement.dataset.index") == "0"
    assert "picture=" not in page.url
    expect(page.locator("#q")).to_have_value("red")


def test_a_date_of_the_file_is_not_called_the_day_it_was_taken(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("?in=" + str(site.photos / "many").replace("/", "%2F"))
    page.locator(".cell").first.click()
    facts = page.locator("#viewer .facts")
    expect(facts).to_contain_text("File of")
    expect(facts).to_contain_text("the picture itself says no date")
    expect(facts).not_to_contain_text("Taken")
    expect(facts).not_to_contain_text("MP")  # of 48 x 36 pixels there are 0.002
    page.goto(page.url.split("?")[0] + "?view=library")
    years = page.locator(".bars").first
    expect(years.get_by_role("button", name="2017: 7 pictures", exact=True)).to_have_count(1)
    newest = years.get_by_role("button").first  # the year in which the tests run
    expect(newest).to_have_attribute("aria-label", re.compile(r"of them by the date of the file$"))
    expect(newest.locator(".by-file")).to_have_count(1)


def test_the_address_of_a_picture_opens_it_and_back_closes_it(page: Page, open_page: Callable[..., Page]) -> None:
    searched(page, "blue")
    page.locator(".cell").first.click()
    page.locator("#viewer h2").wait_for()
    name, address = title(page), page.url
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    other = open_page(address.split("/", 3)[3])
    expect(other.locator("#viewer h2")).to_have_text(name)
    other.get_by_role("button", name="Close").click()
    expect(other.get_by_role("dialog")).to_be_hidden()
    expect(other.locator(".cell").first).to_be_visible()


def test_what_looks_like_it(page: Page) -> None:
    searched(page, "yellow")
    page.locator(".cell").first.click()
    alike = page.locator(".alike button")
    alike.first.wait_for()
    first = str(alike.first.get_attribute("aria-label"))
    assert first.startswith("yellow")
    assert first != title(page)
    alike.first.click()
    expect(page.locator("#viewer h2")).to_have_text(first)
    page.get_by_role("button", name="Find alike").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".chip.term .what")).to_have_text(first)
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^yellow.*likeness"))
    expect(page.locator(f'.cell[aria-label^="{first}"]')).to_have_count(0)  # not itself
    page.get_by_role("link", name="clip: all pictures").click()
    searched(page, "red")
    page.locator(".cell").nth(3).click()
    page.get_by_role("button", name="Less like", exact=True).click()
    expect(page.locator(".chip.minus")).to_have_count(1)


def test_tags_are_given_shown_and_taken_off(page: Page) -> None:
    searched(page, "white")
    page.locator(".cell").first.click()
    page.locator("#viewer h2").wait_for()
    page.keyboard.press("t")
    page.keyboard.type("snow <b>&amp;")
    page.keyboard.press("Enter")
    label = page.locator(".label")
    expect(label).to_have_text("snow <b>&amp;")
    page.reload()
    expect(label).to_have_text("snow <b>&amp;")
    page.get_by_role("button", name="Remove the tag snow").click()
    expect(page.locator(".labels")).to_have_text("none")


def test_many_are_tagged_at_once_and_found_by_the_tag(page: Page) -> None:
    searched(page, "black")
    for number in range(3):
        page.locator(".cell").nth(number).click(modifiers=["ControlOrMeta"])
    page.keyboard.press("t")
    page.get_by_placeholder("Tag to add").fill("night")
    page.get_by_placeholder("Tag to add").press("Enter")
    expect(page.locator("#notices")).to_contain_text("3 pictures tagged “night”")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Filters", exact=True).click()
    page.locator("#filters").get_by_label("night").check()
    expect(page.locator("#search-title")).to_contain_text("3 pictures")
    page.keyboard.press("Escape")
    page.locator(".cell").first.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("t")
    page.get_by_placeholder("Tag to take off").fill("night")
    page.get_by_placeholder("Tag to take off").press("Enter")
    expect(page.locator("#notices")).to_contain_text("taken off 3 pictures")


def test_tagging_is_undone(page: Page) -> None:
    searched(page, "green")
    page.locator(".cell").first.click(modifiers=["ControlOrMeta"])
    page.get_by_role("button", name="Tag", exact=True).click()
    page.keyboard.type("oops")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#notices")).to_contain_text("taken off again")


GIVE = """async (changes) => {
  const [headers, body] = [{ "Content-Type": "application/json" }, JSON.stringify({ ids: [1], ...changes })];
  const { status } = await fetch("/api/tags", { method: "POST", headers, body });
  document.dispatchEvent(new Event("clip-tags"));
  return status;
}"""


def test_a_comma_parts_two_tags(page: Page) -> None:
    searched(page, "green")
    page.locator(".cell").first.click(modifiers=["ControlOrMeta"])
    page.keyboard.press("t")
    page.keyboard.type(" favourites, , dog,")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("1 picture tagged “favourites”, “dog”.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#notices")).to_contain_text("“favourites”, “dog” are taken off again")
    assert page.evaluate(GIVE, {"add": ["rain, snow"]}) == 200  # as other programs give them: one tag
    page.locator(".cell").first.focus()
    page.keyboard.press("t")
    page.keyboard.type("dog, ra")
    expect(page.locator("#sheet datalist option[value='dog, rain, snow']").first).to_be_attached()
    page.get_by_placeholder("Tag to take off").fill("rain, snow")
    page.get_by_placeholder("Tag to take off").press("Enter")
    expect(page.locator("#notices")).to_contain_text("None of them has the tag “rain, snow”.")
    assert page.evaluate(GIVE, {"remove": ["rain, snow"]}) == 200


def test_a_closer_look(page: Page) -> None:
    searched(page, "red")
    page.locator(".cell").first.click()
    page.locator("#viewer h2").wait_for()
    scale = "() => new DOMMatrix(getComputedStyle(document.querySelector('.frame')).transform).a"
    assert page.evaluate(scale) == 1
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.evaluate(scale) > 2
    box = page.locator(".stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    before = page.locator(".frame").bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 170)
    page.mouse.up()
    after = page.locator(".frame").bounding_box()
    assert before is not None
    assert after is not None
    assert round(before["x"] - after["x"]) == 60
    page.mouse.wheel(0, -300)
    assert page.evaluate(scale) > 3
    page.keyboard.press("0")
    assert page.evaluate(scale) == 1
    page.mouse.dblclick(box["x"] + 300, box["y"] + 300)
    assert page.evaluate(scale) == 2.5
    page.keyboard.press("i")
    expect(page.locator("#viewer .side")).to_be_hidden()


def test_a_file_that_is_gone_is_said(page: Page, watch: Watch) -> None:
    watch.expected = ["404"]
    page.route(
        "**/full", lambda route: route.fulfill(status=404, json={"error": {"code": "not-found", "message": "x"}})
    )
    page.locator(".cell").first.click()
    expect(page.get_by_role("heading", name="This picture cannot be shown")).to_be_visible()


def test_a_picture_that_is_not_in_the_library_is_said(open_page: Callable[..., Page], watch: Watch) -> None:
    watch.expected = ["404"]
    page = open_page("?picture=999999")
    expect(page.locator("#viewer .blank")).to_contain_text("not in the library")
    page.keyboard.press("Escape")
    page.locator(".cell").first.wait_for()


def test_look_alikes_that_do_not_come_say_so_and_come_with_the_program(page: Page, watch: Watch) -> None:
    watch.expected = ["404", "ERR_FAILED"]
    small = re.compile(r"/api/thumb/\d+\?size=160$")
    page.route(small, lambda route: route.fulfill(status=404))
    page.locator(".cell").first.click()
    lacking = page.locator(".alike img.lacking")
    lacking.first.wait_for(state="attached")
    expect(lacking.first).to_be_hidden()  # it would be the browser's mark of a broken picture
    said = "() => getComputedStyle(document.querySelector('.alike button'), '::before').content"
    assert page.evaluate(said) == '"cannot be shown"'
    page.unroute(small)
    page.route("**/api/run", lambda route: route.abort())
    expect(page.locator("#contact")).to_be_visible()
    assert page.evaluate(said) == "none"  # why they do not come is said once
    page.unroute("**/api/run")
    expect(page.locator("#contact")).to_be_hidden()
    page.wait_for_function("() => document.querySelector('.alike img').naturalWidth > 0")
    expect(lacking).to_have_count(0)

"""For everybody: axe-core on every view, the keyboard alone, a telephone's width, dark and light, little motion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browse.page.conftest import Watch
from tests.browse.page.site import Site

SEVERE = {"serious", "critical"}


def findings(page: Page, *rules: str) -> list[str]:
    """What axe-core finds that is serious or worse, in words; with all rules, or with some."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    response = Axe().run(page, options=options).response
    assert len(response["passes"]) + len(response["incomplete"]) >= (len(rules) or 15)  # it has looked
    return [
        f"{finding['id']} ({finding['impact']}): {node['target']} {node.get('failureSummary')}"
        for finding in response["violations"]
        if finding["impact"] in SEVERE
        for node in finding["nodes"]
    ]


def _search(page: Page) -> None:
    page.locator(".cell").nth(8).wait_for()


def _chosen(page: Page) -> None:
    page.locator(".cell").nth(1).click(modifiers=["ControlOrMeta"])
    page.locator(".cell").nth(3).click(modifiers=["ControlOrMeta"])
    page.locator("#actions").wait_for()


def _filters(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Filters")).click()
    page.locator("#filters .twist").first.click()
    page.locator("#filters .tree .tree li").first.wait_for()


def _viewer(page: Page) -> None:
    page.locator(".cell").first.click()
    page.locator(".alike button").first.wait_for()


def _tagging(page: Page) -> None:
    _chosen(page)
    page.keyboard.press("t")
    page.get_by_placeholder("Tag to add").wait_for()


def _export(page: Page) -> None:
    _chosen(page)
    page.keyboard.press("e")
    page.get_by_role("button", name="Save the file").wait_for()


def _help(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keyboard").wait_for()


def _nothing(page: Page) -> None:
    page.locator("#search-blank h2").wait_for()


def _lost(page: Page) -> None:
    """The program behind the page has ended."""
    page.route("**/api/**", lambda route: route.abort())
    page.locator("#contact").wait_for()
    page.fill("#q", "blue")
    page.locator("#search-blank h2").wait_for()


def _wrong(page: Page) -> None:
    _filters(page)
    page.get_by_label("From").fill("last summer")
    page.get_by_label("Latitude").fill("x")
    page.get_by_label("Longitude").fill("2")
    page.get_by_label("Longitude").press("Tab")
    page.locator("#wrong-place").wait_for()


def _typed(page: Page) -> None:
    page.fill("#q", "red + night")
    page.locator(".chip.pending").wait_for()


def _map(page: Page) -> None:
    page.locator(".legend .groups li").first.wait_for()


def _duplicates(page: Page) -> None:
    page.locator(".group").first.wait_for()


def _library(page: Page) -> None:
    page.locator(".bars li").first.wait_for()


# Controls that stick out of the screen, apart from what scrolls sideways by itself and the link that shows on focus.
BEYOND = """() => [...document.querySelectorAll("button, input, select, a:not(.skip), textarea")].filter((node) => {
  const box = node.getBoundingClientRect();
  if (!node.checkVisibility({ opacityProperty: true }) || !box.width) return false;
  for (let above = node.parentElement; above; above = above.parentElement)
    if (/auto|scroll/.test(getComputedStyle(above).overflowX)) return false;
  return box.right > 361 || box.left < -1;
}).map((node) => node.outerHTML.slice(0, 120))"""

VIEWS: dict[str, tuple[str, Callable[[Page], None]]] = {
    "all": ("", _search),
    "found": ("?q=red&term=0.5:text:blue&term=-1:id:3&camera=Canon&since=2015", _search),
    "chosen": ("?q=red", _chosen),
    "filters": ("", _filters),
    "picture": ("?q=red", _viewer),
    "tagging": ("", _tagging),
    "export": ("", _export),
    "help": ("", _help),
    "nothing": ("?since=1901&until=1902", _nothing),
    "wrong": ("?colour=red", _wrong),
    "impossible": ("?since=2020&until=2010", _nothing),
    "typed": ("", _typed),
    "lost": ("?q=red", _lost),
    "map": ("?view=map&words=red,receipts", _map),
    "duplicates": ("?view=duplicates", _duplicates),
    "near copies": ("?view=duplicates&alike=0.97", _duplicates),
    "library": ("?view=library", _library),
}


def settle(page: Page) -> None:
    """Until everything that moves or fades has done so."""
    page.evaluate(
        "() => new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame))"
        ".then(() => Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {}))))"
    )


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_for_everybody(open_page: Callable[..., Page], watch: Watch, view: str) -> None:
    """axe-core finds nothing serious, light and dark; and a telephone is wide enough."""
    watch.expected = ["ERR_"] if view == "lost" else []
    address, reach = VIEWS[view]
    page = open_page(address, reduced_motion="reduce")
    page.locator(".cell, .blank:visible, .group, .groups li, .bars li").first.wait_for()
    reach(page)
    settle(page)
    found = {"light": findings(page)}
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    settle(page)
    found["dark"] = findings(page, "color-contrast")  # nothing else depends on it
    assert found == {"light": [], "dark": []}
    page.set_viewport_size({"width": 360, "height": 740})
    settle(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert page.evaluate(BEYOND) == []


def test_axe_would_find_something(page: Page) -> None:
    page.evaluate(
        "() => { const picture = new Image(); const pale = document.createElement('p');"
        " pale.textContent = 'hardly to be read'; pale.style.color = '#ddd'; pale.style.background = '#fff';"
        " document.querySelector('main').append(picture, pale); }"
    )
    assert {finding.split(" ")[0] for finding in findings(page)} == {"image-alt", "color-contrast"}


def sweep(page: Page, begin: int, end: int) -> None:
    """A finger across the picture, from one x to another."""
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": begin, "y": 250}]})
    for x in (begin, (begin + end) // 2, end):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": 252}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_sweep_leads_to_the_next_picture(open_page: Callable[..., Page]) -> None:
    page = open_page(width=360, height=740, has_touch=True, is_mobile=True)
    page.locator(".cell").nth(1).click()
    expect(page.locator(".where")).to_contain_text("2 of ")
    sweep(page, 300, 80)
    expect(page.locator(".where")).to_contain_text("3 of ")
    sweep(page, 80, 300)
    expect(page.locator(".where")).to_contain_text("2 of ")


def test_a_telephone(open_page: Callable[..., Page]) -> None:
    """With a finger: search, open, close, choose the map at the foot of the screen."""
    page = open_page(width=360, height=740, has_touch=True, is_mobile=True)
    page.locator(".cell").first.wait_for()
    page.fill("#q", "red")
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^red"))
    page.locator(".cell").nth(1).tap()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.locator(".stage").evaluate("(stage) => stage.clientWidth") == 360
    page.get_by_role("button", name="Close").tap()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("link", name="Map").tap()
    page.locator(".legend .groups li").first.wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    for target in page.locator(".tabs a, .top button:visible").all():
        box = target.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 36  # a fingertip


def test_nothing_is_out_of_sight_on_a_telephone(open_page: Callable[..., Page]) -> None:
    """The foot of the filters, a command, and the name of a copy, all of it."""
    page = open_page("?view=library", width=375, height=667)
    whole = "(node) => node.scrollWidth <= node.clientWidth && node.getBoundingClientRect().right <= innerWidth"
    page.locator("#run-live .command code").wait_for()
    assert page.locator("#run-live .command").evaluate(whole)
    page.get_by_role("link", name="Duplicates").click()
    name = page.locator(".member .title bdi").first
    name.evaluate("(node) => { node.textContent = 'a-name-without-any-space-in-it-'.repeat(3); }")
    assert name.evaluate("(node) => node.scrollWidth <= node.clientWidth && node.scrollHeight <= node.clientHeight")
    box, beside = page.locator(".member .title input").first.bounding_box(), name.bounding_box()
    assert box is not None
    assert beside is not None
    assert box["x"] + box["width"] <= beside["x"]  # and not on a line of its own
    page.get_by_role("link", name="Pictures", exact=True).click()
    page.get_by_role("button", name="Filters", exact=True).click()
    panel = page.locator("#filters")
    done = panel.get_by_role("button", name="Done")
    seen = "(node) => { const { left, bottom } = node.getBoundingClientRect();"
    seen += " return node.contains(document.elementFromPoint(left + 9, bottom - 3)); }"
    assert panel.evaluate("(node) => node.scrollHeight > node.clientHeight")  # else it would show nothing
    assert done.evaluate(seen)
    assert panel.get_by_role("button", name="Clear filters").evaluate(seen)
    panel.evaluate("(node) => node.scrollTo(0, 9999)")
    assert panel.get_by_label("PNG").evaluate(seen)
    done.click()
    expect(panel).to_be_hidden()


def test_with_the_keyboard_alone(open_page: Callable[..., Page]) -> None:
    """Search, filter, choose, tag, open, go on, find alike, close: without a pointer, and the focus is never lost."""
    page = open_page()
    page.locator(".cell").first.wait_for()
    press, text = page.keyboard.press, page.keyboard.type

    def here() -> str:
        return str(page.evaluate("() => document.activeElement.outerHTML.slice(0, 200)"))

    press("/")
    assert 'id="q"' in here()
    text("red")
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^red"))
    press("ArrowDown")
    press("ArrowRight")
    assert 'data-index="1"' in here()
    press("x")
    expect(page.locator("#actions")).to_contain_text("1 chosen")
    press("t")
    assert "Tag to add" in here()
    text("favourite")
    press("Enter")
    expect(page.locator("#notices")).to_contain_text("1 picture tagged")
    assert 'data-index="1"' in here()  # back where it came from
    press("Escape")
    press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator(".label")).to_have_text("favourite")
    for _ in range(12):  # the focus stays inside
        press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body || !!document.activeElement.closest('#viewer')"
        )
    press("ArrowRight")
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert 'data-index="2"' in here()
    press("f")
    assert page.evaluate("() => document.activeElement.closest('#filters') !== null")
    press("Escape")
    assert 'id="filter-button"' in here()
    for letter, name in (("m", "Map"), ("d", "Duplicates"), ("l", "library.db"), ("p", "pictures")):
        press("g")
        press(letter)
        expect(page.locator("section.view:visible h1")).to_contain_text(name)
    press("?")
    expect(page.get_by_role("heading", name="Keyboard")).to_be_visible()
    press("Escape")
    expect(page.locator("#sheet")).to_be_hidden()


def test_the_focus_can_be_seen(page: Page) -> None:
    page.keyboard.press("Tab")
    seen = []
    for _ in range(14):
        seen.append(
            page.evaluate(
                "() => { const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);"
                " const ring = getComputedStyle(document.activeElement.parentElement).boxShadow;"
                " return (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2) || ring !== 'none'; }"
            )
        )
        page.keyboard.press("Tab")
    assert all(seen)


def test_single_letters_can_be_turned_off(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_label("Single letters are commands").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    expect(page.locator("#filters")).to_be_hidden()


def brightness(page: Page) -> float:
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def test_dark_and_light(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page(color_scheme="dark")
    assert brightness(page) < 40
    page.get_by_role("button", name="Dark or light").click()
    assert brightness(page) > 220
    page.reload()
    assert brightness(page) > 220  # the choice is kept
    page.get_by_role("button", name="Dark or light").click()
    assert brightness(page) < 40
    page.emulate_media(color_scheme="light")
    assert brightness(page) > 220  # and the machine is followed again


def test_little_motion_where_it_is_asked_for(open_page: Callable[..., Page]) -> None:
    page = open_page(reduced_motion="reduce")
    page.locator(".cell").first.wait_for()
    assert page.locator(".cell img").first.evaluate("(image) => getComputedStyle(image).transitionDuration") in {
        "0s",
        "1e-05s",
    }


def test_what_happens_is_told(page: Page) -> None:
    page.fill("#q", "red")
    expect(page.locator("#announcer")).to_have_text(re.compile(r"^\d+ pictures, best first$"))
    grid = page.get_by_role("grid")
    expect(grid).to_have_attribute("aria-multiselectable", "true")
    assert int(str(grid.get_attribute("aria-rowcount"))) >= page.get_by_role("row").count()
    expect(page.get_by_role("row").first).to_have_attribute("aria-rowindex", "1")

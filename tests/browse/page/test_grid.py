"""The grid: a hundred thousand pictures, choosing, and the keyboard."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browse.page.conftest import until
from tests.browse.page.site import Site

MANY = 100_000
FIRST = 160
RATIOS = [1500, 667, 1333, 1000, 1778, 750, 2400, 560]  # thousandths


def _first_page() -> dict[str, Any]:
    ids = list(range(1, FIRST + 1))
    return {
        "search": "made-up",
        "total": MANY,
        "searched": MANY,
        "considered": MANY,
        "best": None,
        "best_sigma": None,
        "took_ms": 1,
        "scored": False,
        "change": 1,
        "from": 0,
        "ids": ids,
        "scores": None,
        "ratios": [RATIOS[number % len(RATIOS)] / 1000 for number in ids],
        "names": [f"{number}.jpg" for number in ids],
        "dates": [None] * FIRST,
        "tagged": [0] * FIRST,
    }


def _columns() -> bytes:
    ids = range(FIRST + 1, MANY + 1)
    ratios = [RATIOS[number % len(RATIOS)] for number in ids]
    count = len(ids)
    return struct.pack(f"<{count}I", *ids) + struct.pack(f"<{count}H", *ratios) + struct.pack("<h", -32768) * count


@pytest.fixture
def endless(open_page: Callable[..., Page], site: Site) -> Page:
    """The page with 100,000 made-up pictures."""
    thumb = (site.photos / "many" / "grey-000.png").read_bytes()

    def names(route: Route) -> None:
        ids = route.request.post_data_json["ids"]
        known = {"ids": ids, "names": [f"{number}.jpg" for number in ids], "dates": [None] * len(ids)}
        route.fulfill(json={**known, "tagged": [0] * len(ids)})

    page = open_page("?view=library")
    page.route("**/api/search", lambda route: route.fulfill(json=_first_page()))
    page.route("**/columns?*", lambda route: route.fulfill(body=_columns(), content_type="application/octet-stream"))
    page.route("**/api/names", names)
    page.route("**/api/thumb/*", lambda route: route.fulfill(body=thumb, content_type="image/png"))
    page.goto(site.address)
    page.locator(".cell").first.wait_for()
    page.evaluate("scrollTo(0, 10)")  # who scrolls gets the rest at once
    page.wait_for_function("() => Number(document.querySelector('#grid').ariaRowCount) > 10000")
    page.evaluate("scrollTo(0, 0)")
    return page


def first_in_sight(page: Page) -> float:
    seen = page.evaluate(
        "() => Math.min(1e9, ...[...document.querySelectorAll('.cell')]"
        ".filter((cell) => cell.getBoundingClientRect().top > 60).map((cell) => Number(cell.dataset.index)))"
    )
    return float(seen)


def test_only_rows_in_sight_are_in_the_document(endless: Page) -> None:
    assert endless.locator("#search-title").inner_text() == "100,000 pictures"
    for share in (0.0, 0.31, 0.77, 1.0):
        endless.evaluate("share => scrollTo(0, share * document.documentElement.scrollHeight)", share)
        until(endless, lambda share=share: abs(first_in_sight(endless) - share * MANY) < 0.02 * MANY)
        assert 20 < endless.locator(".cell").count() < 150
    expect(endless.locator(f'.cell[data-index="{MANY - 1}"]')).to_be_visible()


def test_rows_are_justified(endless: Page) -> None:
    boxes = endless.evaluate(
        "() => [...document.querySelectorAll('.row')].slice(0, 4).map((row) => [row.clientWidth,"
        " ...[...row.children].map((cell) => [cell.offsetLeft, cell.offsetWidth, cell.offsetHeight])])"
    )
    for width, *cells in boxes:
        assert cells[0][0] == 0
        assert cells[-1][0] + cells[-1][1] == width
        assert all(after[0] - (before[0] + before[1]) == 6 for before, after in pairwise(cells))
        assert len({height for _, _, height in cells}) == 1
        assert 130 < cells[0][2] < 290


SCROLL = """async () => {
  const [grid, frames, step] = [document.querySelector("#grid"), 60, 900];
  const counted = { cells: 0, added: 0, asked: 0 };
  const watch = new MutationObserver((changes) => {
    for (const { addedNodes } of changes) counted.added += addedNodes.length;
  });
  watch.observe(grid, { childList: true });
  const before = performance.getEntriesByType("resource").length;
  for (let frame = 0; frame < frames; frame += 1) {
    scrollBy(0, step);
    await new Promise(requestAnimationFrame);
    counted.cells = Math.max(counted.cells, document.querySelectorAll(".cell").length);
  }
  await new Promise((done) => setTimeout(done));
  watch.disconnect();
  counted.asked = performance.getEntriesByType("resource").length - before;
  counted.passed = (frames * step) / document.querySelector(".row").offsetHeight;
  return counted;
}"""


def test_scrolling_100_000_pictures_is_little_work(endless: Page) -> None:
    """A wheel turned as fast as it goes: each row comes into the document once, and thumbnails wait until it rests."""
    endless.evaluate("performance.setResourceTimingBufferSize(5000)")
    counted = endless.evaluate(SCROLL)
    assert counted["cells"] < 150
    assert counted["passed"] * 0.7 < counted["added"] < counted["passed"] * 1.4 + 20
    assert counted["asked"] < 100  # of about 1,500 that were scrolled past
    endless.wait_for_function("() => [...document.querySelectorAll('.cell img')].every((image) => image.src)")


def chosen(page: Page) -> list[int]:
    cells = page.locator('.cell[aria-selected="true"]')
    return sorted(int(str(cells.nth(number).get_attribute("data-index"))) for number in range(cells.count()))


def test_choosing_with_mouse_and_shift(page: Page) -> None:
    cell = page.locator(".cell")
    cell.nth(1).hover()
    cell.nth(1).locator(".tick").click()
    expect(page.locator("#actions")).to_contain_text("1 chosen")
    cell.nth(4).click(modifiers=["Shift"])
    assert chosen(page) == [1, 2, 3, 4]
    cell.nth(2).click()  # while some are chosen, a click chooses
    assert chosen(page) == [1, 3, 4]
    cell.nth(0).click(modifiers=["ControlOrMeta"])
    assert chosen(page) == [0, 1, 3, 4]
    page.get_by_role("button", name="Choose none").click()
    expect(page.locator("#actions")).to_be_hidden()


def test_choosing_all_before_all_has_come(endless: Page) -> None:
    endless.reload()
    endless.locator(".cell").first.focus()
    endless.keyboard.press("ControlOrMeta+a")
    expect(endless.locator("#actions")).to_contain_text("100,000 chosen")


def test_choosing_all_of_a_long_answer(endless: Page) -> None:
    endless.locator(".cell").first.focus()
    endless.keyboard.press("ControlOrMeta+a")
    expect(endless.locator("#actions")).to_contain_text("100,000 chosen")
    endless.keyboard.press("Escape")
    expect(endless.locator("#actions")).to_be_hidden()


def test_a_finger_that_stays_chooses(open_page: Callable[..., Page]) -> None:
    page = open_page(has_touch=True, width=390)
    cell = page.locator(".cell").nth(1)
    cell.wait_for()
    cell.dispatch_event("pointerdown", {"pointerType": "touch", "bubbles": True})
    page.wait_for_timeout(600)
    cell.dispatch_event("pointerup", {"pointerType": "touch", "bubbles": True})
    cell.dispatch_event("click", {"bubbles": True})
    expect(page.locator("#actions")).to_contain_text("1 chosen")
    assert page.locator("#viewer[open]").count() == 0


def focused(page: Page) -> int:
    return int(page.evaluate("() => Number(document.activeElement.dataset.index ?? -1)"))


def test_the_keyboard_goes_everywhere_in_the_grid(endless: Page) -> None:
    press = endless.keyboard.press
    endless.locator("#q").focus()
    press("ArrowDown")
    assert focused(endless) == 0
    press("ArrowRight")
    press("ArrowRight")
    assert focused(endless) == 2
    press("ArrowDown")
    below = focused(endless)
    assert below > 2
    press("ArrowUp")
    assert abs(focused(endless) - 2) <= 1
    press("End")
    ends = focused(endless)
    press("Home")
    assert focused(endless) == 0 < ends
    press("Control+End")
    assert focused(endless) == MANY - 1
    expect(endless.locator(f'.cell[data-index="{MANY - 1}"]')).to_be_in_viewport()
    press("ArrowRight")
    assert focused(endless) == MANY - 1
    press("Control+Home")
    press("PageDown")
    assert focused(endless) > below
    press("Control+Home")
    press("Space")
    press("Shift+ArrowRight")
    press("Shift+ArrowRight")
    assert chosen(endless) == [0, 1, 2]
    # Exactly one cell can be reached with Tab, and it stays in the document when one scrolls on.
    assert endless.locator('.cell[tabindex="0"]').count() == 1
    endless.evaluate("scrollTo(0, 100000)")
    until(endless, lambda: first_in_sight(endless) > 100)
    assert focused(endless) == 2


def test_the_size_of_the_pictures(page: Page) -> None:
    before = page.locator(".cell").first.bounding_box()
    page.locator("#size").fill("4")
    after = page.locator(".cell").first.bounding_box()
    assert before is not None
    assert after is not None
    assert after["height"] > before["height"] * 1.3
    page.reload()
    page.locator(".cell").first.wait_for()
    kept = page.locator(".cell").first.bounding_box()
    assert kept is not None
    assert kept["height"] == pytest.approx(after["height"])


def test_paths_are_copied_and_pictures_exported(page: Page, site: Site) -> None:
    page.fill("#q", "green")
    expect(page.locator('.cell[data-index="0"]')).to_have_attribute("aria-label", re.compile("^green"))
    for number in range(2):
        page.locator(".cell").nth(number).click(modifiers=["ControlOrMeta"])
    page.keyboard.press("c")
    expect(page.locator("#notices")).to_contain_text("2 paths are copied")
    paths = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(paths) == 2
    assert all(path.startswith(str(site.photos / "colours" / "green")) for path in paths)
    page.keyboard.press("e")
    page.get_by_label("CSV").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the file").click()
    assert download.value.suggested_filename == "pictures.csv"
    lines = download.value.path().read_text("utf-8").splitlines()
    assert len(lines) == 3
    assert all(path in line for path, line in zip(paths, lines[1:], strict=True))


def test_paths_that_cannot_be_copied_are_said(page: Page) -> None:
    """What the server leaves out is counted in words; a single one is no success."""

    def answer(route: Route) -> None:
        chosen_ids = route.request.post_data_json["ids"]
        left = {"Clip-Left-Out": "1", "Content-Type": "text/plain"}
        route.fulfill(body="/photos/one.jpg\n" * (len(chosen_ids) - 1), headers=left)

    page.route("**/api/export", answer)
    page.locator(".cell").nth(0).click(modifiers=["ControlOrMeta"])
    page.keyboard.press("c")
    expect(page.locator("#alerts")).to_contain_text("The path cannot be copied: There is a line break")
    page.locator(".cell").nth(1).click(modifiers=["ControlOrMeta"])
    page.keyboard.press("c")
    expect(page.locator("#alerts")).to_contain_text("The path is copied. 1 left out, for a line break")
    assert page.evaluate("navigator.clipboard.readText()") == "/photos/one.jpg"
    page.keyboard.press("e")
    page.get_by_role("button", name="Save the file").click()
    expect(page.locator("#alerts")).to_contain_text("1 picture exported. 1 left out")

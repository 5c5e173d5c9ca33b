"""Duplicates: reviewed with mouse, keys and fingers; what is decided is remembered and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browse.page.site import Site


@pytest.fixture
def review(open_page: Callable[..., Page]) -> Iterator[Callable[..., Page]]:
    """The view of duplicates; what a test decides is taken back after it."""
    opened: list[Page] = []

    def open_(more: str = "", **options: int) -> Page:
        page = open_page(f"?view=duplicates{more}", **options)
        page.locator(".group").first.wait_for()
        opened.append(page)
        return page

    yield open_
    for page in opened:
        for group in page.locator(".group.decided").all():
            group.get_by_role("button", name="Undo").click()
            expect(group.locator(".member").first).to_be_visible()


def head(page: Page) -> str:
    return page.locator("section.view:visible .line p").inner_text()


def test_what_is_decided_is_counted_and_not_chosen(review: Callable[..., Page]) -> None:
    page = review()
    assert head(page).startswith("3 groups, 3 copies of ")
    page.get_by_role("button", name="Choose all copies").click()
    expect(page.locator("#actions")).to_contain_text("3 chosen")
    group = page.locator(".group").filter(has_text="red again.jpg")
    group.get_by_role("button", name="Not duplicates").click()
    expect(page.locator("section.view:visible .line p")).to_contain_text("2 groups, 2 copies of ")
    expect(page.locator("#actions")).to_contain_text("2 chosen")  # what is no copy does not go with the copies
    page.get_by_role("button", name="Choose none").click()
    page.get_by_role("button", name="Choose all copies").click()
    expect(page.locator("#actions")).to_contain_text("2 chosen")
    group.get_by_role("button", name="Undo").click()
    expect(page.locator("section.view:visible .line p")).to_contain_text("3 groups, 3 copies of ")


def test_one_of_many_is_no_copy(review: Callable[..., Page]) -> None:
    page = review("&alike=0.97")
    before = head(page)
    group = page.locator(".group.many").first
    members = group.locator(".member").count()
    group.get_by_role("button", name="Not a copy of it").first.click()
    expect(group.locator(".member")).to_have_count(members - 1)
    expect(page.locator("section.view:visible .line p")).not_to_have_text(before)
    page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(group.locator(".member")).to_have_count(members)
    expect(page.locator("section.view:visible .line p")).to_have_text(before)


def test_the_keys_work_from_the_start(review: Callable[..., Page]) -> None:
    """Without Tab, and without a click: the first key shows where one is, nothing is decided unseen."""
    page = review()
    at = "() => [...document.querySelectorAll('.group')].indexOf(document.activeElement)"
    assert page.evaluate(at) == -1
    page.keyboard.press("d")
    assert page.evaluate(at) == 0
    assert page.locator(".group.decided").count() == 0
    page.keyboard.press("j")
    assert page.evaluate(at) == 1
    page.keyboard.press("k")
    page.keyboard.press("d")
    expect(page.locator(".group").first).to_have_class("group decided")
    page.keyboard.press("u")
    expect(page.locator(".group").first).to_have_class("group")
    page.keyboard.press("g")  # a sequence is no decision
    page.keyboard.press("d")
    page.wait_for_timeout(200)
    assert page.locator(".group.decided").count() == 0
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page.locator("section.view:visible h1")).to_contain_text("Map")


def test_the_choice_stands_in_the_address(review: Callable[..., Page]) -> None:
    page = review()
    page.get_by_role("radio", name="Nearly the same").check(force=True)
    page.locator(".group.many").first.wait_for()
    assert parse_qs(urlsplit(page.url).query) == {"view": ["duplicates"], "alike": ["0.97"]}
    page.get_by_label("How alike").last.fill("0.99")
    expect(page.locator("output")).to_have_text("0.990")
    page.wait_for_function("() => location.search.includes('alike=0.99')")
    page.locator(".group").first.wait_for()
    page.go_back()
    expect(page.locator("output")).to_have_text("0.970")
    page.go_back()
    expect(page.get_by_role("radio", name="Exact copies")).to_be_checked()
    expect(page.locator(".group")).to_have_count(3)
    page.go_forward()
    expect(page.get_by_role("radio", name="Nearly the same")).to_be_checked()
    page.get_by_role("link", name="Map").click()
    page.get_by_role("link", name="Duplicates").click()  # it is still what one looked at
    assert parse_qs(urlsplit(page.url).query)["alike"] == ["0.97"]
    page.reload()
    expect(page.get_by_role("radio", name="Nearly the same")).to_be_checked()
    page.locator(".group.many").first.wait_for()


def test_a_pair_stands_side_by_side_on_a_telephone(review: Callable[..., Page]) -> None:
    page = review(width=390)
    for number in range(3):
        boxes = [member.bounding_box() for member in page.locator(".group").nth(number).locator(".member").all()]
        assert len(boxes) == 2
        for box in boxes:
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["y"] == boxes[1]["y"]


def test_copies_are_named_in_the_facts(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("?in=" + str(site.photos / "copies").replace("/", "%2F") + "&order=name")
    page.locator(".cell").first.click()
    copies = page.locator("#viewer .facts dd").filter(has=page.get_by_role("button", name="blue-2.jpg"))
    copies.get_by_role("button").click()
    expect(page.locator("#viewer .side h2")).to_have_text("blue-2.jpg")
    expect(page.locator("#viewer .facts")).to_contain_text("blue again.jpg")

"""Nothing that comes from the library is ever more than text, and nothing is asked of anybody else."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

from tests.browse.page.site import HOSTILE_CAMERA, HOSTILE_NAMES, Site
from tests.structure.source import ROOT

PAGE = ROOT / "clipcli" / "browse" / "page"
SCRIPTS = sorted(PAGE.glob("*.js"))
HEAVIEST = 150_000  # bytes as they are sent (packed, with the headers of every answer), thumbnails apart
TAG = "<img src=x onerror=hurt()>\"'><b>\u202etag"


def shown(name: str) -> str:
    """As the server writes it: characters that turn the writing round are spelled out."""
    return name.replace("\u202e", r"\u202e").replace("\u202c", r"\u202c")


def nothing_grew(page: Page) -> None:
    """No element has come about that the page did not make."""
    made = "img[onerror], svg[onload], script:not([src^='/page/']), b, [onmouseover], iframe, object, embed"
    assert page.locator(made).count() == 0
    assert page.evaluate("globalThis.hurts") == 0


def test_hostile_names_are_text_in_every_view(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("?order=name&in=" + str(site.photos / "odd").replace("/", "%2F"))
    expect(page.locator("#search-title")).to_contain_text(f"{len(HOSTILE_NAMES)} pictures")
    labels = [str(page.locator(".cell").nth(n).get_attribute("aria-label")) for n in range(len(HOSTILE_NAMES))]
    for name in map(shown, HOSTILE_NAMES):
        assert any(label.startswith(name) for label in labels), name
    page.locator(".cell").first.hover()
    page.locator(".cell").first.click()
    for number in range(len(HOSTILE_NAMES)):
        expect(page.locator(".where")).to_have_text(f"{number + 1} of {len(HOSTILE_NAMES)}")
        heading = page.locator("#viewer h2")
        expect(heading).to_have_text(re.compile(re.escape(labels[number].split(", ")[0].strip())))
        expect(page.get_by_role("dialog")).to_have_attribute("aria-label", str(heading.text_content()))
        page.keyboard.press("ArrowRight")
    nothing_grew(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Filters")).click()
    panel = page.locator("#filters")
    expect(panel.get_by_label(HOSTILE_CAMERA)).to_have_count(1)
    panel.get_by_label(HOSTILE_CAMERA).check()
    expect(page.locator(".chip").filter(has_text=HOSTILE_CAMERA)).to_have_count(1)
    expect(page.locator("#search-title")).to_contain_text("1 picture")
    nothing_grew(page)


def test_hostile_tags_and_questions_are_text(open_page: Callable[..., Page]) -> None:
    page = open_page(
        "?q=%3Cimg src=x onerror=hurt()%3E&term=1:text:%3Cscript%3Ehurt()%3C/script%3E"
        "&camera=%22%3E%3Csvg onload=hurt()%3E"
    )
    expect(page.locator(".chip")).to_have_count(2)
    nothing_grew(page)
    page.goto(page.url.split("?")[0])
    page.locator(".cell").first.click()
    page.locator("#viewer h2").wait_for()
    page.keyboard.press("t")
    page.keyboard.insert_text(TAG)
    page.keyboard.press("Enter")
    expect(page.locator(".label").filter(has_text="onerror")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator(".cell").first.focus()
    page.keyboard.press("f")
    expect(page.locator("#filters").get_by_label("onerror")).to_have_count(1)
    for view in ("map", "duplicates", "library"):
        page.goto(page.url.split("?")[0] + f"?view={view}")
        page.wait_for_timeout(250)
        nothing_grew(page)
    page.goto(page.url.split("?")[0] + "?tag=" + "%3Cimg%20src%3Dx%20onerror%3Dhurt()%3E%22'%3E%3Cb%3E%E2%80%AEtag")
    expect(page.locator("#search-title")).to_contain_text("1 picture")
    page.locator(".cell").first.click()
    page.get_by_role("button", name=re.compile("^Remove the tag")).click()
    expect(page.locator(".labels")).to_have_text("none")


def test_a_name_that_turns_the_writing_round_turns_only_itself(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("?order=name&in=" + str(site.photos / "odd").replace("/", "%2F"))
    page.locator(".cell").first.wait_for()
    labels = [str(page.locator(".cell").nth(n).get_attribute("aria-label")) for n in range(len(HOSTILE_NAMES))]
    turned = next(number for number, label in enumerate(labels) if "שלום" in label)
    page.locator(".cell").nth(turned).click()
    page.locator("#viewer h2 bdi").wait_for()
    assert page.locator("#viewer h2 bdi").evaluate("(name) => getComputedStyle(name).unicodeBidi") == "isolate"


def test_a_very_long_name_pushes_nothing_aside(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("?order=name&in=" + str(site.photos / "odd").replace("/", "%2F"), width=360)
    page.locator(".cell").first.wait_for()
    labels = [str(page.locator(".cell").nth(n).get_attribute("aria-label")) for n in range(len(HOSTILE_NAMES))]
    page.locator(".cell").nth(next(n for n, label in enumerate(labels) if label.startswith("long"))).click()
    page.locator("#viewer h2").wait_for()
    assert page.locator("#viewer").evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")


def test_the_page_is_light(open_page: Callable[..., Page]) -> None:
    """What comes over the wire until the page is used in all its views: everything but pictures, answers included."""
    page = open_page()
    page.locator(".cell").first.wait_for()
    for view, there in (("map", ".groups li"), ("duplicates", ".group"), ("library", ".bars li"), ("search", ".cell")):
        page.locator(f'.tabs a[data-view="{view}"]').click()
        page.locator(there).first.wait_for()
    sizes = page.evaluate(
        "() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(({ name, transferSize }) => [new URL(name).pathname, transferSize])"
    )
    files = [size for path, size in sizes if not path.startswith("/api/")]
    answers = [size for path, size in sizes if path.startswith("/api/") and "/thumb/" not in path]
    assert len(files) >= len(SCRIPTS)
    assert len(answers) >= 6
    assert 60_000 < sum(files) + sum(answers) <= HEAVIEST


def test_every_file_of_the_page_counts() -> None:
    packed = sum(len(gzip.compress(path.read_bytes())) for path in PAGE.iterdir())
    assert packed <= HEAVIEST * 2 / 3  # the rest is for headers and answers


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_strings(path: Path) -> None:
    text = path.read_text("utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|DOMParser|setHTML|srcdoc|https?://(?!www\.w3\.org/2000/svg)"
    assert re.findall(forbidden, text) == []


def test_no_markup_has_script_or_style_in_it() -> None:
    text = (PAGE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=\"/page/)|<style|\sstyle=|\son[a-z]+=|https?:", text) == []


def test_the_policy_is_strict(site: Site) -> None:
    with urlopen(Request(site.address)) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy

"""The parts of the page that only compute, called in the browser with many made-up values."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from playwright.sync_api import Page

from clipcli.errors import UsageError
from clipcli.library.moments import Span

JUSTIFY = """async () => {
  const { justify, rowAt } = await import("/page/justify.js");
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const wrong = [];
  for (let trial = 0; trial < 400; trial += 1) {
    const total = Math.floor(random() * 60);
    const aspects = Array.from({ length: total }, () => 50 + Math.floor(random() * 20000 * random()));
    const width = 200 + Math.floor(random() * 2200);
    const { starts, tops, heights, height } = justify(aspects, total, width, 196, 6);
    const half = justify(aspects, Math.floor(total / 2), width, 196, 6);
    if (starts[0] !== 0 || starts.at(-1) !== total) wrong.push(["starts", trial]);
    if (starts.length !== heights.length + 1) wrong.push(["rows", trial]);
    for (let row = 0; row < heights.length; row += 1) {
      if (!(starts[row] < starts[row + 1])) wrong.push(["empty row", trial, row]);
      if (!(heights[row] > 20 && heights[row] < 460)) wrong.push(["height", trial, row, heights[row], width]);
      if (rowAt(tops, tops[row]) !== row || rowAt(tops, tops[row + 1] - 1) !== row) wrong.push(["row at", trial, row]);
      // What is shown does not move while the list grows: all rows but the last stay.
      if (row < half.heights.length - 1 && half.tops[row + 1] !== tops[row + 1]) wrong.push(["grows", trial, row]);
    }
    if (total && height !== tops.at(-1) - 6) wrong.push(["whole", trial]);
  }
  return wrong;
}"""

ADDRESS = """async () => {
  const { ASIDE, empty, readAddress, toAddress } = await import("/page/question.js");
  const texts = ["", "red", "a+b & c=d #e", "0.5:night", "\\ud800 lone", "שלום", "<img onerror=x>", "%41", "-1:text:a"];
  const wrong = [];
  for (const text of texts) for (const view of ["search", "map", "duplicates"]) for (const picture of [null, 12]) {
    const question = empty();
    question.text = text.toWellFormed();
    if (text) {
      const words = { weight: -0.5, text: text.toWellFormed() };
      question.terms = [words, { weight: 2, id: 7 }, { weight: 1, upload: "a-B_9" }];
      question.filters = { ...question.filters, in: [text, "/b"], tag: [text], since: "2019-07", near: "1,2,3" };
      question.order = "oldest";
    }
    const aside = view === "map" ? { alike: null, draw: "umap", words: text.toWellFormed() || null }
      : view === "duplicates" ? { alike: 0.925, draw: "pca", words: null } : ASIDE;
    const place = { view, picture, question, ...aside };
    const { place: back, ignored } = readAddress(toAddress(place).split("?")[1] ?? "");
    if (JSON.stringify(back) !== JSON.stringify(place) || ignored.length) wrong.push([place, back, ignored]);
  }
  return wrong;
}"""

NONSENSE = """async () => {
  const { ASIDE, empty, readAddress } = await import("/page/question.js");
  const wild = "view=nowhere&picture=x&term=0:text:a&term=junk&term=1:id:x&term=1:upload:../x&order=up"
    + "&in=&q=ok&in=%01%7Bx&since=yesterday&until=2021-02-30&near=95,0,1&min-size=big&q=twice&colour=red"
    + "&alike=2&draw=x";
  const { place, ignored } = readAddress(wild);
  return [place, { view: "search", picture: null, question: { ...empty(), text: "ok" }, ...ASIDE }, ignored];
}"""

TYPED = """async () => {
  const { splitTyped } = await import("/page/question.js");
  return ["- car", "+night", "−0.5: rain ", "car", "-", "beach +", "- 2:a:b", "x + night", "a beach - 3:car +dog",
          "black-and-white", "18+ club", "+ - x"].map((typed) => {
    const { text, terms, open } = splitTyped(typed);
    return [text, terms.map(({ weight, text: words }) => `${weight}:${words}`), open];
  });
}"""

CHECKED = """async () => {
  const { contradiction, readPlace, wrongDate, wrongPlace, wrongSize } = await import("/page/filtercheck.js");
  const right = (check, texts) => texts.filter((text) => check(text) === "");
  return {
    dates: right(wrongDate, ["2019", "2019-07", "2020-02-29", "2019-07-14 12:30", "2019-07-14T12:30:00+02:00",
                             "0999", "2019-13", "2019-02-29", "2019-00", "2019-07-14 25:00", "9001", "19"]),
    places: right(wrongPlace, ["48.86,2.35,10", "-90,180,0.5", "91,0,1", "0,181,1", "1,1,0", "1,1", "x,1,1"]),
    sizes: right(wrongSize, ["12MP", "1.5 mp", "1920x1080", "big", "-1MP"]),
    read: [["48,86", "2,35", ""], ["48.86, 2.35", "", "5"], ["", "", ""], ["48", "", ""], ["", "", "3"],
           ["1", "200", ""], ["1", "2", "far"]].map((texts) => readPlace(...texts)),
    against: [["2020", "2010"], ["2010", "2010"], ["2010-05", "2010"], ["2010-07-04 12:30", "2010-07-04"],
              ["2010-08", "2010-07-04"], ["", "2010"]].map(([since, until]) => contradiction({ since, until }) !== ""),
  };
}"""


COLOURS = """async () => {
  const { gather } = await import("/page/mapgroups.js");
  const clusters = Array.from({ length: 10 }, (_, cluster) =>
    ({ cluster, count: 100 - cluster, examples: [], x: cluster < 8 ? cluster * 10 : (cluster - 8) * 70, y: 0 }));
  return gather({ clusters }, (cluster) => `Group ${cluster + 1}`).map(({ colour }) => colour);
}"""


def test_groups_share_a_colour_only_where_they_are_far_apart(page: Page) -> None:
    """Ten groups, eight colours: the ninth lies on the first, the tenth on the eighth."""
    colours = page.evaluate(COLOURS)
    assert colours[:8] == list(range(8))
    assert colours[8:] == [7, 0]


def test_rows_hold_every_picture_once_and_stay_while_a_list_grows(page: Page) -> None:
    assert page.evaluate(JUSTIFY) == []


def test_an_address_says_the_whole_question(page: Page) -> None:
    assert page.evaluate(ADDRESS) == []


def test_nonsense_in_an_address_is_left_out_and_told(page: Page) -> None:
    found, wanted, ignored = page.evaluate(NONSENSE)
    assert found == wanted
    assert sorted(ignored) == sorted(
        ["view=nowhere", "picture=x", "term=0:text:a", "term=junk", "term=1:id:x", "term=1:upload:../x", "order=up",
         "in=\x01{x", "since=yesterday", "until=2021-02-30", "near=95,0,1", "min-size=big", "q=twice", "colour=red",
         "alike=2", "draw=x"]
    )  # fmt: skip


def test_what_is_typed_with_a_sign_becomes_a_term_beside_the_words(page: Page) -> None:
    assert page.evaluate(TYPED) == [
        ["", ["-1:car"], True],
        ["", ["1:night"], True],
        ["", ["-0.5:rain"], True],
        ["car", [], False],
        ["", [], True],
        ["beach", [], True],
        ["", ["-2:a:b"], True],
        ["x", ["1:night"], True],
        ["a beach", ["-3:car", "1:dog"], True],
        ["black-and-white", [], False],
        ["18+ club", [], False],
        ["", ["-1:x"], True],
    ]


def test_dates_places_and_sizes_are_checked_as_the_server_does(page: Page) -> None:
    checked = page.evaluate(CHECKED)
    assert checked["dates"] == ["2019", "2019-07", "2020-02-29", "2019-07-14 12:30", "2019-07-14T12:30:00+02:00"]
    assert checked["places"] == ["48.86,2.35,10", "-90,180,0.5"]
    assert checked["sizes"] == ["12MP", "1.5 mp", "1920x1080"]
    pair, pasted, none, half, far, beyond, words = checked["read"]
    assert (pair, pasted, none) == ({"near": "48.86,2.35,10"}, {"near": "48.86,2.35,5"}, {"near": ""})
    assert "longitude is missing" in half["missing"]
    assert "missing" in far["missing"]
    assert (beyond["at"], words["at"]) == (1, 2)
    assert checked["against"] == [True, False, False, False, True, False]


def test_the_page_and_the_server_mean_the_same_by_a_date(page: Page) -> None:
    texts = ["2019", "2020-02-29", "2019-07-14T12:30:00+02:00", "0999", "2019-02-29", "9001", "9000-12-31", "2019-7"]
    own = page.evaluate(
        "async (texts) => { const { wrongDate } = await import('/page/filtercheck.js');"
        " return texts.map((text) => wrongDate(text) === ''); }",
        texts,
    )
    for text, right in zip(texts, own, strict=True):
        with nullcontext() if right else pytest.raises(UsageError):
            Span.read(text)


def test_a_likeness_that_rounds_to_nothing_has_no_sign(page: Page) -> None:
    values = [0.004, -0.004, -0.006, -0.5, 0.314]
    shown = page.evaluate(
        "async (values) => { const { likeness } = await import('/page/dom.js'); return values.map(likeness); }", values
    )
    assert shown == ["0.00", "0.00", "-0.01", "-0.50", "0.31"]

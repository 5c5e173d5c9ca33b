"""The parts of the page that only compute, called in the browser with many made-up values."""

from __future__ import annotations

from playwright.sync_api import Page

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
  const { empty, fromAddress, toAddress } = await import("/page/question.js");
  const texts = ["", "red", "a+b & c=d #e", "0.5:night", "\\ud800 lone", "שלום", "<img onerror=x>", "%41", "-1:text:a"];
  const wrong = [];
  for (const text of texts) for (const view of ["search", "map"]) for (const picture of [null, 12]) {
    const question = empty();
    question.text = text.toWellFormed();
    if (text) {
      const words = { weight: -0.5, text: text.toWellFormed() };
      question.terms = [words, { weight: 2, id: 7 }, { weight: 1, upload: "a-B_9" }];
      question.filters = { ...question.filters, in: [text, "/b"], tag: [text], since: "2019-07", near: "1,2,3" };
      question.order = "oldest";
    }
    const place = { view, picture, question };
    const back = fromAddress(toAddress(place).split("?")[1] ?? "");
    if (JSON.stringify(back) !== JSON.stringify(place)) wrong.push([place, back]);
  }
  return wrong;
}"""

NONSENSE = """async () => {
  const { empty, fromAddress } = await import("/page/question.js");
  const wild = "view=nowhere&picture=x&term=0:text:a&term=junk&term=1:id:x&term=1:upload:../x&order=up"
    + "&in=&q=ok&in=%01%7Bx";
  return [fromAddress(wild), { view: "search", picture: null, question: { ...empty(), text: "ok" } }];
}"""

TERMS = """async () => {
  const { asTerm } = await import("/page/question.js");
  return ["- car", "+night", "−0.5: rain ", "car", "-", "+ ", "- 2:a:b"].map(asTerm);
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


def test_nonsense_in_an_address_is_left_out(page: Page) -> None:
    found, wanted = page.evaluate(NONSENSE)
    assert found == wanted


def test_what_is_typed_with_a_sign_becomes_a_term(page: Page) -> None:
    assert page.evaluate(TERMS) == [
        {"weight": -1, "text": "car"},
        {"weight": 1, "text": "night"},
        {"weight": -0.5, "text": "rain"},
        None,
        None,
        None,
        {"weight": -2, "text": "a:b"},
    ]

"""From the key to the picture: how long after a key is pressed the grid of `clip browse` is painted, in a real browser.

    python -m benchmarks.browse_page [FOLDER] [--pictures 100000] [--rounds 15]

The library is made in FOLDER and used again, so that a second run measures at once; without FOLDER in one that goes.

A library of made-up vectors for the model that ships, with a picture file behind every row (links to a few generated
ones, so that thumbnails are real), served by the command itself, in Chromium without a window. What is measured:

    painted     from the keyboard event's own time stamp until the frame with the new rows is on the screen
    answered    the part of it from the request to the last byte of the answer
    pictures    until every thumbnail in sight is there as well (made for the first time in round 1)

Each round types the last letter of another word. Needs the extras `ui` and `dev`, and Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.machine import describe
from benchmarks.material import filled_library, made_photos, made_vectors
from clipcli.bundle.encoder import Model
from clipcli.library.store import Library
from tests.browse.page.site import chromium, launch_arguments, serving

WORDS = [
    "dogs",
    "boat",
    "tree",
    "snow",
    "bird",
    "cats",
    "road",
    "lamp",
    "fish",
    "rose",
    "moon",
    "ship",
    "bike",
    "cake",
    "door",
    "horse",
    "piano",
    "beach",
    "train",
    "flower",
    "cloud",
    "bridge",
    "guitar",
    "window",
    "garden",
]
FILES = 40  # different pictures behind the many names
STARTER = Path(__file__).resolve().parents[1] / "clipcli" / "starter"

# The event's time stamp and the page's clock are the same; a message is delivered after the frame has been painted.
WATCH = """() => {
  globalThis.measured = null;
  addEventListener("keydown", (event) => { globalThis.pressed = event.timeStamp; globalThis.measured = null; }, true);
  new MutationObserver(() => requestAnimationFrame(() => {
    const painted = new MessageChannel();
    painted.port1.onmessage = () => {
      if (globalThis.measured !== null || !globalThis.pressed) return;
      globalThis.measured = performance.now() - globalThis.pressed;
      const whole = () => {
        const seen = (image) => image.getBoundingClientRect().top < innerHeight;
        const there = (image) => image.complete && image.hasAttribute("src");
        const images = [...document.querySelectorAll(".cell img")].filter(seen);
        if (!images.every(there)) setTimeout(whole, 5);
        else globalThis.whole = performance.now() - globalThis.pressed;
      };
      globalThis.whole = null;
      whole();
    };
    painted.port2.postMessage(0);
  })).observe(document.querySelector("#grid"), { childList: true });
}"""
ANSWERED = """() => {
  const asked = performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/api/search")).at(-1);
  return asked.responseEnd - asked.requestStart;
}"""


def fill(folder: Path, pictures: int) -> Path:
    """A library below `folder`, and the files it tells of; made where it is not there yet."""
    library = folder / f"page-{pictures}.db"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    model = Model.load(STARTER)
    filled_library(library, model.spec, model.precision, made_vectors(pictures, model.spec.embedding_dim))
    made_photos(folder / "made", FILES)
    made = sorted((folder / "made").iterdir())
    photos = folder / f"photos-{pictures}"
    for number in range(pictures):
        path = photos / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.link(made[number % FILES], path)
    with Library.open(library, write=True) as opened, opened.write() as connection:
        connection.execute("UPDATE roots SET path = ?", (str(photos),))
    return library


def measure(page: Page, rounds: int) -> list[tuple[float, float, float]]:
    """(painted, answered, whole) in milliseconds, a triple per round."""
    page.locator(".cell").first.wait_for()
    page.wait_for_timeout(3000)  # the vectors are read, the model is opened
    page.fill("#q", "warm")
    page.wait_for_timeout(3000)
    page.evaluate(WATCH)
    taken = []
    for word in WORDS[:rounds]:
        page.fill("#q", word[:-1])
        page.wait_for_timeout(900)
        page.evaluate("() => performance.clearResourceTimings()")
        page.keyboard.press(word[-1])
        page.wait_for_function("() => globalThis.measured !== null && globalThis.whole !== null")
        taken.append(tuple(page.evaluate(script) for script in ("() => measured", ANSWERED, "() => whole")))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the page of clip browse in Chromium.")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15, choices=range(1, len(WORDS) + 1), metavar="N")
    chosen = parser.parse_args()
    program = chromium()
    if program is None:
        parser.error("no Chromium here: install one, or name it in the environment variable CHROMIUM")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clip-bench-")))  # no thumbnails there yet
        library = fill(chosen.folder or home, chosen.pictures)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=program, args=launch_arguments())
        with serving(home, library=library) as address:
            page = browser.new_page(viewport={"width": 1360, "height": 860})
            page.set_default_timeout(120_000)
            page.goto(address)
            taken = measure(page, chosen.rounds)
        browser.close()
    print(f"{chosen.pictures:,} pictures, {len(taken)} rounds, load {os.getloadavg()[0]:.1f}")
    for line in describe():
        print(f"- {line}")
    for name, column in zip(("painted", "answered", "pictures"), zip(*taken, strict=True), strict=True):
        print(f"{name:9} median {statistics.median(column):4.0f} ms, from {min(column):.0f} to {max(column):.0f}")


if __name__ == "__main__":
    main()

// What was found: the answers to the question, in the grid, and the words above it.

import * as api from "./api.js";
import { byId, count, el, icon, likeness, moment, plural } from "./dom.js";
import { Grid } from "./grid.js";
import { nothingFound, notAnswered } from "./nothing.js";
import { announce, complain } from "./notices.js";
import { Results, bestOfChance } from "./results.js";
import { place, rememberedY, restored } from "./route.js";
import { change } from "./searchbar.js";
import { Selection } from "./selection.js";
import { openPicture, through } from "./viewer.js";

const SIZES = [104, 144, 196, 260, 340]; // heights of a row, in pixels
const NARROW_SIZES = [84, 104, 124, 150, 190];
const STORE = "clip-size";

export const selection = new Selection();
export const results = new Results(shown, failed);
let library = null; // what is known of it
let back = null; // how far to scroll when the pictures are there
let sizeStep = 2;

const words = (id) => results.words.get(id);

function label(index) {
  const { ids, scores, all } = results.items;
  const known = words(ids[index]);
  const parts = [known?.name || `Picture ${ids[index]}`];
  if (known?.date) parts.push(moment(known.date));
  if (scores) parts.push(`likeness ${likeness(scores[index])}`);
  parts.push(`${count(index + 1)} of ${count(all)}`);
  return parts.join(", ");
}

function caption(index) {
  const { ids, scores } = results.items;
  const known = words(ids[index])?.name ?? "";
  return scores ? `${likeness(scores[index])}  ${known}` : known;
}

const rowHeight = () => (innerWidth <= 700 ? NARROW_SIZES : SIZES)[sizeStep];

let naming = 0;
export const grid = new Grid(byId("grid"), {
  selection,
  label,
  caption,
  thumb: api.thumb,
  height: rowHeight,
  onAll: async () => {
    await results.whole();
    selection.all(results.items.ids, results.items.total);
  },
  onOpen: (index) => openPicture(results.items.ids[index], results.items.ids, results.items.all),
  onSight: (ids) => {
    clearTimeout(naming);
    naming = setTimeout(
      () =>
        results.name(ids).then(
          (fresh) => fresh && grid.relabel(),
          () => {},
        ),
      120,
    );
  },
});

/** An answer has come. */
function shown(items, what) {
  unanswered = false;
  if (what === "gone") return results.ask(place.question, { fresh: true });
  byId("grid").hidden = !items.all; // first: what is hidden has no width to lay rows out in
  grid.show(items, { grow: what === "rest" });
  through(items.ids, items.all);
  if (what !== "rest") summarise(items);
  if (back !== null && items.total < items.all) results.whole(); // the place to go back to may be far down
  if (back !== null && (what === "rest" || items.total === items.all)) {
    scrollTo(0, back);
    back = null;
    restored();
  } else if (back === null && what !== "rest") scrollTo(0, 0);
  if (entering && results.answers(place.question)) {
    entering = false;
    if (items.total && document.activeElement === byId("q")) grid.focus(0);
  }
}

function summarise({ answer, all, scores }) {
  const title = byId("search-title");
  const asked = place.question.text.trim() || place.question.terms.length;
  title.replaceChildren(el("strong", {}, plural(all, "picture")));
  document.querySelector(".arrange").hidden = !all;
  byId("order").options[0].textContent = asked ? "Best first" : "Newest first";
  byId("order").options[1].hidden = !asked;
  byId("order").value = place.question.order ?? "";
  const dull =
    scores && answer.best_sigma !== null && answer.searched >= 50 && answer.best_sigma < bestOfChance(answer.searched);
  byId("search-hint").hidden = !dull || !all;
  if (dull)
    byId("search-hint").textContent =
      "Nothing here stands out for this question: the best of these is no better than chance would give.";
  const blank = byId("search-blank");
  blank.hidden = Boolean(all);
  if (!all) blank.replaceChildren(...nothingFound(library));
  announceLater(all ? `${plural(all, "picture")}${asked ? ", best first" : ""}` : "No pictures");
}

let announcing = 0;
function announceLater(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => announce(text), 700);
}

let entering = false; // Enter was pressed before the answer came

/** To the first picture of the answer to what is asked now, as soon as it is there. */
export function enterGrid() {
  entering = place.view === "search" && !results.answers(place.question);
  if (place.view === "search" && !entering && results.items.total) grid.focus(0);
}

let unanswered = false;
let lacking = null; // the problem on show, where what helps depends on the library

function failed(problem) {
  grid.load();
  if (problem.code === "gone" && place.question.terms.some(({ upload }) => upload !== undefined)) {
    complain(
      new api.Problem("gone", "The dropped picture is no longer kept. Drop it again to go on searching with it."),
    );
    change({ terms: place.question.terms.filter(({ upload }) => upload === undefined) }, { replace: true });
    return;
  }
  if (!(problem instanceof api.Problem)) {
    complain(problem);
    return;
  }
  unanswered = true;
  if (results.answers(place.question)) {
    // What is shown is what was asked for, if from a moment ago.
    if (!(problem.code in api.LOST)) complain(problem, "Not all of it has come");
    return;
  }
  // Pictures of an earlier question under the words of this one would be taken for its answer.
  byId("search-title").replaceChildren("Pictures");
  byId("grid").hidden = true;
  byId("search-hint").hidden = true;
  document.querySelector(".arrange").hidden = true;
  byId("search-blank").hidden = false;
  byId("search-blank").replaceChildren(...notAnswered(problem, library, again));
  lacking = problem.code === "no-model" ? problem : null;
}

const again = () => results.ask(place.question, { fresh: true });

/** The program answers again; `anew`: it is another one, which knows nothing of what this one was asked. */
export function resume({ anew = false } = {}) {
  if (anew) results.forget();
  grid.retry();
  if (place.view === "search" && (unanswered || anew)) again();
}

/** Ask what the address says. `way` is how one came there: "go", "back", or "start" of the page. */
export function find(way, { scrolled = true } = {}) {
  // Who scrolls while the rest of a fresh page is on its way is not pulled back.
  if (way === "back") back = scrolled ? rememberedY() : null;
  else back = way === "start" ? rememberedY() || null : null;
  grid.hold();
  results.ask(place.question);
}

/** Scroll to where one was, where nothing has to be asked for it. */
export function restoreScroll() {
  scrollTo(0, rememberedY());
  restored();
}

/** What the library holds has become known, or has changed. */
export function learnLibrary(known) {
  library = known;
  if (place.view !== "search") return;
  if (results.items && !results.items.all) summarise(results.items);
  else if (unanswered && lacking) byId("search-blank").replaceChildren(...notAnswered(lacking, library, again));
}

/** The library has changed, `more` pictures have come. False where the page should ask anew when it gets there. */
export function offerNews(more) {
  if (place.view !== "search" || place.picture !== null) return false;
  // Pictures that jump about while one looks at them are a nuisance: only from the top, else on request.
  if (scrollY < 40 && !selection.size && !byId("grid").contains(document.activeElement)) again();
  else {
    const news = more > 0 ? `${plural(more, "new picture")}: show` : "The library has changed: show";
    byId("search-title").querySelector("button")?.remove();
    byId("search-title").append(el("button", { type: "button", class: "quiet", onclick: again }, news));
  }
  return true;
}

/** The large picture is closed: the focus goes to where it stands among the others. */
export function backToGrid(id) {
  if (place.view !== "search" || !results.items) return;
  const index = results.items.ids.indexOf(id);
  if (index >= 0) grid.focus(index);
}

export function startFound() {
  addEventListener("scroll", () => scrollY > 0 && results.whole(), { passive: true });
  try {
    sizeStep = Math.min(4, Math.max(0, Number(localStorage.getItem(STORE) ?? 2))) || 0;
  } catch {
    // the middle
  }
  const slider = byId("size");
  slider.value = String(sizeStep);
  slider.addEventListener("input", () => {
    sizeStep = Number(slider.value);
    const anchor = grid.firstInSight();
    grid.arrange();
    if (scrollY > 60) grid.reveal(anchor, "start");
    try {
      localStorage.setItem(STORE, String(sizeStep));
    } catch {
      // not remembered
    }
  });
  byId("order").addEventListener("change", (event) => change({ order: event.target.value || null }));
  byId("q").addEventListener("input", () => (entering = false));
  byId("q").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || place.view !== "search" || !results.items?.total) return;
    event.preventDefault();
    grid.focus(0);
  });
}

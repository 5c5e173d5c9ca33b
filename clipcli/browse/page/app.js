// The page as a whole: views, the grid of results, the state of the library.

import * as api from "./api.js";
import { copyPaths, exportChosen, startActions, tagChosen } from "./actions.js";
import { byId, count, el, icon, moment, plural } from "./dom.js";
import { drawDuplicates, startDuplicates } from "./duplicates.js";
import { drawFilters, offerFilters, startFilters, toggleFilters } from "./filters.js";
import { Grid } from "./grid.js";
import { openHelp, single, startKeys } from "./keys.js";
import { command, drawLibrary, startLibrary, tellRun } from "./library.js";
import { drawMap, startMap } from "./map.js";
import { announce, complain } from "./notices.js";
import { empty, filterCount, toRequest } from "./question.js";
import { Results, bestOfChance } from "./results.js";
import { go, onRoute, place, rememberedY, restored } from "./route.js";
import { change, drawSearchBar, startSearchBar } from "./searchbar.js";
import { Selection } from "./selection.js";
import { startSheet } from "./sheet.js";
import { drawViewer, openPicture, refreshFacts, startViewer, through } from "./viewer.js";

const SIZES = [104, 144, 196, 260, 340]; // heights of a row, in pixels
const STORE = "clip-size";
const TITLES = { search: "Pictures", map: "Map", duplicates: "Duplicates", library: "Library" };

const selection = new Selection();
const results = new Results(shown, failed);
const view = (name) => document.querySelector(`section.view[data-view="${name}"]`);
let state = null;
let back = null; // how far to scroll when the pictures are there
let seen = 0; // the library's count of changes that the page shows
let own = false; // a change of this page's own is under way
let learned = 0; // when the state of the library was last asked for
let trouble = () => {}; // takes away what was said of a search that failed
let sizeStep = 2;

const words = (id) => results.words.get(id);

function label(index) {
  const { ids, scores, all } = results.items;
  const known = words(ids[index]);
  const parts = [known?.name || `Picture ${ids[index]}`];
  if (known?.date) parts.push(moment(known.date));
  if (scores) parts.push(`likeness ${scores[index].toFixed(2)}`);
  parts.push(`${count(index + 1)} of ${count(all)}`);
  return parts.join(", ");
}

function caption(index) {
  const { ids, scores } = results.items;
  const known = words(ids[index])?.name ?? "";
  return scores ? `${scores[index].toFixed(2)}  ${known}` : known;
}

const rowHeight = () => (innerWidth <= 700 ? [84, 104, 124, 150, 190][sizeStep] : SIZES[sizeStep]);

let naming = 0;
const grid = new Grid(byId("grid"), {
  selection,
  label,
  caption,
  thumb: api.thumb,
  height: rowHeight,
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
  trouble();
  if (what === "gone") return results.ask(place.question, { fresh: true });
  grid.show(items, { grow: what === "rest" });
  through(items.ids, items.all);
  if (what !== "rest") summarise(items);
  if (back !== null && (what === "rest" || items.total === items.all)) {
    scrollTo(0, back);
    back = null;
    restored();
  } else if (back === null && what === "first") scrollTo(0, 0);
}

function summarise({ answer, all, scores }) {
  const title = byId("search-title");
  const asked = place.question.text.trim() || place.question.terms.length;
  title.replaceChildren(el("strong", {}, plural(all, "picture")));
  byId("grid").hidden = !all;
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
  if (!all) blank.replaceChildren(...nothing());
  announceLater(all ? `${plural(all, "picture")}${asked ? ", best first" : ""}` : "No pictures");
}

let announcing = 0;
function announceLater(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => announce(text), 700);
}

function nothing() {
  if (state?.library.pictures === 0)
    return [
      icon("image"),
      el("h2", {}, "This library is empty"),
      el(
        "p",
        {},
        "Tell clip where your pictures are. They stay where they are; only what is seen in them is written down.",
      ),
      command("clip embed ~/Pictures"),
    ];
  if (filterCount(place.question))
    return [
      icon("filter"),
      el("h2", {}, "No picture passes these filters"),
      el("p", {}, "Fewer of them let more through."),
      el(
        "button",
        { type: "button", class: "button", onclick: () => change({ filters: empty().filters }) },
        "Clear filters",
      ),
    ];
  return [
    icon("search"),
    el("h2", {}, "Nothing found"),
    el("p", {}, "Try other words, or a picture: drop one on this page."),
  ];
}

function failed(error) {
  if (error.code === "no-model") {
    byId("grid").hidden = true;
    byId("search-blank").hidden = false;
    byId("search-blank").replaceChildren(
      icon("info"),
      el("h2", {}, "These pictures cannot be searched by words yet"),
      el("p", {}, error.message),
      command("clip embed ~/Pictures"),
    );
    return;
  }
  if (error.code === "gone" && place.question.terms.some(({ upload }) => upload !== undefined)) {
    complain(
      new api.Problem("gone", "The dropped picture is no longer kept. Drop it again to go on searching with it."),
    );
    change({ terms: place.question.terms.filter(({ upload }) => upload === undefined) }, { replace: true });
    return;
  }
  trouble = complain(error, "The search failed");
}

// where one is

let asked = null;

function routed(now, before, way) {
  for (const link of document.querySelectorAll("[data-view]:is(a)")) {
    if (link.dataset.view === now.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const turned = way === "start" || now.view !== before.view;
  if (turned) {
    for (const section of document.querySelectorAll("section.view")) section.hidden = section.dataset.view !== now.view;
    if (now.view === "library") toggleFilters(false);
  }
  document.title = [now.question.text || (now.view === "search" ? "" : TITLES[now.view]), "clip"]
    .filter(Boolean)
    .join(" · ");
  if (turned && way === "go") scrollTo(0, 0);
  drawSearchBar();
  drawFilters();
  if (way === "back" || way === "start")
    back = now.picture === null && before.picture !== null && way === "back" ? null : rememberedY();
  if (way === "start" && !back) back = null; // who scrolls while the rest is on its way is not pulled back
  if (now.view === "search") {
    const request = JSON.stringify(toRequest(now.question, 0));
    if (request !== asked || turned) {
      if (way === "go" && request !== asked && turned === false) back = null;
      asked = request;
      results.ask(now.question);
    } else if (back !== null && before.picture === null) restore();
  } else {
    if (now.view === "map") drawMap(state);
    else if (now.view === "duplicates") drawDuplicates();
    else drawLibrary();
    restore();
  }
  drawViewer(before);
  if (turned && way === "go" && document.activeElement === document.body) byId("main").focus({ preventScroll: true });
}

function restore() {
  if (back !== null) scrollTo(0, back);
  back = null;
  restored();
}

/** The large picture is closed: the focus goes to where it stands among the others. */
function closed(id) {
  if (place.view !== "search" || !results.items) return;
  const index = results.items.ids.indexOf(id);
  if (index >= 0) grid.focus(index);
}

// the state of the library

async function learn() {
  learned = performance.now();
  try {
    state = await api.state();
    seen = state.change;
    offerFilters(state);
    drawLibrary(state);
    if (place.view === "map") drawMap(state);
    if (place.view === "search" && results.items && !results.items.all) summarise(results.items);
  } catch (error) {
    complain(error);
  }
}

let silent = 0; // how often in a row there was no answer
let lost = () => {};

async function watch() {
  let wait = 4000;
  try {
    if (!document.hidden) {
      const now = await api.run();
      lost();
      silent = 0;
      tellRun(now);
      if (now.live) wait = 1000;
      // A run changes the library every moment; nobody can look at that.
      if (!own && now.change !== seen && (!now.live || performance.now() - learned > 10000)) await changed(now);
    }
  } catch (error) {
    silent += 1;
    if (silent === 2) lost = complain(error);
  }
  setTimeout(watch, wait);
}

async function changed({ change: number }) {
  const before = state?.library.pictures;
  await learn();
  seen = number;
  if (!results.items) return;
  results.change = number;
  const more = (state?.library.pictures ?? 0) - (before ?? 0);
  if (place.view !== "search" || place.picture !== null) return (asked = null);
  // Pictures that jump about while one looks at them are a nuisance: only from the top, else on request.
  if (scrollY < 40 && !selection.size && !byId("grid").contains(document.activeElement))
    return results.ask(place.question, { fresh: true });
  const again = el(
    "button",
    { type: "button", class: "quiet", onclick: () => results.ask(place.question, { fresh: true }) },
    more > 0 ? `${plural(more, "new picture")}: show` : "The library has changed: show",
  );
  byId("search-title").append(again);
}

// beginning

function startViews() {
  for (const link of document.querySelectorAll("a[data-view], .brand")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a tab of its own
      event.preventDefault();
      if (link.classList.contains("brand")) go({ view: "search", question: empty(), picture: null });
      else go({ view: link.dataset.view, picture: null });
      scrollTo(0, 0); // also where one is there already
    });
  }
  addEventListener("scroll", () => document.body.classList.toggle("scrolled", scrollY > 4), { passive: true });
  const head = document.querySelector(".top");
  new ResizeObserver(() => document.documentElement.style.setProperty("--head", `${head.offsetHeight}px`)).observe(
    head,
  );
}

function startArranging() {
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
}

function toggleTheme() {
  globalThis.clipTheme.toggle();
  announce(globalThis.clipTheme.isDark() ? "dark" : "light");
}

startViews();
startArranging();
startSearchBar();
startFilters();
startSheet();
startActions(selection, () => (results.items?.scores ? results.items.token : null));
startViewer({ closed, selection, copy: copyPaths, single });
startDuplicates(view("duplicates"), selection);
startMap(view("map"));
startLibrary(view("library"));
byId("theme-button").addEventListener("click", toggleTheme);
byId("help-button").addEventListener("click", openHelp);
startKeys(
  {
    "/": () => byId("q").focus(),
    "?": openHelp,
    f: () => place.view !== "library" && toggleFilters(undefined, true),
    b: toggleTheme,
    t: tagChosen,
    c: () => selection.size && copyPaths([...selection.ids]),
    e: exportChosen,
    g: () => {},
    ArrowDown: () => place.view === "search" && results.items?.total && grid.focus(grid.current),
  },
  Object.fromEntries(
    Object.entries({ p: "search", m: "map", d: "duplicates", l: "library" }).map(([key, name]) => [
      key,
      () => go({ view: name, picture: null }),
    ]),
  ),
  () => (selection.size ? selection.clear() : toggleFilters(false)),
);
byId("q").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" || place.view !== "search" || !results.items?.total) return;
  event.preventDefault();
  grid.focus(0);
});
document.addEventListener("clip-tags", () => {
  own = true;
  refreshFacts();
  learn().finally(() => (own = false));
});
onRoute(routed);
routed(place, place, "start");
learn().then(watch);

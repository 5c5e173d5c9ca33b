// The page as a whole: which view is on show, and what is known of the library.

import * as api from "./api.js";
import { copyPaths, exportChosen, startActions, tagChosen } from "./actions.js";
import { startConnection } from "./connection.js";
import { byId } from "./dom.js";
import { drawDuplicates, duplicatesKey, forgetDuplicates, nameLibrary, startDuplicates } from "./duplicates.js";
import { drawFilters, offerFilters, startFilters, toggleFilters } from "./filters.js";
import {
  backToGrid,
  enterGrid,
  find,
  grid,
  learnLibrary,
  offerNews,
  restoreScroll,
  results,
  resume,
  selection,
  startFound,
} from "./found.js";
import { openHelp, single, startKeys } from "./keys.js";
import { fetchLacking, startLacking } from "./lacking.js";
import { drawLibrary, startLibrary, tellRun } from "./library.js";
import { drawMap, forgetMap, startMap } from "./map.js";
import { announce, complain, say } from "./notices.js";
import { empty, toRequest } from "./question.js";
import { go, onIgnored, onRoute, place } from "./route.js";
import { drawSearchBar, learnLimits, startSearchBar } from "./searchbar.js";
import { startSheet } from "./sheet.js";
import { drawViewer, refreshFacts, retryViewer, startViewer } from "./viewer.js";

const TITLES = { search: "", map: "Map", duplicates: "Duplicates", library: "Library" };
const CALM = 2500; // milliseconds; a run changes the library every moment, and the page follows at this pace at most

const view = (name) => document.querySelector(`section.view[data-view="${name}"]`);
let state = null;
let seen = 0; // the library's count of changes that the page shows
let own = false; // a change of this page's own is under way
let learned = 0; // when the state of the library was last asked for
let pace = CALM; // longer where the library takes a while to be counted
let server = null; // which program has answered last
let asked = null; // the question whose answer is in the grid

// where one is

function routed(now, before, way) {
  for (const link of document.querySelectorAll("a[data-view]")) {
    if (link.dataset.view === now.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const turned = way === "start" || now.view !== before.view;
  if (turned) {
    for (const section of document.querySelectorAll("section.view")) section.hidden = section.dataset.view !== now.view;
    if (now.view === "library") toggleFilters(false);
    if (way === "go") scrollTo(0, 0);
  }
  document.title = [now.question.text || TITLES[now.view], "clip"].filter(Boolean).join(" · ");
  drawSearchBar();
  drawFilters();
  const closing = way === "back" && before.picture !== null && now.picture === null;
  if (now.view === "search") {
    const request = JSON.stringify(toRequest(now.question, 0));
    if (request !== asked || turned) find(way, { scrolled: !closing });
    else if (way === "back" && !closing) restoreScroll();
    asked = request;
  } else {
    if (now.view === "library") drawLibrary();
    else drawView();
    if (way === "back" && !closing) restoreScroll();
  }
  drawViewer(before);
  if (turned && way === "go" && document.activeElement === document.body) byId("main").focus({ preventScroll: true });
}

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
  const measure = () => document.documentElement.style.setProperty("--head", `${head.offsetHeight}px`);
  new ResizeObserver(measure).observe(head);
}

// the state of the library

/** Ask what the library holds; gives whether that was answered. */
async function learn() {
  learned = performance.now();
  try {
    state = await api.state();
    pace = Math.max(CALM, 10 * (performance.now() - learned));
    seen = state.change;
    offerFilters(state);
    drawLibrary(state);
    learnLibrary(state.library);
    learnLimits(state.limits);
    nameLibrary(state.library);
    if (place.view === "map") drawMap(state);
    return true;
  } catch (error) {
    if (!(error.code in api.LOST)) complain(error); // that is said at the head of the page
    return false;
  }
}

/** What the program behind the page says of itself, every second. */
async function told(now) {
  if (server !== null && now.server !== server && !(await restarted())) return;
  server = now.server;
  tellRun(now);
  if (!state) await learn();
  else if (!own && now.change !== seen && (!now.live || performance.now() - learned > pace)) await changed(now.change);
}

async function changed(number) {
  const before = state?.library.pictures ?? 0;
  await learn();
  seen = number;
  results.change = number; // answers of before are not shown again
  forgetDuplicates();
  forgetMap();
  if (results.items && !offerNews((state?.library.pictures ?? 0) - before)) asked = null;
}

/** Another program answers than before: all that the last one was asked has to be asked anew. */
async function restarted() {
  const before = state;
  if (!(await learn())) return false;
  if (before && before.version !== state.version) location.reload(); // its page may be another one as well
  forgetDuplicates();
  forgetMap();
  if (before && before.library.path !== state.library.path) {
    selection.clear(); // the numbers of its pictures mean others here
    results.forget();
    go({ view: "search", question: empty(), picture: null }, { replace: true });
    say(`Another library is open here now: ${state.library.name}.`);
  } else {
    resume({ anew: true });
    drawView();
  }
  return true;
}

/** There is contact again. */
function back() {
  resume();
  drawView();
  retryViewer();
  fetchLacking();
}

/** Have a view ask for what it does not have. */
function drawView() {
  if (place.view === "map") drawMap(state);
  else if (place.view === "duplicates") drawDuplicates();
}

document.addEventListener("clip-tags", () => {
  own = true;
  refreshFacts();
  learn().finally(() => (own = false));
});

// beginning

function tellIgnored(parts) {
  const short = (part) => (part.length > 60 ? `${[...part].slice(0, 59).join("")}…` : part);
  const some = parts.slice(0, 5).map(short).join("; ") + (parts.length > 5 ? "; …" : "");
  say(`Not understood in this page's address, and left out: ${some.toWellFormed?.() ?? some}`, { error: true });
}

function toggleTheme() {
  globalThis.clipTheme.toggle();
  announce(globalThis.clipTheme.isDark() ? "dark" : "light");
}

startLacking();
startViews();
startFound();
startSearchBar(enterGrid);
startFilters();
startSheet();
startActions(selection, () => (results.items?.scores ? results.items.token : null));
startViewer({ closed: backToGrid, selection, copy: copyPaths, single });
startDuplicates(view("duplicates"), selection);
startMap(view("map"));
startLibrary(view("library"));
byId("theme-button").addEventListener("click", toggleTheme);
byId("help-button").addEventListener("click", openHelp);
const turnTo = (name) => () => go({ view: name, picture: null });
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
    ...Object.fromEntries(
      [..."jkdxu"].map((letter) => [letter, () => place.view === "duplicates" && duplicatesKey(letter)]),
    ),
    ArrowDown: () => place.view === "search" && results.items?.total && grid.focus(grid.current),
  },
  { p: turnTo("search"), m: turnTo("map"), d: turnTo("duplicates"), l: turnTo("library") },
  () => (selection.size ? selection.clear() : toggleFilters(false)),
);
onRoute(routed);
onIgnored(tellIgnored);
routed(place, place, "start");
learn().then(() => startConnection({ told, back }));

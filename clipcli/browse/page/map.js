// The map: every picture a point, like near like. Clusters are named by the person's own words.

import * as api from "./api.js";
import { count, el, icon, iconButton, plural } from "./dom.js";
import { nothingFound } from "./nothing.js";
import { announce, complain } from "./notices.js";
import { empty, filtersOf } from "./question.js";
import { go, place } from "./route.js";
import { paint } from "./mapdrawing.js";
import { Eye, follow } from "./mapeye.js";
import { gather, keepWords, rememberedWords, wordsFor } from "./mapgroups.js";
import { makeLegend } from "./maplegend.js";
import { Preview, approach, nearest } from "./mappointing.js";
import { openPicture } from "./viewer.js";

let root;
let canvas;
let eye;
let legend;
let preview;
let waiting; // what stands over the canvas while there is nothing on it
let state = null; // of the library: its tags, whether there is UMAP
let key = null; // of the map that is drawn, or being drawn
let map = null; // the answer, with `names` of its clusters and `visible` thumbnails
let labelled = null; // the words that its clusters were named with
let stopper = null;
let frame = 0;
let marked = -1; // the point under the pointer

export function startMap(section) {
  root = section;
  canvas = el("canvas", {
    tabindex: "0",
    role: "application",
    "aria-roledescription": "map",
    "aria-label": "Map of the pictures",
  });
  const near = el(
    "div",
    { class: "near" },
    iconButton("plus", "Closer", () => eye.by(1.6)),
    iconButton("minus", "Farther", () => eye.by(1 / 1.6)),
    iconButton("fit", "Whole map", () => eye.whole()),
  );
  preview = new Preview(canvas);
  waiting = el("div", { class: "waiting" });
  const box = el("div", { class: "canvas" }, canvas, near, preview.element, waiting);
  legend = makeLegend({
    words: (text) => {
      keepWords(text);
      go({ words: text });
    },
    draw: (method) => go({ draw: method }),
    approach: ({ clusters, title }) => announce(`${title}: ${plural(approach(map, eye, clusters), "picture")}`),
    alike: ({ examples }) =>
      go({
        question: { ...empty(), terms: examples.slice(0, 6).map((id) => ({ weight: 1, id })) },
        view: "search",
      }),
  });
  root.append(el("div", { class: "chart" }, box, legend.element));
  new ResizeObserver(redraw).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("clip-theme", redraw);
  eye = new Eye(canvas, redraw);
  follow(canvas, eye, {
    hover: (x, y) => hover(at(x, y, 12), x, y),
    leave: () => hover(-1),
    open: (x, y, reach) => open(at(x, y, reach)),
  });
  canvas.addEventListener("keydown", pressed);
}

/** The view is on show, or what it depends on has changed. */
export function drawMap(known) {
  state = known ?? state;
  if (place.words === null && rememberedWords()) return go({ words: rememberedWords() }, { replace: true });
  legend.showWords(place.words ?? "");
  legend.showMethod(place.draw, Boolean(state?.umap));
  const wanted = JSON.stringify([place.draw, filtersOf(place.question)]);
  if (wanted !== key) ask(wanted);
  else {
    if (map && ownWords().join() !== labelled) label(); // others, or the tags have become known
    redraw();
  }
}

/** The map may not hold any longer: the next time the view is on show it is asked for again. */
export const forgetMap = () => {
  key = null;
};

const ownWords = () => wordsFor(place.words ?? "", state?.tags);

async function ask(wanted) {
  key = wanted;
  stopper?.abort();
  stopper = new AbortController();
  const bar = el("progress", { "aria-label": "Drawing the map" });
  waiting.hidden = false;
  waiting.replaceChildren(bar, el("p", {}, "Drawing the map…"));
  try {
    const told = ({ done, total }) => {
      if (!total) return;
      bar.max = total;
      bar.value = done;
    };
    const answer = await api.map(place.draw, filtersOf(place.question), told, stopper.signal);
    map = { ...answer, names: new Map() };
    labelled = null;
    eye.whole();
    marked = -1;
    waiting.hidden = answer.ids.length > 0;
    if (!answer.ids.length)
      waiting.replaceChildren(icon("map"), el("p", {}, "There is nothing to draw: no picture here has a vector."));
    const all = plural(answer.total, "picture");
    const summary = answer.total > answer.ids.length ? `${count(answer.ids.length)} of ${all}` : all;
    legend.say(summary);
    announce(`The map is drawn: ${summary}, ${plural(answer.clusters.length, "group")}`);
    drawGroups();
    await label();
  } catch (error) {
    if (error.name === "AbortError") return;
    key = null;
    map = null;
    legend.showGroups([]);
    legend.say("");
    waiting.hidden = false;
    if (state?.library.pictures === 0)
      waiting.replaceChildren(el("div", { class: "blank" }, ...nothingFound(state.library)));
    else
      waiting.replaceChildren(
        icon("map"),
        el("p", {}, error.message),
        el("button", { type: "button", class: "button", onclick: () => drawMap() }, "Try again"),
      );
    redraw();
  }
}

async function label() {
  if (!map) return;
  const asked = map;
  const words = ownWords();
  labelled = words.join();
  legend.noteWords("");
  let named = [];
  try {
    if (map.clusters.length && words.length) named = (await api.mapLabels(map.job, words)).clusters;
  } catch (error) {
    if (error.code === "gone") {
      key = null;
      drawMap();
    } else if (!(error.code in api.LOST)) complain(error, "The groups cannot be named");
    return;
  }
  if (asked !== map || labelled !== words.join()) return;
  const fitting = named.filter(({ labels }) => labels.length);
  map.names = new Map(fitting.map(({ cluster, labels }) => [cluster, labels[0].word]));
  const none = map.clusters.length - fitting.length;
  if (place.words && none)
    legend.noteWords(
      fitting.length ? `None of your words fits ${plural(none, "group")}.` : "None of your words fits any group here.",
    );
  drawGroups();
  redraw();
}

const named = (cluster) => map.names.get(cluster) ?? `Group ${cluster + 1}`;

const drawGroups = () => legend.showGroups(gather(map, named));

function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (root.hidden || !canvas.clientWidth) return;
    paint({ canvas, map, eye, side: eye.side(), colours: legend.colours(), marked, named, again: redraw });
  });
}

const at = (x, y, reach) => nearest({ map, eye, canvas, x, y, reach });

function open(index) {
  if (index < 0) return;
  const cluster = map.cluster[index];
  openPicture(
    map.ids[index],
    map.ids.filter((_, other) => map.cluster[other] === cluster),
  );
}

function hover(index, x, y) {
  if (index !== marked) {
    marked = index;
    redraw();
  }
  if (index < 0) preview.show(-1);
  else preview.show(map.ids[index], x, y, named(map.cluster[index]));
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  const way = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key];
  if (way) eye.shift(...way);
  else if (event.key === "+" || event.key === "=") eye.by(1.6);
  else if (event.key === "-") eye.by(1 / 1.6);
  else if (event.key === "0") eye.whole();
  else if (event.key === "Enter") open(at(width / 2, height / 2, Math.max(width, height)));
  else return;
  event.preventDefault();
  event.stopPropagation();
}

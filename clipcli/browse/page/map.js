// The map: every picture a point, like near like. Clusters are named by the person's own words.

import * as api from "./api.js";
import { count, el, icon, iconButton, name, plural } from "./dom.js";
import { announce, complain } from "./notices.js";
import { empty, filtersOf } from "./question.js";
import { go, place } from "./route.js";
import { paint } from "./mapdrawing.js";
import { Eye, follow } from "./mapeye.js";
import { gather, keepWords, rememberedWords, wordsFor } from "./mapgroups.js";
import { openPicture } from "./viewer.js";

const SPAN = 10000; // coordinates of the answer go from 0 to this

let root;
let state = null;
let method = "pca";
let key = null;
let map = null; // the answer, with `names` of its clusters and `visible` thumbnails
let stopper = null;
let parts = null;
let eye;
let frame = 0;
let marked = -1; // the point under the pointer

export function startMap(section) {
  root = section;
  const canvas = el("canvas", {
    tabindex: "0",
    role: "application",
    "aria-roledescription": "map",
    "aria-label": "Map of the pictures",
  });
  const preview = el("div", { class: "preview", hidden: true });
  const near = el(
    "div",
    { class: "near" },
    iconButton("plus", "Closer", () => eye.by(1.6)),
    iconButton("minus", "Farther", () => eye.by(1 / 1.6)),
    iconButton("fit", "Whole map", () => eye.whole()),
  );
  const waiting = el("div", { class: "waiting" });
  const box = el("div", { class: "canvas" }, canvas, near, preview, waiting);
  const field = el("textarea", {
    id: "map-words",
    rows: "3",
    maxlength: "8000",
    placeholder: "beach, mountains, birthday, receipts",
    spellcheck: "false",
  });
  field.value = rememberedWords();
  const form = el(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        keepWords(field.value);
        label();
      },
    },
    el("label", { class: "field", for: "map-words" }, el("span", {}, "Your words for what is there")),
    field,
    el("button", { type: "submit", class: "button" }, "Name the groups"),
  );
  const groups = el("ul", { class: "groups" });
  const segments = el("div", {
    class: "segments",
    role: "radiogroup",
    "aria-label": "How the map is drawn",
    hidden: true,
  });
  const summary = el("p", { class: "soft" });
  const swatches = el(
    "div",
    { class: "unseen", "aria-hidden": "true" },
    Array.from({ length: 8 }, (_, index) => el("span", { class: `swatch swatch-${index}` })),
  );
  const legend = el(
    "div",
    { class: "legend", role: "region", "aria-label": "Groups", tabindex: "0" },
    el("div", {}, el("h1", { id: "map-title" }, "Map"), summary),
    segments,
    form,
    groups,
    swatches,
  );
  root.append(el("div", { class: "chart" }, box, legend));
  parts = { canvas, preview, waiting, box, field, groups, segments, summary, swatches };
  new ResizeObserver(redraw).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("clip-theme", redraw);
  eye = new Eye(canvas, redraw);
  follow(canvas, eye, {
    hover: (x, y) => hover(nearest(x, y, 12), x, y),
    leave: () => hover(-1),
    open: (x, y, reach) => open(nearest(x, y, reach)),
  });
  canvas.addEventListener("keydown", pressed);
}

export function drawMap(known) {
  state = known ?? state;
  drawMethods();
  const wanted = JSON.stringify([method, filtersOf(place.question)]);
  if (wanted !== key) ask(wanted);
  else {
    if (map && !map.names.size) label(); // the tags have become known
    redraw();
  }
}

/** The map may not hold any longer: the next time the view is on show it is asked for again. */
export const forgetMap = () => {
  key = null;
};

function drawMethods() {
  const { segments } = parts;
  segments.hidden = !state?.umap;
  if (segments.hidden || segments.childElementCount) return;
  const kind = (value, words) =>
    el(
      "label",
      {},
      el("input", {
        type: "radio",
        name: "method",
        checked: value === method,
        onchange: () => {
          method = value;
          drawMap();
        },
      }),
      el("span", {}, words),
    );
  segments.append(kind("pca", "Overview"), kind("umap", "Neighbours"));
}

async function ask(wanted) {
  key = wanted;
  stopper?.abort();
  stopper = new AbortController();
  const { waiting, summary, groups } = parts;
  const bar = el("progress", { "aria-label": "Drawing the map" });
  waiting.hidden = false;
  waiting.replaceChildren(bar, el("p", {}, "Drawing the map…"));
  try {
    const answer = await api.map(
      method,
      filtersOf(place.question),
      ({ done, total }) => {
        if (!total) return;
        bar.max = total;
        bar.value = done;
      },
      stopper.signal,
    );
    map = { ...answer, names: new Map() };
    eye.whole();
    marked = -1;
    waiting.hidden = answer.ids.length > 0;
    if (!answer.ids.length)
      waiting.replaceChildren(icon("map"), el("p", {}, "There is nothing to draw: no picture here has a vector."));
    summary.textContent =
      answer.total > answer.ids.length
        ? `${count(answer.ids.length)} of ${plural(answer.total, "picture")}`
        : plural(answer.total, "picture");
    announce(`The map is drawn: ${summary.textContent}, ${plural(answer.clusters.length, "group")}`);
    drawGroups();
    await label();
  } catch (error) {
    if (error.name === "AbortError") return;
    key = null;
    map = null;
    groups.replaceChildren();
    summary.textContent = "";
    waiting.hidden = false;
    waiting.replaceChildren(
      icon("map"),
      el("p", {}, error.message),
      el("button", { type: "button", class: "button", onclick: () => drawMap() }, "Try again"),
    );
    redraw();
  }
}

async function label() {
  const own = wordsFor(parts.field.value, state?.tags);
  if (!map?.clusters.length || !own.length) return;
  const asked = map;
  try {
    const { clusters } = await api.mapLabels(map.job, own);
    if (asked !== map) return;
    map.names = new Map(
      clusters.filter(({ labels }) => labels.length).map(({ cluster, labels }) => [cluster, labels[0].word]),
    );
    drawGroups();
    redraw();
  } catch (error) {
    if (error.code === "gone") {
      key = null;
      drawMap();
    } else complain(error, "The groups cannot be named");
  }
}

const named = (cluster) => map.names.get(cluster) ?? `Group ${cluster + 1}`;

function drawGroups() {
  parts.groups.replaceChildren(
    ...gather(map, named).map(({ title, clusters, number, examples, colour }) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", title: "Look closer", onclick: () => approach(clusters, title) },
          el("span", { class: `swatch swatch-${colour}` }),
          name(title),
          el("span", { class: "number soft" }, count(number)),
        ),
        iconButton("like", `Find alike: ${title}`, () => alike(examples)),
      ),
    ),
  );
}

const alike = (ids) =>
  go({ question: { ...empty(), terms: ids.slice(0, 6).map((id) => ({ weight: 1, id })) }, view: "search" });

/** Fill the window with a group, without its outliers. */
function approach(clusters, title) {
  const members = [...map.cluster.keys()].filter((index) => clusters.includes(map.cluster[index]));
  eye.fill(
    members.map((index) => map.x[index] / SPAN),
    members.map((index) => map.y[index] / SPAN),
  );
  announce(`${title}: ${plural(members.length, "picture")}`);
}

function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (root.hidden || !parts.canvas.clientWidth) return;
    const colours = [...parts.swatches.children].map((swatch) => getComputedStyle(swatch).backgroundColor);
    paint({ canvas: parts.canvas, map, eye, side: eye.side(), colours, marked, named, again: redraw });
  });
}

/** The point nearest to a place of the canvas, within so many pixels; -1 where there is none. */
function nearest(x, y, reach) {
  if (!map) return -1;
  const { clientWidth: width, clientHeight: height } = parts.canvas;
  const scale = eye.side() / SPAN;
  const left = width / 2 - eye.x * eye.side();
  const top = height / 2 - eye.y * eye.side();
  // What is drawn as a thumbnail is hit anywhere on it.
  const hit = (map.visible ?? []).find(
    (box) => Math.abs(box.x - x) <= box.width / 2 && Math.abs(box.y - y) <= box.height / 2,
  );
  if (hit) return hit.index;
  let best = -1;
  let distance = reach * reach;
  for (let index = 0; index < map.ids.length; index += 1) {
    const dx = left + map.x[index] * scale - x;
    const dy = top + map.y[index] * scale - y;
    if (dx * dx + dy * dy < distance) {
      distance = dx * dx + dy * dy;
      best = index;
    }
  }
  return best;
}

function open(index) {
  if (index < 0) return;
  const cluster = map.cluster[index];
  openPicture(
    map.ids[index],
    map.ids.filter((_, other) => map.cluster[other] === cluster),
  );
}

function hover(index, x, y) {
  const { preview, canvas, box } = parts;
  canvas.classList.toggle("pointing", index >= 0);
  if (index !== marked) {
    marked = index;
    redraw();
    if (index >= 0)
      preview.replaceChildren(
        el("img", { src: api.thumb(map.ids[index], 320), alt: "" }),
        name(named(map.cluster[index])),
      );
  }
  preview.hidden = index < 0;
  if (index < 0) return;
  preview.style.left = `${Math.min(x + 18, box.clientWidth - 178)}px`;
  preview.style.top = `${Math.max(8, Math.min(y + 14, box.clientHeight - 210))}px`;
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { clientWidth: width, clientHeight: height } = parts.canvas;
  const way = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key];
  if (way) eye.shift(...way);
  else if (event.key === "+" || event.key === "=") eye.by(1.6);
  else if (event.key === "-") eye.by(1 / 1.6);
  else if (event.key === "0") eye.whole();
  else if (event.key === "Enter") open(nearest(width / 2, height / 2, Math.max(width, height)));
  else return;
  event.preventDefault();
  event.stopPropagation();
}

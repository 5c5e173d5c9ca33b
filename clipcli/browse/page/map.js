// The map: every picture a point, like near like. Clusters are named by the person's own words.

import * as api from "./api.js";
import { count, el, icon, iconButton, name, plural } from "./dom.js";
import { announce, complain } from "./notices.js";
import { empty, filtersOf } from "./question.js";
import { go, place } from "./route.js";
import { paint } from "./mapdrawing.js";
import { openPicture } from "./viewer.js";

const STORE = "clip-words";
const MOST = 400;

let root;
let state = null;
let method = "pca";
let key = null;
let map = null; // the answer, with `names` of its clusters and `visible` thumbnails
let stopper = null;
let parts = null;
const eye = { x: 0.5, y: 0.5, zoom: 1 }; // the middle of the window in the map (0 to 1), and the scale: 1 shows all
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
    iconButton("plus", "Closer", () => zoomBy(1.6)),
    iconButton("minus", "Farther", () => zoomBy(1 / 1.6)),
    iconButton("fit", "Whole map", fit),
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
  field.value = remembered();
  const form = el(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        keep(field.value);
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
  point(canvas);
  canvas.addEventListener("keydown", pressed);
}

const remembered = () => {
  try {
    return localStorage.getItem(STORE) ?? "";
  } catch {
    return "";
  }
};

function keep(words) {
  try {
    localStorage.setItem(STORE, words);
  } catch {
    // not remembered
  }
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
    fit();
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

/** The words as typed; without any, the tags of the library. */
function words() {
  const typed = parts.field.value
    .split(/[\n,;]+/)
    .map((word) => word.trim().slice(0, 100))
    .filter(Boolean);
  return [...new Set(typed.length ? typed : (state?.tags ?? []).map((tag) => tag.name.slice(0, 100)))].slice(0, 500);
}

async function label() {
  const own = words();
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

/** Clusters of one name are one group: with one colour, one line, most pictures first. */
function gather() {
  const byName = new Map();
  for (const { cluster, count: number, examples } of map.clusters) {
    const title = named(cluster);
    const group = byName.get(title) ?? { title, clusters: [], number: 0, examples: [] };
    group.clusters.push(cluster);
    group.number += number;
    group.examples.push(...examples.slice(0, 2));
    byName.set(title, group);
  }
  const groups = [...byName.values()].sort((a, b) => b.number - a.number);
  map.colour = [];
  groups.forEach((group, index) => {
    for (const cluster of group.clusters) map.colour[cluster] = index % 8;
  });
  return groups;
}

function drawGroups() {
  parts.groups.replaceChildren(
    ...gather().map(({ title, clusters, number, examples }, index) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", title: "Look closer", onclick: () => approach(clusters, title) },
          el("span", { class: `swatch swatch-${index % 8}` }),
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

// the eye

function side() {
  const { clientWidth, clientHeight } = parts.canvas;
  return Math.min(clientWidth, clientHeight) * 0.92 * eye.zoom;
}

function fit() {
  Object.assign(eye, { x: 0.5, y: 0.5, zoom: 1 });
  redraw();
}

function zoomBy(factor, x = parts.canvas.clientWidth / 2, y = parts.canvas.clientHeight / 2) {
  const before = side();
  const { clientWidth: width, clientHeight: height } = parts.canvas;
  eye.zoom = Math.min(MOST, Math.max(0.5, eye.zoom * factor));
  const after = side();
  // What lies under x, y stays there.
  eye.x += (x - width / 2) * (1 / before - 1 / after);
  eye.y += (y - height / 2) * (1 / before - 1 / after);
  redraw();
}

function shift(x, y) {
  eye.x = Math.min(1.2, Math.max(-0.2, eye.x - x / side()));
  eye.y = Math.min(1.2, Math.max(-0.2, eye.y - y / side()));
  redraw();
}

/** Fill the window with a group, without its outliers. */
function approach(clusters, title) {
  const xs = [];
  const ys = [];
  map.cluster.forEach((other, index) => {
    if (!clusters.includes(other)) return;
    xs.push(map.x[index]);
    ys.push(map.y[index]);
  });
  const inner = (values) => {
    values.sort((a, b) => a - b);
    return [values[Math.floor(values.length * 0.05)] / 10000, values[Math.ceil(values.length * 0.95) - 1] / 10000];
  };
  const [left, right] = inner(xs);
  const [top, bottom] = inner(ys);
  Object.assign(eye, {
    x: (left + right) / 2,
    y: (top + bottom) / 2,
    zoom: Math.min(60, 0.8 / Math.max(0.01, right - left, bottom - top)),
  });
  announce(`${title}: ${plural(xs.length, "picture")}`);
  redraw();
}

function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (root.hidden || !parts.canvas.clientWidth) return;
    const colours = [...parts.swatches.children].map((swatch) => getComputedStyle(swatch).backgroundColor);
    paint({ canvas: parts.canvas, map, eye, side: side(), colours, marked, named, again: redraw });
  });
}

/** The point nearest to a place of the canvas, within so many pixels; -1 where there is none. */
function nearest(x, y, reach) {
  if (!map) return -1;
  const { clientWidth: width, clientHeight: height } = parts.canvas;
  const scale = side() / 10000;
  const left = width / 2 - eye.x * side();
  const top = height / 2 - eye.y * side();
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

function point(canvas) {
  const pointers = new Map();
  let moved = 0;
  const within = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoomBy(Math.exp(-(event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY) / 300), ...within(event));
    },
    { passive: false },
  );
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, within(event));
    if (pointers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = within(event);
    const before = pointers.get(event.pointerId);
    if (!before) return event.pointerType === "touch" ? undefined : hover(nearest(...now, 12), ...now);
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
      const far = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
      zoomBy(far(now, other) / far(before, other), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      moved = 99;
    } else {
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (moved > 4) {
        hover(-1);
        canvas.classList.add("moving");
        shift(now[0] - before[0], now[1] - before[1]);
      }
    }
    pointers.set(event.pointerId, now);
  });
  const up = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    canvas.classList.remove("moving");
    if (event.type === "pointerup" && moved <= 4)
      open(nearest(...within(event), event.pointerType === "touch" ? 22 : 12));
  };
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, up);
  canvas.addEventListener("pointerleave", () => hover(-1));
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { clientWidth: width, clientHeight: height } = parts.canvas;
  const way = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key];
  if (way) shift(...way);
  else if (event.key === "+" || event.key === "=") zoomBy(1.6);
  else if (event.key === "-") zoomBy(1 / 1.6);
  else if (event.key === "0") fit();
  else if (event.key === "Enter") open(nearest(width / 2, height / 2, Math.max(width, height)));
  else return;
  event.preventDefault();
  event.stopPropagation();
}

// Pointing at the map: which picture lies under the pointer, and what is shown of it.

import { thumb } from "./api.js";
import { el, name } from "./dom.js";

const SPAN = 10000; // coordinates of a map go from 0 to this

/** The picture of `map` nearest to a place of the canvas, within so many pixels; -1 where there is none. */
export function nearest({ map, eye, canvas, x, y, reach }) {
  if (!map) return -1;
  const scale = eye.side() / SPAN;
  const left = canvas.clientWidth / 2 - eye.x * eye.side();
  const top = canvas.clientHeight / 2 - eye.y * eye.side();
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

/** Fill the window with some clusters, without their outliers; how many pictures those have. */
export function approach(map, eye, clusters) {
  const members = [...map.cluster.keys()].filter((index) => clusters.includes(map.cluster[index]));
  eye.fill(
    members.map((index) => map.x[index] / SPAN),
    members.map((index) => map.y[index] / SPAN),
  );
  return members.length;
}

/** A small picture beside the pointer. */
export class Preview {
  constructor(canvas) {
    this.canvas = canvas;
    this.element = el("div", { class: "preview", hidden: true });
    this.shown = -1;
  }

  /** Of the picture `id` at a place of the canvas, under the name of its group; none where `id` is -1. */
  show(id, x, y, title) {
    this.element.hidden = id < 0;
    this.canvas.classList.toggle("pointing", id >= 0);
    if (id >= 0 && id !== this.shown)
      this.element.replaceChildren(el("img", { src: thumb(id, 320), alt: "" }), name(title));
    this.shown = id;
    if (id < 0) return;
    this.element.style.left = `${Math.min(x + 18, this.canvas.clientWidth - 178)}px`;
    this.element.style.top = `${Math.max(8, Math.min(y + 14, this.canvas.clientHeight - 210))}px`;
  }
}

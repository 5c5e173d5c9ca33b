// The rows of the grid as elements: their cells, and the thumbnails in them.

import { el, icon } from "./dom.js";
import { shape } from "./justify.js";

export const GAP = 6; // pixels between pictures

/**
 * A row of pictures from `first` up to `end`; `top`, `height` and `width` in pixels. `cell(index, left, width)` makes one.
 * The last row is not `stretched`; elsewhere the last picture takes what rounding has left over.
 */
export function makeRow({ row, first, end, top, height, width, stretched, aspects, cell }) {
  const node = el("div", {
    role: "row",
    class: "row",
    "aria-rowindex": String(row + 1),
    dataset: { width: String(width) },
    style: { transform: `translateY(${top}px)`, height: `${height}px` },
  });
  let x = 0;
  for (let index = first; index < end; index += 1) {
    const left = Math.round(x);
    x += shape(aspects[index]) * height + GAP;
    const right = stretched && index === end - 1 ? width : Math.min(width, Math.round(x) - GAP);
    node.append(cell(index, left, right - left));
  }
  return node;
}

/** The picture `index` of the list, without its thumbnail; `words` are for a screen reader. */
export function makeCell({ index, id, left, width, words, caption, chosen, current }) {
  return el(
    "div",
    {
      role: "gridcell",
      class: "cell",
      tabindex: current ? "0" : "-1",
      "aria-selected": String(chosen),
      "aria-label": words,
      dataset: { index: String(index), id: String(id) },
      style: { left: `${left}px`, width: `${Math.max(1, width)}px` },
    },
    el("img", { alt: "", draggable: "false" }),
    el("span", { class: "caption", dir: "auto" }, caption),
    el("span", { class: "tick" }, icon("check")),
  );
}

/** Have a cell's thumbnail come, where it is not there and not on its way. */
export function fetchThumb(cell, address) {
  const picture = cell.firstChild;
  if (picture.hasAttribute("src")) return;
  picture.addEventListener("load", () => cell.classList.add("loaded"), { once: true });
  picture.addEventListener("error", () => cell.classList.add("broken"), { once: true });
  picture.src = address;
}

/** As if it had never been asked for. */
export function giveUpThumb(cell) {
  cell.classList.remove("broken");
  cell.firstChild.removeAttribute("src");
}

/** An image goes on loading after it has left the document, and keeps others waiting. */
export function giveUp(row) {
  for (const cell of row.children) if (!cell.firstChild.complete) cell.firstChild.removeAttribute("src");
}

export function dropRow(row) {
  giveUp(row);
  row.remove();
}

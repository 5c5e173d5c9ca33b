// The justified grid. Only the rows in sight (and a few around them) are in the document, so 100,000 pictures scroll as
// well as a hundred; the row that holds the focus stays, wherever one scrolls to.

import { el, icon } from "./dom.js";
import { pressed } from "./gridkeys.js";
import { justify, rowAt, shape } from "./justify.js";

export const GAP = 6;
const AROUND = 700; // pixels above and below the window that are drawn already
const QUICK = 4; // pixels per millisecond: faster, and thumbnails wait until the eye can follow
const SETTLED = 90; // milliseconds
const LONG_PRESS = 450; // milliseconds

/** An image goes on loading after it has left the document, and keeps others waiting. */
function giveUp(row) {
  for (const { firstChild: picture } of row.children) if (!picture.complete) picture.removeAttribute("src");
}

function drop(row) {
  giveUp(row);
  row.remove();
}

export class Grid {
  /**
   * `root` is an empty element; `options`: `thumb(id, pixels)` gives an address, `label(index)` the words for a cell,
   * `onOpen(index)`, `onAll()`, `onSight(ids)` when pictures come into sight, `selection` a Selection, `height()` the row height
   * asked for.
   */
  constructor(root, options) {
    this.root = root;
    this.options = options;
    this.items = { ids: [], aspects: [], total: 0 };
    this.layout = justify([], 0, 1, 1, GAP);
    this.rows = new Map(); // row number -> element
    this.current = 0; // the picture that has, or would get, the focus
    this.lastY = 0;
    this.lastTime = 0;
    root.setAttribute("role", "grid");
    root.setAttribute("aria-multiselectable", "true");
    root.classList.add("grid");
    addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.resized()).observe(root);
    root.addEventListener("click", (event) => this.clicked(event));
    root.addEventListener("keydown", (event) => pressed(this, event));
    root.addEventListener("focusin", (event) => this.focused(event));
    this.longPress();
    options.selection.listen(() => this.mark());
  }

  /** Show other pictures. `grow`: the first ones are the same, more have come. */
  show(items, { grow = false } = {}) {
    const held = !grow && this.root.contains(document.activeElement);
    this.items = items;
    if (!grow) {
      this.current = 0;
      this.clear();
    }
    this.arrange();
    if (held) this.root.querySelector(".cell")?.focus({ preventScroll: true });
  }

  /** Something more urgent is about to be asked: thumbnails on their way give up their connections until `load`. */
  hold() {
    for (const node of this.rows.values()) giveUp(node);
  }

  clear() {
    this.hold();
    this.root.replaceChildren();
    this.rows.clear();
  }

  arrange() {
    const width = this.root.clientWidth;
    if (!width) return;
    this.width = width;
    const { items } = this;
    const before = this.layout;
    const target = this.options.height();
    this.layout = justify(items.aspects, items.total, width, target, GAP);
    for (const [row, node] of this.rows) {
      // A row that the new layout has in the same place stays as it is: nothing flickers while a list grows.
      const same = ["starts", "tops"].every(
        (key) => before[key][row] === this.layout[key][row] && before[key][row + 1] === this.layout[key][row + 1],
      );
      if (!same || node.dataset.width !== String(width)) {
        drop(node);
        this.rows.delete(row);
      }
    }
    this.root.style.height = `${this.layout.height}px`;
    this.root.setAttribute("aria-rowcount", String(this.layout.heights.length));
    this.draw();
  }

  resized() {
    if (this.root.clientWidth === this.width || !this.root.clientWidth) return;
    const anchor = this.firstInSight();
    this.arrange();
    if (anchor && scrollY > 0) this.reveal(anchor, "start");
  }

  /** The place of the window in the grid's own pixels: [top, bottom]. */
  window() {
    const { top } = this.root.getBoundingClientRect();
    return [-top, innerHeight - top];
  }

  firstInSight() {
    const [top] = this.window();
    return top <= 0 ? 0 : (this.layout.starts[rowAt(this.layout.tops, top + 60)] ?? 0);
  }

  scrolled() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.root.isConnected || !this.root.offsetParent) return;
    const { tops, heights } = this.layout;
    const now = performance.now();
    const quick =
      Math.abs(scrollY - this.lastY) / Math.max(1, now - this.lastTime) > QUICK && now - this.lastTime < 200;
    this.lastY = scrollY;
    this.lastTime = now;
    const [top, bottom] = this.window();
    const wanted = new Set();
    if (heights.length) {
      const last = rowAt(tops, bottom + AROUND);
      for (let row = rowAt(tops, top - AROUND); row <= last; row += 1) wanted.add(row);
      if (this.root.contains(document.activeElement)) wanted.add(this.rowOf(this.current));
    }
    for (const [row, node] of this.rows) {
      if (wanted.has(row)) continue;
      drop(node);
      this.rows.delete(row);
    }
    const fresh = [];
    for (const row of wanted) {
      if (this.rows.has(row)) continue;
      const node = this.row(row);
      this.rows.set(row, node);
      fresh.push(node);
    }
    for (const node of fresh.sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)) {
      const next = this.rows.get(Number(node.ariaRowIndex)); // row numbers count from 1: this is the one after
      this.root.insertBefore(node, next?.isConnected ? next : this.after(node));
    }
    clearTimeout(this.settling);
    if (quick) this.settling = setTimeout(() => this.load(), SETTLED);
    else this.load();
  }

  /** The element before which a row belongs, so that the order of the document is that of the pictures. */
  after(node) {
    for (const other of this.root.children) if (Number(other.ariaRowIndex) > Number(node.ariaRowIndex)) return other;
    return null;
  }

  row(row) {
    const { starts, tops, heights } = this.layout;
    const [first, end] = [starts[row], starts[row + 1]];
    const height = heights[row];
    const node = el("div", {
      role: "row",
      class: "row",
      "aria-rowindex": String(row + 1),
      dataset: { width: String(this.width) },
      style: { transform: `translateY(${tops[row]}px)`, height: `${height}px` },
    });
    let x = 0;
    // The last row is not stretched; elsewhere the last picture takes what rounding has left over.
    const stretched = row < heights.length - 1;
    for (let index = first; index < end; index += 1) {
      const left = Math.round(x);
      x += shape(this.items.aspects[index]) * height + GAP;
      const right = stretched && index === end - 1 ? this.width : Math.min(this.width, Math.round(x) - GAP);
      node.append(this.cell(index, left, right - left));
    }
    return node;
  }

  cell(index, left, width) {
    const id = this.items.ids[index];
    const chosen = this.options.selection.has(id);
    return el(
      "div",
      {
        role: "gridcell",
        class: "cell",
        tabindex: index === this.current ? "0" : "-1",
        "aria-selected": String(chosen),
        "aria-label": this.options.label(index),
        dataset: { index: String(index), id: String(id) },
        style: { left: `${left}px`, width: `${Math.max(1, width)}px` },
      },
      el("img", { alt: "", draggable: "false" }),
      el("span", { class: "caption", dir: "auto" }, this.options.caption?.(index) ?? ""),
      el("span", { class: "tick" }, icon("check")),
    );
  }

  /** Fetch the thumbnails of what is drawn, and tell who wants to know what that is. */
  load() {
    const ids = [];
    for (const node of this.rows.values()) {
      for (const cell of node.children) {
        const picture = cell.firstChild;
        ids.push(Number(cell.dataset.id));
        if (picture.hasAttribute("src")) continue;
        picture.addEventListener("load", () => cell.classList.add("loaded"), { once: true });
        picture.addEventListener("error", () => cell.classList.add("broken"), { once: true });
        picture.src = this.options.thumb(ids.at(-1), node.clientHeight * devicePixelRatio);
      }
    }
    this.options.onSight?.(ids);
  }

  /** Words of cells in sight have become known. */
  relabel() {
    for (const cell of this.cells()) {
      const index = Number(cell.dataset.index);
      cell.setAttribute("aria-label", this.options.label(index));
      cell.querySelector(".caption").textContent = this.options.caption?.(index) ?? "";
    }
  }

  /** The selection has changed. */
  mark() {
    const { selection } = this.options;
    for (const cell of this.cells()) cell.setAttribute("aria-selected", String(selection.has(Number(cell.dataset.id))));
    this.root.classList.toggle("choosing", selection.size > 0);
  }

  *cells() {
    for (const node of this.rows.values()) yield* node.children;
  }

  rowOf(index) {
    return rowAt(this.layout.starts, index);
  }

  /** Scroll until a picture can be seen. */
  reveal(index, block = "nearest") {
    const row = this.rowOf(index);
    const { tops, heights } = this.layout;
    if (!heights.length) return;
    const head = document.querySelector(".top").offsetHeight + 12;
    const foot = 90; // the bar of actions
    const top = this.root.getBoundingClientRect().top + scrollY + tops[row];
    if (block === "start" || top - head < scrollY) scrollTo(0, top - head);
    else if (top + heights[row] + foot > scrollY + innerHeight) scrollTo(0, top + heights[row] + foot - innerHeight);
    this.draw();
  }

  focus(index) {
    this.current = Math.max(0, Math.min(this.items.total - 1, index));
    this.reveal(this.current);
    const row = this.rowOf(this.current);
    if (!this.rows.has(row)) this.draw();
    const cell = [...this.cells()].find((candidate) => Number(candidate.dataset.index) === this.current);
    cell?.focus({ preventScroll: true });
  }

  focused(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    this.current = Number(cell.dataset.index);
    for (const other of this.cells()) other.tabIndex = other === cell ? 0 : -1;
  }

  clicked(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    if (this.pressedLong) {
      this.pressedLong = false;
      return;
    }
    const index = Number(cell.dataset.index);
    const { selection } = this.options;
    this.current = index;
    cell.focus({ preventScroll: true });
    if (event.shiftKey) selection.range(this.items.ids, index);
    else if (event.ctrlKey || event.metaKey || selection.size || event.target.closest(".tick"))
      selection.toggle(this.items.ids, index);
    else this.options.onOpen(index);
  }

  /** A finger that stays selects, as on a telephone. */
  longPress() {
    let timer = 0;
    const stop = () => clearTimeout(timer);
    this.root.addEventListener("pointerdown", (event) => {
      const cell = event.target.closest(".cell");
      this.pressedLong = false;
      if (event.pointerType !== "touch" || !cell) return;
      timer = setTimeout(() => {
        this.pressedLong = true;
        this.options.selection.toggle(this.items.ids, Number(cell.dataset.index));
        navigator.vibrate?.(10);
      }, LONG_PRESS);
    });
    for (const kind of ["pointerup", "pointercancel", "pointerleave"]) this.root.addEventListener(kind, stop);
    addEventListener("scroll", stop, { passive: true });
    this.root.addEventListener("contextmenu", (event) => {
      if (this.pressedLong) event.preventDefault();
    });
  }
}

// The justified grid. Only the rows in sight (and a few around them) are in the document, so 100,000 pictures scroll as
// well as a hundred; the row that holds the focus stays, wherever one scrolls to.

import { pressed } from "./gridkeys.js";
import { followPointer } from "./gridpointer.js";
import { GAP, dropRow, fetchThumb, giveUp, giveUpThumb, makeCell, makeRow } from "./gridrows.js";
import { justify, rowAt } from "./justify.js";

const AROUND = 700; // pixels above and below the window that are drawn already
const QUICK = 4; // pixels per millisecond: faster, and thumbnails wait until the eye can follow
const SETTLED = 90; // milliseconds

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
    root.addEventListener("keydown", (event) => pressed(this, event));
    root.addEventListener("focusin", (event) => this.focused(event));
    followPointer(this);
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
        dropRow(node);
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
      dropRow(node);
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
    return makeRow({
      row,
      first: starts[row],
      end: starts[row + 1],
      top: tops[row],
      height: heights[row],
      width: this.width,
      stretched: row < heights.length - 1,
      aspects: this.items.aspects,
      cell: (index, left, width) => this.cell(index, left, width),
    });
  }

  cell(index, left, width) {
    const { selection, label, caption } = this.options;
    const id = this.items.ids[index];
    return makeCell({
      index,
      id,
      left,
      width,
      words: label(index),
      caption: caption?.(index) ?? "",
      chosen: selection.has(id),
      current: index === this.current,
    });
  }

  /** Fetch the thumbnails of what is drawn, and tell who wants to know what that is. */
  load() {
    const ids = [];
    for (const node of this.rows.values()) {
      const pixels = node.clientHeight * devicePixelRatio;
      for (const cell of node.children) {
        ids.push(Number(cell.dataset.id));
        fetchThumb(cell, this.options.thumb(ids.at(-1), pixels));
      }
    }
    this.options.onSight?.(ids);
  }

  /** Ask again for the thumbnails that did not come. */
  retry() {
    for (const cell of this.cells()) if (cell.classList.contains("broken")) giveUpThumb(cell);
    this.load();
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
}

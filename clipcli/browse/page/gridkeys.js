// Going through the grid with keys, and choosing on the way.

import { GAP } from "./gridrows.js";
import { shape } from "./justify.js";

/** A key has been pressed on a cell. */
export function pressed(grid, event) {
  if (event.altKey || !event.target.closest(".cell")) return;
  const { selection } = grid.options;
  const { ids } = grid.items;
  const whole = event.ctrlKey || event.metaKey;
  const goto = destination(grid, event.key, whole);
  if (goto !== null) {
    if (event.shiftKey) {
      if (selection.anchor === null) selection.toggle(ids, grid.current);
      grid.focus(goto);
      selection.range(ids, grid.current);
    } else grid.focus(goto);
  } else if (event.key === "Enter" && !whole) grid.options.onOpen(grid.current);
  else if ((event.key === " " || event.key === "x") && !whole) {
    if (event.shiftKey) selection.range(ids, grid.current);
    else selection.toggle(ids, grid.current);
  } else if (event.key === "a" && whole) grid.options.onAll();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** Where a key leads to, or null where it leads nowhere. */
function destination(grid, key, whole) {
  const { starts } = grid.layout;
  const row = grid.rowOf(grid.current);
  switch (key) {
    case "ArrowLeft":
      return grid.current - 1;
    case "ArrowRight":
      return grid.current + 1;
    case "ArrowUp":
      return beside(grid, row - 1);
    case "ArrowDown":
      return beside(grid, row + 1);
    case "PageUp":
      return beside(grid, Math.max(0, row - 3));
    case "PageDown":
      return beside(grid, Math.min(grid.layout.heights.length - 1, row + 3));
    case "Home":
      return whole ? 0 : starts[row];
    case "End":
      return whole ? grid.items.total - 1 : starts[row + 1] - 1;
    default:
      return null;
  }
}

/** The picture of another row that lies most nearly above or below the current one. */
function beside(grid, row) {
  const { starts, heights } = grid.layout;
  if (row < 0 || row >= heights.length) return grid.current;
  const here = middle(grid, grid.current);
  let best = starts[row];
  for (let index = starts[row]; index < starts[row + 1]; index += 1) {
    if (Math.abs(middle(grid, index) - here) < Math.abs(middle(grid, best) - here)) best = index;
  }
  return best;
}

/** Where the middle of a picture lies from the left, in pixels. */
function middle(grid, index) {
  const row = grid.rowOf(index);
  const height = grid.layout.heights[row];
  let x = 0;
  for (let other = grid.layout.starts[row]; other < index; other += 1)
    x += shape(grid.items.aspects[other]) * height + GAP;
  return x + (shape(grid.items.aspects[index]) * height) / 2;
}

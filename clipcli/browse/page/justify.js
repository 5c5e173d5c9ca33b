// Rows of equal width from pictures of different shapes: each row is scaled until it fits, near the height asked for.

// What a very narrow or very wide picture counts as: beyond, its thumbnail shows the middle.
const NARROWEST = 0.45;
const WIDEST = 3.2;

export const shape = (thousandths) => Math.min(WIDEST, Math.max(NARROWEST, (thousandths || 1000) / 1000));

/**
 * The rows of a justified grid. `aspects` has width / height in thousandths (N,). Returns `starts` (R + 1,), the first
 * picture of each row, `tops` (R + 1,) and `heights` (R,) in whole pixels; the last entries close the last row. Rows of the
 * first pictures do not depend on later ones, so a list may grow without what is shown moving.
 */
export function justify(aspects, total, width, target, gap) {
  const starts = [0];
  const tops = [0];
  const heights = [];
  let first = 0;
  let sum = 0;
  let top = 0;
  const close = (end, height) => {
    heights.push(height);
    top += height + gap;
    starts.push(end);
    tops.push(top);
    first = end;
    sum = 0;
  };
  for (let index = 0; index < total; index += 1) {
    const own = shape(aspects[index]);
    const before = sum;
    sum += own;
    const inside = index - first;
    const height = (width - inside * gap) / sum;
    if (height > target) continue;
    // Of the row with this picture and the row without it, the one nearer to the height asked for.
    const without = inside > 0 ? (width - (inside - 1) * gap) / before : Infinity;
    if (without - target < target - height) {
      close(index, Math.round(without));
      sum = own;
      if (width / own <= target) close(index + 1, Math.round(width / own));
    } else {
      close(index + 1, Math.round(height));
    }
  }
  if (first < total) close(total, Math.round(Math.min(target, (width - (total - first - 1) * gap) / sum)));
  return { starts, tops, heights, height: Math.max(0, top - gap) };
}

/** The row at a height: the last one whose top is not below it. */
export function rowAt(tops, y) {
  let low = 0;
  let high = tops.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (tops[middle] <= y) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

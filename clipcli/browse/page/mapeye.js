// Where one looks on the map: what is in the middle, how close one is, and the hand that moves it.

const CLOSEST = 400;
const FARTHEST = 0.5;
const STILL = 4; // pixels a hand may tremble and still mean a click
const MARGIN = 100; // pixels for the largest pictures of points at the edge, both sides together

/** `x` and `y` (0 to 1) are the middle of the window in the map; at a `zoom` of 1 all of it is seen. */
export class Eye {
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, x: 0.5, y: 0.5, zoom: 1 });
  }

  /** How many pixels the side of the map has. */
  side() {
    const shorter = Math.min(this.canvas.clientWidth, this.canvas.clientHeight);
    return Math.max(shorter - MARGIN, shorter / 2, 1) * this.zoom;
  }

  look(x, y, zoom) {
    Object.assign(this, { x, y, zoom });
    this.changed();
  }

  whole() {
    this.look(0.5, 0.5, 1);
  }

  /** Closer or farther; what lies under the point px, py of the canvas stays there. */
  by(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const before = this.side();
    this.zoom = Math.min(CLOSEST, Math.max(FARTHEST, this.zoom * factor));
    const change = 1 / before - 1 / this.side();
    this.look(this.x + (px - width / 2) * change, this.y + (py - height / 2) * change, this.zoom);
  }

  /** Move by pixels, not farther than a little beyond the edge. */
  shift(px, py) {
    const within = (value) => Math.min(1.2, Math.max(-0.2, value));
    this.look(within(this.x - px / this.side()), within(this.y - py / this.side()), this.zoom);
  }

  /** Fill the window with these points (coordinates from 0 to 1), but for the outermost twentieth on each side. */
  fill(xs, ys) {
    const inner = (values) => {
      values.sort((a, b) => a - b);
      return [values[Math.floor(values.length * 0.05)], values[Math.ceil(values.length * 0.95) - 1]];
    };
    const [left, right] = inner(xs);
    const [top, bottom] = inner(ys);
    this.look((left + right) / 2, (top + bottom) / 2, Math.min(60, 0.8 / Math.max(0.01, right - left, bottom - top)));
  }
}

/** Let mouse and fingers move the eye. `told`: `hover(x, y)`, `leave()`, `open(x, y, reach)`, in pixels of the canvas. */
export function follow(canvas, eye, told) {
  const pointers = new Map();
  let moved = 0;
  const within = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const apart = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
      eye.by(Math.exp(-step / 300), ...within(event));
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
    if (!before) {
      if (event.pointerType !== "touch") told.hover(...now);
      return;
    }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      eye.by(apart(now, other) / apart(before, other), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      moved = Infinity;
    } else {
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (moved > STILL) {
        told.leave();
        canvas.classList.add("moving");
        eye.shift(now[0] - before[0], now[1] - before[1]);
      }
    }
    pointers.set(event.pointerId, now);
  });
  const up = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    canvas.classList.remove("moving");
    if (event.type === "pointerup" && moved <= STILL)
      told.open(...within(event), event.pointerType === "touch" ? 22 : 12);
  };
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, up);
  canvas.addEventListener("pointerleave", told.leave);
}

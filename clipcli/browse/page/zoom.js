// Zooming and moving one picture: wheel, two fingers, double click, keys.

const MOST = 16;

export class Zoom {
  /** `frame` fills `stage` and is scaled within it. `changed(scale)` hears of every change. */
  constructor(stage, frame, changed) {
    this.stage = stage;
    this.frame = frame;
    this.changed = changed;
    this.pointers = new Map();
    this.moved = false;
    this.reset();
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => this.up(event));
    stage.addEventListener("dblclick", (event) => {
      if (event.target.closest("button")) return;
      const [x, y] = this.within(event);
      this.to(this.scale > 1 ? 1 : 2.5, x, y);
    });
  }

  reset() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.apply();
  }

  apply() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    // The picture never leaves the stage.
    this.x = Math.min(0, Math.max(width * (1 - this.scale), this.x));
    this.y = Math.min(0, Math.max(height * (1 - this.scale), this.y));
    this.frame.style.transform = this.scale === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.stage.classList.toggle("zoomed", this.scale > 1);
    this.changed?.(this.scale);
  }

  /** Scale, with the point x, y of the stage staying where it is. */
  to(scale, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const next = Math.min(MOST, Math.max(1, scale));
    this.x = x - ((x - this.x) * next) / this.scale;
    this.y = y - ((y - this.y) * next) / this.scale;
    this.scale = next;
    this.apply();
  }

  by(factor) {
    this.to(this.scale * factor);
  }

  shift(x, y) {
    this.x += x;
    this.y += y;
    this.apply();
  }

  within(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  wheel(event) {
    event.preventDefault();
    const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.to(this.scale * Math.exp(-step / 300), ...this.within(event));
  }

  down(event) {
    if (event.target.closest("button")) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.within(event));
    this.start = this.within(event);
    this.moved = false;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.within(event);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
      const factor = distance(now, other) / Math.max(1, distance(before, other));
      this.to(this.scale * factor, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      this.moved = true;
    } else if (this.scale > 1) {
      this.shift(now[0] - before[0], now[1] - before[1]);
      this.stage.classList.add("moving");
      this.moved = true;
    }
    this.pointers.set(event.pointerId, now);
  }

  /** A finger that swept sideways over a whole picture: 1 to the next, -1 to the one before. */
  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    this.stage.classList.remove("moving");
    if (this.moved || this.scale > 1 || event.type === "pointercancel" || event.pointerType !== "touch") return;
    const [x, y] = this.within(event);
    const way = x - this.start[0];
    if (Math.abs(way) > 60 && Math.abs(way) > 2 * Math.abs(y - this.start[1])) this.swept?.(way < 0 ? 1 : -1);
  }
}

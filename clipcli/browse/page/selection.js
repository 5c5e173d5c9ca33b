// Which pictures are chosen, by id: a selection outlives the search it was made in.

export class Selection {
  constructor() {
    this.ids = new Set();
    this.anchor = null; // the picture from which shift reaches on
    this.listeners = [];
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  get size() {
    return this.ids.size;
  }

  has(id) {
    return this.ids.has(id);
  }

  tell() {
    for (const listener of this.listeners) listener(this);
  }

  toggle(ids, index) {
    const id = ids[index];
    if (!this.ids.delete(id)) this.ids.add(id);
    this.anchor = id;
    this.tell();
  }

  /** From the anchor to `index`, both included. Without an anchor in this list: only the one. */
  range(ids, index) {
    const from = this.anchor === null ? -1 : ids.indexOf(this.anchor);
    const [first, last] = from < 0 ? [index, index] : [Math.min(from, index), Math.max(from, index)];
    for (let position = first; position <= last; position += 1) this.ids.add(ids[position]);
    if (from < 0) this.anchor = ids[index];
    this.tell();
  }

  all(ids, total) {
    for (let position = 0; position < total; position += 1) this.ids.add(ids[position]);
    this.tell();
  }

  clear() {
    this.ids.clear();
    this.anchor = null;
    this.tell();
  }
}

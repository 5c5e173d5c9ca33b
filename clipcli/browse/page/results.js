// The answers to the question: asked while one types, shown in the order in which they were asked, the newest only.

import * as api from "./api.js";
import { toRequest } from "./question.js";

const FIRST = 160; // pictures that come with the first answer: more than a large screen shows
const REST_AFTER = 1500; // milliseconds of quiet before the rest of a long answer is fetched, unless it is needed
const KEPT = 6; // answers that "back" finds again without asking

export class Results {
  /** `listener(items, what)`: what is "first", "rest" or "again" (an answer that was still there). */
  constructor(listener, failed) {
    this.listener = listener;
    this.failed = failed;
    this.items = null;
    this.asking = null; // the question under way
    this.next = null; // the question that waits for it
    this.kept = new Map();
    this.words = new Map(); // id -> { name, date, tagged }
    this.change = 0;
  }

  /**
   * Ask. At most one question is under way and one waits: who types quickly gets an answer as often as the server
   * can give one, and never an old one after a new one.
   */
  ask(question, { fresh = false } = {}) {
    const request = toRequest(question, FIRST);
    const key = JSON.stringify(request);
    const kept = this.kept.get(key);
    if (kept && !fresh && kept.change >= this.change) {
      this.giveUp();
      this.take(kept, "again");
      return;
    }
    if (this.asking) this.next = { request, key };
    else this.begin({ request, key });
  }

  /** Is what is shown the answer to this question? */
  answers(question) {
    return this.items?.key === JSON.stringify(toRequest(question, FIRST));
  }

  /** Nothing of what was answered holds any longer: another program answers now. */
  forget() {
    this.giveUp();
    this.kept.clear();
    this.words.clear();
    if (this.items) this.items.key = null;
    this.change = 0;
  }

  giveUp() {
    this.next = null;
    this.asking?.stop.abort();
    this.asking = null;
    this.leaveRest();
  }

  leaveRest() {
    this.rest?.abort();
    this.fetching = null;
    clearTimeout(this.timer);
  }

  /** Everything that was found is wanted now: somebody scrolls, or chooses all. */
  async whole() {
    clearTimeout(this.timer);
    if (this.items && this.items.total < this.items.all) await (this.fetching ??= this.fetchRest(this.items));
  }

  async begin({ request, key }) {
    this.leaveRest();
    const asking = { stop: new AbortController(), key };
    this.asking = asking;
    try {
      const answer = await api.search(request, asking.stop.signal);
      if (this.asking !== asking) return; // given up
      this.learn(answer);
      const items = {
        key,
        token: answer.search,
        total: answer.ids.length,
        all: answer.total,
        ids: answer.ids,
        aspects: answer.ratios.map((ratio) => Math.round(ratio * 1000)),
        scores: answer.scores,
        answer,
        change: answer.change,
      };
      if (!this.next) this.keep(items);
      this.take(items, "first");
    } catch (error) {
      if (this.asking === asking && !this.next) this.failed(error);
    }
    if (this.asking !== asking) return;
    this.asking = null;
    const { next } = this;
    this.next = null;
    if (next) this.begin(next);
  }

  keep(items) {
    this.kept.delete(items.key);
    this.kept.set(items.key, items);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
  }

  take(items, what) {
    this.items = items;
    this.change = Math.max(this.change, items.change);
    this.listener(items, what);
    if (items.total < items.all) this.timer = setTimeout(() => this.whole(), REST_AFTER);
  }

  /** All further pictures of a long answer, eight bytes each. */
  async fetchRest(items) {
    const stop = new AbortController();
    this.rest = stop;
    try {
      const from = items.ids.length;
      const more = await api.columns(items.token, from, stop.signal);
      if (this.items !== items || items.total === items.all) return;
      const total = from + more.ids.length;
      const ids = new Array(total);
      const aspects = new Uint16Array(total);
      const scores = items.scores ? new Float32Array(total) : null;
      for (let index = 0; index < from; index += 1) {
        ids[index] = items.ids[index];
        aspects[index] = items.aspects[index];
        if (scores) scores[index] = items.scores[index];
      }
      for (let index = from; index < total; index += 1) {
        ids[index] = more.ids[index - from];
        if (scores) scores[index] = more.scores[index - from] / 10000;
      }
      aspects.set(more.ratios, from);
      Object.assign(items, { ids, aspects, scores, total, all: total });
      this.listener(items, "rest");
    } catch (error) {
      if (error.code === "gone") this.listener(items, "gone");
      else if (error.name !== "AbortError") this.failed(error);
    }
  }

  learn({ ids, names, dates, tagged }) {
    for (let index = 0; index < ids.length; index += 1)
      this.words.set(ids[index], { name: names[index], date: dates[index], tagged: tagged[index] });
  }

  /** Names of pictures in sight, where they are not known yet; gives whether anything was new. */
  async name(ids) {
    const unknown = ids.filter((id) => !this.words.has(id));
    if (!unknown.length) return false;
    if (this.words.size > 20000) this.words.clear();
    this.learn(await api.names([...new Set([...unknown, ...(this.words.size ? [] : ids)])]));
    return true;
  }
}

/** The highest score, in standard deviations, that so many scores of pure chance would have (about). */
export function bestOfChance(number) {
  const root = Math.sqrt(2 * Math.log(Math.max(2, number)));
  return root - (Math.log(Math.log(Math.max(3, number))) + Math.log(4 * Math.PI)) / (2 * root);
}

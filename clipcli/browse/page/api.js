// The server's answers, one function per question. Every failure becomes a Problem that has words for a person.

import { contradiction } from "./filtercheck.js";

export class Problem extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Reasons why the program itself did not answer; all other problems come from it. */
export const LOST = {
  unreachable:
    "clip browse does not answer. Has it ended? Start it again in the terminal, and this page goes on by itself.",
  "no-token":
    "clip browse was started anew, with another token. Open the address it printed; this page then goes on by itself.",
  stranger: "Another program answers at this address. Where clip browse is running now stands in its terminal.",
};
const lost = (code) => new Problem(code, LOST[code]);

let heard = () => {};

/** `listener(problem)` hears of every contact with the program: null, or the Problem why there was none. */
export const onContact = (listener) => {
  heard = listener;
};

async function ask(path, options = {}) {
  try {
    const answer = await asked(path, options);
    heard(null);
    return answer;
  } catch (problem) {
    if (problem instanceof Problem) heard(problem.code in LOST ? problem : null);
    throw problem;
  }
}

async function asked(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw lost("unreachable");
  }
  if (answer.ok) return answer;
  let told;
  try {
    told = (await answer.json()).error;
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (!told?.code || !told.message || told.code === "no-token")
    throw lost(told?.code === "no-token" ? told.code : "stranger");
  throw new Problem(told.code, told.message);
}

async function json(answer) {
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw lost(error instanceof SyntaxError ? "stranger" : "unreachable"); // it broke off on the way
  }
}

const get = async (path, signal) => json(await ask(path, { signal }));

const post = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

const posted = async (path, body, signal) => json(await post(path, body, signal));

/** Raises a Problem in the words of the page, before the server says it in those of the command line. */
function sensible(filters) {
  const wrong = contradiction(filters);
  if (wrong) throw new Problem("bad-request", wrong);
}

export const state = () => get("/api/state");
export const run = () => get("/api/run");
export const folders = (inside) => get(`/api/folders${inside === null ? "" : `?in=${encodeURIComponent(inside)}`}`);

/** The first page of an answer; `search` in it names the whole. */
export async function search(question, signal) {
  sensible(question.filters);
  return posted("/api/search", question, signal);
}

/** Everything from `from` on: ids (N,), ratios in thousandths (N,), scores in ten-thousandths (N,), -32768 where none. */
export async function columns(token, from, signal) {
  const buffer = await (await ask(`/api/search/${token}/columns?from=${from}`, { signal })).arrayBuffer();
  const number = Math.floor(buffer.byteLength / 8);
  return {
    ids: new Uint32Array(buffer, 0, number),
    ratios: new Uint16Array(buffer, number * 4, number),
    scores: new Int16Array(buffer, number * 6, number),
  };
}

export const names = (ids) => posted("/api/names", { ids });
export const picture = (id, signal) => get(`/api/picture/${id}`, signal);
export const similar = (id, number, signal) => get(`/api/picture/${id}/similar?count=${number}`, signal);

export const full = (id) => `/api/picture/${id}/full`;
/** Why a picture large cannot be shown, as a Problem; null where it can. */
export async function whyNot(id) {
  const stop = new AbortController();
  try {
    await ask(full(id), { signal: stop.signal });
    return null;
  } catch (problem) {
    return problem;
  } finally {
    stop.abort(); // the words are wanted, not the picture
  }
}

export const original = (id) => `/api/picture/${id}/full?original=1`;

const SIZES = [160, 320, 640, 1280];

/** The address of a thumbnail whose longer side has at least so many pixels, where there is one. */
export function thumb(id, pixels) {
  return `/api/thumb/${id}?size=${SIZES.find((size) => size >= pixels * 0.9) ?? SIZES.at(-1)}`;
}

export const uploadThumb = (token) => `/api/upload/${token}/thumb`;

export async function upload(file) {
  const headers = { "Content-Type": "application/octet-stream" };
  return json(await ask("/api/upload", { method: "POST", headers, body: file }));
}

export const tags = () => get("/api/tags");
export const changeTags = (ids, { add = [], remove = [] }) => posted("/api/tags", { ids, add, remove });

/** A file of the chosen pictures, as text: { blob, leftOut }, how many have a path that cannot stand on a line. */
export async function exported(ids, format, token) {
  const question = { ids, format };
  if (token) question.search = token;
  const answer = await post("/api/export", question);
  return { blob: await answer.blob(), leftOut: Number(answer.headers.get("Clip-Left-Out")) };
}

/** Waits for something slow: `told` hears of its progress; gives the result. */
async function finished(job, told, signal) {
  let now = job;
  while (now.state === "running") {
    told(now);
    if (signal?.aborted) {
      fetch(`/api/jobs/${now.job}`, { method: "DELETE" }).catch(() => {});
      throw new DOMException("given up", "AbortError");
    }
    now = await get(`/api/jobs/${now.job}?wait=1`, signal);
  }
  if (now.state === "failed") throw new Problem(now.error.code, now.error.message);
  return now;
}

export async function duplicates(threshold, filters, told, signal) {
  sensible(filters);
  return (await finished(await posted("/api/duplicates", { threshold, filters }, signal), told, signal)).result;
}

export const decide = (ids, distinct) => posted("/api/duplicates/decide", { ids, distinct });

export async function map(method, filters, told, signal) {
  sensible(filters);
  const job = await finished(await posted("/api/map", { method, filters }, signal), told, signal);
  return { ...job.result, job: job.job };
}

export const mapLabels = (job, words) => posted("/api/map/labels", { job, words });

// The server's answers, one function per question. Every failure becomes a Problem that has words for a person.

export class Problem extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const WORDS = { unreachable: "The program behind this page does not answer. Is clip browse still running?" };

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("unreachable", WORDS.unreachable);
  }
  if (answer.ok) return answer;
  let told = null;
  try {
    told = (await answer.json()).error;
  } catch {
    // no words came with it
  }
  throw new Problem(told?.code ?? "failed", told?.message ?? `The answer was ${answer.status}.`);
}

const get = async (path, signal) => (await ask(path, { signal })).json();

const post = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

const posted = async (path, body, signal) => (await post(path, body, signal)).json();

export const state = () => get("/api/state");
export const run = () => get("/api/run");
export const folders = (inside) => get(`/api/folders${inside === null ? "" : `?in=${encodeURIComponent(inside)}`}`);

/** The first page of an answer; `search` in it names the whole. */
export const search = (question, signal) => posted("/api/search", question, signal);

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
export const original = (id) => `/api/picture/${id}/full?original=1`;

const SIZES = [160, 320, 640, 1280];

/** The address of a thumbnail whose longer side has at least so many pixels, where there is one. */
export function thumb(id, pixels) {
  return `/api/thumb/${id}?size=${SIZES.find((size) => size >= pixels * 0.9) ?? SIZES.at(-1)}`;
}

export const uploadThumb = (token) => `/api/upload/${token}/thumb`;

export async function upload(file) {
  return (
    await ask("/api/upload", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file })
  ).json();
}

export const tags = () => get("/api/tags");
export const changeTags = (ids, { add = [], remove = [] }) => posted("/api/tags", { ids, add, remove });

/** A file of the chosen pictures, as text. */
export async function exported(ids, format, token) {
  const question = { ids, format };
  if (token) question.search = token;
  return (await post("/api/export", question)).blob();
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
  return (await finished(await posted("/api/duplicates", { threshold, filters }, signal), told, signal)).result;
}

export const decide = (ids, distinct) => posted("/api/duplicates/decide", { ids, distinct });

export async function map(method, filters, told, signal) {
  const job = await finished(await posted("/api/map", { method, filters }, signal), told, signal);
  return { ...job.result, job: job.job };
}

export const mapLabels = (job, words) => posted("/api/map/labels", { job, words });

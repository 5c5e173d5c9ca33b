// What is asked for, and its form in the address: every view can be bookmarked, and "back" leads back.

import { WRONG } from "./filtercheck.js";

/**
 * The question: `text` as typed; `terms`, each { weight, text } or { weight, id } or { weight, upload, same }; `filters`
 * with lists under in, camera, tag, format_is, and texts under since, until, near, min_size; `order` or null.
 */
export const empty = () => ({
  text: "",
  terms: [],
  filters: { in: [], camera: [], tag: [], format_is: [], since: "", until: "", near: "", min_size: "" },
  order: null,
});

const LISTS = { in: "in", camera: "camera", tag: "tag", format_is: "format" };
const TEXTS = { since: "since", until: "until", near: "near", min_size: "min-size" };
export const VIEWS = ["search", "duplicates", "map", "library"];
export const MOST_TERMS = 15;
const HEAVIEST = 100;
const ORDERS = ["score", "newest", "oldest", "name"];

// A folder's key may hold what no address can carry (names that are not UTF-8): such a text travels as escapes.
const pack = (text) => (text.isWellFormed?.() === false ? `\u0001${JSON.stringify(text)}` : text);
function unpack(text) {
  if (!text.startsWith("\u0001")) return text;
  try {
    return String(JSON.parse(text.slice(1)));
  } catch {
    return "";
  }
}

function packTerm({ weight, text, id, upload }) {
  const what = id !== undefined ? `id:${id}` : upload !== undefined ? `upload:${upload}` : `text:${text}`;
  return `${weight}:${what}`;
}

function unpackTerm(packed) {
  const found = /^(-?\d+(?:\.\d+)?):(text|id|upload):([^]*)$/.exec(packed);
  const weight = Number(found?.[1]);
  if (!found || weight === 0 || Math.abs(weight) > HEAVIEST) return null;
  if (found[2] === "text") return found[3].trim() ? { weight, text: found[3] } : null;
  if (found[2] === "upload") return /^[\w-]+$/.test(found[3]) ? { weight, upload: found[3] } : null;
  return /^\d{1,15}$/.test(found[3]) ? { weight, id: Number(found[3]) } : null;
}

/** What only one view needs: how alike near copies are (null: exact ones), how the map is drawn, words for its groups. */
export const ASIDE = { alike: null, draw: "pca", words: null };
const DRAWN = ["pca", "umap"];
const MOST_WORDS = 1500; // characters of words that an address takes; more are remembered by the browser alone

/** { view, picture, question, alike, draw, words } -> "?…" */
export function toAddress({ view, picture, question, alike, draw, words }) {
  const parts = new URLSearchParams();
  if (view !== "search") parts.set("view", view);
  if (view === "duplicates" && alike !== null) parts.set("alike", String(alike));
  if (view === "map" && draw !== ASIDE.draw) parts.set("draw", draw);
  if (view === "map" && words && words.length <= MOST_WORDS) parts.set("words", words);
  if (question.text) parts.set("q", question.text);
  for (const term of question.terms) parts.append("term", packTerm(term));
  for (const [key, short] of Object.entries(LISTS))
    for (const value of question.filters[key]) parts.append(short, pack(value));
  for (const [key, short] of Object.entries(TEXTS)) if (question.filters[key]) parts.set(short, question.filters[key]);
  if (question.order) parts.set("order", question.order);
  if (picture !== null) parts.set("picture", String(picture));
  const text = parts.toString();
  return text ? `?${text}` : location.pathname;
}

/** "?…" -> { place, ignored }: what makes no sense is left out of the place, and told as "key=value". */
export function readAddress(address) {
  const parts = new URLSearchParams(address);
  const ignored = [];
  const leave = (key, value) => ignored.push(`${key}=${value}`);
  const one = (key, right, otherwise) => {
    const [value, ...more] = parts.getAll(key);
    for (const further of more) leave(key, further);
    if (value === undefined || value === "") return otherwise;
    if (right(value)) return value;
    leave(key, value);
    return otherwise;
  };
  const many = (key, read) =>
    parts.getAll(key).flatMap((value) => {
      const found = read(value);
      if (!found && value) leave(key, value);
      return found ? [found] : [];
    });
  const question = empty();
  question.text = one("q", () => true, "");
  const terms = many("term", unpackTerm);
  question.terms = terms.slice(0, MOST_TERMS);
  for (const term of terms.slice(MOST_TERMS)) leave("term", packTerm(term));
  for (const [key, short] of Object.entries(LISTS)) question.filters[key] = many(short, unpack);
  for (const [key, short] of Object.entries(TEXTS))
    question.filters[key] = one(short, (value) => !WRONG[key](value), "");
  question.order = one("order", (value) => ORDERS.includes(value), null);
  const view = one("view", (value) => VIEWS.includes(value), "search");
  const picture = one("picture", (value) => /^\d{1,15}$/.test(value), null);
  const alike = one("alike", (value) => value >= 0.5 && value <= 0.9999, null);
  const aside = {
    alike: alike === null ? null : Number(alike),
    draw: one("draw", (value) => DRAWN.includes(value), ASIDE.draw),
    words: one("words", () => true, null),
  };
  const known = new Set(["q", "term", "order", "view", "picture", "token", ...Object.keys(aside)]);
  for (const short of Object.values({ ...LISTS, ...TEXTS })) known.add(short);
  for (const [key, value] of parts) if (!known.has(key)) leave(key, value);
  return { place: { view, picture: picture === null ? null : Number(picture), question, ...aside }, ignored };
}

/**
 * What is being typed: the words, and the further terms behind a sign that Enter makes of the rest, as in
 * "beach + night - 0.5:car". A sign has a space, or nothing, before it: "black-and-white" is a word. `open`: a sign
 * stands there, if perhaps nothing after it yet.
 */
export function splitTyped(typed) {
  const [text, ...rest] = typed.split(/(?:^|\s+)([+\-−])(?=\s|[^\s+\-−]|$)/);
  const terms = [];
  for (let index = 0; index < rest.length; index += 2) {
    const [, size, words] = /^\s*(?:(\d+(?:\.\d+)?):)?\s*([^]*)$/.exec(rest[index + 1]);
    const weight = Math.min(HEAVIEST, Number(size ?? 1)) || 1;
    if (words.trim()) terms.push({ weight: rest[index] === "+" ? weight : -weight, text: words.trim() });
  }
  return { text: text.trim(), terms, open: rest.length > 0 };
}

/** The filters without those that are empty. */
export function filtersOf(question) {
  return Object.fromEntries(Object.entries(question.filters).filter(([, value]) => value.length));
}

export const filterCount = (question) =>
  Object.values(question.filters).reduce(
    (sum, value) => sum + (Array.isArray(value) ? value.length : value ? 1 : 0),
    0,
  );

/** What the server is asked. */
export function toRequest(question, count) {
  const text = question.text.trim();
  const terms = question.terms.map(({ weight, text: words, id, upload }) =>
    id !== undefined ? { weight, id } : upload !== undefined ? { weight, upload } : { weight, text: words },
  );
  if (text) terms.unshift({ weight: 1, text });
  const request = { terms, filters: filtersOf(question), count };
  // Nobody who looks for what is like a picture looks for the picture itself; copies of it are shown.
  const without = question.terms.flatMap(({ weight, id }) => (id !== undefined && weight > 0 ? [id] : []));
  if (without.length) request.without = without;
  if (question.order && (terms.length || question.order !== "score")) request.order = question.order;
  return request;
}

// What is asked for, and its form in the address: every view can be bookmarked, and "back" leads back.

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
  if (!found || Number(found[1]) === 0) return null;
  const weight = Math.max(-100, Math.min(100, Number(found[1])));
  if (found[2] === "text") return { weight, text: found[3] };
  if (found[2] === "upload") return /^[\w-]+$/.test(found[3]) ? { weight, upload: found[3] } : null;
  return /^\d{1,15}$/.test(found[3]) ? { weight, id: Number(found[3]) } : null;
}

/** { view, picture, question } -> "?…" */
export function toAddress({ view, picture, question }) {
  const parts = new URLSearchParams();
  if (view !== "search") parts.set("view", view);
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

/** "?…" -> { view, picture, question }; what makes no sense is left out. */
export function fromAddress(address) {
  const parts = new URLSearchParams(address);
  const question = empty();
  question.text = parts.get("q") ?? "";
  question.terms = parts.getAll("term").map(unpackTerm).filter(Boolean).slice(0, 15);
  for (const [key, short] of Object.entries(LISTS))
    question.filters[key] = parts.getAll(short).map(unpack).filter(Boolean);
  for (const [key, short] of Object.entries(TEXTS)) question.filters[key] = parts.get(short) ?? "";
  question.order = ORDERS.includes(parts.get("order")) ? parts.get("order") : null;
  const view = VIEWS.includes(parts.get("view")) ? parts.get("view") : "search";
  const picture = /^\d{1,15}$/.test(parts.get("picture") ?? "") ? Number(parts.get("picture")) : null;
  return { view, picture, question };
}

/** Does a text that is being typed want to become a term of its own ("+ night", "- car", "0.5: night")? */
export function asTerm(text) {
  const found = /^\s*([+\-−])\s*(?:(\d+(?:\.\d+)?):)?\s*([^]+)$/.exec(text);
  if (!found || !found[3].trim()) return null;
  const size = Number(found[2] ?? 1) || 1;
  return { weight: found[1] === "+" ? size : -size, text: found[3].trim() };
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
  // A text that is on its way to becoming a term is none yet.
  if (text && !/^[+\-−]/.test(text)) terms.unshift({ weight: 1, text });
  const request = { terms, filters: filtersOf(question), count };
  if (question.order && (terms.length || question.order !== "score")) request.order = question.order;
  return request;
}

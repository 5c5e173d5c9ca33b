// One picture large: what is known of it, its tags, what looks like it; the next and the one before.

import * as api from "./api.js";
import { announce, complain } from "./notices.js";
import { byId, count, el, icon, iconButton, isTyping } from "./dom.js";
import { alikeOf, factsOf, labelsOf } from "./facts.js";
import { canGoBack, go, place } from "./route.js";
import { searchLike } from "./searchbar.js";
import { Zoom } from "./zoom.js";

const LARGEST = 2; // times its own size, before one zooms
const SETTLE = 120; // milliseconds a picture stays before its facts are asked for

let list = { ids: [], total: 0 }; // what previous and next go through
let shown = null; // the id of the picture on show
let facts = null;
let asking = null;
let timer = 0;
let zoom;
let parts;
let hooks;

/** `hooks`: `closed(id)` when the dialog goes, `selection`, `copy(ids)`. */
export function startViewer(given) {
  hooks = given;
  const dialog = byId("viewer");
  const where = el("p", { class: "where" });
  const plain = () => {
    const on = dialog.classList.toggle("plain");
    info.setAttribute("aria-pressed", String(!on));
    zoom.reset();
  };
  const pick = iconButton("check", "Choose this picture", () => choose(), { "aria-pressed": "false" });
  const info = iconButton("info", "Facts", plain, { "aria-pressed": "true" });
  const out = iconButton("minus", "Smaller", () => zoom.by(1 / 1.5), { class: "icon-button optional" });
  const closer = iconButton("plus", "Larger", () => zoom.by(1.5), { class: "icon-button optional" });
  const fit = iconButton("fit", "Whole picture", () => zoom.reset(), { class: "icon-button optional" });
  const close = iconButton("close", "Close", leave, { autofocus: true });
  const soft = el("img", { alt: "", class: "preview", draggable: "false" });
  const sharp = el("img", { alt: "", class: "sharp", draggable: "false" });
  const frame = el("div", { class: "frame" }, soft, sharp);
  const before = iconButton("left", "Previous picture", () => step(-1), { class: "icon-button step before" });
  const next = iconButton("right", "Next picture", () => step(1), { class: "icon-button step next" });
  const trouble = el("div", { class: "blank", hidden: true });
  const stage = el("div", { class: "stage" }, frame, trouble, before, next);
  const side = el("div", { class: "side", role: "region", "aria-label": "Facts", tabindex: "0" });
  dialog.append(el("div", { class: "head" }, close, where, out, closer, fit, pick, info), stage, side);
  parts = {
    dialog,
    where,
    pick,
    out,
    closer,
    fit,
    frame,
    soft,
    sharp,
    before,
    next,
    trouble,
    stage,
    side,
    info,
    plain,
  };
  zoom = new Zoom(stage, frame, zoomed);
  zoom.swept = step;
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    leave();
  });
  dialog.addEventListener("keydown", pressed);
  hooks.selection.listen(mark);
}

/** The pictures that previous and next go through. */
export function through(ids, total) {
  list = { ids, total };
  if (parts?.dialog.open) drawPosition();
}

/** Open a picture: `ids` is the list it stands in. */
export function openPicture(id, ids, total = ids.length) {
  through(ids, total);
  go({ picture: id });
}

function leave() {
  if (canGoBack() && history.state?.opened) history.back();
  else go({ picture: null });
}

/** The address has changed: show, change or close. */
export function drawViewer(before) {
  const { dialog } = parts;
  const { picture } = place;
  if (picture === null) {
    if (!dialog.open) return;
    dialog.close();
    const messages = byId("messages");
    if (messages.parentElement !== document.body) document.body.append(messages);
    const last = shown;
    stop();
    shown = null;
    hooks.closed(last);
    return;
  }
  if (!dialog.open) {
    if (before.picture === null && canGoBack()) history.replaceState({ ...history.state, opened: true }, "");
    dialog.showModal();
  }
  if (picture !== shown) show(picture);
}

function stop() {
  clearTimeout(timer);
  asking?.abort();
  parts.sharp.removeAttribute("src");
  parts.soft.removeAttribute("src");
}

function show(id) {
  const { soft, sharp, side, trouble } = parts;
  stop();
  shown = id;
  facts = null;
  zoom.reset();
  trouble.hidden = true;
  parts.frame.hidden = false;
  sharp.classList.remove("ready");
  sharp.alt = "";
  soft.src = api.thumb(id, 320);
  limit("none", "none");
  sharp.onload = () => {
    sharp.classList.add("ready");
    limit(`${sharp.naturalWidth * LARGEST}px`, `${sharp.naturalHeight * LARGEST}px`);
  };
  sharp.onerror = () => explain(id);
  sharp.src = api.full(id);
  drawPosition();
  mark();
  side.setAttribute("aria-busy", "true");
  const stopper = new AbortController();
  asking = stopper;
  timer = setTimeout(() => learn(id, stopper.signal), side.childElementCount ? SETTLE : 0);
}

/** Say why a picture did not come; a browser tells nothing but that. */
async function explain(id) {
  const problem = await api.whyNot(id);
  if (id !== shown || !parts.trouble.hidden) return; // or the reason is known already
  if (problem?.code === "not-found") fail("This picture cannot be shown.", "Its file is not where it was.");
  else if (problem) fail("This picture cannot be shown.", problem.message);
  else fail("This picture cannot be shown.", "The browser cannot make a picture of the file.");
}

/** Try again where a picture did not come. */
export function retryViewer() {
  if (shown !== null && parts.dialog.open && !parts.trouble.hidden) show(shown);
}

/** A picture of few pixels is not blown up until one sees nothing but them. */
function limit(maxWidth, maxHeight) {
  for (const image of [parts.soft, parts.sharp]) Object.assign(image.style, { maxWidth, maxHeight });
}

async function learn(id, signal) {
  try {
    facts = await api.picture(id, signal);
    if (id !== shown) return;
    drawFacts();
    parts.sharp.alt = facts.name;
    parts.dialog.setAttribute("aria-label", facts.name);
    announce(`${facts.name}, ${parts.where.textContent}`);
    const index = list.ids.indexOf(id);
    for (const other of [list.ids[index + 1], index > 0 ? list.ids[index - 1] : undefined])
      if (other !== undefined) new Image().src = api.full(other);
    if (facts.vector) drawAlike(id, await api.similar(id, 24, signal));
  } catch (error) {
    if (error.code === "not-found") {
      parts.side.replaceChildren();
      fail("This picture is not in the library.", "It may have been taken out since.");
    } else if (!(error.code in api.LOST)) complain(error, "The facts cannot be shown");
  }
}

function fail(title, text) {
  const { trouble } = parts;
  trouble.replaceChildren(icon("image"), el("h2", {}, title), el("p", {}, text));
  trouble.hidden = false;
  parts.frame.hidden = true;
}

function drawPosition() {
  const index = list.ids.indexOf(shown);
  parts.where.textContent = index < 0 ? "" : `${count(index + 1)} of ${count(list.total)}`;
  parts.before.disabled = index <= 0;
  parts.next.disabled = index < 0 || index + 1 >= list.ids.length;
}

function step(way) {
  const index = list.ids.indexOf(shown);
  const next = index < 0 ? undefined : list.ids[index + way];
  if (next !== undefined) go({ picture: next }, { replace: true });
}

function choose() {
  hooks.selection.toggle([shown], 0);
  announce(hooks.selection.has(shown) ? "chosen" : "not chosen");
}

function mark() {
  parts.pick.setAttribute("aria-pressed", String(hooks.selection.has(shown)));
}

function zoomed(scale) {
  if (!parts) return;
  parts.out.disabled = scale <= 1;
  parts.fit.disabled = scale <= 1;
  parts.closer.disabled = scale >= 16;
  // Where the picture has more pixels than were sent, they are fetched when one looks closely.
  const { sharp } = parts;
  if (
    scale > 2 &&
    facts &&
    facts.id === shown &&
    Math.max(facts.width, facts.height) > 4096 &&
    !sharp.src.endsWith("original=1")
  )
    sharp.src = api.original(shown);
}

function drawFacts() {
  const { side } = parts;
  side.replaceChildren(...factsOf(facts, { retag, copy: hooks.copy }));
  side.removeAttribute("aria-busy");
}

async function retag(id, changes) {
  try {
    await api.changeTags([id], changes);
    const known = facts?.id === id ? await api.picture(id) : null;
    document.dispatchEvent(new Event("clip-tags"));
    if (!known || id !== shown) return;
    facts = known;
    parts.side.querySelector(".labels").replaceWith(labelsOf(facts, retag));
    announce(changes.add ? `tagged ${changes.add.join(", ")}` : `tag ${changes.remove[0]} removed`);
    if (!parts.side.contains(document.activeElement)) parts.side.querySelector(".new-label input").focus();
  } catch (error) {
    complain(error, "The tag cannot be changed");
  }
}

function drawAlike(id, answer) {
  const box = parts.side.querySelector(".alike-box");
  if (id !== shown || !box || !answer.ids.length) return;
  box.hidden = false;
  box.replaceChildren(
    ...alikeOf(answer, (other) => {
      through([id, ...answer.ids], answer.ids.length + 1);
      go({ picture: other });
    }),
  );
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const far = zoom.scale > 1 && event.shiftKey;
  const typing = isTyping(event.target);
  if (typing) {
    if (event.key !== "Escape") return;
    parts.side.focus();
  } else if (event.key.startsWith("Arrow") && far)
    zoom.shift(...{ ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key]);
  else if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "+" || event.key === "=") zoom.by(1.5);
  else if (event.key === "-") zoom.by(1 / 1.5);
  else if (event.key === "0") zoom.reset();
  else if (event.key === "i" && hooks.single()) parts.plain();
  else if (event.key === "x" && hooks.single()) choose();
  else if (event.key === "c" && hooks.single()) hooks.copy([shown]);
  else if (event.key === "s" && hooks.single()) searchLike(shown);
  else if (event.key === "t" && hooks.single()) {
    parts.dialog.classList.remove("plain");
    parts.side.querySelector(".new-label input")?.focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

/** Something outside has changed the tags of pictures. */
export function refreshFacts() {
  if (shown !== null && parts.dialog.open && !parts.side.contains(document.activeElement))
    learn(shown, new AbortController().signal);
}

// Pictures that are there more than once, group by group. What a person decides is remembered by the library; nothing here
// deletes a file.

import * as api from "./api.js";
import { toClipboard } from "./actions.js";
import { bytes, count, el, icon, plural } from "./dom.js";
import { copiesOf, groupCard } from "./duplicategroup.js";
import { announce, complain, say } from "./notices.js";
import { filtersOf } from "./question.js";
import { go, place } from "./route.js";

const AT_ONCE = 30; // groups drawn at a time

let root;
let selection;
const USUAL = 0.97; // how alike near copies are, unless one says otherwise
let key = null; // of the question that is answered, or being answered
let answer = null;
let stopper = null;
let body;
let watcher;
let showKind; // brings the controls to what the address says
let review; // the command that would delete, for this library

/** What the library is has become known. */
export const nameLibrary = (library) => {
  review.textContent = library.review;
};

export function startDuplicates(section, given) {
  root = section;
  selection = given;
  body = el("div", { "aria-live": "off" });
  const slider = el("input", {
    type: "range",
    min: "0.85",
    max: "0.995",
    step: "0.005",
    value: String(USUAL),
    "aria-label": "How alike",
  });
  const value = el("output", { class: "number" });
  slider.addEventListener("input", () => (value.textContent = Number(slider.value).toFixed(3)));
  slider.addEventListener("change", () => go({ alike: Number(slider.value) }));
  const kind = (near, words) =>
    el(
      "label",
      {},
      el("input", {
        type: "radio",
        name: "kind",
        dataset: { near: near ? "yes" : "no" },
        onchange: () => go({ alike: near ? Number(slider.value) : null }),
      }),
      el("span", {}, words),
    );
  const alike = el("label", { class: "field", hidden: true }, el("span", {}, "How alike"), slider, value);
  showKind = () => {
    const near = place.alike !== null;
    root.querySelector(`[data-near="${near ? "yes" : "no"}"]`).checked = true;
    alike.hidden = !near;
    if (near) slider.value = String(place.alike);
    value.textContent = (place.alike ?? Number(slider.value)).toFixed(3);
  };
  review = el(
    "button",
    {
      type: "button",
      class: "quiet mono",
      title: "Copy this command",
      onclick: () =>
        toClipboard(review.textContent).then(
          () => say("The command is copied."),
          (error) => complain(error),
        ),
    },
    "clip duplicates --delete --dry-run",
  );
  root.append(
    el("h1", { id: "duplicates-title" }, "Duplicates"),
    el(
      "p",
      { class: "intro" },
      "The picture to keep stands first. Say which are no duplicates, and that is remembered. This page deletes nothing: choose the copies and copy their paths, or see what ",
      review,
      " would do.",
    ),
    el(
      "div",
      { class: "controls" },
      el(
        "div",
        { class: "segments", role: "radiogroup", "aria-label": "Kind of copies" },
        kind(false, "Exact copies"),
        kind(true, "Nearly the same"),
      ),
      alike,
    ),
    body,
  );
  root.addEventListener("keydown", pressed);
  selection.listen(() => {
    for (const box of root.querySelectorAll("[data-choose]")) box.checked = selection.has(Number(box.dataset.choose));
  });
}

/** The view is on show: ask, unless the answer is there. */
export function drawDuplicates() {
  showKind();
  const wanted = JSON.stringify([place.alike, filtersOf(place.question)]);
  if (wanted !== key) ask();
}

/** The answer may not hold any longer: the next time the view is on show it is asked for again. */
export const forgetDuplicates = () => {
  key = null;
};

async function ask() {
  stopper?.abort();
  stopper = new AbortController();
  const { signal } = stopper;
  const filters = filtersOf(place.question);
  const asked = place.alike;
  key = JSON.stringify([asked, filters]);
  const bar = el("progress", { "aria-label": "Looking for duplicates" });
  const words = el("p", {}, "Looking for duplicates…");
  body.replaceChildren(el("div", { class: "waiting" }, bar, words));
  try {
    answer = await api.duplicates(
      asked,
      filters,
      ({ done, total }) => {
        if (!total) return;
        bar.max = total;
        bar.value = done;
      },
      signal,
    );
    draw();
  } catch (error) {
    if (error.name === "AbortError") return;
    key = null;
    body.replaceChildren(
      el(
        "div",
        { class: "blank" },
        icon("copies"),
        el("h2", {}, "That did not work"),
        el("p", {}, error.message),
        el("button", { type: "button", class: "button", onclick: ask }, "Try again"),
      ),
    );
  }
}

function draw() {
  watcher?.disconnect();
  const { groups, copies, copy_bytes: size } = answer;
  if (!groups.length) {
    const words =
      place.alike !== null
        ? "No two pictures are as alike as that. A lower value finds more."
        : "No picture is there twice. “Nearly the same” finds resized and edited copies.";
    body.replaceChildren(
      el("div", { class: "blank" }, icon("check"), el("h2", {}, "No duplicates"), el("p", {}, words)),
    );
    announce("No duplicates");
    return;
  }
  const rest = answer.total > groups.length ? ` The first ${count(groups.length)} groups are shown.` : "";
  const left = { groups: answer.total, copies, size };
  const summary = el("p", { class: "soft number", role: "status" });
  const tell = () => {
    const words = `${plural(left.groups, "group")}, ${plural(left.copies, "copy", "copies")} of ${bytes(left.size)}`;
    summary.textContent = (left.groups ? words : "All of them are decided.") + rest;
  };
  const settled = new Set(); // copies that are none, by what was decided just now
  /** Pictures are no copies after all, or `back`: they are again. `whole`: that was a whole group. */
  const decided = (pictures, { back = false, whole = false }) => {
    const sign = back ? 1 : -1;
    if (whole) left.groups += sign;
    for (const { id, bytes: own } of pictures) {
      left.copies += sign;
      left.size += sign * own;
      if (back) settled.delete(id);
      else settled.add(id);
      if (!back) selection.ids.delete(id); // what is no copy must not go with the copies
    }
    if (!back) selection.tell();
    tell();
  };
  tell();
  const choose = el(
    "button",
    {
      type: "button",
      class: "button",
      onclick: () => {
        for (const { id } of groups.flatMap(copiesOf)) if (!settled.has(id)) selection.ids.add(id);
        selection.tell();
      },
    },
    icon("check"),
    "Choose all copies",
  );
  const all = el("div", { class: "all-groups" });
  const end = el("div");
  body.replaceChildren(el("div", { class: "line" }, summary, choose), all, end);
  let drawn = 0;
  const more = () => {
    for (const group of groups.slice(drawn, drawn + AT_ONCE)) all.append(groupCard(group, selection, decided));
    drawn += AT_ONCE;
    if (drawn >= groups.length) watcher.disconnect();
  };
  watcher = new IntersectionObserver(([seen]) => seen.isIntersecting && more(), { rootMargin: "900px" });
  more();
  if (drawn < groups.length) watcher.observe(end);
}

/** A letter of this view: j and k go through the groups; d, x and u act on the one that has the focus. */
export function duplicatesKey(letter) {
  const cards = [...root.querySelectorAll(".group")];
  const here = cards.indexOf(document.activeElement.closest(".group"));
  const act = { d: "distinct", x: "choose", u: "undo" }[letter];
  // Nobody decides on what they do not see: the first key only shows which group it would be.
  if (here < 0) focusOn(cards.find((card) => card.getBoundingClientRect().bottom > 160));
  else if (act) cards[here].querySelector(`[data-act="${act}"]`)?.click();
  else focusOn(cards[here + (letter === "j" ? 1 : -1)]);
}

function focusOn(card) {
  card?.focus({ preventScroll: true });
  card?.scrollIntoView({ block: "nearest" });
}

function pressed(event) {
  const card = event.target.closest(".group");
  if (!card || event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") duplicatesKey(event.key === "ArrowDown" ? "j" : "k");
  else if (event.key === "Enter" && event.target === card) card.querySelector(".look")?.click();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

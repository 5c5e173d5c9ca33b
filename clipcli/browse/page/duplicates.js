// Pictures that are there more than once, group by group. What a person decides is remembered by the library; nothing here
// deletes a file.

import * as api from "./api.js";
import { toClipboard } from "./actions.js";
import { bytes, count, el, icon, plural } from "./dom.js";
import { groupCard } from "./duplicategroup.js";
import { announce, complain, say } from "./notices.js";
import { filtersOf } from "./question.js";
import { place } from "./route.js";

const AT_ONCE = 30; // groups drawn at a time

let root;
let selection;
let near = false;
let threshold = 0.97;
let key = null; // of the question that is answered, or being answered
let answer = null;
let stopper = null;
let body;
let watcher;
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
    value: String(threshold),
    "aria-label": "How alike",
  });
  const value = el("output", { class: "number" }, threshold.toFixed(3));
  slider.addEventListener("input", () => (value.textContent = Number(slider.value).toFixed(3)));
  slider.addEventListener("change", () => {
    threshold = Number(slider.value);
    ask();
  });
  const kind = (what, words) =>
    el(
      "label",
      {},
      el("input", {
        type: "radio",
        name: "kind",
        checked: what === near,
        onchange: () => {
          near = what;
          alike.hidden = !near;
          ask();
        },
      }),
      el("span", {}, words),
    );
  const alike = el("label", { class: "field", hidden: true }, el("span", {}, "How alike"), slider, value);
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
  const wanted = JSON.stringify([near ? threshold : null, filtersOf(place.question)]);
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
  const asked = near ? threshold : null;
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
    const words = near
      ? "No two pictures are as alike as that. A lower value finds more."
      : "No picture is there twice. “Nearly the same” finds resized and edited copies.";
    body.replaceChildren(
      el("div", { class: "blank" }, icon("check"), el("h2", {}, "No duplicates"), el("p", {}, words)),
    );
    announce("No duplicates");
    return;
  }
  const summary = `${plural(answer.total, "group")}, ${plural(copies, "copy", "copies")} of ${bytes(size)}`;
  const rest = answer.total > groups.length ? ` The first ${count(groups.length)} groups are shown.` : "";
  const copyIds = groups.flatMap((group) => group.filter(({ kind }) => kind !== "kept").map(({ id }) => id));
  const choose = el(
    "button",
    {
      type: "button",
      class: "button",
      onclick: () => {
        for (const id of copyIds) selection.ids.add(id);
        selection.tell();
      },
    },
    icon("check"),
    "Choose all copies",
  );
  const all = el("div", { class: "all-groups" });
  const end = el("div");
  body.replaceChildren(
    el("div", { class: "line" }, el("p", { class: "soft number" }, summary + rest), choose),
    all,
    end,
  );
  announce(summary);
  let drawn = 0;
  const more = () => {
    for (const group of groups.slice(drawn, drawn + AT_ONCE)) all.append(groupCard(group, selection));
    drawn += AT_ONCE;
    if (drawn >= groups.length) watcher.disconnect();
  };
  watcher = new IntersectionObserver(([seen]) => seen.isIntersecting && more(), { rootMargin: "900px" });
  more();
  if (drawn < groups.length) watcher.observe(end);
}

function pressed(event) {
  if (event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = [...root.querySelectorAll(".group")];
  const here = cards.indexOf(event.target.closest(".group"));
  const goto = { j: here + 1, ArrowDown: here + 1, k: here - 1, ArrowUp: here - 1 }[event.key];
  const act = { d: "distinct", x: "choose", u: "undo" }[event.key];
  if (goto !== undefined && cards[goto]) {
    cards[goto].focus();
    cards[goto].scrollIntoView({ block: "nearest" });
  } else if (act && here >= 0) cards[here].querySelector(`[data-act="${act}"]`)?.click();
  else if (event.key === "Enter" && event.target === cards[here]) cards[here].querySelector(".look")?.click();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

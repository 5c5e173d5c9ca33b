// What can be done with chosen pictures: tag, copy their paths, export, find more like them.

import * as api from "./api.js";
import { byId, count, el, icon, plural } from "./dom.js";
import { announce, complain, say } from "./notices.js";
import { empty } from "./question.js";
import { go } from "./route.js";
import { closeSheet, openSheet } from "./sheet.js";
import { tagInput } from "./tagging.js";

let selection;
let token = () => null;

/** `search()` gives the name of the answer on show, for its scores. */
export function startActions(given, search) {
  selection = given;
  token = search;
  selection.listen(draw);
}

const act = (drawing, words, onclick) =>
  el(
    "button",
    { type: "button", class: "quiet", title: words, "aria-label": words, onclick },
    icon(drawing),
    el("span", {}, words),
  );

function draw() {
  const bar = byId("actions");
  const { size } = selection;
  bar.hidden = !size;
  document.body.classList.toggle("choosing", size > 0);
  if (!size) return;
  if (!bar.childElementCount) {
    bar.append(
      el("span", { class: "many" }),
      act("tag", "Tag", tagChosen),
      act("copy", "Copy paths", () => copyPaths([...selection.ids])),
      act("save", "Export", exportChosen),
      act("like", "Find alike", alike),
      act("close", "Choose none", () => selection.clear()),
    );
  }
  bar.querySelector(".many").textContent = `${count(size)} chosen`;
  announce(`${count(size)} chosen`);
}

/** A path with a line break in it would be pasted as two, one with an escape sequence would do something in a terminal. */
const OUT =
  "a line break, another control character or bytes that are no text in the name. Export as JSON or CSV has all.";

export async function copyPaths(ids) {
  try {
    const { blob, leftOut } = await api.exported(ids, "clipboard");
    const number = ids.length - leftOut;
    if (!number) throw new api.Problem("left-out", `There is ${OUT}`);
    await toClipboard((await blob.text()).trimEnd());
    const copied = number === 1 ? "The path is copied." : `${count(number)} paths are copied.`;
    if (leftOut) say(`${copied} ${count(leftOut)} left out, for ${OUT}`, { error: true });
    else say(copied);
  } catch (error) {
    complain(error, ids.length === 1 ? "The path cannot be copied" : "The paths cannot be copied");
  }
}

export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without leave for the clipboard (or over plain http elsewhere than here): the old way.
    const area = el("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = text;
    const before = document.activeElement;
    ([...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus?.({ preventScroll: true });
    if (!done) throw new Error("the browser does not allow it");
  }
}

export function tagChosen() {
  const ids = [...selection.ids];
  if (!ids.length) return;
  const changed = async (changes, done) => {
    try {
      const answer = await api.changeTags(ids, changes);
      document.dispatchEvent(new Event("clip-tags"));
      done(answer);
    } catch (error) {
      complain(error, "The tags cannot be changed");
    }
  };
  const quoted = (labels) => labels.map((label) => `“${label}”`).join(", ");
  const tags = (labels) => (labels.length > 1 ? "the tags" : "the tag");
  const are = (labels) => (labels.length > 1 ? "are" : "is");
  const add = (labels) =>
    changed({ add: labels }, ({ added }) => {
      closeSheet();
      // Taking back is safe only where none of them had the tag before.
      const undo =
        added === ids.length * labels.length
          ? {
              label: "Undo",
              act: () =>
                changed({ remove: labels }, () => say(`${quoted(labels)} ${are(labels)} taken off again.`)),
            }
          : null;
      // What is counted is pictures for one tag; for several, all that were looked at.
      const number = labels.length > 1 ? ids.length : added;
      const told = added
        ? `${plural(number, "picture")} tagged ${quoted(labels)}.`
        : `All of them have ${tags(labels)} ${quoted(labels)} already.`;
      say(told, { undo });
    });
  const remove = (labels) =>
    changed({ remove: labels }, ({ removed }) => {
      closeSheet();
      const number = labels.length > 1 ? ids.length : removed;
      say(
        removed
          ? `${quoted(labels)} ${are(labels)} taken off ${plural(number, "picture")}.`
          : `None of them has ${tags(labels)} ${quoted(labels)}.`,
      );
    });
  openSheet(
    `Tag ${plural(ids.length, "picture")}`,
    el("div", {}, el("h3", { class: "soft" }, "Add"), tagInput("Tag to add", add)),
    el("div", {}, el("h3", { class: "soft" }, "Take off"), tagInput("Tag to take off", remove, "minus")),
  );
}

const FORMATS = [
  ["paths", "Paths", "one a line, as text"],
  ["csv", "CSV", "a table, with the scores of this search"],
  ["json", "JSON", "one list of records"],
  ["ndjson", "NDJSON", "a record a line"],
];

export function exportChosen() {
  const ids = [...selection.ids];
  if (!ids.length) return;
  const save = async (event) => {
    event.preventDefault();
    const format = new FormData(event.target).get("format");
    try {
      const { blob, leftOut } = await api.exported(ids, format, format === "paths" ? null : token());
      const address = URL.createObjectURL(blob);
      const link = el("a", { href: address, download: `pictures.${format === "paths" ? "txt" : format}` });
      byId("sheet").append(link);
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
      closeSheet();
      const words = `${plural(ids.length - leftOut, "picture")} exported.`;
      if (leftOut) say(`${words} ${count(leftOut)} left out, for ${OUT}`, { error: true });
      else say(words);
    } catch (error) {
      complain(error, "The export failed");
    }
  };
  openSheet(
    `Export ${plural(ids.length, "picture")}`,
    el(
      "form",
      { onsubmit: save },
      FORMATS.map(([value, words, what], index) =>
        el(
          "label",
          { class: "option" },
          el("input", { type: "radio", name: "format", value, checked: index === 0 }),
          el("span", { class: "what" }, el("strong", {}, words), el("span", { class: "soft" }, `  ${what}`)),
        ),
      ),
      el(
        "div",
        { class: "buttons" },
        el("button", { type: "submit", class: "button main" }, icon("save"), "Save the file"),
      ),
    ),
  );
}

/** The sum of the chosen pictures as a question. */
function alike() {
  const ids = [...selection.ids].slice(0, 15);
  if (selection.size > ids.length) say(`The first ${ids.length} of them are searched with.`);
  selection.clear();
  go({ question: { ...empty(), terms: ids.map((id) => ({ weight: 1, id })) }, view: "search", picture: null });
}

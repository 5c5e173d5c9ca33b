// The fields of the filter panel that one types into: dates and a place. What makes no sense is said below them, and is not in
// use; what was in use before stays so.

import { EVERYWHERE } from "./chips.js";
import { count, el } from "./dom.js";
import { contradiction, readPlace, wrongDate } from "./filtercheck.js";
import { place } from "./route.js";

const note = (id) => el("p", { class: "wrong", id, role: "status", hidden: true });

function say(words, where, { mild = false } = {}) {
  where.textContent = words;
  where.hidden = !words;
  where.classList.toggle("mild", mild);
}

/** A field that is wrong keeps what was typed until the filter behind it changes. */
function mark(field, wrong) {
  field.setAttribute("aria-invalid", String(wrong));
  field.dataset.standing = place.question.filters[field.dataset.key];
}

const keeps = (field) =>
  field === document.activeElement ||
  (field.getAttribute("aria-invalid") === "true" &&
    field.dataset.standing === place.question.filters[field.dataset.key]);

function input(label, attributes) {
  return el(
    "label",
    { class: "field" },
    el("span", {}, label),
    el("input", { type: "text", autocomplete: "off", ...attributes }),
  );
}

/** From and to. `set(key, value)` puts a filter in use. The element has `refresh()`, and `reset()` before it forgets. */
export function dateFields(set) {
  const trouble = note("wrong-date");
  const wrong = new Map(); // key -> words
  const show = () => say([...wrong.values(), contradiction(place.question.filters)].filter(Boolean).join(" "), trouble);
  const field = (key, label, placeholder) =>
    input(label, {
      placeholder,
      maxlength: "40",
      "aria-describedby": trouble.id,
      dataset: { key },
      onchange: (event) => {
        const text = event.target.value.trim();
        const words = text && wrongDate(text);
        mark(event.target, Boolean(words));
        const standing = place.question.filters[key];
        if (words) wrong.set(key, `${words} ${standing ? `${standing} stays in use.` : "Not in use."}`);
        else wrong.delete(key);
        if (words) show();
        else set(key, text);
      },
    });
  const box = el(
    "div",
    {},
    el("div", { class: "pair" }, field("since", "From", "2019-07"), field("until", "To", "2021")),
    trouble,
  );
  box.reset = () => {
    for (const input of box.querySelectorAll("input")) input.setAttribute("aria-invalid", "false");
  };
  box.refresh = () => {
    for (const input of box.querySelectorAll("input")) {
      if (keeps(input)) continue;
      input.value = place.question.filters[input.dataset.key];
      input.setAttribute("aria-invalid", "false");
      wrong.delete(input.dataset.key);
    }
    show();
  };
  return box;
}

/** Latitude, longitude and kilometres, and whether a place is known at all; of `places` pictures it is. */
export function placeFields(set, places) {
  const trouble = note("wrong-place");
  let inputs = [];
  const read = () => {
    const texts = inputs.map((field) => field.value);
    const { near, missing, wrong, at } = readPlace(...texts);
    inputs.forEach((field, index) => mark(field, Boolean(wrong) && index === at));
    const { near: standing } = place.question.filters;
    if (wrong) say(`${wrong} ${standing ? "The place of before stays in use." : "Not in use."}`, trouble);
    else if (missing) say(missing, trouble, { mild: true });
    else {
      say("", trouble);
      set("near", near);
    }
  };
  const field = (label, placeholder) =>
    input(label, {
      inputmode: "decimal",
      placeholder,
      "aria-describedby": trouble.id,
      dataset: { key: "near" },
      onchange: read,
    });
  const known = el(
    "label",
    { class: "option" },
    el("input", {
      type: "checkbox",
      value: EVERYWHERE,
      dataset: { key: "near" },
      checked: place.question.filters.near === EVERYWHERE,
      onchange: (event) => set("near", event.target.checked ? EVERYWHERE : ""),
    }),
    el("span", { class: "what" }, "Place is known"),
    el("span", { class: "number" }, count(places)),
  );
  const box = el(
    "div",
    {},
    known,
    el("div", { class: "pair" }, field("Latitude", "48.86"), field("Longitude", "2.35")),
    el("div", { class: "pair" }, field("Within km", "10")),
    trouble,
  );
  inputs = [...box.querySelectorAll('input[type="text"]')];
  let drawn = null; // the filter whose numbers stand in the fields
  box.reset = () => {
    drawn = null;
  };
  box.refresh = () => {
    const { near } = place.question.filters;
    if (near === drawn || inputs.includes(document.activeElement)) return;
    const parts = near === EVERYWHERE ? [] : near.split(",");
    inputs.forEach((field, index) => {
      field.value = parts[index] ?? "";
      field.setAttribute("aria-invalid", "false");
    });
    say("", trouble);
    drawn = near;
  };
  return box;
}

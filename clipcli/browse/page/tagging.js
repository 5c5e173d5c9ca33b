// A field for a tag, with those that exist offered.

import * as api from "./api.js";
import { el, icon } from "./dom.js";

let known = null;

document.addEventListener("clip-tags", () => {
  known = null;
});

const ask = () =>
  (known ??= api.tags().catch(() => {
    known = null; // the next field asks again
    return { tags: [] };
  }));

/** What has been typed up to the last comma stays before what is offered. */
async function offer(list, typed) {
  const { tags } = await ask();
  const before = /^(?:[^]*,\s*)?/.exec(typed)[0];
  list.replaceChildren(...tags.slice(0, 300).map(({ name }) => el("option", { value: before + name })));
}

/** The tags that were typed: a comma parts two, unless the whole is a tag that exists (given elsewhere). */
async function parted(typed) {
  const whole = typed.trim();
  if (!whole.includes(",")) return whole ? [whole] : [];
  const { tags } = await ask();
  if (tags.some(({ name }) => name === whole)) return [whole];
  return [...new Set(whole.split(",").map((part) => part.trim()))].filter(Boolean);
}

let number = 0;

/** A form: `save(labels)` is called with the tags that were typed. `drawing` is on its button. */
export function tagInput(label, save, drawing = "plus") {
  number += 1;
  const list = el("datalist", { id: `tags-${number}` });
  const field = el("input", {
    type: "text",
    "aria-label": label,
    placeholder: label,
    maxlength: "1000",
    autocomplete: "off",
    list: list.id,
    onfocus: () => offer(list, field.value),
    oninput: () => offer(list, field.value),
  });
  const form = el(
    "form",
    {
      class: "new-label",
      onsubmit: async (event) => {
        event.preventDefault();
        const typed = field.value;
        field.value = "";
        const labels = await parted(typed);
        if (labels.length) save(labels);
      },
    },
    el("div", { class: "field" }, field),
    el("button", { type: "submit", class: "button", "aria-label": label }, icon(drawing)),
    list,
  );
  return form;
}

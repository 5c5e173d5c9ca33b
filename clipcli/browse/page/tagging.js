// A field for a tag, with those that exist offered.

import * as api from "./api.js";
import { el, icon } from "./dom.js";

let known = null;

document.addEventListener("clip-tags", () => {
  known = null;
});

async function offer(list) {
  known ??= api.tags().catch(() => {
    known = null; // the next field asks again
    return { tags: [] };
  });
  const { tags } = await known;
  list.replaceChildren(...tags.slice(0, 300).map(({ name }) => el("option", { value: name })));
}

let number = 0;

/** A form: `save(label)` is called with what was typed. `drawing` is on its button. */
export function tagInput(label, save, drawing = "plus") {
  number += 1;
  const list = el("datalist", { id: `tags-${number}` });
  const field = el("input", {
    type: "text",
    "aria-label": label,
    placeholder: label,
    maxlength: "200",
    autocomplete: "off",
    list: list.id,
    onfocus: () => offer(list),
  });
  const form = el(
    "form",
    {
      class: "new-label",
      onsubmit: (event) => {
        event.preventDefault();
        const text = field.value.trim();
        if (!text) return;
        field.value = "";
        save(text);
      },
    },
    el("div", { class: "field" }, field),
    el("button", { type: "submit", class: "button", "aria-label": label }, icon(drawing)),
    list,
  );
  return form;
}

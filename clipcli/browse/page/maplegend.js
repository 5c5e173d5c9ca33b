// What stands beside the map: how it is drawn, the person's own words, and the groups with their names.

import { count, el, iconButton, name } from "./dom.js";

const COLOURS = 8;

/** `told`: `words(text)` when words are given, `draw(method)`, `approach(group)` and `alike(group)` of one in the list. */
export function makeLegend(told) {
  const field = el("textarea", {
    id: "map-words",
    rows: "3",
    maxlength: "8000",
    placeholder: "beach, mountains, birthday, receipts",
    spellcheck: "false",
  });
  const form = el(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        told.words(field.value.trim());
      },
    },
    el("label", { class: "field", for: "map-words" }, el("span", {}, "Your words for what is there")),
    field,
    el("button", { type: "submit", class: "button" }, "Name the groups"),
  );
  const segments = el("div", {
    class: "segments",
    role: "radiogroup",
    "aria-label": "How the map is drawn",
    hidden: true,
  });
  const kind = (value, words) =>
    el(
      "label",
      {},
      el("input", { type: "radio", name: "method", value, onchange: () => told.draw(value) }),
      el("span", {}, words),
    );
  segments.append(kind("pca", "Overview"), kind("umap", "Neighbours"));
  const groups = el("ul", { class: "groups" });
  const note = el("p", { class: "soft", role: "status", hidden: true });
  const summary = el("p", { class: "soft" });
  const swatches = el(
    "div",
    { class: "unseen", "aria-hidden": "true" },
    Array.from({ length: COLOURS }, (_, index) => el("span", { class: `swatch swatch-${index}` })),
  );
  const element = el(
    "div",
    { class: "legend", role: "region", "aria-label": "Groups", tabindex: "0" },
    el("div", {}, el("h1", { id: "map-title" }, "Map"), summary),
    segments,
    form,
    note,
    groups,
    swatches,
  );
  return {
    element,
    /** The words that are in use; what somebody is typing stays. */
    showWords: (words) => {
      if (field !== document.activeElement) field.value = words;
    },
    /** Which way the map is drawn, and whether there are two. */
    showMethod: (method, both) => {
      segments.hidden = !both && method === "pca";
      for (const input of segments.querySelectorAll("input")) input.checked = input.value === method;
    },
    say: (text) => {
      summary.textContent = text;
    },
    /** What became of the words; "" for nothing to say. */
    noteWords: (text) => {
      note.textContent = text;
      note.hidden = !text;
    },
    showGroups: (list) => {
      groups.replaceChildren(
        ...list.map((group) =>
          el(
            "li",
            {},
            el(
              "button",
              { type: "button", title: "Look closer", onclick: () => told.approach(group) },
              el("span", { class: `swatch swatch-${group.colour}` }),
              name(group.title),
              el("span", { class: "number soft" }, count(group.number)),
            ),
            iconButton("like", `Find alike: ${group.title}`, () => told.alike(group)),
          ),
        ),
      );
    },
    colours: () => [...swatches.children].map((swatch) => getComputedStyle(swatch).backgroundColor),
  };
}

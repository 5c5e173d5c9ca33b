// What is known of one picture, and what can be done with it.

import * as api from "./api.js";
import { bytes, count, el, icon, iconButton, likeness, moment, name } from "./dom.js";
import { empty } from "./question.js";
import { go } from "./route.js";
import { addTerm, change, searchLike } from "./searchbar.js";
import { tagInput } from "./tagging.js";

function fact(words, ...value) {
  return [el("dt", {}, words), el("dd", {}, ...value)];
}

const DATES = {
  exif: ["Taken", "by the picture’s own data (EXIF)"],
  xmp: ["Taken", "by the picture’s own data (XMP)"],
  file: ["File of", "the picture itself says no date"],
};

/** What is known of a picture, as elements; `retag(id, changes)` and `copy(ids)` are called from it. */
export function factsOf(facts, { retag, copy }) {
  const { id } = facts;
  const position = facts.latitude === null ? null : `${facts.latitude.toFixed(4)}, ${facts.longitude.toFixed(4)}`;
  const filter = (key, value) => change({ ...empty(), filters: { ...empty().filters, [key]: value } });
  const megapixels = (facts.width * facts.height) / 1e6;
  // A file's date is often only that of a copy: it is never called the day when the picture was taken.
  const [dated, source] = DATES[facts.taken_from] ?? DATES.exif;
  return [
    el(
      "div",
      {},
      el("h2", {}, name(facts.name)),
      el(
        "button",
        {
          type: "button",
          class: "folder",
          title: "Everything in this folder",
          onclick: () => filter("in", [facts.folder]),
        },
        name(facts.folder_shown),
      ),
    ),
    el(
      "dl",
      { class: "facts" },
      facts.taken_at && fact(dated, moment(facts.taken_at), el("small", { class: "soft source" }, source)),
      fact(
        "Size",
        `${count(facts.width)} × ${count(facts.height)}`,
        megapixels >= 0.05 && el("span", { class: "soft" }, `  ${megapixels.toFixed(1)} MP`),
      ),
      fact("File", `${facts.format.toUpperCase()}, ${bytes(facts.bytes)}`),
      facts.camera && fact("Camera", name(facts.camera)),
      facts.lens && fact("Lens", name(facts.lens)),
      position &&
        fact(
          "Place",
          `${position}\u2002`,
          el(
            "button",
            {
              type: "button",
              class: "quiet",
              onclick: () => filter("near", `${facts.latitude.toFixed(5)},${facts.longitude.toFixed(5)},5`),
            },
            "Nearby",
          ),
        ),
      facts.copies.length > 0 &&
        fact(
          "Copies",
          ...facts.copies.slice(0, 8).map((twin) =>
            el(
              "button",
              {
                type: "button",
                class: "quiet",
                title: twin.path,
                onclick: () => go({ picture: twin.id }, { replace: true }),
              },
              name(twin.name === facts.name ? twin.folder : twin.name),
            ),
          ),
          facts.copies.length > 8 && el("span", { class: "soft" }, ` and ${count(facts.copies.length - 8)} more`),
        ),
      !facts.present && fact("Missing", "The file is not there now."),
      facts.present && facts.stale && fact("Note", "The file could not be read when it was last looked at."),
    ),
    el(
      "div",
      {},
      el("h3", {}, "Tags"),
      labelsOf(facts, retag),
      tagInput("Add a tag", (labels) => retag(id, { add: labels })),
    ),
    el(
      "div",
      { class: "doing" },
      el("button", { type: "button", class: "button", onclick: () => searchLike(id) }, icon("like"), "Find alike"),
      el(
        "button",
        { type: "button", class: "button", onclick: () => addTerm({ weight: 1, id }) },
        icon("plus"),
        "More like",
      ),
      el(
        "button",
        { type: "button", class: "button", onclick: () => addTerm({ weight: -1, id }) },
        icon("minus"),
        "Less like",
      ),
      el("button", { type: "button", class: "button", onclick: () => copy([id]) }, icon("copy"), "Copy path"),
    ),
    el("div", { class: "alike-box", hidden: true }),
  ];
}

/** The tags of a picture. */
export function labelsOf(facts, retag) {
  const { id } = facts;
  return el(
    "div",
    { class: "labels" },
    facts.tags.map(({ label, by_person: person, score }) =>
      el(
        "span",
        { class: person ? "label" : "label by-model", title: person ? "Tagged by a person" : "Tagged by a model" },
        name(label),
        !person && score !== null && el("small", {}, likeness(score)),
        iconButton("close", `Remove the tag ${label}`, () => retag(id, { remove: [label] })),
      ),
    ),
    facts.tags.length === 0 && el("span", { class: "soft" }, "none"),
  );
}

/** What looks like it; `open(id)` is called when one is chosen. */
export function alikeOf(answer, open) {
  return [
    el("h3", {}, "Looks like it"),
    el(
      "ul",
      { class: "alike" },
      answer.ids.map((other, index) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              "aria-label": answer.names[index] || `Picture ${other}`,
              title: `${answer.names[index]}  ${likeness(answer.scores[index])}`,
              onclick: () => open(other),
            },
            el("img", { src: api.thumb(other, 160), alt: "", loading: "lazy" }),
          ),
        ),
      ),
    ),
  ];
}

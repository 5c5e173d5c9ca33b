// The chips below the search field: further terms with their weights, and the filters in use.

import * as api from "./api.js";
import { byId, el, icon, iconButton, name } from "./dom.js";
import { namesOf } from "./picturenames.js";
import { empty, splitTyped } from "./question.js";
import { go, place } from "./route.js";
import { addTerms, change, pendingTerms } from "./searchbar.js";

let adding = 0; // 1 or -1 while a further term is being typed

export function drawChips() {
  const box = byId("chips");
  const held = box.contains(document.activeElement) ? document.activeElement.dataset.keep : null;
  const { question, view } = place;
  if (view === "library") return box.replaceChildren();
  const asked = question.terms.flatMap(({ id }) => (id === undefined ? [] : [id]));
  const names = namesOf(asked, () => adding || drawChips());
  const chips = question.terms.map((term, index) => termChip(term, index, names));
  const filters = filterChips(question);
  box.replaceChildren(...chips, ...pendingTerms().map(pendingChip), ...filters);
  if (view === "search") box.append(...(adding ? [addField()] : [addButton(1), addButton(-1)]));
  if (chips.length + filters.length > 1 || (filters.length + chips.length && question.text))
    box.append(
      el(
        "button",
        { type: "button", class: "quiet", onclick: () => go({ question: empty(), picture: null }) },
        "Clear all",
      ),
    );
  if (held) (box.querySelector(`[data-keep="${CSS.escape(held)}"]`) ?? byId("q")).focus();
  else if (adding) box.querySelector("#new-term")?.focus();
}

function replaceTerm(index, changes) {
  const terms = [...place.question.terms];
  if (changes === null) terms.splice(index, 1);
  else terms[index] = { ...terms[index], ...changes };
  change({ terms });
}

function termChip(term, index, names) {
  const minus = term.weight < 0;
  const words = term.text ?? (term.id !== undefined ? names.get(term.id) || `picture ${term.id}` : "your picture");
  const address =
    term.id !== undefined ? api.thumb(term.id, 52) : term.upload !== undefined ? api.uploadThumb(term.upload) : null;
  return el(
    "span",
    {
      class: `chip term ${minus ? "minus" : "plus"}`,
      role: "group",
      "aria-label": `${minus ? "less like" : "more like"} ${words}`,
    },
    el(
      "button",
      {
        type: "button",
        class: "sign",
        "aria-label": minus ? `Less like ${words}: turn round` : `More like ${words}: turn round`,
        title: minus ? "Less like this; click for more" : "More like this; click for less",
        dataset: { keep: `sign${index}` },
        onclick: () => replaceTerm(index, { weight: -term.weight }),
      },
      icon(minus ? "minus" : "plus"),
    ),
    address && el("img", { src: address, alt: "" }),
    name(words, { class: "what", title: words }),
    el("input", {
      type: "number",
      min: "0.1",
      max: "100",
      step: "0.1",
      value: String(Math.abs(term.weight)),
      "aria-label": `Weight of ${words}`,
      title: "Weight",
      dataset: { keep: `weight${index}` },
      onchange: (event) => {
        const size = Number(event.target.value);
        if (size > 0 && size <= 100) replaceTerm(index, { weight: minus ? -size : size });
        else event.target.value = String(Math.abs(term.weight));
      },
    }),
    iconButton("close", `Remove ${words}`, () => replaceTerm(index, null), { class: "" }),
  );
}

/** A term that stands in the field and waits for Enter. */
const pendingChip = ({ weight, text }) =>
  el(
    "span",
    { class: "chip pending" },
    icon(weight < 0 ? "minus" : "plus"),
    name(text, { class: "what", title: text }),
    el("kbd", {}, "Enter"),
  );

const ICONS = {
  in: "folder",
  camera: "camera",
  tag: "tag",
  format_is: "image",
  since: "calendar",
  until: "calendar",
  near: "place",
  min_size: "fit",
};

function filterChips(question) {
  const chips = [];
  const say = (key, value) => {
    if (key === "in") return value.split(/[\\/]/).filter(Boolean).at(-1) ?? value;
    if (key === "since") return `from ${value}`;
    if (key === "until") return `to ${value}`;
    if (key === "near")
      return value === EVERYWHERE ? "with a place" : `near ${value.split(",").slice(0, 2).join(", ")}`;
    if (key === "min_size") return `at least ${value.replace("MP", " megapixels")}`;
    return value;
  };
  for (const [key, held] of Object.entries(question.filters)) {
    for (const value of Array.isArray(held) ? held : held ? [held] : []) {
      const words = say(key, value).toWellFormed?.() ?? say(key, value);
      const off = () =>
        change(
          {
            filters: { ...question.filters, [key]: Array.isArray(held) ? held.filter((other) => other !== value) : "" },
          },
          { view: place.view },
        );
      chips.push(
        el(
          "span",
          { class: "chip" },
          icon(ICONS[key]),
          name(words, { class: "what", title: value.toWellFormed?.() ?? value }),
          iconButton("close", `Remove the filter ${words}`, off, { class: "" }),
        ),
      );
    }
  }
  return chips;
}

/** A circle that holds the whole earth: it leaves out the pictures without a place, and no other. */
export const EVERYWHERE = "0,0,20038";

function addButton(sign) {
  const label = sign > 0 ? "More like…" : "Less like…";
  return el(
    "button",
    {
      type: "button",
      class: "add-term",
      dataset: { keep: `add${sign}` },
      onclick: () => {
        adding = sign;
        byId("chips").contains(document.activeElement) && document.activeElement.blur();
        drawChips();
      },
    },
    icon(sign > 0 ? "plus" : "minus"),
    label,
  );
}

function addField() {
  const sign = adding;
  const stop = (back) => {
    if (!adding) return;
    adding = 0;
    drawChips();
    if (back) byId("chips").querySelector(`[data-keep="add${sign}"]`)?.focus();
  };
  const field = el("input", {
    id: "new-term",
    type: "text",
    maxlength: "2000",
    autocomplete: "off",
    "aria-label": sign > 0 ? "More like" : "Less like",
    placeholder: sign > 0 ? "more like …" : "less like …",
    onkeydown: (event) => {
      if (event.key === "Escape") stop(true);
      else if (event.key === "Enter" && splitTyped(`+ ${field.value}`).terms.length) {
        adding = 0;
        const { terms } = splitTyped(`+ ${field.value}`);
        addTerms(terms.map((term) => ({ ...term, weight: sign * Math.abs(term.weight) })));
        byId("chips").querySelector(`[data-keep="add${sign}"]`)?.focus();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    },
    onblur: () => setTimeout(() => stop(false)),
  });
  return el("span", { class: `chip adding ${sign > 0 ? "plus" : "minus"}` }, icon(sign > 0 ? "plus" : "minus"), field);
}

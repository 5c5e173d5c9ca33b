// The panel of filters. What it offers comes from the library: its folders, years, cameras, tags and formats.

import * as api from "./api.js";
import { byId, count, el, icon, iconButton, name } from "./dom.js";
import { complain } from "./notices.js";
import { empty } from "./question.js";
import { place } from "./route.js";
import { dateFields, placeFields } from "./filterfields.js";
import { change } from "./searchbar.js";

let library = null;
let offered = ""; // what the panel offers
let drawn = false;
let fields = {}; // those that one types into

export function startFilters() {
  const button = byId("filter-button");
  button.addEventListener("click", () => toggleFilters());
  byId("filters").addEventListener("focusout", () => drawn || setTimeout(drawFilters));
  byId("filters").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    toggleFilters(false);
    event.stopPropagation();
  });
}

/** `enter`: the focus goes into the panel, for who came by a key. */
export function toggleFilters(shown = byId("filters").hidden, enter = false) {
  const panel = byId("filters");
  if (panel.hidden === !shown) return;
  const inside = panel.contains(document.activeElement);
  panel.hidden = !shown;
  byId("filter-button").setAttribute("aria-expanded", String(shown));
  if (shown) {
    drawFilters();
    if (enter) panel.querySelector("input, button")?.focus({ preventScroll: true });
  } else if (inside) byId("filter-button").focus();
}

/** What the library has to offer has become known, or has changed. */
export function offerFilters(state) {
  const { roots, years, cameras, tags, places, formats } = state;
  const now = JSON.stringify([roots, years, cameras, tags, places, formats]);
  library = state;
  if (now === offered) return;
  offered = now;
  drawn = false;
  drawFilters();
}

const set = (key, value) =>
  change(
    { filters: { ...place.question.filters, [key]: value } },
    { view: place.view === "library" ? "search" : place.view },
  );

function flip(key, value, on) {
  const others = place.question.filters[key].filter((other) => other !== value);
  set(key, on ? [...others, value] : others);
}

/** Draw the panel where it is not drawn yet; else only bring its marks up to date. */
export function drawFilters() {
  const panel = byId("filters");
  if (panel.hidden || !library) return;
  // Nothing is taken away under the hands of who is choosing; `focusout` draws it then.
  if (!drawn && !(panel.childElementCount && panel.contains(document.activeElement))) {
    fields = {};
    const sections = [
      folders(),
      dates(),
      choices("camera", "Camera", "camera", library.cameras),
      choices("tag", "Tag", "tag", library.tags),
      places(),
      files(),
    ];
    const off = el(
      "button",
      {
        type: "button",
        class: "quiet",
        onclick: () => {
          for (const field of Object.values(fields)) field.reset(); // also what was typed and is not in use
          change({ filters: empty().filters }, { view: place.view });
        },
      },
      "Clear filters",
    );
    const close = el("button", { type: "button", class: "button", onclick: () => toggleFilters(false) }, "Done");
    panel.replaceChildren(...sections.filter(Boolean), el("div", { class: "foot" }, off, close));
    drawn = true;
  }
  const { filters } = place.question;
  for (const box of panel.querySelectorAll("input[type=checkbox][data-key]")) {
    const held = filters[box.dataset.key];
    box.checked = Array.isArray(held) ? held.includes(box.value) : held === box.value;
  }
  for (const field of panel.querySelectorAll("[data-text]"))
    if (field !== document.activeElement) field.value = filters[field.dataset.text];
  for (const year of panel.querySelectorAll("[data-year]"))
    year.setAttribute(
      "aria-pressed",
      String(filters.since === year.dataset.year && filters.until === year.dataset.year),
    );
  for (const field of Object.values(fields)) field.refresh();
}

const section = (title, drawing, ...children) =>
  el("div", { role: "group", "aria-label": title }, el("h2", {}, icon(drawing), title), ...children);

function option(key, value, words, number) {
  return el(
    "label",
    { class: "option" },
    el("input", {
      type: "checkbox",
      value,
      dataset: { key },
      checked: place.question.filters[key].includes(value),
      onchange: (event) =>
        Array.isArray(place.question.filters[key])
          ? flip(key, value, event.target.checked)
          : set(key, event.target.checked ? value : ""),
    }),
    name(words, { class: "what", title: words }),
    number !== undefined && el("span", { class: "number" }, count(number)),
  );
}

function choices(key, title, drawing, offered) {
  if (!offered.length)
    return key === "tag"
      ? section(title, drawing, el("p", { class: "soft" }, "No tags yet: choose pictures, then Tag."))
      : null;
  const list = el(
    "div",
    { class: "options" },
    offered.slice(0, 500).map((entry) => option(key, entry.name, entry.name, entry.count)),
  );
  if (offered.length <= 12) return section(title, drawing, list);
  const find = el("input", {
    type: "search",
    placeholder: `Find in ${count(offered.length)}`,
    "aria-label": `Find: ${title}`,
    oninput: () => {
      const words = find.value.toLocaleLowerCase();
      for (const line of list.children) line.hidden = !line.textContent.toLocaleLowerCase().includes(words);
    },
  });
  return section(title, drawing, el("div", { class: "field" }, find), list);
}

function folders() {
  const tree = el("ul", { class: "tree options" });
  const grow = async (list, inside) => {
    try {
      const { folders: found } = await api.folders(inside);
      list.append(...found.map((folder) => branch(folder, inside === null ? folder.shown : folder.name)));
    } catch (error) {
      complain(error, "The folders cannot be listed");
    }
  };
  const branch = (folder, title) => {
    const words = title.toWellFormed?.() ?? title;
    const below = el("ul", { class: "tree", hidden: true });
    const twist = iconButton(
      "right",
      `Folders in ${words}`,
      () => {
        const open = below.hidden;
        below.hidden = !open;
        twist.setAttribute("aria-expanded", String(open));
        if (open && !below.childElementCount) grow(below, folder.path);
      },
      { class: folder.folders ? "icon-button twist" : "icon-button twist leaf", "aria-expanded": "false" },
    );
    const line = option("in", folder.path, words, folder.pictures);
    line.classList.add("folder-option");
    return el("li", {}, el("div", { class: "option" }, twist, line), below);
  };
  grow(tree, null);
  return section("Folder", "folder", tree);
}

function dates() {
  fields.dates = dateFields(set);
  const years = library.years.filter(({ name: year }) => /^\d{4}$/.test(year)).sort((a, b) => b.name - a.name);
  const buttons = years.map(({ name: year, count: number }) =>
    el(
      "button",
      {
        type: "button",
        dataset: { year },
        title: `${count(number)} pictures`,
        onclick: (event) => {
          const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
          change(
            { filters: { ...place.question.filters, since: on ? year : "", until: on ? year : "" } },
            { view: place.view },
          );
        },
      },
      year,
    ),
  );
  return section("Date", "calendar", fields.dates, el("div", { class: "years" }, buttons));
}

function places() {
  if (!library.places && !place.question.filters.near) return null;
  fields.places = placeFields(set, library.places);
  return section("Place", "place", fields.places);
}

function files() {
  const formats = el(
    "div",
    { class: "options" },
    library.formats.map(({ name: format, count: number }) => option("format_is", format.toLowerCase(), format, number)),
  );
  const select = el(
    "select",
    {
      "aria-label": "Smallest size",
      dataset: { text: "min_size" },
      onchange: (event) => set("min_size", event.target.value),
    },
    [
      ["", "any size"],
      ["1MP", "1 megapixel or more"],
      ["4MP", "4 megapixels or more"],
      ["12MP", "12 megapixels or more"],
      ["24MP", "24 megapixels or more"],
    ].map(([value, words]) => el("option", { value }, words)),
  );
  return section("File", "image", formats, el("div", { class: "field" }, select));
}

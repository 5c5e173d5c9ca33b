// One group of duplicates: what is in it, and what a person decides about it.

import * as api from "./api.js";
import { bytes, count, el, icon, name } from "./dom.js";
import { announce, complain, say } from "./notices.js";
import { openPicture } from "./viewer.js";

/** What is there besides the picture to keep. */
export const copiesOf = (group) => group.filter(({ kind }) => kind !== "kept");

/**
 * One group on its card: the picture to keep first. `decided(pictures, { back, whole })` hears which are no copies after
 * all, or are again.
 */
export function groupCard(group, selection, decided) {
  const ids = group.map(({ id }) => id);
  const exact = group.every(({ kind }) => kind !== "near");
  const title = `${group.length > 2 ? `${group.length} pictures, ` : ""}${exact ? "same content" : "nearly the same"}`;
  const node = el("article", {
    class: group.length > 2 ? "group many" : "group",
    tabindex: "0",
    "aria-label": `${title}: ${group[0].name}`,
  });
  const apart = new Set(); // ids of those that were decided on one by one
  const draw = (done) => {
    const held = node.contains(document.activeElement);
    node.classList.toggle("decided", done);
    const heading = el("h2", {}, done ? "Not duplicates: " : title);
    if (done) heading.append(name(group.map((picture) => picture.name).join(", ")));
    const buttons = done
      ? [
          el(
            "button",
            { type: "button", class: "quiet", dataset: { act: "undo" }, onclick: () => decide(false) },
            "Undo",
          ),
        ]
      : [
          el(
            "button",
            {
              type: "button",
              class: "quiet",
              dataset: { act: "choose" },
              onclick: () =>
                chooseCopies(
                  copiesOf(group).filter(({ id }) => !apart.has(id)),
                  selection,
                ),
            },
            icon("check"),
            "Choose copies",
          ),
          el(
            "button",
            { type: "button", class: "button", dataset: { act: "distinct" }, onclick: () => decide(true) },
            icon("different"),
            "Not duplicates",
          ),
        ];
    node.replaceChildren(
      el("header", {}, heading, el("div", { class: "doing" }, buttons)),
      el(
        "div",
        { class: "members" },
        done ? [] : group.map((picture) => member({ picture, group, node, selection, apart, decided })),
      ),
    );
    if (held) node.focus();
  };
  const decide = async (distinct) => {
    try {
      await api.decide(ids, distinct);
      decided(
        copiesOf(group).filter(({ id }) => !apart.has(id)),
        { back: !distinct, whole: true },
      );
      apart.clear();
      draw(distinct);
      announce(distinct ? "Remembered: not duplicates" : "Taken back");
    } catch (error) {
      complain(error, "This cannot be remembered");
    }
  };
  draw(false);
  return node;
}

function chooseCopies(copies, selection) {
  for (const { id } of copies) selection.ids.add(id);
  selection.tell();
}

function member({ picture, group, node, selection, apart, decided }) {
  const { id, kind, score } = picture;
  const ids = group.map((one) => one.id);
  const kept = kind === "kept";
  const says = kept ? "keep" : kind === "exact" ? "exact copy" : `alike ${score.toFixed(3)}`;
  const split = async (event) => {
    const figure = event.target.closest(".member");
    try {
      await api.decide([group[0].id, id], true);
      apart.add(id);
      figure.remove();
      decided([picture], { whole: apart.size === group.length - 1 });
      say(`“${picture.name}” is no copy of “${group[0].name}”: remembered.`, {
        undo: { label: "Undo", act: () => join(figure) },
      });
      node.focus();
    } catch (error) {
      complain(error, "This cannot be remembered");
    }
  };
  const join = async (figure) => {
    try {
      await api.decide([group[0].id, id], false);
      decided([picture], { back: true, whole: apart.size === group.length - 1 });
      apart.delete(id);
      node.querySelector(".members").append(figure);
    } catch (error) {
      complain(error, "This cannot be taken back");
    }
  };
  return el(
    "figure",
    { class: "member" },
    el(
      "button",
      { type: "button", class: "look", "aria-label": `Open ${picture.name}`, onclick: () => openPicture(id, ids) },
      el("img", { src: api.thumb(id, 320), alt: "", loading: "lazy" }),
    ),
    el(
      "figcaption",
      {},
      el(
        "label",
        { class: "title" },
        el("input", {
          type: "checkbox",
          "aria-label": `Choose ${picture.name}`,
          dataset: { choose: String(id) },
          checked: selection.has(id),
          onchange: () => selection.toggle([id], 0),
        }),
        name(picture.name, { title: picture.name }),
        el("span", { class: kept ? "mark-kept" : "mark-copy" }, says),
      ),
      el("p", { class: "number" }, `${count(picture.width)} × ${count(picture.height)}, ${bytes(picture.bytes)}`),
      el("p", { class: "soft" }, name(picture.folder_shown)),
      !kept && group.length > 2 && el("button", { type: "button", class: "quiet", onclick: split }, "Not a copy of it"),
    ),
  );
}

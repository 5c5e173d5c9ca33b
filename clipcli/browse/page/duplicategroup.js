// One group of duplicates: what is in it, and what a person decides about it.

import * as api from "./api.js";
import { bytes, count, el, icon, name } from "./dom.js";
import { announce, complain, say } from "./notices.js";
import { openPicture } from "./viewer.js";

/** One group on its card: the picture to keep first. */
export function groupCard(group, selection) {
  const ids = group.map(({ id }) => id);
  const exact = group.every(({ kind }) => kind !== "near");
  const title = `${group.length > 2 ? `${group.length} pictures, ` : ""}${exact ? "same content" : "nearly the same"}`;
  const node = el("article", {
    class: group.length > 2 ? "group many" : "group",
    tabindex: "0",
    "aria-label": `${title}: ${group[0].name}`,
  });
  const draw = (decided) => {
    const held = node.contains(document.activeElement);
    node.classList.toggle("decided", decided);
    const heading = el("h2", {}, decided ? "Not duplicates: " : title);
    if (decided) heading.append(name(group.map((picture) => picture.name).join(", ")));
    const buttons = decided
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
              onclick: () => chooseCopies(group, selection),
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
      el("div", { class: "members" }, decided ? [] : group.map((picture) => member(picture, group, node, selection))),
    );
    if (held) node.focus();
  };
  const decide = async (distinct) => {
    try {
      await api.decide(ids, distinct);
      draw(distinct);
      announce(distinct ? "Remembered: not duplicates" : "Taken back");
    } catch (error) {
      complain(error, "This cannot be remembered");
    }
  };
  draw(false);
  return node;
}

function chooseCopies(group, selection) {
  for (const { id, kind } of group) if (kind !== "kept") selection.ids.add(id);
  selection.tell();
}

function member(picture, group, node, selection) {
  const { id, kind, score } = picture;
  const ids = group.map((one) => one.id);
  const kept = kind === "kept";
  const says = kept ? "keep" : kind === "exact" ? "exact copy" : `alike ${score.toFixed(3)}`;
  const apart = async (event) => {
    try {
      await api.decide([group[0].id, id], true);
      event.target.closest(".member").remove();
      say(`“${picture.name}” is no copy of “${group[0].name}”: remembered.`, {
        undo: {
          label: "Undo",
          act: async () => {
            await api.decide([group[0].id, id], false);
            node.querySelector(".members").append(member(picture, group, node, selection));
          },
        },
      });
      node.focus();
    } catch (error) {
      complain(error, "This cannot be remembered");
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
      !kept && group.length > 2 && el("button", { type: "button", class: "quiet", onclick: apart }, "Not a copy of it"),
    ),
  );
}

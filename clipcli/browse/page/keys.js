// The keyboard: keys that work everywhere, and the sheet that lists them all.

import { byId, el, isTyping } from "./dom.js";
import { openSheet } from "./sheet.js";

const KEYS = [
  [
    "Everywhere",
    [
      ["/", "search"],
      ["f", "filters"],
      ["g then p, m, d, l", "pictures, map, duplicates, library"],
      ["b", "dark or light"],
      ["?", "this sheet"],
      ["Esc", "close, or choose none"],
    ],
  ],
  [
    "Pictures",
    [
      ["← → ↑ ↓", "move"],
      ["Home End", "begin and end of the row, with Ctrl of everything"],
      ["Enter", "open"],
      ["Space or x", "choose"],
      ["Shift + arrows", "choose on the way"],
      ["Ctrl + a", "choose all"],
      ["t", "tag the chosen"],
      ["c", "copy their paths"],
      ["e", "export them"],
    ],
  ],
  [
    "A picture large",
    [
      ["← →", "previous, next"],
      ["+ − 0", "larger, smaller, whole"],
      ["Shift + arrows", "move when zoomed"],
      ["i", "facts"],
      ["x", "choose"],
      ["t", "tag"],
      ["s", "find alike"],
      ["c", "copy its path"],
    ],
  ],
  [
    "Duplicates",
    [
      ["j k", "next and previous group"],
      ["d", "not duplicates"],
      ["u", "undo"],
      ["x", "choose the copies"],
    ],
  ],
  [
    "Map",
    [
      ["← → ↑ ↓", "move"],
      ["+ − 0", "closer, farther, whole"],
      ["Enter", "open what is in the middle"],
    ],
  ],
  [
    "In the search field",
    [
      ["Enter or ↓", "to the first picture"],
      ["Esc", "empty it; empty, leave it"],
      ["+ word, Enter", "more like this as well"],
      ["− word, Enter", "less like this"],
      ["Ctrl + v", "search by a picture from the clipboard"],
    ],
  ],
];

const STORE = "clip-single-keys";

/** Single letters as commands can be turned off: who speaks to the machine triggers them by accident. */
export function single() {
  try {
    return localStorage.getItem(STORE) !== "off";
  } catch {
    return true;
  }
}

export function openHelp() {
  const remember = (event) => {
    try {
      localStorage.setItem(STORE, event.target.checked ? "on" : "off");
    } catch {
      // not remembered
    }
  };
  openSheet(
    "Keyboard",
    el(
      "div",
      { class: "keys" },
      KEYS.map(([title, lines]) =>
        el(
          "section",
          {},
          el("h3", {}, title),
          el(
            "dl",
            {},
            lines.map(([keys, what]) => [
              el(
                "dt",
                {},
                keys
                  .split(/( then | or | \+ |, | )/)
                  .filter(Boolean)
                  .map((part) => (/^( then | or | \+ |, | )$/.test(part) ? part : el("kbd", {}, part))),
              ),
              el("dd", {}, what),
            ]),
          ),
        ),
      ),
    ),
    el(
      "label",
      { class: "option" },
      el("input", { type: "checkbox", checked: single(), onchange: remember }),
      el("span", { class: "what" }, "Single letters are commands"),
    ),
  );
}

/** `commands`: letter -> function; `views`: letter after g -> function; `escape()` when nothing else took it. */
export function startKeys(commands, views, escape) {
  let afterG = -Infinity;
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) {
      if (event.key === "?" && byId("viewer").open && !byId("sheet").open) openHelp();
      return;
    }
    if (event.key === "Escape") return escape();
    if (!single()) return;
    const wanted = event.timeStamp - afterG < 1200 ? views[event.key] : commands[event.key];
    afterG = event.key === "g" ? event.timeStamp : -Infinity;
    if (!wanted) return;
    event.preventDefault();
    wanted();
  });
}

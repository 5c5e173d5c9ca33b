// One small dialog at a time: export, tags, help.

import { byId, el, iconButton } from "./dom.js";

let back = null;

/** Open with a title and contents. The focus goes to the first field or button, and back when it closes. */
export function openSheet(title, ...contents) {
  const sheet = byId("sheet");
  if (sheet.open) sheet.close();
  back = document.activeElement;
  sheet.replaceChildren(
    el("header", {}, el("h2", { id: "sheet-title" }, title), iconButton("close", "Close", closeSheet)),
    el("div", { class: "body" }, ...contents),
  );
  sheet.showModal();
  (sheet.querySelector(".body form input") ?? sheet.querySelector("button")).focus();
}

export function closeSheet() {
  byId("sheet").close();
}

export function startSheet() {
  const sheet = byId("sheet");
  sheet.addEventListener("close", () => {
    const messages = byId("messages");
    if (messages.parentElement === sheet) document.body.append(messages);
    if (back?.isConnected) back.focus({ preventScroll: true });
    back = null;
    sheet.replaceChildren();
  });
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet) closeSheet(); // beside it, on the backdrop
  });
}

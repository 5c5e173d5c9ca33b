// Words for what has happened: seen for a while at the foot of the page, and read out by a screen reader.

import { byId, el, iconButton } from "./dom.js";
import { Problem } from "./api.js";

const STAYS = 6000; // milliseconds

/** Say something. `undo` is a button on it, { label, act }; an error stays until it is closed. Gives a function that closes it. */
export function say(text, { error = false, undo = null } = {}) {
  const shown = byId(error ? "alerts" : "notices");
  for (const old of [...shown.children]) old.remove(); // one at a time
  const close = () => {
    clearTimeout(timer);
    notice.remove();
  };
  const notice = el(
    "div",
    { class: error ? "notice error" : "notice" },
    el("p", { dir: "auto" }, text),
    undo && el("button", { type: "button", class: "quiet", onclick: () => (close(), undo.act()) }, undo.label),
    iconButton("close", "Close this message", close),
  );
  const timer = error ? 0 : setTimeout(close, undo ? STAYS * 2 : STAYS);
  shown.append(notice);
  // A modal dialog covers the page: what is said while one is open belongs inside it.
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
  const stack = byId("messages");
  const home = dialog ?? document.body;
  if (stack.parentElement !== home) home.append(stack);
  return close;
}

/** Words that only a screen reader needs. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** An error in words; what was given up on purpose is none. Gives a function that closes it. */
export function complain(error, doing = "") {
  if (error?.name === "AbortError") return () => {};
  const words =
    error instanceof Problem ? error.message : `Something went wrong on this page: ${error?.message ?? error}`;
  if (!(error instanceof Problem)) console.error(error);
  return say(doing ? `${doing}: ${words}` : words, { error: true });
}

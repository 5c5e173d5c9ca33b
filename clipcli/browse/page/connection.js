// Whether the program behind the page answers. While it does not, the page says so at its head; when it does again, the page
// goes on by itself: with the same library where it was, with another one from its beginning.

import * as api from "./api.js";
import { byId, el } from "./dom.js";

const SOON = 1000; // milliseconds between looks; a look costs the program a few milliseconds

let problem = null; // why there is no contact
let timer = 0;
let tell; // hears each answer of the program about itself

/** Is there no contact now? */
export const isLost = () => problem !== null;

/** `told(run)` gets what the program says of itself, every second; `back()` is called when it answers again. */
export function startConnection({ told, back }) {
  tell = told;
  api.onContact((now) => {
    const before = problem;
    problem = now;
    if (before?.code !== now?.code) draw();
    if (before && !now) back();
  });
  document.addEventListener("visibilitychange", () => document.hidden || look());
  look();
}

/** Ask now, and again in a while. Nobody looks at a hidden page. */
export async function look() {
  clearTimeout(timer);
  try {
    if (!document.hidden) await tell(await api.run());
  } catch (error) {
    if (!(error instanceof api.Problem)) console.error(error);
  }
  clearTimeout(timer);
  timer = setTimeout(look, SOON);
}

function draw() {
  const box = byId("contact");
  document.body.classList.toggle("lost", problem !== null);
  box.hidden = problem === null;
  box.replaceChildren();
  if (problem)
    box.append(
      el("p", {}, `${problem.message} What is shown is from before.`),
      el("button", { type: "button", class: "quiet", onclick: look }, "Try now"),
    );
}

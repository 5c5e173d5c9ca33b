// Where one is: the view, the open picture and the question, held in the address and in the history.

import { ASIDE, readAddress, toAddress } from "./question.js";

history.scrollRestoration = "manual"; // the grid restores the place itself, when its rows are there

const listeners = [];
let tellIgnored = () => {};
let ignored = [];
export let place = null;
place = arrived();

export const onRoute = (listener) => listeners.push(listener);

/** `listener(parts)` hears which parts of an address mean nothing; of the first address at once. */
export function onIgnored(listener) {
  tellIgnored = listener;
  if (ignored.length) listener(ignored);
}

/** The place that the address says. What means nothing in it is taken out of it, so that it says what is shown. */
function arrived() {
  const read = readAddress(location.search);
  ignored = read.ignored;
  if (ignored.length) history.replaceState({ ...history.state }, "", toAddress(read.place));
  // What only another view's address says stays as it was.
  const { alike, draw, words } = place ?? ASIDE;
  if (read.place.view !== "duplicates") read.place.alike = alike;
  if (read.place.view !== "map") Object.assign(read.place, { draw, words });
  return read.place;
}

function tell(before, way) {
  for (const listener of listeners) listener(place, before, way);
}

/** Go somewhere: `changes` to the place. With `replace` the step back leads past it. */
export function go(changes, { replace = false } = {}) {
  const before = place;
  place = { ...place, ...changes };
  const address = toAddress(place);
  if (replace) history.replaceState({ ...history.state }, "", address);
  else if (address !== toAddress(before)) {
    remember();
    history.pushState({ depth: (history.state?.depth ?? 0) + 1, y: 0 }, "", address);
  }
  tell(before, "go");
}

/** Keep in the history how far one has scrolled. */
export function remember() {
  history.replaceState({ ...history.state, y: Math.round(scrollY) }, "");
}

export const rememberedY = () => history.state?.y ?? 0;

/** Is there a step of this page to go back to? */
export const canGoBack = () => (history.state?.depth ?? 0) > 0;

// Until the place of an earlier step is restored, scrolling is the page's own doing and is not remembered.
let restoring = false;
export function restored() {
  restoring = false;
}

let timer = 0;
addEventListener(
  "scroll",
  () => {
    clearTimeout(timer);
    if (!restoring) timer = setTimeout(remember, 200);
  },
  { passive: true },
);

addEventListener("popstate", () => {
  clearTimeout(timer);
  restoring = true;
  const before = place;
  place = arrived();
  tell(before, "back");
  if (ignored.length) tellIgnored(ignored);
});

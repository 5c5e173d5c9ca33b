// The question as one sees it: the field, the chips of its terms and filters, and pictures that are dropped or pasted.

import * as api from "./api.js";
import { drawChips } from "./chips.js";
import { byId, bytes } from "./dom.js";
import { complain, say } from "./notices.js";
import { MOST_TERMS, empty, filterCount, splitTyped } from "./question.js";
import { go, place } from "./route.js";

const WAIT = 45; // milliseconds after a key before the question is asked

let mostBytes = Infinity; // of a dropped picture
let typing = false; // what is typed in one go is one step in the history
let pending = []; // terms that stand in the field and wait for Enter
let beside = null; // the words of the question that they were typed beside

/** Change the question: `changes` to it. Asking leads to the grid, except from the map's and the duplicates' filters. */
export function change(changes, { replace = false, view = "search" } = {}) {
  go({ question: { ...place.question, ...changes }, view, picture: null }, { replace });
}

/** Further terms, and other words with them. */
export function addTerms(further, text = place.question.text) {
  const terms = [...place.question.terms, ...further];
  if (terms.length > MOST_TERMS) return say(`A question has at most ${MOST_TERMS} terms.`, { error: true });
  change({ text, terms });
}

export const addTerm = (term) => addTerms([term]);

/** The terms that Enter would add. */
export const pendingTerms = () => pending;

/** Search with one picture of the library alone. */
export const searchLike = (id) =>
  go({ question: { ...empty(), terms: [{ weight: 1, id }] }, view: "search", picture: null });

/** `enter()` leads into the results, when Enter is pressed and no term waits for it. */
export function startSearchBar(enter) {
  const field = byId("q");
  let timer = 0;
  // A sign that is typed over the words leaves them what they are: only who empties the field takes them back.
  const read = () => {
    const { text, terms, open } = splitTyped(field.value);
    pending = terms;
    const words = open && !text ? place.question.text : text;
    beside = open ? words : null;
    return words;
  };
  const ask = () => {
    clearTimeout(timer);
    timer = 0;
    const text = read();
    if (text === place.question.text && place.view === "search") return drawChips();
    change({ text }, { replace: typing });
    typing = true;
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  field.addEventListener("blur", () => {
    if (timer) ask(); // before whatever is clicked leads elsewhere
    typing = false;
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = read();
    if (pending.length) {
      clearTimeout(timer);
      timer = 0;
      const further = pending;
      pending = [];
      beside = null;
      field.value = text;
      addTerms(further, text);
    } else {
      ask();
      enter();
    }
    typing = false;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    if (!field.value) return field.blur(); // keys are commands again
    field.value = "";
    ask();
  });
  byId("by-picture").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    if (event.target.files[0]) searchByFile(event.target.files[0]);
    event.target.value = "";
  });
  startDropping();
}

export function drawSearchBar() {
  const { question } = place;
  const field = byId("q");
  // A term that is being typed beside the words of the question stays in the field; everything else gives way.
  const kept = beside !== null && beside === question.text;
  if (!kept && (document.activeElement !== field || !typing)) {
    field.value = question.text;
    pending = [];
    beside = null;
  }
  const number = filterCount(question);
  byId("filter-count").hidden = !number;
  byId("filter-count").textContent = String(number);
  byId("filter-button").setAttribute("aria-label", number ? `Filters, ${number} in use` : "Filters");
  drawChips();
}

/** How large a dropped picture may be has become known. */
export const learnLimits = ({ upload_bytes: most }) => {
  mostBytes = most;
};

/** A picture of the person's own, as a term. It is uploaded, turned into a vector, and not kept. */
async function searchByFile(file) {
  if (file.size > mostBytes) {
    // Said here: of what is refused on its way a browser tells only that the connection is gone.
    const words = `it has ${bytes(file.size)}, and at most ${Math.round(mostBytes / 2 ** 20)} MB are taken.`;
    return say(`This cannot be searched with: ${words}`, { error: true });
  }
  const looked = say("Looking at your picture…");
  try {
    const { upload, same_as: same } = await api.upload(file);
    looked();
    if (same.length)
      say("This very picture is in the library.", { undo: { label: "Open", act: () => go({ picture: same[0] }) } });
    const terms = place.question.terms.filter((term) => term.upload === undefined);
    go({ question: { ...place.question, terms: [...terms, { weight: 1, upload }] }, view: "search", picture: null });
  } catch (error) {
    looked();
    complain(error, "This cannot be searched with");
  }
}

function startDropping() {
  const zone = byId("drop");
  let depth = 0;
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  const over = (shown) => {
    zone.hidden = !shown;
    if (!shown) depth = 0;
  };
  addEventListener("dragenter", (event) => {
    if (!hasFile(event)) return;
    depth += 1;
    over(true);
    event.preventDefault();
  });
  addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  addEventListener("dragleave", (event) => {
    if (hasFile(event)) over((depth -= 1) > 0);
  });
  addEventListener("drop", (event) => {
    over(false);
    if (!hasFile(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) searchByFile(file);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file) return; // words are pasted as words
    event.preventDefault();
    searchByFile(file);
  });
}

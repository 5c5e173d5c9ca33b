// The question as one sees it: the field, the chips of its terms and filters, and pictures that are dropped or pasted.

import * as api from "./api.js";
import { drawChips } from "./chips.js";
import { byId } from "./dom.js";
import { complain, say } from "./notices.js";
import { asTerm, empty, filterCount } from "./question.js";
import { go, place } from "./route.js";

const WAIT = 45; // milliseconds after a key before the question is asked

let typing = false; // what is typed in one go is one step in the history

/** Change the question: `changes` to it. Asking leads to the grid, except from the map's and the duplicates' filters. */
export function change(changes, { replace = false, view = "search" } = {}) {
  go({ question: { ...place.question, ...changes }, view, picture: null }, { replace });
}

export function addTerm(term) {
  if (place.question.terms.length >= 15) return complain(new Error("a question has at most 15 terms"));
  change({ terms: [...place.question.terms, term] });
}

/** Search with one picture of the library alone. */
export const searchLike = (id) =>
  go({ question: { ...empty(), terms: [{ weight: 1, id }] }, view: "search", picture: null });

export function startSearchBar() {
  const field = byId("q");
  let timer = 0;
  const ask = () => {
    clearTimeout(timer);
    if (field.value === place.question.text && place.view === "search") return;
    change({ text: field.value }, { replace: typing });
    typing = true;
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  field.addEventListener("blur", () => {
    typing = false;
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const term = asTerm(field.value);
    if (term) {
      field.value = "";
      clearTimeout(timer);
      change({ text: "", terms: [...place.question.terms, term] });
    } else ask();
    typing = false;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && field.value) {
      field.value = "";
      ask();
      event.preventDefault();
    }
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
  if (document.activeElement !== field || !typing) field.value = question.text;
  const number = filterCount(question);
  byId("filter-count").hidden = !number;
  byId("filter-count").textContent = String(number);
  byId("filter-button").setAttribute("aria-label", number ? `Filters, ${number} in use` : "Filters");
  drawChips();
}

/** A picture of the person's own, as a term. It is uploaded, turned into a vector, and not kept. */
async function searchByFile(file) {
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

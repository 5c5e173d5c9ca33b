// What stands where pictures would: that there are none, or why the question was not answered.

import { LOST } from "./api.js";
import { el, icon } from "./dom.js";
import { command } from "./library.js";
import { empty, filterCount } from "./question.js";
import { go, place } from "./route.js";
import { change } from "./searchbar.js";

const button = (words, onclick) => el("button", { type: "button", class: "button", onclick }, words);

const clearFilters = () => button("Clear filters", () => change({ filters: empty().filters }));

/** Nothing was found. `library` is what is known of the library, or null. */
export function nothingFound(library) {
  if (library?.pictures === 0)
    return [
      icon("image"),
      el("h2", {}, "This library is empty"),
      el(
        "p",
        {},
        "Tell clip where your pictures are. They stay where they are; only what is seen in them is written down.",
      ),
      command(library.update),
    ];
  if (filterCount(place.question))
    return [
      icon("filter"),
      el("h2", {}, "No picture passes these filters"),
      el("p", {}, "Fewer of them let more through."),
      clearFilters(),
    ];
  return [
    icon("search"),
    el("h2", {}, "Nothing found"),
    el("p", {}, "Try other words, or a picture: drop one on this page."),
  ];
}

/** The question was not answered, because of `problem`; `again()` asks once more. */
export function notAnswered(problem, library, again) {
  const say = (drawing, title, ...more) => [
    icon(drawing),
    el("div", { role: "alert" }, el("h2", {}, title), el("p", { dir: "auto" }, problem.message)),
    ...more,
  ];
  if (problem.code === "no-model" && library?.pictures === 0) return nothingFound(library);
  if (problem.code === "no-model")
    return say("info", "These pictures cannot be searched by words yet", library ? command(library.update) : "");
  if (problem.code === "bad-request" || problem.code === "not-found") {
    const filtered = filterCount(place.question) > 0;
    const anew = button("All pictures", () => go({ question: empty(), picture: null }));
    return say(filtered ? "filter" : "search", "This cannot be asked", filtered ? clearFilters() : anew);
  }
  if (problem.code in LOST) return say("info", "No answer"); // asked again by itself
  return say("info", "No answer", button("Try again", again));
}

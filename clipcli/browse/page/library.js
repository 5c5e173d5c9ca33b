// What the library holds, and how a run of clip embed gets on.

import { toClipboard } from "./actions.js";
import { byId, bytes, count, el, icon, iconButton, name, plural } from "./dom.js";
import { complain, say } from "./notices.js";
import { empty } from "./question.js";
import { go } from "./route.js";

let root;
let state = null;
let run = null;
let began = null; // where this page first saw the run, for its speed

export function startLibrary(section) {
  root = section;
}

export function drawLibrary(nextState = state) {
  state = nextState;
  if (root.hidden) return;
  if (!state) {
    root.replaceChildren(el("div", { class: "waiting" }, el("progress", { "aria-label": "Reading the library" })));
    return;
  }
  const { library, model } = state;
  const show = (filters) =>
    go({ question: { ...empty(), filters: { ...empty().filters, ...filters } }, view: "search", picture: null });
  root.replaceChildren(
    el("h1", { id: "library-title" }, name(library.name)),
    el("p", { class: "intro" }, name(library.path, { class: "mono" })),
    el(
      "div",
      { class: "cards" },
      card(count(library.pictures), library.pictures === 1 ? "picture" : "pictures"),
      card(bytes(library.bytes), "in their files"),
      card(count(state.places), "with a place"),
      card(count(library.skipped), library.skipped === 1 ? "file skipped" : "files skipped"),
      model && card(model.name, `model, ${model.precision}`),
    ),
    el("div", { id: "run-live" }),
    el(
      "div",
      { class: "columns" },
      list("Folders", state.roots, ({ path, pictures, present }) => [
        name(path),
        el("span", { class: "number" }, count(pictures)),
        !present && el("small", {}, "not there now: a disk that is not connected?"),
      ]),
      list("Models", state.models, ({ name: title, precision, pictures, in_use: used }) => [
        el("span", {}, name(title), ` ${precision}`, used && el("span", { class: "mark-kept" }, "in use")),
        el("span", { class: "number" }, count(pictures)),
      ]),
      bars(
        "Years",
        state.years.filter(({ name: year }) => /^\d{4}$/.test(year)).sort((a, b) => b.name - a.name),
        (year) => show({ since: year, until: year }),
        "Lighter: by the date of the file, where the picture itself says none.",
      ),
      bars("Formats", state.formats, (format) => show({ format_is: [format.toLowerCase()] })),
      list("Skipped", state.skipped, ({ reason, count: number }) => [
        el("span", {}, reason),
        el("span", { class: "number" }, count(number)),
      ]),
    ),
  );
  drawRun();
}

const card = (value, words) => el("div", { class: "card" }, el("strong", {}, name(value)), el("span", {}, words));

function list(title, entries, cells) {
  if (!entries.length) return null;
  return el(
    "section",
    {},
    el("h2", {}, title),
    el(
      "ul",
      { class: "rows" },
      entries.map((entry) => el("li", {}, cells(entry))),
    ),
  );
}

/** A bar for each entry. Those of its pictures that are counted `by_file` are lighter, which `note` explains. */
function bars(title, entries, open, note = "") {
  if (!entries.length) return null;
  const width = (number) => `${Math.max(1, (100 * number) / most)}%`;
  const most = Math.max(...entries.map((entry) => entry.count));
  return el(
    "section",
    {},
    el("h2", {}, title),
    el(
      "ul",
      { class: "bars" },
      entries.map((entry) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              "aria-label": `${entry.name}: ${plural(entry.count, "picture")}${entry.by_file ? `, ${count(entry.by_file)} of them by the date of the file` : ""}`,
              onclick: () => open(entry.name),
            },
            el("span", {}, entry.name),
            el(
              "span",
              { class: "sticks" },
              entry.count > (entry.by_file ?? 0) &&
                el("span", { class: "stick", style: { width: width(entry.count - (entry.by_file ?? 0)) } }),
              entry.by_file > 0 && el("span", { class: "stick by-file", style: { width: width(entry.by_file) } }),
            ),
            el("span", { class: "number soft" }, count(entry.count)),
          ),
        ),
      ),
    ),
    entries.some((entry) => entry.by_file) && el("p", { class: "soft small" }, note),
  );
}

/** A command to be copied. */
export function command(line) {
  return el(
    "span",
    { class: "command" },
    el("code", {}, line),
    iconButton("copy", `Copy: ${line}`, () =>
      toClipboard(line).then(
        () => say("The command is copied."),
        (error) => complain(error),
      ),
    ),
  );
}

/** News of the run, as often as they come. */
export function tellRun(now) {
  const before = run;
  run = now;
  if (!now.live) began = null;
  else if (!began || now.done < began.done) began = { at: Date.now(), done: now.done ?? 0 };
  const pill = byId("run-pill");
  pill.hidden = !now.live;
  if (now.live)
    byId("run-pill-text").textContent = now.total ? `${Math.floor((100 * now.done) / now.total)} %` : "Indexing";
  pill.setAttribute("aria-label", now.live ? `Indexing: ${words(now)}` : "");
  if (before?.live && !now.live) say(`Indexing has ended: ${plural(now.pictures, "picture")} in the library.`);
  if (!root.hidden && state) drawRun();
}

const words = ({ done, total, pictures }) =>
  total ? `${count(done)} of ${count(total)} files` : `${count(pictures)} pictures so far`;

function left() {
  if (!began || !run.total || run.done - began.done < 5) return "";
  const rate = (run.done - began.done) / Math.max(0.5, (Date.now() - began.at) / 1000);
  const seconds = (run.total - run.done) / rate;
  const time =
    seconds < 90
      ? `${Math.ceil(seconds / 5) * 5} s`
      : seconds < 5400
        ? `${Math.round(seconds / 60)} min`
        : `${(seconds / 3600).toFixed(1)} h`;
  return ` · about ${time} left, ${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a second`;
}

/** How things stand while no run is under way: a drawing, a title, a text. */
function standing() {
  if (!run.pictures)
    return ["image", "Nothing is indexed yet", "Tell clip where your pictures are; they stay where they are. Run:"];
  const missing = state.model ? run.pictures - run.vectors : 0;
  const then = "After new pictures have come, run:";
  if (missing > 0)
    return [
      "info",
      "No run at the moment",
      `${plural(missing, "picture")} without a vector of this model: not found by words yet. ${then}`,
    ];
  return ["check", "Up to date", `Everything that was found is indexed. ${then}`];
}

function drawRun() {
  const box = byId("run-live");
  if (!box || !run) return;
  box.className = run.live ? "live running" : "live";
  if (!run.live) {
    const [drawing, title, text] = standing();
    box.replaceChildren(
      el("h2", {}, icon(drawing), title),
      el("p", { class: "soft" }, text),
      command(state.library.update),
    );
    return;
  }
  let bar = box.querySelector("progress");
  if (!bar) {
    box.replaceChildren(
      el("h2", {}, el("span", { class: "dot" }), "Indexing"),
      el("progress", { "aria-label": "Indexing" }),
      el("p", { class: "soft number" }),
    );
    bar = box.querySelector("progress");
  }
  if (run.total) {
    bar.max = run.total;
    bar.value = run.done;
  } else bar.removeAttribute("value");
  box.querySelector("p").textContent = words(run) + left();
}

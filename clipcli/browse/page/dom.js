// Elements without HTML: whatever comes from the library (file names, tags, camera names) becomes a text node or an
// attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Attributes that begin with "on" are listeners, `true` is an empty attribute, `false`, `null` and
 * `undefined` are left out; `dataset` and `style` take objects. Children that are strings become text.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style")
      Object.assign(node.style, value); // through the object model: the policy forbids style=""
    else if (key === "dataset") Object.assign(node.dataset, value);
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** One of the drawings at the end of index.html. */
export function icon(drawing) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${drawing}`);
  svg.append(use);
  return svg;
}

/** A button with a drawing, and a text that only some see. */
export function iconButton(drawing, label, onclick, attributes = {}) {
  return el(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...attributes },
    icon(drawing),
  );
}

/** A name whose direction is its own: a right-to-left file name must not turn round what stands beside it. */
export function name(text, attributes = {}) {
  return el("bdi", { dir: "auto", ...attributes }, text);
}

export const byId = (id) => document.getElementById(id);

/** Does the machine ask for little motion? */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Is the event's target something one types into? Single keys are no commands there. */
export function isTyping(target) {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      target.matches(
        "textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=range]):not([type=button])",
      ))
  );
}

const NUMBER = new Intl.NumberFormat("en");
export const count = (number) => NUMBER.format(number);
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A cosine with two digits; what rounds to nothing has no sign. */
export const likeness = (score) => score.toFixed(2).replace(/^-0\.00$/, "0.00");

/** 3482112 -> "3.5 MB". */
export function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = size;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${value} bytes` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** "2011-07-03T14:05:00+02:00" -> "3 July 2011, 14:05", by the picture's own clock. */
export function moment(text) {
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d))?/.exec(text ?? "");
  if (!found) return text ?? "";
  const [, year, month, day, hour, minute] = found;
  const months = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
  ];
  const date = `${Number(day)} ${months[Number(month) - 1] ?? month} ${year}`;
  return hour === undefined ? date : `${date}, ${hour}:${minute}`;
}

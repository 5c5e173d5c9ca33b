// What a date, a place or a size has to be to filter by. The server decides; this says it in the words of the page, before
// anything is asked. Each gives what is wrong, or "" where nothing is.

const DATE = /^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?(?:\s*(Z|[+-]\d\d:?\d\d))?)?)?)?$/i;
const FIRST_YEAR = 1000;
const LAST_YEAR = 9000;

export function wrongDate(text) {
  const found = DATE.exec(text.trim());
  if (!found) return `“${text}” is no date. Write a year, a month or a day: 2019, 2019-07 or 2019-07-14.`;
  const [year, month = 1, day = 1, hour = 0, minute = 0, second = 0] = found
    .slice(1, 7)
    .map((part) => part && Number(part));
  if (year < FIRST_YEAR || year > LAST_YEAR) return `The year ${found[1]} is out of reach.`;
  const days = month >= 1 && month <= 12 ? new Date(Date.UTC(year, month, 0)).getUTCDate() : 0;
  if (day < 1 || day > days) return `There is no day ${text} in the calendar.`;
  return hour > 23 || minute > 59 || second > 59 ? `There is no such time of day: ${text}.` : "";
}

const number = (text) => (/^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(text) ? Number(text) : NaN);

/** Of "48.86,2.35,10": degrees north and east, and kilometres. */
export function wrongPlace(near) {
  const parts = near.split(",");
  const [latitude, longitude, km] = parts.map(number);
  if (parts.length !== 3 || [latitude, longitude, km].some(Number.isNaN))
    return `“${near}” is no place. Latitude, longitude and kilometres are numbers, such as 48.86, 2.35 and 10.`;
  if (Math.abs(latitude) > 90) return `There is no latitude ${latitude}: they go from -90 to 90.`;
  if (Math.abs(longitude) > 180) return `There is no longitude ${longitude}: they go from -180 to 180.`;
  return km > 0 ? "" : "A distance in kilometres is above zero.";
}

export const wrongSize = (text) =>
  /^\s*(\d{1,9}\s*[x×*]\s*\d{1,9}|\d{1,6}(\.\d{1,6})?\s*MP)\s*$/i.test(text)
    ? ""
    : `“${text}” is no size. Write 12MP or 1920x1080.`;

/** By the key of a filter that is a text. */
export const WRONG = { since: wrongDate, until: wrongDate, near: wrongPlace, min_size: wrongSize };

/** Two limits that leave nothing between them. Moments with a zone are for the server to compare. */
export function contradiction({ since, until }) {
  if (!since || !until || since.length > 19 || until.length > 19) return "";
  const first = `${since.replace(" ", "T")}${"0000-01-01T00:00:00".slice(since.length)}`;
  const last = `${until.replace(" ", "T")}${"9999-99-99T99:99:99".slice(until.length)}`;
  return first > last ? `“From ${since}” is later than “to ${until}”: no picture can be both.` : "";
}

/**
 * What three fields say together: { near } of a whole place, { missing } in words while one is still empty, or { wrong }
 * in words, of the field `at`. A comma may stand for the point, and both degrees may be pasted into the first field.
 */
export function readPlace(latitude, longitude, km) {
  const both = /^\s*([+-]?\d+\.\d+)\s*[,;\s]\s*([+-]?\d+\.\d+)\s*$/.exec(latitude);
  const [north, east] = both && !longitude.trim() ? both.slice(1) : [latitude, longitude];
  const [first, second, third] = [north, east, km].map((text) => text.trim().replace(",", "."));
  if (!first && !second)
    return third ? { missing: "Latitude and longitude are missing: not in use yet." } : { near: "" };
  if (!first || !second) return { missing: `The ${first ? "longitude" : "latitude"} is missing: not in use yet.` };
  const near = `${first},${second},${third || "10"}`;
  const wrong = wrongPlace(near);
  if (!wrong) return { near: near.split(",").map(Number).join(",") };
  const right = [Math.abs(number(first)) <= 90, Math.abs(number(second)) <= 180, !third || number(third) > 0];
  return { wrong, at: right.indexOf(false) };
}

// The groups of the map, and the person's own words for them.

const STORE = "clip-words";
const MOST = 500; // words that are asked for
const LONGEST = 100; // characters of a word

/** The words of the last time. */
export const rememberedWords = () => {
  try {
    return localStorage.getItem(STORE) ?? "";
  } catch {
    return "";
  }
};

export function keepWords(words) {
  try {
    localStorage.setItem(STORE, words);
  } catch {
    // not remembered
  }
}

/** The words as typed, apart by commas or on lines of their own; without any, the tags of the library. */
export function wordsFor(typed, tags = []) {
  const own = typed
    .split(/[\n,;]+/)
    .map((word) => word.trim().slice(0, LONGEST))
    .filter(Boolean);
  return [...new Set(own.length ? own : tags.map((tag) => tag.name.slice(0, LONGEST)))].slice(0, MOST);
}

const COLOURS = 8;

/**
 * Clusters of one name are one group: with one colour, one line, most pictures first. Where there are more groups than
 * colours, a group takes the colour whose other groups are farthest away.
 */
export function gather(map, named) {
  const byName = new Map();
  for (const { cluster, count: number, examples, x, y } of map.clusters) {
    const title = named(cluster);
    const group = byName.get(title) ?? { title, clusters: [], places: [], number: 0, examples: [] };
    group.places.push([x, y]);
    group.clusters.push(cluster);
    group.number += number;
    group.examples.push(...examples.slice(0, 2));
    byName.set(title, group);
  }
  const groups = [...byName.values()].sort((a, b) => b.number - a.number);
  map.colour = [];
  const taken = Array.from({ length: COLOURS }, () => []); // places by colour
  groups.forEach((group, index) => {
    const room = taken.map((places) => nearest(group.places, places));
    const colour = index < COLOURS ? index : room.indexOf(Math.max(...room));
    group.colour = colour;
    taken[colour].push(...group.places);
    for (const cluster of group.clusters) map.colour[cluster] = colour;
  });
  return groups;
}

const nearest = (some, others) =>
  Math.min(...some.flatMap(([x, y]) => others.map(([a, b]) => Math.hypot(x - a, y - b))));

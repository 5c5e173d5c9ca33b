// The file names of pictures that stand in the question, which an address knows by number alone.

import * as api from "./api.js";

const known = new Map(); // id -> name; "" while it is not known, or where there is none

/** The names of these pictures, "" where they are not known yet: then they are asked for, and `told()` hears of them. */
export function namesOf(ids, told) {
  for (const id of known.keys()) if (!ids.includes(id)) known.delete(id); // the number means another in another library
  const fresh = ids.filter((id) => !known.has(id));
  for (const id of fresh) known.set(id, "");
  if (fresh.length)
    api.names([...new Set(fresh)]).then(
      ({ ids: answered, names }) => {
        for (const [index, id] of answered.entries()) if (known.has(id)) known.set(id, names[index]);
        if (names.some(Boolean)) told();
      },
      () => fresh.forEach((id) => known.delete(id)), // asked again when the chips are drawn again
    );
  return known;
}

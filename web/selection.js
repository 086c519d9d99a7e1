/**
 * The text of what is picked <-> places, counted from 0. core/request/selection.py says what the text may
 * hold, and reads it when the workflow runs; this reads it the same way to mark the tiles.
 */

const ITEM =
  /\s*(?:(?<all>all)|"(?<text>[^"]*)"|(?<kind>seeds?\s|#)?\s*(?<first>\d+)(?:\s*\.\.\s*#?(?<last>\d+))?)\s*(?:[,;\n]|$)/iy;

/**
 * @param {string} text
 * @param {{seed: string, prompt: string}[]} images seeds as text, which can exceed 2^53; "" for none
 * @returns {{places: number[], problem: string}} what the text picks, in its order, and why a run
 *   would refuse it ("" if it would not)
 */
export function read(text, images) {
  const places = new Set();
  const written = text.trim().replace(/^[,;]+|[,;]+$/g, "").trimEnd();
  let kind = "";
  ITEM.lastIndex = 0;
  while (ITEM.lastIndex < written.length) {
    const start = ITEM.lastIndex;
    const item = ITEM.exec(written);
    if (!item) {
      return { places: [...places], problem: `${quoted(written.slice(start))} cannot be read` };
    }
    kind = (item.groups.kind ?? kind).trim().toLowerCase();
    const found = find(item.groups, kind, images);
    if (!found.length) {
      return { places: [...places], problem: `${quoted(item[0])} is not there` };
    }
    found.forEach((place) => places.add(place));
  }
  return { places: [...places], problem: "" };
}

function find({ all, text, first, last }, kind, images) {
  const places = [...images.keys()];
  if (all) return places;
  if (text !== undefined) {
    const wanted = folded(text);
    return places.filter((place) => folded(images[place].prompt).includes(wanted));
  }
  if (kind.startsWith("seed")) return bySeed(BigInt(first), BigInt(last ?? first), images);
  if (kind !== "#") return [];
  const [from, to] = [Number(first) - 1, Number(last ?? first) - 1];
  return [from, to].every((place) => place in images) ? range(from, to) : [];
}

function bySeed(first, last, images) {
  const [low, high] = first <= last ? [first, last] : [last, first];
  return [...images.keys()]
    .filter((place) => images[place].seed)
    .map((place) => ({ place, seed: BigInt(images[place].seed) }))
    .filter(({ seed }) => low <= seed && seed <= high)
    .sort((a, b) => Number(a.seed !== b.seed) * (a.seed < b.seed === first <= last ? -1 : 1))
    .map(({ place }) => place);
}

/** Upper case comes closest to Python's casefold: ß and ss are alike, so are the two forms of σ. */
const folded = (text) => text.toUpperCase();

const quoted = (text) => `“${text.replace(/[\s,;]+$/, "").trim().slice(0, 40)}”`;

const range = (from, to) =>
  Array.from({ length: Math.abs(to - from) + 1 }, (_, k) => (from <= to ? from + k : from - k));

/** The shortest text that picks these places in this order: `#2, #4..6`. */
export function write(places) {
  const parts = [];
  for (let k = 0; k < places.length; ) {
    let end = k;
    while (places[end + 1] === places[end] + 1) end++;
    if (end - k < 2) end = k; // "#4, #5" is as short as "#4..5", and plainer
    parts.push(end === k ? `#${places[k] + 1}` : `#${places[k] + 1}..${places[end] + 1}`);
    k = end + 1;
  }
  return parts.join(", ");
}

/** The places with one more, or without it where it was among them. */
export function toggled(places, place) {
  return places.includes(place) ? places.filter((p) => p !== place) : added(places, place, place);
}

/**
 * The places, and all from one to another. They stay in the order of the batch; where a person has
 * written another order, new ones come last.
 */
export function added(places, from, to) {
  const ordered = places.every((place, k) => k === 0 || places[k - 1] < place);
  const all = [...new Set([...places, ...range(from, to)])];
  return ordered ? all.sort((a, b) => a - b) : all;
}

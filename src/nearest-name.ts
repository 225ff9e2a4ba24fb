/**
 * The known name that a mistyped one most likely stands for, or none when nothing is near: for flags and commands.
 * Nearness counts edits (Damerau–Levenshtein), and knows how names are mistaken besides: cut short (`model`), by
 * their last or middle words (`batch_size`), or by their initials (`lr`). Stands beside flags.ts, below all rooms.
 */

/** What a character costs that the known name has after the end of the one given. */
const MISSING = 0.1;
/** What a word costs that the known name has and the one given has not. */
const MISSING_WORD = 0.75;
/** A name is near when it costs at most this share of the length of the one given. */
const NEAR = 0.4;
/** Longer names are compared by their beginnings. */
const LONGEST = 80;

/** The nearest known name; the first of several that are equally near; null when none is near. */
export function nearestName(name: string, known: readonly string[]): string | null {
  const given = name.toLowerCase().slice(0, LONGEST);
  let nearest: string | null = null;
  let smallest = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const cost = costOf(given, candidate);
    if (cost < smallest) [nearest, smallest] = [candidate, cost];
  }
  return smallest <= Math.max(1, NEAR * given.length) ? nearest : null;
}

function costOf(given: string, known: string): number {
  const distances = distancesToPrefixes(given, known);
  let cost = distances[known.length]!;
  // A beginning counts only when much of it is right: else every short name would stand before every long one.
  for (let length = 3; length < known.length; length++)
    cost = Math.min(cost, distances[length]! + MISSING * (known.length - length));
  const words = known.split('_');
  if (given.length >= 2 && given === words.map(([first]) => first).join('')) cost = Math.min(cost, 0.5);
  return Math.min(cost, costByWords(given.split('_'), words));
}

/** Each given word against the known word that is nearest to it; words that are left over cost a little. */
function costByWords(given: readonly string[], known: readonly string[]): number {
  const free = [...known];
  let cost = 0;
  for (const word of given) {
    let best = -1;
    let smallest = word.length;
    for (const [i, candidate] of free.entries()) {
      const distance = editDistance(word, candidate);
      if (distance < smallest) [best, smallest] = [i, distance];
    }
    cost += smallest;
    if (best >= 0) free.splice(best, 1);
  }
  // Of a name that shares no word nothing is left to be near to.
  return free.length === known.length ? Number.POSITIVE_INFINITY : cost + MISSING_WORD * free.length;
}

/** Insertions, deletions, substitutions and exchanges of neighbours that make one text of the other. */
export function editDistance(a: string, b: string): number {
  return distancesToPrefixes(a, b)[b.length]!;
}

/** [b.length + 1]: the distance of `a` to each beginning of `b`. */
function distancesToPrefixes(a: string, b: string): number[] {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      let cost = Math.min(
        previous[j]! + 1,
        row[j - 1]! + 1,
        previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
    }
    before = previous;
    previous = row;
  }
  return previous;
}

/**
 * Which candidates of a query become its negatives (docs/spec/flagembedding-m3.md §7.1): those within a range of ranks
 * that are neither the query nor one of its positives and lie within the bounds on scores, and of them a sample. Pure:
 * what the candidates are and how they were found is not known here.
 */
import { CounterRandom } from '../../tensor/random.js';

/** Which of the texts that a search finds count as negatives. */
export interface NegativeRules {
  /** Ranks from 0, `lowest` included and `highest` not, counted before anything is left out. */
  readonly range: {
    /** The first rank that counts. */
    readonly lowest: number;
    /** The first rank that does not count any more. */
    readonly highest: number;
  };
  /** Negatives wanted for a row. */
  readonly negatives: number;
  /** `random`: drawn from the candidates that are left; `top`: the nearest of them. */
  readonly sampling: 'random' | 'top';
  /** What is done where too few candidates are left: texts drawn from the whole pool, or nothing. */
  readonly fill: 'random' | 'none';
  /** Whether a smaller score is nearer, as of distances. */
  readonly ascending: boolean;
  /** A candidate nearer than this is left out: it may be a positive that nobody has marked. */
  readonly nearest: number | null;
  /** A candidate farther than this is left out: it teaches little. */
  readonly farthest: number | null;
  /** By how much a candidate must be farther than the positive: so much, and such a share of the positive's score. */
  readonly absoluteMargin: number | null;
  /** The share; null: none. */
  readonly relativeMargin: number | null;
  /** Of the draws, with the row's number. */
  readonly seed: number;
}

/** A row of training data with mined negatives. */
export interface MinedRow {
  /** Its number in the input, which names its random numbers. */
  readonly row: number;
  /** Places in the pool, nearest first, of ranks 0 and up. */
  readonly candidates: ArrayLike<number>;
  /** Of each candidate. */
  readonly scores: ArrayLike<number>;
  /** Places that are no negatives of this query: its positives, and the query itself. */
  readonly excluded: ReadonlySet<number>;
  /** The score of each positive, where there is a margin. */
  readonly positiveScores: readonly number[];
  /** Different texts of the pool, from which rows are filled. */
  readonly poolSize: number;
}

/** Negatives of a row, and how many candidates the rules left out. */
export interface Negatives {
  /** Distinct places in the pool, in the order in which they are written. */
  readonly places: readonly number[];
  /** How many of them, at the end, were drawn from the whole pool. */
  readonly filled: number;
  /** Candidates within the range that the bounds on scores left out. */
  readonly tooNear: number;
  /** Candidates that were farther than the bound. */
  readonly tooFar: number;
}

/** A row's negatives: a function of the row and the rules alone. */
export function negativesOf(row: MinedRow, rules: NegativeRules): Negatives {
  const { candidates, scores, excluded, poolSize } = row;
  const { lowest, highest } = rules.range;
  const limit = nearestAllowed(row.positiveScores, rules);
  const nearer = (a: number, b: number) => (rules.ascending ? a < b : a > b);
  const left: number[] = [];
  let tooNear = 0;
  let tooFar = 0;
  for (let rank = lowest; rank < Math.min(highest, candidates.length); rank++) {
    const place = candidates[rank]!;
    const score = scores[rank]!;
    if (excluded.has(place)) continue;
    if (limit !== null && nearer(score, limit)) tooNear++;
    else if (rules.farthest !== null && nearer(rules.farthest, score)) tooFar++;
    else left.push(place);
  }
  const random = new CounterRandom(rules.seed, [row.row]);
  const places =
    left.length <= rules.negatives
      ? left
      : rules.sampling === 'top'
        ? left.slice(0, rules.negatives)
        : random.sample(left, rules.negatives);
  if (rules.fill === 'none') return { places, filled: 0, tooNear, tooFar };
  const drawn = drawOthers(
    poolSize,
    rules.negatives - places.length,
    new Set([...excluded, ...places]),
    random,
  );
  return { places: [...places, ...drawn], filled: drawn.length, tooNear, tooFar };
}

/** The score that a candidate may just have; of several positives the farthest counts, so that it is farther than all. */
function nearestAllowed(positives: readonly number[], rules: NegativeRules): number | null {
  const { ascending, nearest, absoluteMargin, relativeMargin } = rules;
  const farther = (a: number, b: number) => (ascending ? Math.max(a, b) : Math.min(a, b));
  const sign = ascending ? 1 : -1;
  let limit = nearest;
  const bound = (value: number) => {
    limit = limit === null ? value : farther(limit, value);
  };
  if (positives.length > 0) {
    const positive = positives.reduce(farther);
    if (absoluteMargin !== null) bound(positive + sign * absoluteMargin);
    if (relativeMargin !== null) bound(positive + sign * Math.abs(positive) * relativeMargin);
  }
  return limit;
}

/** Up to `wanted` different places of [0, count) that are not `taken`, each equally likely. */
function drawOthers(
  count: number,
  wanted: number,
  taken: ReadonlySet<number>,
  random: CounterRandom,
): number[] {
  if (wanted <= 0) return [];
  let free = count;
  for (const place of taken) if (place < count) free--;
  const drawn = new Set<number>();
  if (free <= 4 * wanted) {
    const others: number[] = [];
    for (let place = 0; place < count; place++) if (!taken.has(place)) others.push(place);
    return random.sample(others, Math.min(wanted, others.length));
  }
  while (drawn.size < wanted) {
    const place = random.int(count);
    if (!taken.has(place)) drawn.add(place);
  }
  return [...drawn];
}

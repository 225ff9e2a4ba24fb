/**
 * From a row to one training group: which positive, which negatives, in which order (docs/spec/flagembedding-m3.md
 * §2.3). All draws come from the generator given, so a group is a function of the row and the generator's key.
 */
import { InputError } from '../errors.js';
import { show } from '../show.js';
import type { CounterRandom } from '../tensor/random.js';
import { type MisnamedField, placeName, type RowFacts, type RowPlace, type TrainRow } from './rows.js';

/**
 * Passages per query for rows of this type; `first` is the first row of the batch. `only_1neg` is 2;
 * `symmetric_class` as many as that row has, at most G; without a type the row may bring its own size.
 */
export function groupSizeOf(
  first: Pick<RowFacts, 'type' | 'negatives' | 'trainGroupSize'>,
  trainGroupSize: number,
): number {
  if (first.type === 'only_1neg') return 2;
  if (first.type === 'symmetric_class') return Math.min(first.negatives + 1, trainGroupSize);
  if (first.type === null) return first.trainGroupSize ?? trainGroupSize;
  return trainGroupSize;
}

/** The same where rows have types only if they share their batch with rows of their dataset alone. */
export function groupSizeFrom(
  first: RowFacts,
  options: { readonly sameDatasetWithinBatch: boolean; readonly trainGroupSize: number },
): number {
  const { sameDatasetWithinBatch, trainGroupSize } = options;
  return sameDatasetWithinBatch ? groupSizeOf(first, trainGroupSize) : trainGroupSize;
}

/**
 * k of n indices in random order: without replacement when n ≥ k, else from the list repeated ⌈k/n⌉ times, so that
 * no index comes more than ⌈k/n⌉ times, though some may be absent. @throws RangeError when n = 0 < k.
 */
export function sampleNegatives(n: number, k: number, random: CounterRandom): number[] {
  if (k === 0) return [];
  if (n === 0) throw new RangeError(`cannot sample ${k} negatives of none`);
  const copies = Math.ceil(k / n);
  return random.sample(
    Array.from({ length: n * copies }, (_, i) => i % n),
    k,
  );
}

export interface SampledGroup {
  /** The positive, then the negatives. */
  readonly passages: string[];
  /** Their teacher scores; null when the row has none. */
  readonly scores: number[] | null;
}

/** @throws InputError with file and line when the row has no negatives and the group needs some. */
export function sampleGroup(
  row: TrainRow,
  place: RowPlace,
  groupSize: number,
  shuffleRatio: number,
  random: CounterRandom,
): SampledGroup {
  if (row.neg.length === 0 && groupSize > 1) throw needsNegatives(place, groupSize);
  const positive = random.int(row.pos.length);
  const text = shuffleText(row.pos[positive]!, shuffleRatio, random);
  const negatives = sampleNegatives(row.neg.length, groupSize - 1, random);
  const { posScores, negScores } = row;
  return {
    passages: [text, ...negatives.map((index) => row.neg[index]!)],
    scores: posScores && negScores && [posScores[positive]!, ...negatives.map((index) => negScores[index]!)],
  };
}

/** `misnamed`: fields of the file that may be the negatives. */
export function needsNegatives(
  place: RowPlace,
  groupSize: number,
  misnamed: readonly MisnamedField[] = [],
): InputError {
  const [other] = misnamed;
  const remedy = other
    ? `${other.rows} rows have ${show(other.given)}: if that is meant, rename it`
    : 'dawntune mine finds some, groups of 1 (--train_group_size) need none';
  return new InputError(
    `${placeName(place)}: expected "neg" to have at least one text for groups of ${groupSize}, found none: ${remedy}`,
  );
}

/** With probability `ratio`, a text of more than 100 characters is cut in three, shuffled and joined with spaces. */
export function shuffleText(text: string, ratio: number, random: CounterRandom): string {
  if (ratio === 0 || text.length <= 100) return text;
  const characters = Array.from(text);
  if (characters.length <= 100 || random.uniform() >= ratio) return text;
  const size = Math.floor(characters.length / 3) + 1;
  const chunks: string[] = [];
  for (let start = 0; start < characters.length; start += size)
    chunks.push(characters.slice(start, start + size).join(''));
  return random.shuffle(chunks).join(' ');
}

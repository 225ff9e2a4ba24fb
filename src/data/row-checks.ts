/** What could go wrong in some batch of some epoch, found from the rows before the first one. */
import { InputError } from '../errors.js';
import { Faults } from '../files/faults.js';
import { show } from '../show.js';
import type { Dataset } from './datasets.js';
import type { DataOptions } from './options.js';
import { placeName, type RowFacts } from './rows.js';
import { groupSizeFrom, needsNegatives } from './sampling.js';

/** Passages of one rank and step. Fewer fit into any GPU; more would fill the host's memory before that is known. */
const MOST_PASSAGES = 1 << 18;

/**
 * Rows that share a batch must agree on type and on having scores, and a batch must be of a size to be had.
 * @throws InputError for rows of which some batch would not be sound.
 */
export function checkRows(dataset: Dataset, options: DataOptions, worldSize: number): void {
  const { sameDatasetWithinBatch, knowledgeDistillation, trainGroupSize } = options;
  const shared = dataset.batchSize * worldSize > 1;
  const first = dataset.facts(0);
  const faults = new Faults();
  const without = (facts: RowFacts, groupSize: number) =>
    faults.add(needsNegatives(facts.place, groupSize, dataset.misnamed('neg')));
  let withoutNegatives: RowFacts | null = null;
  // The first row of a batch sets its group size, so a row may meet the largest size of its dataset.
  let largestGroup = 0;
  let largest = first;
  for (let i = 0; i < dataset.rowCount; i++) {
    const facts = dataset.facts(i);
    const groupSize = groupSizeFrom(facts, options);
    if (groupSize > largestGroup) {
      largestGroup = groupSize;
      largest = facts;
    }
    if (facts.negatives === 0) {
      withoutNegatives ??= facts;
      if (groupSize > 1) without(facts, groupSize);
    }
    if (!sameDatasetWithinBatch || !shared) continue;
    if (facts.type !== first.type) throw differs(first, facts, '"type"', (each) => show(each.type));
    if (knowledgeDistillation && facts.scored !== first.scored)
      throw differs(first, facts, 'teacher', (each) => (each.scored ? 'scores' : 'no scores'));
  }
  faults.throwIfAny();
  if (shared && withoutNegatives && largestGroup > 1) without(withoutNegatives, largestGroup);
  faults.throwIfAny();
  const queries = Math.min(dataset.batchSize, dataset.rowCount);
  if (queries * largestGroup > MOST_PASSAGES) {
    const from =
      largestGroup === trainGroupSize
        ? `--train_group_size ${largestGroup}`
        : `${placeName(largest.place)}: "train_group_size" ${largestGroup}`;
    throw new InputError(
      `${from}: expected at most ${MOST_PASSAGES} passages in a batch, found ${queries} queries with ${largestGroup} each`,
    );
  }
}

/** Names both rows that differ in what rows of one batch must share. */
function differs(a: RowFacts, b: RowFacts, what: string, of: (facts: RowFacts) => string): InputError {
  return new InputError(
    `${placeName(b.place)}: expected the ${what} of ${placeName(a.place)}, with which it may share a batch ` +
      `(${of(a)}), found ${of(b)}`,
  );
}

/**
 * What a person may not expect of their rows, in lines: which are left out and why, which fields are not looked at.
 * Nothing of it is an error; all of it would be a surprise in the morning. What is an error is thrown where it is read.
 */
import { printable, show } from '../show.js';
import { type OddRows, placeName, type RowFile, type RowPlace } from './rows.js';

/** Rows of the files given that no batch of an epoch holds. */
export interface UnusedRows {
  /** Or the folder whose small files were merged. */
  readonly file: string;
  readonly rows: number;
  /** For people, e.g. `fewer than --small_threshold 4`. */
  readonly why: string;
}

/** Lines of a kind before the others are only counted. */
const MOST_LINES = 8;

export function firstFew(lines: readonly string[], flag: string): string[] {
  if (lines.length <= MOST_LINES) return [...lines];
  return [...lines.slice(0, MOST_LINES), `${flag}: ${lines.length - MOST_LINES} more lines like the last`];
}

/** What only same-dataset mode asks for, in the words of a person. */
export interface SameDatasetWishes {
  /** Sources whose names end with `no_in_batch_neg`. */
  readonly noInBatchNeg: readonly string[];
  /** `--small_threshold` and the like, where they are set. */
  readonly flags: readonly string[];
  /** An instruction is given, beside which prompts of rows count in any mode. */
  readonly instructed: boolean;
}

/** In the default mode rows are alike: what would make them differ is not looked at, as upstream. */
export function withoutEffect(files: readonly RowFile[], flag: string, wishes: SameDatasetWishes): string[] {
  const mode = '--same_dataset_within_batch';
  const fields = (['type', 'batch_size', 'train_group_size'] as const).filter((field) =>
    files.some((file) => file.columns.has(field)),
  );
  const notices = wishes.flags.map((each) => `${each}: no effect without ${mode}`);
  if (fields.length > 0)
    notices.push(`${flag}: ${fields.map(show).join(', ')} of rows: no effect without ${mode}`);
  if (!wishes.instructed && files.some((file) => file.columns.has('prompt')))
    notices.push(`${flag}: "prompt" of rows: no effect without ${mode} or --query_instruction_for_retrieval`);
  if (wishes.noInBatchNeg.length > 0)
    notices.push(
      `${flag}: names that end with no_in_batch_neg: no effect without ${mode} (${listed(wishes.noInBatchNeg)})`,
    );
  return notices;
}

/** In same-dataset mode the first row speaks for others: those that say otherwise are not heard, as upstream. */
export function notTheirOwn(files: readonly RowFile[], flag: string): string[] {
  const lines = files.flatMap((file) => {
    const notices: string[] = [];
    const batchSize = file.differing.get('batch_size');
    if (batchSize)
      notices.push(
        `${placeName(batchSize)}: "batch_size" differs: that of the file's first row counts for all`,
      );
    const groupSize = file.differing.get('train_group_size');
    if (groupSize && !file.columns.has('type'))
      notices.push(
        `${placeName(groupSize)}: "train_group_size" differs: that of its first row counts for a whole batch`,
      );
    if (file.columns.has('train_group_size') && file.columns.has('type'))
      notices.push(`${printable(file.path)}: "train_group_size": no effect in rows with "type"`);
    return notices;
  });
  return firstFew(lines, flag);
}

const ODD: Readonly<Record<OddRows, string>> = {
  emptyQuery: 'an empty "query"',
  emptyPassage: 'an empty text in "pos" or "neg"',
  ownNegative: 'one text in "pos" and in "neg", which teaches nothing',
};

/** A line for each kind of rows that a person may not have meant as they are. */
export function oddRows(files: readonly RowFile[], flag: string): string[] {
  return (Object.keys(ODD) as OddRows[]).flatMap((name) => {
    const found = files.flatMap(({ odd }) => odd.get(name) ?? []);
    if (found.length === 0) return [];
    const count = found.reduce((total, { rows }) => total + rows, 0);
    return [
      `${flag}: ${count} ${count === 1 ? 'row' : 'rows'} with ${ODD[name]} (the first: ${placeName(found[0]!.first)})`,
    ];
  });
}

/** Fields that look like one that is read, in rows that do not have that one. */
export function misnamedFields(files: readonly RowFile[], flag: string): string[] {
  const lines = new Map<string, { rows: number; meant: string; first: string }>();
  for (const { misnamed } of files)
    for (const { given, meant, rows, first } of misnamed.values()) {
      const before = lines.get(given);
      if (before) before.rows += rows;
      else lines.set(given, { rows, meant, first: placeName(first) });
    }
  return firstFew(
    [...lines].map(
      ([given, { rows, meant, first }]) =>
        `${flag}: ${show(given)} of ${rows} rows is not read: if ${show(meant)} is meant, rename it (the first: ${first})`,
    ),
    flag,
  );
}

/** Rows with fewer negatives than a group takes, by how often one of them must come at least. */
export function repeatedNegatives(
  { rows, of, most, first }: { rows: number; of: number; most: number; first: RowPlace | undefined },
  flag: string,
): string[] {
  if (!first) return [];
  return [
    `${flag}: ${rows} of ${of} rows have fewer texts in "neg" than a group takes: some come several times in it, up to ${most} times (the first: ${placeName(first)}); a smaller --train_group_size takes less time`,
  ];
}

/** Which rows have no scores although distillation is asked for: they train on the plain loss, as upstream. */
export function withoutTeacher(
  datasets: readonly { name: string; rows: number; scored: number }[],
  flag: string,
): string[] {
  const without = datasets.filter(({ rows, scored }) => scored < rows);
  if (without.length === 0) return [];
  const total = datasets.reduce((sum, { rows }) => sum + rows, 0);
  const rows = without.reduce((sum, { rows, scored }) => sum + rows - scored, 0);
  const names = listed(without.map(({ name }) => name));
  return [
    `${flag}: ${rows} of ${total} rows have no scores and train without a teacher in spite of ` +
      `--knowledge_distillation (${names})`,
  ];
}

/** Datasets whose queries have no passage to choose from: they take their steps and teach nothing. */
export function withoutNegatives(names: readonly string[], flag: string): string[] {
  if (names.length === 0) return [];
  return [
    `${flag}: groups of one passage and no others in the batch: the loss is always 0 (${listed(names)})`,
  ];
}

/** A few names for a message. */
function listed(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).map(printable).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

/** `tails`: rows at the ends of epochs, other ones each time; they are only counted. */
export function usageNotices(
  flag: string,
  used: number,
  unused: readonly UnusedRows[],
  tails: number,
): string[] {
  if (unused.length === 0) return [];
  const never = unused.filter(({ why }) => !why.startsWith('no whole batch'));
  const lines = never
    .slice(0, MOST_LINES)
    .map(({ file, rows, why }) => `${printable(file)}: left out: ${rows} rows are ${why}`);
  if (never.length > MOST_LINES) {
    const rest = never.slice(MOST_LINES);
    lines.push(
      `${flag}: left out: ${rest.reduce((total, { rows }) => total + rows, 0)} rows in ${rest.length} more datasets`,
    );
  }
  const missing = unused.reduce((total, { rows }) => total + rows, 0);
  // Evaluation takes the batches of the first epoch, each time.
  const [whole, which] = flag === '--eval_data' ? ['the loss', 'the same'] : ['an epoch', 'other'];
  const dropped = tails > 0 ? `; ${tails} would fill no batch at its end, ${which} rows each time` : '';
  lines.push(`${flag}: ${whole} uses ${used} of ${used + missing} rows${dropped}`);
  return lines;
}

/** Training rows whose candidates are scored: the pairs by numbers of distinct texts, and the texts again in that order. */
import { Column } from '../../data/column.js';
import { Prompts } from '../../data/prompts.js';
import { RowFile, type TrainRow } from '../../data/rows.js';
import { DistinctTexts } from './distinct.js';
import type { Pairs } from './pairs.js';

/** How texts are put before a model. */
export interface RowTexts {
  query(row: TrainRow, text: string): string;
  passage(row: TrainRow, text: string): string;
}

export interface RowPromptOptions {
  /** As `--same_dataset_within_batch` of a training run: a row's own prompt and type count. */
  readonly sameDatasetWithinBatch: boolean;
  readonly queryInstructionForRetrieval: string | null;
  readonly queryInstructionFormat: string;
  readonly passageInstructionForRetrieval: string | null;
  readonly passageInstructionFormat: string;
}

/** A file of rows, read through once, with the prompts that a training run puts before its texts. @throws InputError. */
export function openRows(file: string, options: RowPromptOptions): { rows: RowFile; prompts: Prompts } {
  const { sameDatasetWithinBatch: same, queryInstructionForRetrieval: instruction } = options;
  // Scores that are there are replaced, whatever they are.
  const rows = new RowFile(file, { scores: false, prompt: same || instruction !== null, batching: same });
  return { rows, prompts: new Prompts({ ...options, nonePrefix: false }, rows.columns.has('prompt')) };
}

/** The candidates of a row in the order of its pairs: positives, then negatives. */
export const candidatesOf = ({ pos, neg }: TrainRow): readonly string[] =>
  neg.length === 0 ? pos : [...pos, ...neg];

export class RowPairs {
  private readonly queryOfRow = new Column(Uint32Array);
  private readonly queryOf = new Column(Uint32Array);
  private readonly passageOf = new Column(Uint32Array);

  constructor(
    private readonly rows: RowFile,
    private readonly texts: RowTexts,
  ) {
    const [queries, passages] = [new DistinctTexts(), new DistinctTexts()];
    for (const row of eachRow(rows)) {
      const query = queries.add(texts.query(row, row.query));
      this.queryOfRow.push(query);
      for (const text of candidatesOf(row)) {
        this.queryOf.push(query);
        this.passageOf.push(passages.add(texts.passage(row, text)));
      }
    }
  }

  get pairs(): Pairs {
    return { queryOf: this.queryOf.toArray(), passageOf: this.passageOf.toArray() };
  }

  *queries(): Generator<string> {
    let next = 0;
    let r = 0;
    for (const row of eachRow(this.rows))
      if (this.queryOfRow.at(r++) === next) {
        next++;
        yield this.texts.query(row, row.query);
      }
  }

  *passages(): Generator<string> {
    let next = 0;
    let pair = 0;
    for (const row of eachRow(this.rows))
      for (const text of candidatesOf(row))
        if (this.passageOf.at(pair++) === next) {
          next++;
          yield this.texts.passage(row, text);
        }
  }
}

export function* eachRow(rows: RowFile): Generator<TrainRow> {
  for (let row = 0; row < rows.rowCount; row++) yield rows.row(row);
}

/** What is mined for and what it is mined in: the rows' queries, the candidates, and what of them are positives. */
import { meantAs } from '../../data/field-names.js';
import type { Join } from '../../data/prompts.js';
import { rowOf, type TrainRow } from '../../data/rows.js';
import { InputError } from '../../errors.js';
import { Faults } from '../../files/faults.js';
import { type PlacedObject, readJsonObjects } from '../../files/json-objects.js';
import { printable, show } from '../../show.js';
import { TextPool } from './pool.js';

export interface InputOptions {
  readonly inputFile: string;
  readonly candidatePool: string | null;
  /** Whether positives that are no candidates are needed too, at the end of `texts`. */
  readonly scoresPositives: boolean;
  /** Puts a row's prompt before its query; undefined: prompts are not looked at. */
  readonly rowPrompt: Join | undefined;
  /** Puts the instruction of the flags before a query that has no prompt. */
  readonly instruction: ((text: string) => string) | undefined;
  readonly positivesElsewhere: boolean;
}

const FIELDS = { scores: false, prompt: true, batching: false };

export interface InputRow {
  /** From 0. */
  readonly number: number;
  readonly row: TrainRow;
  /** Among `queries`. */
  readonly query: number;
  /** What the row has that is replaced. */
  readonly hasScores: boolean;
  readonly text: string;
}

/** Dispose when done. */
export class MiningInput {
  /** Candidates first; behind them positives that are none. */
  readonly texts = new TextPool();
  candidates = 0;
  /** As they are encoded, instructions included. */
  readonly queries = new TextPool();
  rows = 0;
  /** Rows with a prompt. */
  prompts = 0;
  /** Rows with scores. */
  scored = 0;
  /** Query texts as rows have them, and per text the places of all positives. */
  private readonly asked = new TextPool();
  private readonly positives: number[][] = [];
  /** Per query the places of the positives of its rows, where they are scored. */
  readonly scoredPlaces: number[][] | undefined;

  /** Reads the files through. @throws InputError that names the file and line. */
  constructor(private readonly options: InputOptions) {
    const { candidatePool, inputFile } = options;
    const faults = new Faults();
    if (candidatePool !== null) this.readCandidates(candidatePool, faults);
    else
      for (const { row } of this.read(faults))
        for (const text of [...row.pos, ...row.neg]) this.texts.add(text);
    // Rows that were read just now have no other faults.
    if (candidatePool === null) faults.throwIfAny();
    this.candidates = this.texts.count;
    this.scoredPlaces = options.scoresPositives ? [] : undefined;
    for (const { row, query, hasScores } of this.read(faults)) {
      this.rows++;
      if (row.prompt !== null) this.prompts++;
      if (hasScores) this.scored++;
      const asked = this.asked.add(row.query);
      const known = (this.positives[asked] ??= []);
      for (const text of row.pos) {
        const place = options.scoresPositives ? this.texts.add(text) : this.texts.placeOf(text);
        if (place === undefined) continue;
        if (options.positivesElsewhere) known.push(place);
        if (this.scoredPlaces) (this.scoredPlaces[query] ??= []).push(place);
      }
    }
    faults.throwIfAny();
    if (candidatePool !== null && this.candidates === 0)
      throw new InputError(`${printable(candidatePool)}: expected at least one text to mine in, found none`);
    if (this.rows === 0)
      throw new InputError(`${printable(inputFile)}: expected at least one row, found none`);
  }

  /** The rows in their order, without those at fault where faults are gathered. @throws InputError where the file is no longer what it was. */
  *read(gathered?: Faults): Generator<InputRow, void, undefined> {
    const { inputFile } = this.options;
    const faults = gathered ?? new Faults();
    let number = 0;
    for (const object of readJsonObjects(inputFile, faults)) {
      const row = faults.attempt(() =>
        rowOf(object.value, { file: inputFile, line: object.place.line }, FIELDS),
      );
      if (!row) continue;
      const query = this.queries.add(this.queryText(row));
      yield { number: number++, row, query, hasScores: hasScores(object), text: object.text() };
    }
    if (!gathered) faults.throwIfAny();
    if (!gathered && number !== this.rows)
      throw new InputError(`${printable(inputFile)}: the file has changed since it was first read`);
  }

  /** Places that are no negatives of a row: its positives, those of its query in other rows, and the query itself. */
  excluded(row: TrainRow): Set<number> {
    const places = [row.query, ...row.pos].map((text) => this.texts.placeOf(text));
    const asked = this.asked.placeOf(row.query);
    return new Set(
      [...places, ...(asked === undefined ? [] : this.positives[asked]!)].filter(
        (place): place is number => place !== undefined && place < this.candidates,
      ),
    );
  }

  dispose(): void {
    this.texts.dispose();
    this.queries.dispose();
    this.asked.dispose();
  }

  private queryText(row: TrainRow): string {
    const { rowPrompt, instruction } = this.options;
    if (rowPrompt && row.prompt !== null) return rowPrompt(row.prompt, row.query);
    return instruction ? instruction(row.query) : row.query;
  }

  private readCandidates(file: string, faults: Faults): void {
    for (const { value, place } of readJsonObjects(file, faults)) {
      const text = Object.hasOwn(value, 'text') ? value['text'] : undefined;
      if (typeof text === 'string' && text.isWellFormed()) {
        this.texts.add(text);
        continue;
      }
      const meant = meantAs(value, 'text');
      const other = Object.hasOwn(value, 'pos')
        ? ' (a row: without --candidate_pool the texts of the rows are mined in)'
        : meant === undefined
          ? ''
          : ` (if ${show(meant)} is meant, rename it)`;
      faults.add(
        new InputError(
          `${printable(file)}:${place.line}: expected "text" to be a text, found ${show(text)}${other}`,
        ),
      );
    }
  }
}

const hasScores = ({ value }: PlacedObject) =>
  ['pos_scores', 'neg_scores'].some((name) => Object.hasOwn(value, name) && value[name] !== null);

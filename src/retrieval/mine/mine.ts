/**
 * `dawntune mine`: hard negatives for rows of training data (docs/spec/flagembedding-m3.md §7.1). Every text that can be a
 * negative and every query is encoded once, each query's nearest texts are searched for, and each row is written again
 * with the negatives that its query's candidates give (negatives.ts). Rows are read three times and never all in memory.
 */
import fs from 'node:fs';
import { compileFormat } from '../../data/prompts.js';
import { InputError } from '../../errors.js';
import { AtomicFile, requireWritable } from '../../files/atomic.js';
import { withMembers } from '../../files/json-members.js';
import type { Communicator } from '../../ranks/communicator.js';
import { SingleCommunicator } from '../../ranks/single.js';
import { endAllRanks, onFirstRank, together } from '../../ranks/together.js';
import { printable } from '../../show.js';
import { type Embedder, type EmbedderSurroundings, openEmbedder } from '../embedder/open.js';
import type { Ranking } from '../evaluate/retrieve.js';
import { type MineArguments, rulesOf, scoresPositives } from './arguments.js';
import { type CandidateFinder, headsOf, openFinder } from './finder.js';
import { type InputRow, MiningInput } from './input.js';
import { negativesOf } from './negatives.js';

/** Neighbours that are in memory at once. */
const MOST_NEIGHBOURS = 1 << 23;
/** Rows that are in memory at once. */
const MOST_ROWS = 10_000;

/** What was done, for notices and tests. */
export interface MiningSummary {
  /** Rows that were written. */
  readonly rows: number;
  /** Different texts of the pool. */
  readonly candidates: number;
  /** Different queries. */
  readonly queries: number;
  /** Rows with fewer negatives than were wanted. */
  readonly short: number;
  /** Negatives that were drawn from the whole pool, and in how many rows. */
  readonly drawn: number;
  /** Rows with such negatives. */
  readonly drawnRows: number;
  /** Candidates that bounds and margins left out. */
  readonly tooNear: number;
  /** Candidates that were farther than the bound. */
  readonly tooFar: number;
}

/** All ranks call it; rank 0 writes. @throws InputError, MachineError; RankError with several ranks. */
export async function mine(args: MineArguments, surroundings: EmbedderSurroundings): Promise<MiningSummary> {
  const communicator = surroundings.communicator ?? new SingleCommunicator();
  try {
    return await mineOnRank(args, surroundings, communicator);
  } catch (error) {
    return endAllRanks(communicator, error);
  }
}

async function mineOnRank(
  args: MineArguments,
  surroundings: EmbedderSurroundings,
  communicator: Communicator,
): Promise<MiningSummary> {
  const { report } = surroundings;
  const first = communicator.rank === 0;
  const note = (line: string) => {
    if (first) report.note(line);
  };
  await onFirstRank(communicator, () => requireWritable('--output_file', args.outputFile));
  const input = await together(communicator, () => {
    requireFile('--input_file', args.inputFile);
    if (args.candidatePool !== null) requireFile('--candidate_pool', args.candidatePool);
    // Rows lose the negatives and scores that they had.
    for (const [flag, file] of [
      ['--input_file', args.inputFile],
      ['--candidate_pool', args.candidatePool],
    ] as const)
      if (file !== null && realPath(file) === realPath(args.outputFile))
        throw new InputError(`--output_file: expected another file than ${flag}, found the same`);
    const join = compileFormat(args.queryInstructionFormat, '--query_instruction_format');
    const instruction = args.queryInstructionForRetrieval;
    return new MiningInput({
      ...{ inputFile: args.inputFile, candidatePool: args.candidatePool },
      scoresPositives: scoresPositives(args),
      rowPrompt: args.useRowPrompts ? join : undefined,
      instruction: instruction === null ? undefined : (text) => join(instruction, text),
      positivesElsewhere: args.positivesElsewhere,
    });
  });
  let embedder: Embedder | undefined;
  let finder: CandidateFinder | undefined;
  try {
    for (const line of inputNotices(args, input)) note(line);
    embedder = await openEmbedder(
      args,
      { ...surroundings, communicator, denseAlone: '--mode dense' },
      headsOf(args.mode),
    );
    finder = await openFinder(embedder, args, input, {
      communicator,
      note,
      report: first ? report : undefined,
    });
    const writer = first ? new RowWriter(args, input) : undefined;
    const k = Math.min(args.rangeForSampling.highest, input.candidates);
    try {
      for (const chunk of chunksOf(input, Math.max(1, Math.floor(MOST_NEIGHBOURS / k)))) {
        const found = await finder.find(chunk.queries);
        await onFirstRank(communicator, async () => {
          for (const [i, row] of chunk.rows.entries())
            await writer!.write(row, found[chunk.places[i]!]!, finder!);
          report.progress?.({ phase: 'mine', done: writer!.rows, total: input.rows, unit: 'rows' });
        });
      }
      await onFirstRank(communicator, () => writer!.finish());
    } catch (error) {
      writer?.abort();
      throw error;
    }
    report.end();
    const summary = writer?.summary ?? EMPTY;
    if (first) for (const line of summaryNotices(args, summary)) note(line);
    return summary;
  } finally {
    finder?.dispose();
    input.dispose();
    await embedder?.close();
  }
}

const EMPTY: MiningSummary = {
  ...{ rows: 0, candidates: 0, queries: 0, short: 0, drawn: 0, drawnRows: 0, tooNear: 0, tooFar: 0 },
};

const realPath = (file: string) => (fs.existsSync(file) ? fs.realpathSync(file) : file);

function requireFile(flag: string, file: string): void {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  if (!stats?.isFile())
    throw new InputError(
      `${flag}: ${printable(file)}: expected a file, found ${stats ? 'a folder' : 'nothing'}`,
    );
}

interface Chunk {
  readonly rows: readonly InputRow[];
  /** Those of the rows, each once. */
  readonly queries: readonly number[];
  /** Of each row its query's place among them. */
  readonly places: readonly number[];
}

/** Rows that follow each other and have no more than `most` queries. */
function* chunksOf(input: MiningInput, most: number): Generator<Chunk, void, undefined> {
  let rows: InputRow[] = [];
  let places = new Map<number, number>();
  const chunk = (): Chunk => ({
    rows,
    queries: [...places.keys()],
    places: rows.map(({ query }) => places.get(query)!),
  });
  for (const row of input.read()) {
    if ((places.size === most && !places.has(row.query)) || rows.length === MOST_ROWS) {
      yield chunk();
      rows = [];
      places = new Map();
    }
    rows.push(row);
    if (!places.has(row.query)) places.set(row.query, places.size);
  }
  if (rows.length > 0) yield chunk();
}

/** Writes rows with their negatives, and counts. */
class RowWriter {
  rows = 0;
  private readonly file: AtomicFile;
  private readonly counts = { short: 0, drawn: 0, drawnRows: 0, tooNear: 0, tooFar: 0 };

  constructor(
    private readonly args: MineArguments,
    private readonly input: MiningInput,
  ) {
    this.file = AtomicFile.create(args.outputFile);
  }

  get summary(): MiningSummary {
    const { candidates, queries } = this.input;
    return { rows: this.rows, candidates, queries: queries.count, ...this.counts };
  }

  async write(
    { number, row, query, text }: InputRow,
    found: Ranking,
    finder: CandidateFinder,
  ): Promise<void> {
    const { args, input, counts } = this;
    const positiveScores: number[] = [];
    if (scoresPositives(args))
      for (const positive of row.pos)
        positiveScores.push(await finder.scoreOf(query, input.texts.placeOf(positive)!));
    const { places, filled, tooNear, tooFar } = negativesOf(
      {
        ...{ row: number, candidates: found.indices, scores: found.scores, positiveScores },
        ...{ excluded: input.excluded(row), poolSize: input.candidates },
      },
      rulesOf(args),
    );
    this.rows++;
    counts.tooNear += tooNear;
    counts.tooFar += tooFar;
    counts.drawn += filled;
    if (filled > 0) counts.drawnRows++;
    if (places.length < args.negativeNumber) counts.short++;
    let [positives, negatives]: (number[] | undefined)[] = [undefined, undefined];
    if (args.writeScores) {
      positives = positiveScores;
      negatives = [];
      for (const place of places) negatives.push(await finder.scoreOf(query, place));
    }
    const line = withMembers(text, {
      neg: places.map((place) => input.texts.text(place)),
      ...{ pos_scores: positives, neg_scores: negatives },
    });
    this.file.write(Buffer.from(`${line}\n`));
  }

  finish(): void {
    this.file.commit();
  }

  abort(): void {
    this.file.abort();
  }
}

function inputNotices(args: MineArguments, input: MiningInput): string[] {
  const { candidates, queries, rows, scored, prompts } = input;
  const lines = [`${rows} rows with ${queries.count} queries, ${candidates} texts to mine in`];
  if (scored > 0 && !args.writeScores)
    lines.push(
      `${scored} rows have pos_scores or neg_scores, which do not fit other negatives: they are dropped; score writes new ones`,
    );
  if (prompts > 0 && !args.useRowPrompts)
    lines.push(`${prompts} rows have a "prompt", which is not used here without --use_row_prompts True`);
  const { lowest } = args.rangeForSampling;
  if (lowest >= candidates)
    lines.push(
      `--range_for_sampling begins at rank ${lowest} of ${candidates} texts: no candidate is left, and all negatives are drawn at random`,
    );
  return lines;
}

function summaryNotices(
  args: MineArguments,
  { short, drawn, drawnRows, tooNear, tooFar }: MiningSummary,
): string[] {
  const lines: string[] = [];
  if (tooNear > 0) lines.push(`${tooNear} candidates were left out as too near to be negatives`);
  if (tooFar > 0) lines.push(`${tooFar} candidates were left out as too far to teach`);
  if (drawn > 0)
    lines.push(
      `${drawnRows} rows had too few candidates: ${drawn} negatives were drawn from all texts (--fill none leaves them out)`,
    );
  if (short > 0) lines.push(`${short} rows have fewer than ${args.negativeNumber} negatives`);
  return lines;
}

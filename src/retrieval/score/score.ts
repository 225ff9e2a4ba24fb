/**
 * `dawntune score`: the scores of a model or of a reranker into the rows that a training run learns from, as its teacher
 * (docs/spec/flagembedding-m3.md §7.2, §7.3). Every rank reads the rows; the first one writes them.
 */
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import type { Reporter } from '../../console/reporter.js';
import { compileFormat, type Join } from '../../data/prompts.js';
import { RowFile } from '../../data/rows.js';
import { InputError } from '../../errors.js';
import { AtomicFile, requireWritable } from '../../files/atomic.js';
import { JsonText, withMembers } from '../../files/json-members.js';
import { readJsonObjects } from '../../files/json-objects.js';
import { writeStandardOutput } from '../../files/standard-output.js';
import { makeTemporaryFolder } from '../../files/temporary-folder.js';
import type { Gpu, GpuOptions } from '../../gpu/gpu.js';
import type { M3Options } from '../../models/m3-parameters.js';
import type { Communicator } from '../../ranks/communicator.js';
import { SingleCommunicator } from '../../ranks/single.js';
import { endAllRanks, fromFirstRank, onFirstRank, together } from '../../ranks/together.js';
import { printable } from '../../show.js';
import { openEmbedder } from '../embedder/open.js';
import { tellEncoded, tellOf } from '../encode/telling.js';
import type { ScoreArguments } from './arguments.js';
import { openReranker } from './open-reranker.js';
import { scorePairs } from './pair-scores.js';
import { pairLengths, rerankPairs } from './reranker.js';
import { candidatesOf, eachRow, openRows, RowPairs } from './rows.js';
import { combinedScores, jsonFloats, neededScores, teacherEntropy } from './teacher.js';

/** What a rank of the command has around it. */
export interface ScoreSurroundings {
  /** Of rank 0, which tells what concerns all. */
  readonly report: Reporter;
  /** Where there are several ranks. */
  readonly communicator?: Communicator | undefined;
  /** Opens the rank's own adapter; where there are no ranks, one is opened by `--adapter`. */
  readonly openGpu?: ((options?: Omit<GpuOptions, 'adapter'>) => Promise<Gpu>) | undefined;
}

type Surroundings = ScoreSurroundings & { readonly communicator: Communicator };

/** What was scored; entropies in nats, over the rows with at least two candidates. */
export interface ScoreSummary {
  /** Rows that were written. */
  readonly rows: number;
  /** Query and passage, of all rows. */
  readonly pairs: number;
  /** Rows with at least two candidates. */
  readonly teachingRows: number;
  /** Mean entropy of the softmax over a row's scores; NaN without such rows. */
  readonly entropy: number;
  /** And of a teacher that likes all candidates alike. */
  readonly uniformEntropy: number;
}

/** @returns on the first rank what was scored. @throws InputError, MachineError; RankError with several ranks. */
export async function scoreFiles(
  args: ScoreArguments,
  { report, communicator = new SingleCommunicator(), openGpu }: ScoreSurroundings,
): Promise<ScoreSummary | undefined> {
  const removed: string[] = [];
  try {
    return await scoreOnRank(args, { report, communicator, openGpu }, removed);
  } catch (error) {
    return await endAllRanks(communicator, error);
  } finally {
    for (const folder of removed) fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function scoreOnRank(
  args: ScoreArguments,
  surroundings: Surroundings,
  removed: string[],
): Promise<ScoreSummary | undefined> {
  const { report, communicator } = surroundings;
  await onFirstRank(communicator, () => {
    if (args.outputFile !== '-') requireWritable('--output_file', args.outputFile);
  });
  const input = await fromFirstRank(communicator, () =>
    args.inputFile === '-' ? spooledInput(removed) : args.inputFile,
  );
  const { rows, scores } = await (args.rerankerNameOrPath === null
    ? scoresOfModel(args, input, surroundings)
    : scoresOfReranker(args, args.rerankerNameOrPath, input, surroundings));
  const summary = await onFirstRank(communicator, () => writeScores(args, rows, scores));
  if (!summary) return undefined;
  report.end();
  for (const line of summaryLines(summary, args)) report.note(line);
  return summary;
}

/** Standard input in a file, as rows are read more than once. */
function spooledInput(removed: string[]): string {
  const folder = makeTemporaryFolder('dawntune-score-');
  removed.push(folder);
  const file = path.join(folder, 'standard input');
  const target = fs.openSync(file, 'wx', 0o600);
  const piece = Buffer.allocUnsafe(1 << 20);
  try {
    for (;;) {
      let length: number;
      try {
        length = fs.readSync(0, piece);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EOF') break;
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
        continue;
      }
      if (length === 0) break;
      fs.writeSync(target, piece, 0, length);
    }
  } finally {
    fs.closeSync(target);
  }
  return file;
}

interface ScoredRows {
  readonly rows: RowFile;
  /** Of all candidates of all rows, in their order. */
  readonly scores: Float32Array;
}

async function scoresOfModel(
  args: ScoreArguments,
  input: string,
  surroundings: Surroundings,
): Promise<ScoredRows> {
  const { report, communicator } = surroundings;
  const { rows, prompts } = await together(communicator, () => openRows(input, args));
  const wanted = neededScores(args.mode, args.weights);
  const needs: NonNullable<M3Options['needs']>[number][] = [];
  if (wanted.has('sparse')) needs.push('sparse_linear');
  if (wanted.has('colbert')) needs.push('colbert_linear');
  const embedder = await openEmbedder(args, { ...surroundings, denseAlone: '--mode dense' }, needs);
  try {
    if (communicator.rank === 0) {
      for (const line of prompts.notices()) report.note(line);
      const unused = ['query', 'document'].filter((name) => embedder.model.texts.prompts.get(name));
      if (unused.length > 0 && args.queryInstructionForRetrieval === null)
        report.note(
          `${printable(embedder.folder)}: its own prompts are not used, as in training; --query_instruction_for_retrieval and --passage_instruction_for_retrieval give them`,
        );
    }
    const texts = await together(communicator, () => new RowPairs(rows, prompts));
    const { pairs } = texts;
    const { gpu } = embedder;
    const total = pairs.queryOf.length;
    const tell = tellOf(report, communicator);
    // Texts come with their prompts.
    const prompted =
      (args.sameDatasetWithinBatch && rows.columns.has('prompt')) ||
      args.queryInstructionForRetrieval !== null ||
      args.passageInstructionForRetrieval !== null;
    const reading = prompted ? { join: (text: string) => text } : { prompt: '' };
    const scores = await scorePairs(
      embedder.model,
      embedder.threads,
      { queries: texts.queries(), passages: texts.passages(), pairs },
      {
        ...{ representations: wanted, communicator, truncateDim: args.truncateDim ?? undefined },
        query: { ...reading, maxLength: embedder.queryMaxLength },
        passage: { ...reading, maxLength: embedder.passageMaxLength },
        batchTokens: args.batchTokens,
        onQueries: tellEncoded(tell, gpu, { unit: 'queries' }),
        onScored: (scored, tokens) =>
          tell?.({
            ...{ phase: 'score', unit: 'pairs', total, memoryBytes: gpu.pool.heldBytes },
            // The other ranks do about as much.
            done: Math.min(total, scored * communicator.size),
            tokens: tokens * communicator.size,
          }),
      },
    );
    return { rows, scores: combinedScores(scores, args.mode, args.weights, args.normalizeWeights) };
  } finally {
    await embedder.close();
  }
}

async function scoresOfReranker(
  args: ScoreArguments,
  name: string,
  input: string,
  surroundings: Surroundings,
): Promise<ScoredRows> {
  const { report, communicator } = surroundings;
  const joins = {
    query: compileFormat(args.queryInstructionFormatForRerank, '--query_instruction_format_for_rerank'),
    passage: compileFormat(args.passageInstructionFormatForRerank, '--passage_instruction_format_for_rerank'),
  };
  const put = (join: Join, instruction: string | null) => (text: string) =>
    instruction === null ? text : join(instruction, text);
  const query = put(joins.query, args.queryInstructionForRerank);
  const passage = put(joins.passage, args.passageInstructionForRerank);
  // No prompt of a row goes before its query here, as upstream.
  const rows = await together(
    communicator,
    () => new RowFile(input, { scores: false, prompt: false, batching: false }),
  );
  const reranker = await openReranker(name, args, surroundings);
  try {
    const { model, threads } = reranker;
    const lengths = {
      maxLength: args.rerankerMaxLength,
      queryMaxLength: args.rerankerQueryMaxLength ?? undefined,
    };
    const told = pairLengths(model, threads.tokenizer, lengths);
    if (told.queryLowered && communicator.rank === 0)
      report.note(
        `queries are cut to ${told.queryMaxLength} tokens, which leaves room for one of the passage in pairs of ${told.maxLength}`,
      );
    const tell = tellOf(report, communicator);
    let total = 0;
    if (tell) for (const row of eachRow(rows)) total += candidatesOf(row).length;
    const pairs = function* (): Generator<readonly [string, string]> {
      for (const row of eachRow(rows)) {
        const first = query(row.query);
        for (const text of candidatesOf(row)) yield [first, passage(text)];
      }
    };
    const scores = await rerankPairs(model, threads, pairs(), {
      ...{ ...lengths, communicator, normalize: args.normalize },
      ...{ batchTokens: args.batchTokens, batchPairs: args.rerankerBatchSize },
      onScored: (scored, tokens) =>
        tell?.({
          ...{ phase: 'score', unit: 'pairs', done: scored, total, tokens: tokens * communicator.size },
          memoryBytes: model.gpu.pool.heldBytes,
        }),
    });
    return { rows, scores };
  } finally {
    await reranker.close();
  }
}

/** The rows as they are written, with their scores in place of those that they had. */
async function writeScores(
  { outputFile, scale }: ScoreArguments,
  rows: RowFile,
  scores: Float32Array,
): Promise<ScoreSummary> {
  const target = outputFile === '-' ? undefined : AtomicFile.create(outputFile);
  let [pair, checksum, rowCount, teachingRows, entropy, uniform] = [0, 0, 0, 0, 0, 0];
  let pending = '';
  const flush = async () => {
    if (target) target.write(Buffer.from(pending));
    else await writeStandardOutput(pending);
    pending = '';
  };
  const changed = () =>
    new InputError(
      `${printable(rows.path)}: expected the rows that were read first, found that the file has changed`,
    );
  try {
    for (const { value, place, text } of readJsonObjects(rows.path)) {
      if (rowCount === rows.rowCount) throw changed();
      checksum = crc32(Buffer.from(Uint32Array.of(place.checksum).buffer), checksum);
      rowCount++;
      const { pos, neg } = value as {
        readonly pos: readonly string[];
        readonly neg?: readonly string[] | null;
      };
      const take = (count: number) => {
        pair += count;
        return Array.from(scores.subarray(pair - count, pair), (score) => {
          const scaled = score * scale;
          // Training reads scores as f32.
          if (Number.isFinite(Math.fround(scaled))) return scaled;
          throw new InputError(
            `${printable(rows.path)}:${place.line}: expected scores of float32, found ${score} times ${scale}; a smaller --scale or smaller --weights give some`,
          );
        });
      };
      const [positives, negatives] = [take(pos.length), take(neg?.length ?? 0)];
      if (positives.length + negatives.length > 1) {
        teachingRows++;
        entropy += teacherEntropy([...positives, ...negatives]);
        uniform += Math.log(positives.length + negatives.length);
      }
      pending += `${withMembers(text(), {
        pos_scores: new JsonText(jsonFloats(positives)),
        neg_scores: new JsonText(jsonFloats(negatives)),
      })}\n`;
      if (pending.length > 1 << 20) await flush();
    }
    if (checksum !== rows.fingerprint) throw changed();
    await flush();
    target?.commit();
  } catch (error) {
    target?.abort();
    throw error;
  }
  return {
    ...{ rows: rowCount, pairs: scores.length, teachingRows },
    ...{ entropy: entropy / teachingRows, uniformEntropy: uniform / teachingRows },
  };
}

/** Above this share of the uniform teacher's entropy nothing much is taught. */
const NEARLY_UNIFORM = 0.95;

function summaryLines(summary: ScoreSummary, { outputFile, scale }: ScoreArguments): string[] {
  const { rows, pairs, teachingRows, entropy, uniformEntropy } = summary;
  const where = outputFile === '-' ? '' : ` in ${printable(outputFile)}`;
  const done = `${rows} rows, ${pairs} pairs scored${where}`;
  if (teachingRows === 0) return [`${done}; no row has two candidates, so the scores teach nothing`];
  return [
    `${done}; mean entropy of the teacher over ${teachingRows} rows: ${entropy.toFixed(4)} nats (of a uniform one: ${uniformEntropy.toFixed(4)})`,
    ...(entropy > NEARLY_UNIFORM * uniformEntropy
      ? [`the teacher is nearly uniform at --scale ${scale}; a larger one makes it say more`]
      : []),
  ];
}

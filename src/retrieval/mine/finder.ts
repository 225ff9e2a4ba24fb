/**
 * Each query's nearest texts, by the scores of one mode: dense vectors by exact search or through a graph, the others by
 * what evaluation retrieves with.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Reporter } from '../../console/reporter.js';
import { makeTemporaryFolder } from '../../files/temporary-folder.js';
import type { M3Options } from '../../models/m3-parameters.js';
import type { Communicator } from '../../ranks/communicator.js';
import { fromFirstRank, together } from '../../ranks/together.js';
import { type Embedder, lengthsOf } from '../embedder/open.js';
import { encodeStream } from '../encode/stream.js';
import { tellEncoded, tellOf } from '../encode/telling.js';
import {
  type Candidates,
  hybridRanking,
  type Ranking,
  type Retrieved,
  retrieve,
} from '../evaluate/retrieve.js';
import { ApproximateIndex, buildApproximateIndex } from '../search/approximate.js';
import { searchExact } from '../search/exact.js';
import { scoreOf } from '../search/float64.js';
import { firstRows, type VectorRows } from '../vectors/rows.js';
import { VectorSpool } from '../vectors/spool.js';
import type { MineArguments, MineMode } from './arguments.js';
import type { MiningInput } from './input.js';

export interface CandidateFinder {
  /** Of each of these queries the nearest candidates, nearest first. All ranks call it. */
  find(queries: readonly number[]): Promise<readonly Ranking[]>;
  /** Of a query with a text that is one of its positives or was found. */
  scoreOf(query: number, place: number): number | Promise<number>;
  dispose(): void;
}

interface Surroundings {
  readonly communicator: Communicator;
  readonly note: (line: string) => void;
  /** Of rank 0. */
  readonly report: Reporter | undefined;
}

/** The heads that a mode reads. */
export const headsOf = (mode: MineMode): NonNullable<M3Options['needs']> => [
  ...(mode === 'sparse' || mode === 'hybrid' ? (['sparse_linear'] as const) : []),
  ...(mode === 'colbert' || mode === 'hybrid' ? (['colbert_linear'] as const) : []),
];

/** Encodes all texts and queries. All ranks call it. @throws as `encodeStream` and the searches. */
export function openFinder(
  embedder: Embedder,
  args: MineArguments,
  input: MiningInput,
  surroundings: Surroundings,
): Promise<CandidateFinder> {
  return args.mode === 'dense'
    ? denseFinder(embedder, args, input, surroundings)
    : modeFinder(embedder, args, input, surroundings);
}

/** Whether queries have their instructions, which a row's own prompt may replace, before they are encoded. */
const joined = (args: MineArguments) => args.queryInstructionForRetrieval !== null || args.useRowPrompts;

async function denseFinder(
  embedder: Embedder,
  args: MineArguments,
  input: MiningInput,
  { communicator, report }: Surroundings,
): Promise<CandidateFinder> {
  const spools: VectorSpool[] = [];
  let graph: OpenGraph | undefined;
  const dispose = () => {
    for (const spool of spools) spool.dispose();
    graph?.dispose();
  };
  try {
    for (const side of ['document', 'query'] as const)
      spools.push(await encodeAll(embedder, args, input, side, communicator, report));
    if (args.index === 'usearch')
      graph = await openGraph(firstRows(spools[0]!, input.candidates), args, communicator, report);
  } catch (error) {
    dispose();
    throw error;
  }
  const [texts, queries] = [spools[0]!, spools[1]!];
  const { metric } = args;
  const k = Math.min(args.rangeForSampling.highest, input.candidates);
  return {
    async find(chosen) {
      const asked = chosenRows(queries, chosen);
      const corpus = firstRows(texts, input.candidates);
      const { indices, scores } = graph
        ? await graph.index.search(asked, corpus, { k, communicator })
        : await searchExact(embedder.gpu, asked, corpus, { metric, k, communicator });
      return chosen.map((_, q) => ({
        indices: indices.subarray(q * k, (q + 1) * k),
        scores: scores.subarray(q * k, (q + 1) * k),
      }));
    },
    async scoreOf(query, place) {
      const [asked, text] = [await queries.read(query, query + 1), await texts.read(place, place + 1)];
      return scoreOf(metric, asked, 0, text, 0, texts.width);
    },
    dispose,
  };
}

interface OpenGraph {
  readonly index: ApproximateIndex;
  dispose(): void;
}

/** Built by rank 0 and mapped by all: an index that threads build is not the same twice. */
async function openGraph(
  corpus: VectorRows,
  { metric, indexPath }: MineArguments,
  communicator: Communicator,
  report: Reporter | undefined,
): Promise<OpenGraph> {
  let made: string | undefined;
  const dispose = () => {
    if (made !== undefined) fs.rmSync(made, { recursive: true, force: true });
  };
  try {
    const file = await fromFirstRank(communicator, async () => {
      if (indexPath === null) made = makeTemporaryFolder('dawntune-index-');
      const file = path.resolve(indexPath ?? path.join(made!, 'pool.usearch'));
      const onProgress = (done: number, total: number) =>
        report?.progress?.({ phase: 'index', done, total, unit: 'texts' });
      await buildApproximateIndex(corpus, file, { metric, onProgress });
      return file;
    });
    return { index: await together(communicator, () => ApproximateIndex.open(file)), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

async function modeFinder(
  embedder: Embedder,
  args: MineArguments,
  input: MiningInput,
  { communicator, note, report }: Surroundings,
): Promise<CandidateFinder> {
  const { mode, weights } = args;
  const { highest } = args.rangeForSampling;
  const queries = [...input.queries.texts()];
  const scored = input.scoredPlaces;
  const retrieved = await retrieve(
    embedder,
    {
      corpus: { ids: { length: input.texts.count }, texts: () => input.texts.texts() },
      queries,
      excluded: queries.map(() => undefined),
      modes: new Set([mode]),
      ...{ topK: highest, candidates: args.rerankCandidates ?? 2 * highest, searched: input.candidates },
      ...(scored ? { scored } : {}),
      joined: joined(args),
    },
    { settings: { ...args, ...lengthsOf(embedder) }, communicator, note, progress: tellOf(report) },
  );
  const score = (candidates: Candidates, at: number) =>
    mode === 'hybrid'
      ? Math.fround(
          weights[0]! * candidates.dense[at]! +
            weights[1]! * candidates.sparse[at]! +
            weights[2]! * candidates.colbert[at]!,
        )
      : candidates[mode === 'sparse' ? 'sparse' : 'colbert'][at]!;
  const rankings = queries.map((_, q) => rankingOf(retrieved, q, mode, weights, input.candidates));
  return {
    find: async (chosen) => chosen.map((query) => rankings[query]!),
    scoreOf(query, place) {
      const candidates = retrieved.candidates?.[query];
      const at = candidates?.indices.indexOf(place) ?? -1;
      if (candidates && at >= 0) return score(candidates, at);
      return rankings[query]!.scores[rankings[query]!.indices.indexOf(place)]!;
    },
    dispose() {},
  };
}

function rankingOf(
  { sparse, candidates }: Retrieved,
  query: number,
  mode: MineMode,
  weights: readonly number[],
  searched: number,
): Ranking {
  if (mode === 'sparse') return sparse![query]!;
  const [wd, ws, wc] = mode === 'colbert' ? [0, 0, 1] : weights;
  const { indices, scores } = hybridRanking(candidates![query]!, [wd!, ws!, wc!]);
  const found = Array.from(indices, (place, at) => ({ place, at })).filter(({ place }) => place < searched);
  return {
    indices: Uint32Array.from(found, ({ place }) => place),
    scores: Float32Array.from(found, ({ at }) => scores[at]!),
  };
}

/** One vector a text, in the order of the texts. */
async function encodeAll(
  { gpu, model, threads, passage, queryMaxLength, passageMaxLength }: Embedder,
  args: MineArguments,
  input: MiningInput,
  side: 'query' | 'document',
  communicator: Communicator,
  report: Reporter | undefined,
): Promise<VectorSpool> {
  const pool = side === 'query' ? input.queries : input.texts;
  const own = side === 'query' && joined(args);
  const spool = new VectorSpool({ width: Math.min(model.config.hiddenSize, args.truncateDim ?? Infinity) });
  try {
    for await (const { dense } of encodeStream(model, threads, pool.texts(), {
      ...{ role: side, representations: new Set(['dense'] as const), communicator },
      ...(own ? { prompt: '' } : {}),
      ...(side === 'document' && passage ? { join: passage } : {}),
      maxLength: side === 'query' ? queryMaxLength : passageMaxLength,
      ...{ batchTokens: args.batchTokens, truncateDim: args.truncateDim ?? undefined },
      onBatch: tellEncoded(tellOf(report), gpu, {
        ...{ unit: side === 'query' ? 'queries' : 'texts', total: pool.count },
      }),
    })) {
      spool.append(dense!);
    }
  } catch (error) {
    spool.dispose();
    throw error;
  }
  return spool;
}

/** Rows of these numbers, one after the other. */
function chosenRows(rows: VectorRows, numbers: readonly number[]): VectorRows {
  const { width } = rows;
  return {
    ...{ count: numbers.length, width },
    async read(start, end) {
      const values = new Float32Array((end - start) * width);
      for (let i = start; i < end; i++)
        values.set(await rows.read(numbers[i]!, numbers[i]! + 1), (i - start) * width);
      return values;
    },
  };
}

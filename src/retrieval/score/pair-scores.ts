/**
 * Scores of any pairs of queries and passages: dense, lexical and ColBERT (docs/spec/flagembedding-m3.md §6), each pair by
 * itself, never batch × batch. Every query and every passage is encoded once. Of queries the vectors are kept, beyond a
 * bound in a temporary file; passages meet their queries while they are on the GPU, and nothing of them is kept, as their
 * ColBERT vectors (a megabyte each) would fill any disk.
 */

import { concat } from '../../autograd/index.js';
import { ShapeError } from '../../errors.js';
import { maxSim } from '../../kernels/maxsim/maxsim.js';
import { maxSimPairs, type TokenPair } from '../../kernels/maxsim/pair-layout.js';
import type { M3Model } from '../../models/m3.js';
import { TokenBatch } from '../../models/token-batch.js';
import type { Communicator } from '../../ranks/communicator.js';
import { noGrad, scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import { TokenizerThreads } from '../../tokenizer/threads.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { representations as all, type Representation } from '../encode/encoded.js';
import { BATCH_TOKENS, type EncodeStreamOptions } from '../encode/stream.js';
import { lexicalWeights } from '../encode/values.js';
import { packed, Windows } from '../encode/windows.js';
import { notFinite } from '../not-finite.js';
import { type TextOptions, textReading } from '../texts.js';
import { InvertedPairs, type Pairs } from './pairs.js';
import { SpooledQueries } from './queries.js';

/** Queries and texts, and the pairs of them that are scored. */
export interface PairTexts {
  /** In the order of their numbers; read once. */
  readonly queries: Iterable<string> | AsyncIterable<string>;
  /** In the order of their numbers; read once. */
  readonly passages: Iterable<string> | AsyncIterable<string>;
  /** By the numbers of both. */
  readonly pairs: Pairs;
}

/** Settings of `scorePairs`. */
export interface PairScoreOptions {
  /** What is computed; default: all. */
  readonly representations?: ReadonlySet<Representation>;
  /** Length and prompt of queries. */
  readonly query?: TextOptions;
  /** Length and prompt of passages. */
  readonly passage?: TextOptions;
  /** Tokens in one packed batch. A longer text is a batch of its own. */
  readonly batchTokens?: number;
  /** Width to which dense and ColBERT vectors are cut before they are normalised. */
  readonly truncateDim?: number | undefined;
  /** Bytes of queries' vectors that stay in memory, of each kind, and at most on the device. Default 256 MiB. */
  readonly memory?: number;
  /** Ranks that compute batches in turn; all of them are given all scores, the same bits as of one. */
  readonly communicator?: Communicator | undefined;
  /** Hears of the batches of queries, and of the others'. */
  readonly onQueries?: EncodeStreamOptions['onBatch'];
  /** Pairs that are scored, of all, and tokens of their passages; on each rank what it has scored itself. */
  readonly onScored?: (pairs: number, tokens: number) => void;
}

/** [pairs] each; undefined: nobody asked for it. */
export type PairScores = { readonly [Name in Representation]: Float32Array | undefined };

/** Batches that the GPU has been given and nobody has waited for. */
const IN_FLIGHT = 2;
/** Elements of queries' ColBERT vectors that are on the device beside a batch of passages, unless one query has more. */
const QUERY_ELEMENTS = 1 << 23;
/** Tokens of a window of passages. */
const MOST_TOKENS = 1 << 22;

/**
 * Scores of all pairs: dense, the inner product of the pooled vectors; sparse, Σ over common ids of the product of their
 * weights; ColBERT, the mean over the query's vectors of the largest inner product. What is not told of the texts is as
 * the model's folder says. `tokenizer`: itself, or threads of it, which tokenize ahead of the GPU.
 * @throws ShapeError for pairs of texts that do not come; MachineError for a score that is not finite; as `encodeStream`.
 */
export async function scorePairs(
  model: M3Model,
  tokenizer: Tokenizer | TokenizerThreads,
  { queries, passages, pairs }: PairTexts,
  options: PairScoreOptions = {},
): Promise<PairScores> {
  const { batchTokens = BATCH_TOKENS, communicator, truncateDim, onScored } = options;
  const wanted = options.representations ?? new Set(all);
  const threads =
    tokenizer instanceof TokenizerThreads ? tokenizer : new TokenizerThreads(tokenizer, { threads: 0 });
  const inverted = new InvertedPairs(pairs);
  const spooled = await SpooledQueries.encode(model, threads, queries, {
    ...{ wanted, batchTokens, communicator, truncateDim, memory: options.memory, texts: options.query ?? {} },
    onBatch: options.onQueries,
  });
  try {
    if (inverted.queries > spooled.count)
      throw new ShapeError(
        'scorePairs',
        `pairs of ${inverted.queries} queries, of which ${spooled.count} came`,
      );
    const scorer = new PassageBatches(model, threads.tokenizer, spooled, inverted, {
      ...{ wanted, truncateDim },
      queryElements: Math.min(QUERY_ELEMENTS, (options.memory ?? Number.POSITIVE_INFINITY) / 4),
    });
    const reading = textReading(model, threads.tokenizer, 'document', options.passage ?? {});
    const windows = new Windows(passages, {
      threads,
      reading,
      communicator,
      start: 0,
      mostTokens: MOST_TOKENS,
    });
    const { rank, size } = communicator ?? { rank: 0, size: 1 };
    const begun: { readonly finish: () => Promise<number>; readonly tokens: number }[] = [];
    let count = 0;
    let turn = 0;
    let [scored, scoredTokens] = [0, 0];
    const finish = async (most: number) => {
      while (begun.length > most) {
        const { finish: read, tokens } = begun.shift()!;
        scored += await read();
        scoredTokens += tokens;
        onScored?.(scored, scoredTokens);
      }
    };
    try {
      for (let parts = await windows.next(); parts.length > 0; parts = await windows.next())
        for (const { first, ids } of parts) {
          count += ids.length;
          for (const members of packed(ids, batchTokens)) {
            windows.work();
            if (turn++ % size !== rank) continue;
            const own = members.map((text) => ids[text]!);
            begun.push({
              finish: await scorer.start(
                members.map((text) => first + text),
                own,
              ),
              tokens: own.reduce((sum, { length }) => sum + length, 0),
            });
            await finish(IN_FLIGHT);
          }
        }
      await finish(0);
    } finally {
      windows.close();
    }
    if (inverted.passages > count)
      throw new ShapeError('scorePairs', `pairs of ${inverted.passages} passages, of which ${count} came`);
    // A pair is one rank's: of the others it has 0 there.
    if (communicator && size > 1)
      for (const name of all) {
        const values = scorer.scores[name];
        if (values) await communicator.startSum(values).wait();
      }
    return scorer.scores;
  } finally {
    spooled.dispose();
  }
}

/** Batches of passages, each scored against the queries that its passages have pairs with. */
class PassageBatches {
  readonly scores: PairScores;
  private readonly special: ReadonlySet<number>;
  private readonly wanted: ReadonlySet<Representation>;
  private readonly truncateDim: number | undefined;
  private readonly queryElements: number;

  constructor(
    private readonly model: M3Model,
    { clsId, sepId, padId, unkId }: Tokenizer,
    private readonly queries: SpooledQueries,
    private readonly pairs: InvertedPairs,
    {
      wanted,
      truncateDim,
      queryElements,
    }: {
      readonly wanted: ReadonlySet<Representation>;
      readonly truncateDim: number | undefined;
      readonly queryElements: number;
    },
  ) {
    this.wanted = wanted;
    this.truncateDim = truncateDim;
    this.queryElements = queryElements;
    this.special = new Set([clsId, sepId, padId, unkId]);
    const made = (name: Representation) => (wanted.has(name) ? new Float32Array(pairs.count) : undefined);
    this.scores = { dense: made('dense'), sparse: made('sparse'), colbert: made('colbert') };
  }

  /** Has the GPU compute a batch of `passages`; what it returns waits for it and gives the pairs that were scored. */
  async start(passages: readonly number[], ids: readonly Uint32Array[]): Promise<() => Promise<number>> {
    const { model, wanted, truncateDim } = this;
    const parts = wanted.has('colbert') ? await this.colbertParts(passages) : [];
    const batch = new TokenBatch(model.gpu, ids, model.config);
    try {
      return scope(() =>
        noGrad(() => {
          const denseAlone = wanted.size === 1 && wanted.has('dense');
          const hidden = denseAlone ? undefined : model.hidden(batch);
          const pooled = hidden
            ? wanted.has('dense') && model.dense(hidden, batch, truncateDim)
            : model.denseAlone(batch, truncateDim);
          const dense = pooled ? pooled.beginRead() : undefined;
          const weights = hidden && wanted.has('sparse') ? model.sparse(hidden).beginRead() : undefined;
          const vectors = hidden && parts.length > 0 ? model.colbert(hidden, truncateDim) : undefined;
          const reads = parts.map((part) => ({
            slots: part.slots,
            read: scope(() => startColbert(vectors!, batch.packed.bounds, part)),
          }));
          const { bounds } = batch.packed;
          return async () => {
            if (dense) await this.putDense(passages, (await dense.wait()) as Float32Array);
            if (weights) this.putSparse(passages, ids, bounds, (await weights.wait()) as Float32Array);
            for (const { slots, read } of reads) {
              const values = (await read.wait()) as Float32Array;
              slots.forEach((slot, i) => {
                this.scores.colbert![slot] = values[i]!;
              });
            }
            return this.requireFinite(passages);
          };
        }),
      );
    } finally {
      batch.dispose();
    }
  }

  /** The pairs of a batch in parts whose queries' vectors are on the device together. */
  private async colbertParts(passages: readonly number[]): Promise<ColbertPart[]> {
    const { queries } = this;
    const most = this.queryElements / queries.colbertWidth;
    const parts: (ColbertPart & { rows: number })[] = [];
    for (const [text, passage] of passages.entries())
      for (const slot of this.pairs.slotsOf(passage)) {
        const query = this.pairs.queryOf(slot);
        let part = parts.at(-1);
        const known = part?.queries.has(query);
        const rows = queries.tokensOf(query);
        if (!part || (!known && part.rows + rows > most)) {
          part = { queries: new Map(), pairs: [], slots: [], rows: 0, vectors: new Float32Array() };
          parts.push(part);
        }
        if (!part.queries.has(query)) {
          part.queries.set(query, { begin: part.rows, end: part.rows + rows });
          part.rows += rows;
        }
        part.pairs.push({ query, text });
        part.slots.push(slot);
      }
    for (const part of parts) part.vectors = await queries.colbert(part.queries, part.rows);
    return parts;
  }

  private async putDense(passages: readonly number[], vectors: Float32Array): Promise<void> {
    const width = vectors.length / passages.length;
    for (const [text, passage] of passages.entries())
      for (const slot of this.pairs.slotsOf(passage)) {
        const query = await this.queries.dense(this.pairs.queryOf(slot));
        let sum = 0;
        for (let c = 0, at = text * width; c < width; c++) sum += query[c]! * vectors[at + c]!;
        this.scores.dense![slot] = sum;
      }
  }

  private putSparse(
    passages: readonly number[],
    ids: readonly Uint32Array[],
    bounds: Uint32Array,
    weights: Float32Array,
  ): void {
    for (const [text, passage] of passages.entries()) {
      const slots = this.pairs.slotsOf(passage);
      if (slots.length === 0) continue;
      const own = weights.subarray(bounds[text]!, bounds[text + 1]!);
      const lexical = lexicalWeights(ids[text]!, own, this.special);
      for (const slot of slots)
        this.scores.sparse![slot] = this.queries.lexicalScore(this.pairs.queryOf(slot), lexical);
    }
  }

  private requireFinite(passages: readonly number[]): number {
    let count = 0;
    for (const passage of passages)
      for (const slot of this.pairs.slotsOf(passage)) {
        count++;
        for (const name of this.wanted)
          if (!Number.isFinite(this.scores[name]![slot]))
            throw notFinite(
              `the ${name} score of query ${this.pairs.queryOf(slot) + 1} and passage ${passage + 1} is`,
              this.scores[name]![slot]!,
              this.model.store.precision,
            );
      }
    return count;
  }
}

interface ColbertPart {
  /** Where the vectors of each query lie among `vectors`. */
  readonly queries: Map<number, { readonly begin: number; readonly end: number }>;
  /** `text`: place in the batch. */
  readonly pairs: { readonly query: number; readonly text: number }[];
  /** Of each pair, its place among all. */
  readonly slots: number[];
  /** [rows · colbertWidth]. */
  vectors: Float32Array;
}

/** Reads one score a pair. passages: [T,C], of texts that `bounds` divide, whose first tokens take no part. */
function startColbert(passages: Tensor, bounds: Uint32Array, part: ColbertPart) {
  const { gpu, cols } = passages;
  const rows = part.vectors.length / cols;
  const vectors = concat([Tensor.from(gpu, part.vectors, [rows, cols], 'f32', 'workspace'), passages]);
  const pairs = part.pairs.map(
    ({ query, text }): TokenPair => ({
      query: part.queries.get(query)!,
      passage: { begin: rows + bounds[text]! + 1, end: rows + bounds[text + 1]! },
    }),
  );
  return maxSim(vectors, maxSimPairs(vectors, pairs)).scores.beginRead();
}

/** Queries encoded once and found again by their numbers while passages come by: vectors in spools, lexical weights in memory. */
import { Column } from '../../data/column.js';
import type { M3Model } from '../../models/m3.js';
import type { Communicator } from '../../ranks/communicator.js';
import type { TokenizerThreads } from '../../tokenizer/threads.js';
import type { Representation } from '../encode/encoded.js';
import { type EncodeStreamOptions, encodeStream } from '../encode/stream.js';
import type { TextOptions } from '../texts.js';
import { VectorSpool } from '../vectors/spool.js';

interface SpoolOptions {
  readonly wanted: ReadonlySet<Representation>;
  readonly batchTokens: number;
  readonly communicator: Communicator | undefined;
  readonly truncateDim: number | undefined;
  readonly memory: number | undefined;
  readonly texts: TextOptions;
  readonly onBatch: EncodeStreamOptions['onBatch'];
}

/** Dispose when done. */
export class SpooledQueries {
  count = 0;
  private readonly vectors: VectorSpool | undefined;
  private readonly tokens: VectorSpool | undefined;
  /** Rows of `tokens` before each query, and after the last. */
  private readonly rows = new Column(Float64Array);
  /** Ids and weights of the queries, one after the other, and how many there are before each. */
  private readonly ids = new Column(Uint32Array);
  private readonly weights = new Column(Float32Array);
  private readonly starts = new Column(Float64Array);

  private constructor(
    denseWidth: number,
    readonly colbertWidth: number,
    memory: number | undefined,
  ) {
    const spool = (width: number) =>
      width > 0 ? new VectorSpool({ width, ...(memory === undefined ? {} : { memory }) }) : undefined;
    this.vectors = spool(denseWidth);
    this.tokens = spool(colbertWidth);
    this.rows.push(0);
    this.starts.push(0);
  }

  static async encode(
    model: M3Model,
    threads: TokenizerThreads,
    texts: Iterable<string> | AsyncIterable<string>,
    { wanted, batchTokens, communicator, truncateDim, memory, texts: reading, onBatch }: SpoolOptions,
  ): Promise<SpooledQueries> {
    const cut = (name: Representation, width: number) =>
      wanted.has(name) ? Math.min(width, truncateDim ?? width) : 0;
    const spooled = new SpooledQueries(
      cut('dense', model.config.hiddenSize),
      cut('colbert', model.colbertWidth),
      memory,
    );
    try {
      const options = {
        role: 'query',
        representations: wanted,
        batchTokens,
        communicator,
        onBatch,
        ...reading,
      } as const;
      for await (const encoded of encodeStream(model, threads, texts, { ...options, truncateDim })) {
        spooled.count += encoded.count;
        if (encoded.dense) spooled.vectors!.append(encoded.dense);
        for (const colbert of encoded.colbert ?? []) {
          spooled.tokens!.append(colbert);
          spooled.rows.push(spooled.tokens!.count);
        }
        for (const lexical of encoded.sparse ?? []) {
          for (const [id, weight] of lexical) {
            spooled.ids.push(id);
            spooled.weights.push(weight);
          }
          spooled.starts.push(spooled.ids.length);
        }
      }
      return spooled;
    } catch (error) {
      spooled.dispose();
      throw error;
    }
  }

  dense(query: number): Promise<Float32Array> {
    return this.vectors!.read(query, query + 1);
  }

  /** ColBERT vectors that it has. */
  tokensOf(query: number): number {
    return this.rows.at(query + 1) - this.rows.at(query);
  }

  /** [rows · colbertWidth]: the ColBERT vectors of each query from where it begins. */
  async colbert(
    queries: ReadonlyMap<number, { readonly begin: number }>,
    rows: number,
  ): Promise<Float32Array> {
    const values = new Float32Array(rows * this.colbertWidth);
    for (const [query, { begin }] of queries)
      values.set(
        await this.tokens!.read(this.rows.at(query), this.rows.at(query + 1)),
        begin * this.colbertWidth,
      );
    return values;
  }

  /** Σ over the query's ids of the products of weights. */
  lexicalScore(query: number, passage: ReadonlyMap<number, number>): number {
    let sum = 0;
    for (let i = this.starts.at(query); i < this.starts.at(query + 1); i++)
      sum += this.weights.at(i) * (passage.get(this.ids.at(i)) ?? 0);
    return sum;
  }

  dispose(): void {
    this.vectors?.dispose();
    this.tokens?.dispose();
  }
}

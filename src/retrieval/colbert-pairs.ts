/** ColBERT scores of pairs from token vectors on the host, on the GPU: a query with its own passages, never with all. */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { maxSim } from '../kernels/maxsim/maxsim.js';
import { maxSimPairs } from '../kernels/maxsim/pair-layout.js';
import { allGatherFloats, type Communicator } from '../ranks/communicator.js';
import { noGrad, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** Token vectors of two texts, [tokens · width] each, as `encodeStream` gives them. */
export interface ColbertPair {
  readonly query: Float32Array;
  readonly passage: Float32Array;
}

export interface ColbertPairOptions {
  /** Ranks that score batches in turn, each on a device of its own; all give the same pairs and are given all scores. */
  readonly communicator?: Communicator | undefined;
  /** Values of a batch on the device, 64 MiB by default; a pair that has more is a batch of its own. */
  readonly batchValues?: number;
}

const BATCH_VALUES = 1 << 24;
/** Pairs of a batch. */
const MOST_PAIRS = 1 << 14;
/** Batches that the GPU has been given and nobody has waited for. */
const IN_FLIGHT = 2;

/**
 * Per pair the mean over the query's vectors of the largest inner product with one of the passage's; 0 where one of the two
 * has no vectors. Batches are a function of the pairs alone, so that ranks give the bits of one; a text that several
 * pairs name (the same array) is on the device once.
 * @throws ShapeError for vectors that are no rows of `width`.
 */
export async function colbertPairScores(
  gpu: Gpu,
  pairs: readonly ColbertPair[],
  width: number,
  { communicator, batchValues = BATCH_VALUES }: ColbertPairOptions = {},
): Promise<Float32Array> {
  const scores = new Float32Array(pairs.length);
  const scored: number[] = [];
  for (const [i, { query, passage }] of pairs.entries()) {
    if (query.length % width !== 0 || passage.length % width !== 0)
      throw new ShapeError('colbertPairScores', `pair ${i} has vectors that are no rows of ${width}`);
    if (query.length > 0 && passage.length > 0) scored.push(i);
  }
  const batches = batchesOf(pairs, scored, batchValues);
  const [rank, size] = [communicator?.rank ?? 0, communicator?.size ?? 1];
  const pending: { readonly batch: Batch; readonly read: () => Promise<Float32Array> }[] = [];
  const finish = async (most: number) => {
    while (pending.length > most) {
      const { batch, read } = pending.shift()!;
      const values = await read();
      batch.pairs.forEach((pair, i) => {
        scores[pair] = values[i]!;
      });
    }
  };
  for (const [b, batch] of batches.entries()) {
    if (b % size !== rank) continue;
    pending.push({ batch, read: startBatch(gpu, pairs, batch, width) });
    await finish(IN_FLIGHT);
  }
  await finish(0);
  if (communicator && size > 1) {
    const own = batches.filter((_, b) => b % size === rank).flatMap((batch) => batch.pairs);
    const all = await allGatherFloats(
      communicator,
      Float32Array.from(own, (pair) => scores[pair]!),
    );
    const places = all.map(() => 0);
    for (const [b, batch] of batches.entries())
      for (const pair of batch.pairs) scores[pair] = all[b % size]![places[b % size]!++]!;
  }
  return scores;
}

/** What a batch has on the device: each text once, however many pairs name it. */
interface Batch {
  readonly pairs: number[];
  /** Where each text's vectors begin, in values. */
  readonly places: Map<Float32Array, number>;
  values: number;
}

function batchesOf(pairs: readonly ColbertPair[], scored: readonly number[], most: number): Batch[] {
  const batches: Batch[] = [];
  for (const pair of scored) {
    const { query, passage } = pairs[pair]!;
    const missing = (batch: Batch | undefined) =>
      [query, passage].reduce((sum, text) => sum + (batch?.places.has(text) ? 0 : text.length), 0);
    let batch = batches.at(-1);
    if (!batch || batch.values + missing(batch) > most || batch.pairs.length === MOST_PAIRS) {
      batch = { pairs: [], places: new Map(), values: 0 };
      batches.push(batch);
    }
    batch.pairs.push(pair);
    for (const text of [query, passage])
      if (!batch.places.has(text)) {
        batch.places.set(text, batch.values);
        batch.values += text.length;
      }
  }
  return batches;
}

function startBatch(
  gpu: Gpu,
  all: readonly ColbertPair[],
  { pairs, places, values }: Batch,
  width: number,
): () => Promise<Float32Array> {
  return scope(() =>
    noGrad(() => {
      const vectors = Tensor.empty(gpu, [values / width, width], 'f32', 'workspace');
      for (const [text, place] of places) vectors.write(text, place);
      const range = (text: Float32Array) => {
        const begin = places.get(text)! / width;
        return { begin, end: begin + text.length / width };
      };
      const layout = maxSimPairs(
        vectors,
        pairs.map((pair) => ({ query: range(all[pair]!.query), passage: range(all[pair]!.passage) })),
      );
      const read = maxSim(vectors, layout).scores.beginRead();
      return async () => (await read.wait()) as Float32Array;
    }),
  );
}

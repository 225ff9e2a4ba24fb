/** ColBERT scores of pairs from token vectors on the host, on the GPU: a query with its own passages, never with all. */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { maxSimLayout } from '../kernels/maxsim/layout.js';
import { maxSim } from '../kernels/maxsim/maxsim.js';
import { PackedSequences } from '../tensor/packed.js';
import { noGrad, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { allGatherFloats, type Communicator } from '../train/ranks/communicator.js';

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
/** Batches that the GPU has been given and nobody has waited for. */
const IN_FLIGHT = 2;

/**
 * Per pair the mean over the query's vectors of the largest inner product with one of the passage's; 0 where one of the two
 * has no vectors. Batches are a function of the pairs and of what a device binds, so that ranks give the bits of one.
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
  const batches = batchesOf(pairs, scored, width, Math.min(batchValues, gpu.capabilities.maxBindingSize / 4));
  const [rank, size] = [communicator?.rank ?? 0, communicator?.size ?? 1];
  const pending: { readonly batch: readonly number[]; readonly read: () => Promise<Float32Array> }[] = [];
  const finish = async (most: number) => {
    while (pending.length > most) {
      const { batch, read } = pending.shift()!;
      const values = await read();
      batch.forEach((pair, i) => {
        scores[pair] = values[i]!;
      });
    }
  };
  for (const [b, batch] of batches.entries()) {
    if (b % size !== rank) continue;
    pending.push({
      batch,
      read: startBatch(
        gpu,
        batch.map((pair) => pairs[pair]!),
        width,
      ),
    });
    await finish(IN_FLIGHT);
  }
  await finish(0);
  if (communicator && size > 1) {
    const own = batches.filter((_, b) => b % size === rank).flat();
    const all = await allGatherFloats(
      communicator,
      Float32Array.from(own, (pair) => scores[pair]!),
    );
    const places = all.map(() => 0);
    for (const [b, batch] of batches.entries())
      for (const pair of batch) scores[pair] = all[b % size]![places[b % size]!++]!;
  }
  return scores;
}

/** A row for the first token, which takes no part, stands before the vectors of each text. */
const rowsOf = ({ query, passage }: ColbertPair, width: number) =>
  query.length / width + passage.length / width + 2;

function batchesOf(
  pairs: readonly ColbertPair[],
  scored: readonly number[],
  width: number,
  most: number,
): number[][] {
  const batches: number[][] = [];
  let values = Number.POSITIVE_INFINITY;
  for (const pair of scored) {
    const own = rowsOf(pairs[pair]!, width) * width;
    if (values + own > most) {
      batches.push([]);
      values = 0;
    }
    batches.at(-1)!.push(pair);
    values += own;
  }
  return batches;
}

function startBatch(gpu: Gpu, pairs: readonly ColbertPair[], width: number): () => Promise<Float32Array> {
  const texts = [...pairs.map(({ query }) => query), ...pairs.map(({ passage }) => passage)];
  const packed = new PackedSequences(
    gpu,
    texts.map((text) => text.length / width + 1),
  );
  try {
    return scope(() =>
      noGrad(() => {
        const values = new Float32Array(packed.tokens * width);
        texts.forEach((text, s) => {
          values.set(text, (packed.bounds[s]! + 1) * width);
        });
        const vectors = Tensor.from(gpu, values, [packed.tokens, width], 'f32', 'workspace');
        const layout = maxSimLayout(packed, { queries: pairs.length, ownGroup: true, width });
        const read = maxSim(vectors, layout).scores.beginRead();
        return async () => (await read.wait()) as Float32Array;
      }),
    );
  } finally {
    packed.dispose();
  }
}

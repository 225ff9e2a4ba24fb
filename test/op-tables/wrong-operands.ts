/** What rows of calls that must fail are written in: operands as messages name them, on the devices that the test opened. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { sparseMatches } from '../../src/kernels/sparse-matches.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import { RowIndex } from '../../src/tensor/row-index.js';
import { type DType, Tensor } from '../../src/tensor/tensor.js';

/** A call that must fail. */
export interface Wrong {
  /** Operands, made before buffers are counted and freed after. */
  operands: string[];
  call: (...operands: Tensor[]) => unknown;
  /** In the message, besides op, shapes and dtypes. */
  says: RegExp;
}

/** Open while the calls are made; `other`: for operands that lie elsewhere. */
export const devices = {} as { gpu: Gpu; other: Gpu };

/** A tensor written as in messages: `[2,3] f16`; `freed`, `elsewhere` after that. */
export function tensor(text: string): Tensor {
  const [, extents, dtype, state] = /^\[([\d,]*)\] (\w+)(?: (\w+))?$/.exec(text)!;
  const shape = extents === '' ? [] : extents!.split(',').map(Number);
  const result = Tensor.zeros(state === 'elsewhere' ? devices.other : devices.gpu, shape, dtype as DType);
  if (state === 'freed') result.dispose();
  return result;
}

export const drop = { seed: 1, stream: 0 };
export const index = (...rows: number[]) => new RowIndex(devices.gpu, Uint32Array.from(rows));
export const packed = (...lengths: number[]) => new PackedSequences(devices.gpu, lengths);
/** Layouts hold device lists, which are made and freed around the call. */
export function withLists(lengths: number[], use: (sequences: PackedSequences) => unknown): unknown {
  const sequences = packed(...lengths);
  try {
    return use(sequences);
  } finally {
    sequences.dispose();
  }
}
export const ids = (n: number) => Uint32Array.from({ length: n }, (_, i) => 10 + (i % 3));
export const lexical = (w: Tensor, change: object = {}) =>
  withLists([3, 3, 3, 3], (p) =>
    ops.sparseScores(w, { ...sparseMatches(p, ids(12), { queries: 1, special: [] }).matches, ...change }),
  );

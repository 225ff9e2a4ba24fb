/** Of the table of ops: scores between texts. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { maxSimLayout } from '../../src/kernels/maxsim/layout.js';
import { maxSimReference } from '../../src/kernels/maxsim/reference.js';
import { sparseMatches } from '../../src/kernels/sparse-matches.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import { type OpCase, pending } from './case.js';

const LENGTHS = [3, 6, 2, 9, 1, 28, 4, 7]; // two queries, six passages; a text of CLS only
const scoreCases: OpCase[] = [8, 6].flatMap((cols) =>
  [false, true].flatMap((own) =>
    [false, true].map((floor): OpCase => {
      const bounds = new PackedSequences({} as Gpu, LENGTHS).bounds;
      return {
        name: `maxSim width ${cols}${own ? ' own group' : ''}${floor ? ' floored' : ''}`,
        inputs: [[bounds[8]!, cols]],
        large: [[bounds[8]!, 4 * cols]],
        adds: 'gradients',
        run: (gpu, [v]) => {
          const packed = new PackedSequences(gpu, LENGTHS);
          pending.push(packed);
          return ops.maxSim(
            v!,
            maxSimLayout(packed, {
              queries: 2,
              ownGroup: own,
              width: v!.cols,
              floor: floor ? new Array(6).fill(true) : undefined,
            }),
          );
        },
        reference: ([v]) => {
          const text = (s: number) => v!.subarray((bounds[s]! + 1) * cols, bounds[s + 1]! * cols);
          const scores: number[] = [];
          for (let b = 0; b < 2; b++)
            for (let j = own ? b * 3 : 0; j < (own ? b * 3 + 3 : 6); j++)
              scores.push(text(2 + j).length === 0 ? 0 : maxSimReference(text(b), text(2 + j), cols, floor));
          return Float64Array.from(scores);
        },
      };
    }),
  ),
);

const IDS = [0, 9, 7, 2, 0, 7, 8, 9, 2, 0, 7, 2, 0, 9, 9, 4, 2, 0, 5, 2, 0, 8, 7, 6, 2];
const ID_LENGTHS = [4, 5, 3, 5, 3, 5];
const sparseCases: OpCase[] = [false, true].map((own) => ({
  name: `lexical scores${own ? ' own group' : ''}`,
  inputs: [[IDS.length]],
  large: [[IDS.length * 42]],
  adds: 'all',
  range: [0.1, 1],
  run: (gpu, [w]) => {
    const times = w!.size / IDS.length;
    const repeated = (list: number[]) => Array.from({ length: times }, () => list).flat();
    const packed = new PackedSequences(gpu, repeated(ID_LENGTHS));
    pending.push(packed);
    const { groups, matches } = sparseMatches(packed, Uint32Array.from(repeated(IDS)), {
      queries: 2 * times,
      ownGroup: own,
      special: [0, 1, 2, 3],
    });
    return ops.sparseScores(ops.segmentMax(w!, groups.order, groups.starts), matches);
  },
  reference: ([w]) => {
    const bounds = new PackedSequences({} as Gpu, ID_LENGTHS).bounds;
    const weights = (s: number) => {
      const map = new Map<number, number>();
      for (let t = bounds[s]!; t < bounds[s + 1]!; t++)
        if (IDS[t]! > 3) map.set(IDS[t]!, Math.max(map.get(IDS[t]!) ?? 0, w![t]!));
      return map;
    };
    const scores: number[] = [];
    for (let b = 0; b < 2; b++)
      for (let j = own ? b * 2 : 0; j < (own ? b * 2 + 2 : 4); j++) {
        let score = 0;
        for (const [id, value] of weights(b)) score += value * (weights(2 + j).get(id) ?? 0);
        scores.push(score);
      }
    return Float64Array.from(scores);
  },
}));

/** Of those texts the first two are queries; as operands of their own. */
const packedOf = (gpu: Gpu, lengths: readonly number[]): PackedSequences => {
  const packed = new PackedSequences(gpu, lengths);
  pending.push(packed);
  return packed;
};

const lateCases: OpCase[] = [false, true].map((own) => {
  const [queries, passages] = [LENGTHS.slice(0, 2), LENGTHS.slice(2)];
  const tokens = (lengths: readonly number[]) => lengths.reduce((a, b) => a + b, 0);
  return {
    name: `lateInteraction${own ? ' own group summed' : ''}`,
    inputs: [
      [tokens(queries), 6],
      [tokens(passages), 6],
    ],
    large: [
      [tokens(queries), 24],
      [tokens(passages), 24],
    ],
    adds: 'gradients',
    run: (gpu, [q, p]) =>
      ops.lateInteraction(q!, p!, packedOf(gpu, queries), packedOf(gpu, passages), {
        ownGroup: own,
        reduction: own ? 'sum' : 'mean',
      }),
    reference: ([q, p]) => {
      const text = (v: Float64Array, lengths: readonly number[], s: number) =>
        v.subarray(6 * tokens(lengths.slice(0, s)), 6 * tokens(lengths.slice(0, s + 1)));
      const scores: number[] = [];
      for (let b = 0; b < 2; b++)
        for (let j = own ? b * 3 : 0; j < (own ? b * 3 + 3 : 6); j++)
          scores.push(
            maxSimReference(text(q!, queries, b), text(p!, passages, j), 6, false) * (own ? queries[b]! : 1),
          );
      return Float64Array.from(scores);
    },
  };
});

const lexicalCases: OpCase[] = [false, true].map((own) => {
  const cut = ID_LENGTHS[0]! + ID_LENGTHS[1]!;
  const of = sparseCases[Number(own)]!;
  return {
    name: `lexicalScores${own ? ' own group' : ''}`,
    inputs: [[cut], [IDS.length - cut]],
    large: [[42 * cut], [42 * (IDS.length - cut)]],
    adds: 'all',
    range: [0.1, 1],
    run: (gpu, [q, p]) => {
      const times = q!.size / cut;
      const repeated = (list: number[]) => Array.from({ length: times }, () => list).flat();
      const texts = (ids: number[], lengths: number[]) => ({
        ids: repeated(ids),
        sequences: packedOf(gpu, repeated(lengths)),
      });
      return ops.lexicalScores(
        q!,
        p!,
        texts(IDS.slice(0, cut), ID_LENGTHS.slice(0, 2)),
        texts(IDS.slice(cut), ID_LENGTHS.slice(2)),
        { ownGroup: own, special: [0, 1, 2, 3] },
      );
    },
    reference: ([q, p]) => of.reference([Float64Array.from([...q!, ...p!])]),
  };
});

export const textScoreCases: OpCase[] = [...scoreCases, ...sparseCases, ...lateCases, ...lexicalCases];

/** What reductions and gathered rows refuse: rows for operands.test.ts. */
import * as ops from '../../src/autograd/index.js';
import { index, packed, type Wrong } from './wrong-operands.js';

/** By op. */
export const reductionsWrong: Record<string, Wrong[]> = {
  countNonzero: [{ operands: ['[3] f32'], call: (x) => ops.countNonzero(x!, 1), says: /no axis 1/ }],
  prod: [{ operands: ['[3] bool'], call: (x) => ops.prod(x!), says: /x must be f32/ }],
  variance: [
    { operands: ['[3] i32'], call: (x) => ops.variance(x!), says: /x must be f32/ },
    {
      operands: ['[3] f32'],
      call: (x) => ops.variance(x!, 0, false, { correction: -1 }),
      says: /correction must be/,
    },
  ],
  std: [
    {
      operands: ['[3] f32'],
      call: (x) => ops.std(x!, 0, false, { correction: -1 }),
      says: /correction must be/,
    },
  ],
  norm: [
    { operands: ['[3] f32'], call: (x) => ops.norm(x!, 0), says: /p must be a number other than 0/ },
    { operands: ['[0] f32'], call: (x) => ops.norm(x!, Infinity), says: /of nothing there is none/ },
  ],
  logSumExp: [{ operands: ['[3] i32'], call: (x) => ops.logSumExp(x!), says: /x must be f32/ }],
  rmsNorm: [
    { operands: ['[2,3] f32', '[2] f32'], call: (x, g) => ops.rmsNorm(x!, g!), says: /H is 3 in x/ },
    { operands: ['[2,3] f32', '[3] f32'], call: (x, g) => ops.rmsNorm(x!, g!, -1), says: /eps must be/ },
  ],
  max: [
    { operands: ['[3,0] f32'], call: (x) => ops.max(x!, 1), says: /of nothing there is none/ },
    { operands: ['[3,0] f32'], call: (x) => ops.max(x!), says: /of nothing there is none/ },
    { operands: ['[3,2] bool'], call: (x) => ops.max(x!), says: /must be f32/ },
    {
      operands: ['[3,2] f32'],
      call: (x) => ops.max(x!, 'last' as never),
      says: /axis must be a number or a list/,
    },
  ],
  min: [{ operands: ['[0,2] i32'], call: (x) => ops.min(x!, 0), says: /of nothing there is none/ }],
  argmax: [
    { operands: ['[3,0] f32'], call: (x) => ops.argmax(x!), says: /of nothing there is none/ },
    { operands: ['[3,2] f32'], call: (x) => ops.argmax(x!, [0, 1] as never), says: /along one axis/ },
  ],
  argmin: [{ operands: ['[3,2] bool'], call: (x) => ops.argmin(x!), says: /must be f32/ }],
  any: [{ operands: ['[3,2] f32'], call: (x) => ops.any(x!), says: /must be bool/ }],
  all: [{ operands: ['[3,2] u32'], call: (x) => ops.all(x!), says: /must be bool/ }],
  sum: [
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, 2), says: /no axis 2 among 2 dimensions/ },
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, -3), says: /no axis -3/ },
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, 0.5), says: /no axis 0.5/ },
    { operands: ['[3,2] f32'], call: (x) => ops.sum(x!, [1, -1]), says: /axis 1 is named twice/ },
    {
      operands: ['[3,2] f32'],
      call: (x) => ops.sum(x!, 1, 1 as never),
      says: /keepDims must be true or false/,
    },
    { operands: ['[3,2] bool'], call: (x) => ops.sum(x!), says: /x must be f32/ },
  ],
  mean: [
    { operands: ['[3,2] f32'], call: (x) => ops.mean(x!, 2), says: /no axis 2/ },
    { operands: ['[3,2] f32 freed'], call: (x) => ops.mean(x!), says: /freed/ },
  ],
  gatherRows: [
    {
      operands: ['[5] f32'],
      call: (t) => ops.gatherRows(t!, index(0)),
      says: /table must be \[V,C\], found 1/,
    },
    { operands: ['[2,3,4] f32'], call: (t) => ops.gatherRows(t!, index(0)), says: /found 3 dimensions/ },
    {
      operands: ['[5,4] f32'],
      call: (t) => ops.gatherRows(t!, index(0, 5)),
      says: /row 5 of a table of 5 rows/,
    },
    {
      operands: ['[0,4] f32'],
      call: (t) => ops.gatherRows(t!, index(0)),
      says: /row 0 of a table of 0 rows/,
    },
  ],
  segmentMean: [
    {
      operands: ['[3,4] f32'],
      call: (x) => ops.segmentMean(x!, packed(2)),
      says: /T is 2 in the sequences and 3 in x/,
    },
    { operands: ['[3,4] f32'], call: (x) => ops.segmentMean(x!, packed(2, 2)), says: /T is 4/ },
    { operands: ['[3] f32'], call: (x) => ops.segmentMean(x!, packed(3)), says: /x must be \[T,C\]/ },
    { operands: ['[3,4] f16'], call: (x) => ops.segmentMean(x!, packed(3)), says: /x must be f32/ },
    {
      operands: ['[3,4] f32 elsewhere'],
      call: (x) => ops.segmentMean(x!, packed(3)),
      says: /another device/,
    },
  ],
  normalizeRows: [
    { operands: ['[3,4] f16'], call: (x) => ops.normalizeRows(x!), says: /x must be f32/ },
    { operands: ['[3,4] f32'], call: (x) => ops.normalizeRows(x!, -1), says: /eps must be/ },
  ],
  segmentMax: [
    {
      operands: ['[3] f32', '[3] f32', '[2] u32'],
      call: (x, o, s) => ops.segmentMax(x!, o!, s!),
      says: /order must be u32/,
    },
    {
      operands: ['[3] f32', '[3] u32', '[0] u32'],
      call: (x, o, s) => ops.segmentMax(x!, o!, s!),
      says: /groups\+1 is 0/,
    },
    {
      operands: ['[3] f32', '[3] u32', '[2,1] u32'],
      call: (x, o, s) => ops.segmentMax(x!, o!, s!),
      says: /starts must be/,
    },
  ],
};

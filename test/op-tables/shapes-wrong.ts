/** What shapes, slices, indices and orders refuse: rows for operands.test.ts. */
import * as ops from '../../src/autograd/index.js';
import type { Wrong } from './wrong-operands.js';

/** By op. */
export const shapesWrong: Record<string, Wrong[]> = {
  concat: [
    { operands: ['[2,3] f32', '[2,4] f32'], call: (a, b) => ops.concat([a!, b!]), says: /differ/ },
    { operands: ['[2,4] f32', '[2,4] f16'], call: (a, b) => ops.concat([a!, b!]), says: /one dtype/ },
    { operands: ['[2,4] f32', '[4] f32'], call: (a, b) => ops.concat([a!, b!]), says: /differ/ },
    { operands: ['[] f32', '[] f32'], call: (a, b) => ops.concat([a!, b!]), says: /no axis 0 among 0 dim/ },
    {
      operands: ['[2,4] f32', '[2,4] f32 elsewhere'],
      call: (a, b) => ops.concat([a!, b!]),
      says: /different devices/,
    },
    { operands: ['[2,4] f32', '[2,4] f32 freed'], call: (a, b) => ops.concat([a!, b!]), says: /freed/ },
  ],
  argsort: [
    { operands: ['[2,3] i32'], call: (x) => ops.argsort(x!, { axis: 2 }), says: /no axis 2 among 2 dim/ },
  ],
  chunk: [{ operands: ['[2,3] i32'], call: (x) => ops.chunk(x!, 0), says: /count must be a whole number/ }],
  cumsum: [{ operands: ['[2,3] bool'], call: (x) => ops.cumsum(x!, 0), says: /x must be f32 or/ }],
  expand: [
    { operands: ['[2,3] f32'], call: (x) => ops.expand(x!, [3]), says: /no \[3\] can be made of it/ },
    { operands: ['[2,3] f32'], call: (x) => ops.expand(x!, [3, 3]), says: /no \[3, ?3\] can be made of it/ },
    { operands: ['[2,3] f32'], call: (x) => ops.expand(x!, [-1, 2, 3]), says: /can be made of it/ },
  ],
  flatten: [
    { operands: ['[2,3] f32'], call: (x) => ops.flatten(x!, 1, 0), says: /axis 1 comes after axis 0/ },
  ],
  flip: [{ operands: ['[2,3] f32'], call: (x) => ops.flip(x!, [0, -2]), says: /is named twice/ }],
  gather: [
    { operands: ['[2,3] f32', '[2] u32'], call: (x, i) => ops.gather(x!, 0, i!), says: /must have x's axes/ },
    {
      operands: ['[2,3] f32', '[3,1] i32'],
      call: (x, i) => ops.gather(x!, 1, i!),
      says: /no longer along others than 1/,
    },
    {
      operands: ['[2,3] f32', '[2,3] f32'],
      call: (x, i) => ops.gather(x!, 1, i!),
      says: /index must be u32 or i32/,
    },
  ],
  indexAdd: [
    {
      operands: ['[2,3] f32', '[1] u32', '[1,2] f32'],
      call: (x, i, y) => ops.indexAdd(x!, 0, i!, y!),
      says: /the source must be \[1,3\]/,
    },
    {
      operands: ['[2,3] f32', '[1,1] u32', '[1,3] f32'],
      call: (x, i, y) => ops.indexAdd(x!, 0, i!, y!),
      says: /index must be \[n\]/,
    },
  ],
  indexSelect: [
    {
      operands: ['[2,3] f32', '[4] f16'],
      call: (x, i) => ops.indexSelect(x!, 0, i!),
      says: /index must be u32 or i32/,
    },
  ],
  bincount: [{ operands: ['[3] f32'], call: (x) => ops.bincount(x!, 4), says: /ids must be/ }],
  diagonal: [
    { operands: ['[3] f32'], call: (x) => ops.diagonal(x!), says: /x must be \[\.\.\.,rows,cols\]/ },
  ],
  diag: [{ operands: ['[3,3] f32'], call: (x) => ops.diag(x!), says: /x must be \[n\]/ }],
  trace: [{ operands: ['[3,3] bool'], call: (x) => ops.trace(x!), says: /x must be/ }],
  median: [
    { operands: ['[3,0] f32'], call: (x) => ops.median(x!), says: /nothing along axis -1/ },
    { operands: ['[3] f32'], call: (x) => ops.median(x!, 1), says: /no axis 1/ },
  ],
  softmin: [{ operands: ['[4] u32'], call: (x) => ops.softmin(x!), says: /x must be f32/ }],
  pairwiseDistance: [
    {
      operands: ['[3] f32', '[4] f32'],
      call: (a, b) => ops.pairwiseDistance(a!, b!),
      says: /dimensions differ/,
    },
  ],
  cdist: [{ operands: ['[3] f32', '[2,3] f32'], call: (a, b) => ops.cdist(a!, b!), says: /a must be/ }],
  oneHot: [
    { operands: ['[2] i32'], call: (x) => ops.oneHot(x!, -1), says: /classes must be a whole number/ },
  ],
  pad: [
    {
      operands: ['[2,3] f32'],
      call: (x) =>
        ops.pad(x!, [
          [1, 1],
          [0, 0],
          [1, 0],
        ]),
      says: /needs \[before, after\] or null/,
    },
    { operands: ['[2,3] f32'], call: (x) => ops.pad(x!, [[-1, 0]]), says: /needs \[before, after\] or null/ },
  ],
  permute: [
    { operands: ['[2,3] f32'], call: (x) => ops.permute(x!, [0]), says: /axes must be a list of all 2/ },
    { operands: ['[2,3] f32'], call: (x) => ops.permute(x!, [0, -2]), says: /is named twice/ },
  ],
  repeatInterleave: [
    {
      operands: ['[2,3] f32'],
      call: (x) => ops.repeatInterleave(x!, 0.5),
      says: /count must be a whole number/,
    },
  ],
  unfold: [
    { operands: ['[2,3] f32'], call: (x) => ops.unfold(x!, 1, 4), says: /no window of 4 among 3/ },
    { operands: ['[2,3] f32'], call: (x) => ops.unfold(x!, 0, 0), says: /size must be/ },
  ],
  roll: [{ operands: ['[2,3] f32'], call: (x) => ops.roll(x!, 1, 2), says: /no axis 2/ }],
  scatterAdd: [
    {
      operands: ['[2,3] f32', '[2,1] u32', '[3,1] f32'],
      call: (x, i, y) => ops.scatterAdd(x!, 1, i!, y!),
      says: /dimensions differ/,
    },
    {
      operands: ['[2,3] f32', '[2,1] u32', '[2,1] f32'],
      call: (x, i, y) => ops.scatterAdd(x!, 0, i!, y!),
      says: /may differ along axis 0 alone/,
    },
    {
      operands: ['[2,3] f32', '[2,1] u32', '[2,1] i32'],
      call: (x, i, y) => ops.scatterAdd(x!, 1, i!, y!),
      says: /one dtype/,
    },
  ],
  slice: [
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, 2), says: /axis 0: no element 2 of 2/ },
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, null, [0, 2, 0]), says: /axis 1: a step of 0/ },
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, 0, 0, 0), says: /3 ranges for 2 axes/ },
    { operands: ['[2,3] f32'], call: (x) => ops.slice(x!, [0.5]), says: /are whole numbers/ },
    {
      operands: ['[2,3] f32'],
      call: (x) => ops.slice(x!, '1' as unknown as number),
      says: /needs a number, null or/,
    },
  ],
  sort: [{ operands: ['[] f32'], call: (x) => ops.sort(x!), says: /no axis -1/ }],
  split: [
    {
      operands: ['[2,3] f32'],
      call: (x) => ops.split(x!, [1, 3], 1),
      says: /no parts of the 3 elements of axis 1/,
    },
    { operands: ['[2,3] f32'], call: (x) => ops.split(x!, 0), says: /no parts/ },
  ],
  squeeze: [
    { operands: ['[2,3] f32'], call: (x) => ops.squeeze(x!, 1), says: /axis 1 has 3 elements, not 1/ },
  ],
  stack: [
    { operands: ['[2,3] f32', '[2] f32'], call: (x, y) => ops.stack([x!, y!]), says: /dimensions differ/ },
  ],
  tile: [{ operands: ['[2,3] f32'], call: (x) => ops.tile(x!, [2]), says: /whole number of times/ }],
  topk: [
    { operands: ['[2,3] f32'], call: (x) => ops.topk(x!, 4), says: /no 4 of 3 elements/ },
    { operands: ['[2,3] f32'], call: (x) => ops.topk(x!, 1.5), says: /k must be a whole number/ },
  ],
  transpose: [
    { operands: ['[2,3] f32'], call: (x) => ops.transpose(x!, 0, 2), says: /no axis 2 among 2 dim/ },
  ],
  clone: [{ operands: ['[2,3] f32 freed'], call: (x) => ops.clone(x!), says: /x was already freed/ }],
  tril: [{ operands: ['[3] f32'], call: (x) => ops.tril(x!), says: /x must be \[\.\.\.,rows,cols\]/ }],
  triu: [
    { operands: ['[2,3] f32'], call: (x) => ops.triu(x!, 0.5), says: /diagonal must be a whole number/ },
  ],
  unsqueeze: [{ operands: ['[2,3] f32'], call: (x) => ops.unsqueeze(x!, 3), says: /no axis 3/ }],
  sliceRows: [
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, 1, 5), says: /no rows 1 to 5/ },
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, 3, 2), says: /no rows 3 to 2/ },
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, 0.5, 2), says: /start must be a whole number/ },
    { operands: ['[4,2] f32'], call: (x) => ops.sliceRows(x!, -1, 2), says: /start must be/ },
    { operands: ['[] f32'], call: (x) => ops.sliceRows(x!, 0, 0), says: /x must be/ },
  ],
  reshape: [
    { operands: ['[2,6] f32'], call: (x) => ops.reshape(x!, [5]), says: /12 elements are no \[5\]/ },
    { operands: ['[2,6] f32'], call: (x) => ops.reshape(x!, [5, -1]), says: /leaves no one extent for -1/ },
    { operands: ['[2,6] f32'], call: (x) => ops.reshape(x!, [-1, -1]), says: /leaves no one extent for -1/ },
    { operands: ['[2,6] f16'], call: (x) => ops.reshape(x!, [4.5, 4]), says: /bad shape/ },
    { operands: ['[2,6] f32 freed'], call: (x) => ops.reshape(x!, [12]), says: /freed/ },
  ],
  onBackward: [
    { operands: ['[4] i32'], call: (x) => ops.onBackward(x!, () => {}), says: /x must be/ },
    {
      operands: ['[4] f32'],
      call: (x) => ops.onBackward(x!, 'done' as unknown as () => void),
      says: /needs a function, found "done"/,
    },
    { operands: ['[4] f16 freed'], call: (x) => ops.onBackward(x!, () => {}), says: /freed/ },
  ],
};

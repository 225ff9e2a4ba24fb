/** What softmax, losses and scores refuse: rows for operands.test.ts. */
import * as ops from '../../src/autograd/index.js';
import { maxSimLayout } from '../../src/kernels/maxsim/layout.js';
import { lexical, type Wrong, withLists } from './wrong-operands.js';

/** By op. */
export const lossesWrong: Record<string, Wrong[]> = {
  softmax: [
    { operands: ['[4,4] i32'], call: (x) => ops.softmax(x!), says: /x must be f32/ },
    { operands: ['[4,4] f32 freed'], call: (x) => ops.softmax(x!), says: /already freed/ },
  ],
  logSoftmax: [{ operands: ['[4,4] u32'], call: (x) => ops.logSoftmax(x!), says: /x must be f32/ }],
  crossEntropy: [
    {
      operands: ['[2,2] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 5]),
      says: /target 5 of row 1 is none of 2 classes/,
    },
    { operands: ['[2,2] f32'], call: (x) => ops.crossEntropy(x!, [0, -1]), says: /target -1 of row 1/ },
    { operands: ['[2,2] f32'], call: (x) => ops.crossEntropy(x!, [0.5, 1]), says: /target 0.5 of row 0/ },
    {
      operands: ['[2,2] f32'],
      call: (x) => ops.crossEntropy(x!, [0, -100], { ignoreIndex: -1 }),
      says: /target -100/,
    },
    {
      operands: ['[2,2] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 1, 1]),
      says: /R is 2 in x .* 3 in targets/,
    },
    {
      operands: ['[2,2] f32', '[3] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /R is 2 in x .* 3 in targets/,
    },
    {
      operands: ['[2,2] f32', '[2] f32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /targets must be u32 or i32/,
    },
    {
      operands: ['[2,2] f32', '[2,1] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /targets must be \[R\]/,
    },
    { operands: ['[4] f32', '[1] u32'], call: (x, t) => ops.crossEntropy(x!, t!), says: /x must be \[R,C\]/ },
    {
      operands: ['[2,0] f32', '[2] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /C must be at least 1/,
    },
    {
      operands: ['[2,3,5] f32', '[2,5] u32'],
      call: (x, t) => ops.crossEntropy(x!, t!),
      says: /rows is \[2,3\] in x .* and \[2,5\] in targets/,
    },
    {
      operands: ['[2,5] f32', '[4] f32'],
      call: (x, w) => ops.crossEntropy(x!, [0, 1], { weight: w! }),
      says: /C is 5 in x .* 4 in weight/,
    },
    {
      operands: ['[2,5] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 1], { labelSmoothing: 2 }),
      says: /labelSmoothing must be a probability/,
    },
    {
      operands: ['[2,5] f32'],
      call: (x) => ops.crossEntropy(x!, [0, 1], { reduction: 'batchmean' as never }),
      says: /reduction must be/,
    },
  ],
  softCrossEntropy: [
    { operands: ['[2,3] f32', '[3,2] f32'], call: (x, p) => ops.softCrossEntropy(x!, p!), says: /differ/ },
    {
      operands: ['[2,3] f32', '[2,3] f16'],
      call: (x, p) => ops.softCrossEntropy(x!, p!),
      says: /probabilities must be f32/,
    },
  ],
  m3Distillation: [
    {
      operands: ['[2,5] f32', '[2,3] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, false),
      says: />=B\*G is 5 .* not at least 6/,
    },
    {
      operands: ['[2,5] f32', '[2,3] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, true),
      says: /G is 5 in x .* 3 in teacher/,
    },
    {
      operands: ['[2,6] f32', '[3,2] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, false),
      says: /B is 2/,
    },
    {
      operands: ['[2,6] f32', '[6] f32'],
      call: (x, t) => ops.m3Distillation(x!, t!, false),
      says: /teacher must be/,
    },
  ],
  ownGroup: [
    { operands: ['[2,6] f32'], call: (x) => ops.ownGroup(x!, 2), says: /B\*G is 6 .* not 4/ },
    { operands: ['[2,6] f32'], call: (x) => ops.ownGroup(x!, 1.5), says: /G must be a whole number/ },
    { operands: ['[2,6] f32'], call: (x) => ops.ownGroup(x!, 0), says: /G must be/ },
    { operands: ['[12] f32'], call: (x) => ops.ownGroup(x!, 3), says: /x must be/ },
  ],
  ...Object.fromEntries(
    (['mseLoss', 'l1Loss', 'huberLoss', 'smoothL1Loss', 'bceWithLogits', 'klDivergence'] as const).map(
      (name) => [
        name,
        [
          { operands: ['[3] f32', '[1] f32'], call: (x, y) => ops[name](x!, y!), says: /dimensions differ/ },
          { operands: ['[3] f32', '[3] i32'], call: (x, y) => ops[name](x!, y!), says: /target must be f32/ },
          {
            operands: ['[3] f32', '[3] f32'],
            call: (x, y) => ops[name](x!, y!, { reduction: 'average' as never }),
            says: /reduction must be mean or sum or none/,
          },
        ] satisfies Wrong[],
      ],
    ),
  ),
  cosineSimilarity: [
    { operands: ['[3] i32', '[3] f32'], call: (a, b) => ops.cosineSimilarity(a!, b!), says: /a must be f32/ },
    {
      operands: ['[3] f32', '[3] f32'],
      call: (a, b) => ops.cosineSimilarity(a!, b!, -1, -1),
      says: /eps must be/,
    },
  ],
  cosineEmbeddingLoss: [
    {
      operands: ['[3,2] f32', '[3,2] f32', '[2] i32'],
      call: (a, b, t) => ops.cosineEmbeddingLoss(a!, b!, t!),
      says: /dimensions differ/,
    },
  ],
  multipleNegativesRanking: [
    {
      operands: ['[3,2] f32', '[2,2] f32'],
      call: (a, b) => ops.multipleNegativesRanking(a!, b!),
      says: />=B is 2 in candidates .* not at least 3/,
    },
    {
      operands: ['[3,2] f32', '[3,2] f32'],
      call: (a, b) => ops.multipleNegativesRanking(a!, b!, { similarity: 'euclidean' as never }),
      says: /similarity must be cosine or dot/,
    },
    {
      operands: ['[3,2] f32', '[3,2] f32'],
      call: (a, b) => ops.multipleNegativesRanking(a!, b!, { scale: 0 }),
      says: /scale must be a finite number above 0/,
    },
  ],
  tripletLoss: [
    {
      operands: ['[3,2] f32', '[3,2] f32', '[3,1] f32'],
      call: (a, b, c) => ops.tripletLoss(a!, b!, c!),
      says: /dimensions differ/,
    },
    {
      operands: ['[3,2] f32', '[3,2] f32', '[3,2] f32'],
      call: (a, b, c) => ops.tripletLoss(a!, b!, c!, { distance: 'far' as never }),
      says: /distance must be euclidean or cosine/,
    },
  ],
  lateInteraction: [
    {
      operands: ['[3,4] f32', '[6,4] f32'],
      call: (q, p) => withLists([3], (a) => withLists([5], (b) => ops.lateInteraction(q!, p!, a, b))),
      says: /P is 5 in the passages and 6 in passageVectors|P is 6 in passageVectors/,
    },
    {
      operands: ['[3,4] f32', '[6,4] f32'],
      call: (q, p) =>
        withLists([1, 2], (a) =>
          withLists([2, 2, 2], (b) => ops.lateInteraction(q!, p!, a, b, { ownGroup: true })),
        ),
      says: /3 passages are no equal groups for 2 queries/,
    },
    {
      operands: ['[3,4] f32', '[6,4] f32'],
      call: (q, p) =>
        withLists([3], (a) =>
          withLists([6], (b) => ops.lateInteraction(q!, p!, a, b, { reduction: 'max' as never })),
        ),
      says: /reduction must be mean or sum/,
    },
  ],
  lexicalScores: [
    {
      operands: ['[3] f32', '[6] f32'],
      call: (q, p) =>
        withLists([3], (a) =>
          withLists([6], (b) =>
            ops.lexicalScores(q!, p!, { ids: [1, 2, 3], sequences: a }, { ids: [1], sequences: b }),
          ),
        ),
      says: /1 ids for 6 tokens of the passages/,
    },
    {
      operands: ['[3] f32', '[1] f32'],
      call: (q, p) =>
        withLists([3], (a) =>
          withLists([1], (b) =>
            ops.lexicalScores(q!, p!, { ids: [1, 2, -3], sequences: a }, { ids: [1], sequences: b }),
          ),
        ),
      says: /ids must be a whole number .* found -3/,
    },
  ],
  sparseScores: [
    { operands: ['[11] f32'], call: (w) => lexical(w!), says: /groups is 11 in weights|groups\+1 is 13/ },
    { operands: ['[12] f16'], call: (w) => lexical(w!), says: /weights must be f32/ },
    {
      operands: ['[12] f32'],
      call: (w) => lexical(w!, { shape: [1, 4] }),
      says: /queries\*columns\+1 is 4 .* not 5/,
    },
    { operands: ['[12] f32'], call: (w) => lexical(w!, { shape: [1, 2.5] }), says: /columns must be/ },
  ],
  maxSim: [
    {
      operands: ['[11,8] f32'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /T is 12 in the layout and 11 in vectors/,
    },
    {
      operands: ['[12,8] f16'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /vectors must be f32/,
    },
    {
      operands: ['[12] f32'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /vectors must be \[T,C\]/,
    },
    {
      operands: ['[12,0] f32'],
      call: (v) => withLists([3, 3, 3, 3], (p) => ops.maxSim(v!, maxSimLayout(p, { queries: 1 }))),
      says: /C must be at least 1/,
    },
  ],
};

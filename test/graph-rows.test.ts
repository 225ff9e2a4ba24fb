/** The random graphs that are compared with PyTorch by hand (test/interop/graphs.ts) try every operation there is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as ops from '../src/autograd/index.js';
import { lossRows } from './interop/graphs/loss-rows.js';
import { graphRows } from './interop/graphs/rows.js';

/** What is no operation on numbers, and operations that PyTorch does not have or that need more than tensors. */
const ELSEWHERE: Readonly<Record<string, readonly string[]>> = {
  'of the tape': [
    ...[
      'backward',
      'backwardAll',
      'propagate',
      'record',
      'grad',
      'valueAndGrad',
      'checkGradients',
      'checkpoint',
    ],
    ...[
      'cachedBackward',
      'GradientMismatch',
      'onBackward',
      'retainGrad',
      'scaleGradient',
      'sharedGradient',
      'wantsGradient',
    ],
  ],
  'made of no tensor': [
    ...['arange', 'bernoulli', 'empty', 'emptyLike', 'eye', 'full', 'fullLike', 'linspace', 'normal', 'ones'],
    ...['onesLike', 'permutation', 'randomInts', 'tensor', 'uniform', 'zeros', 'zerosLike'],
  ],
  'on the host': ['allClose', 'assertClose', 'format', 'print', 'ValuesDiffer'],
  'of the bits of integers': [
    'bitwiseAnd',
    'bitwiseNot',
    'bitwiseOr',
    'bitwiseXor',
    'leftShift',
    'rightShift',
  ],
  'random, checked by its own draws': ['dropout'],
  'over packed sequences and layouts, checked by the table of ops and by parity': [
    ...[
      'attention',
      'lateInteraction',
      'lexicalScores',
      'maxSim',
      'm3Distillation',
      'ownGroup',
      'segmentMax',
      'segmentMean',
      'sparseScores',
    ],
  ],
};

test('every operation has a row, or stands elsewhere for a reason', () => {
  const named = [...graphRows, ...lossRows].map(({ name, ours }) => `${name} ${ours}`).join('\n');
  const elsewhere = Object.values(ELSEWHERE).flat();
  const missing = Object.keys(ops).filter(
    (name) => !elsewhere.includes(name) && !new RegExp(`\\b${name}\\b`).test(named),
  );
  assert.deepEqual(missing, []);
  assert.deepEqual(
    elsewhere.filter((name) => !(name in ops)),
    [],
  );
});

/**
 * The loss formulas on the vector of docs/spec/flagembedding-m3.md §4.7, computed by hand, and ranks against one
 * batch.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { backward } from '../src/autograd/index.js';
import { Gpu } from '../src/gpu/gpu.js';
import { M3Model } from '../src/models/m3.js';
import type { Communicator } from '../src/ranks/communicator.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { m3Loss } from '../src/train/losses/m3-loss.js';
import { scoreLoss, teacherProbabilities } from '../src/train/losses/score-loss.js';
import { collate } from '../src/train/step/collate.js';
import { golden } from './repository.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const SCORES = {
  D: [4, 3, 1, 0.5, 2, 1.5, 3.5, 2.5],
  S: [2, 0, 1, 0, 0, 1, 1.5, 0.5],
  C: [3, 2.5, 2, 1, 1, 2, 3, 3.2],
};
const TEACHER = [2, 0, 1, 1.5];
const EXPECTED = {
  ce: { D: 0.458048, E: 0.231193, S: 0.640575, C: 0.874448 },
  m3: { D: 0.489502, E: 0.180354, S: 0.825904, C: 0.66138 },
  kl: { D: 0.684093, E: 0.668943, S: 0.650527, C: 0.603663 },
};

test('single losses of the test vector', async () => {
  const E = SCORES.D.map((d, i) => d + 0.3 * SCORES.S[i]! + SCORES.C[i]!);
  for (const [name, values] of Object.entries({ ...SCORES, E }) as ['D' | 'S' | 'C' | 'E', number[]][])
    await scope(async () => {
      const scores = Tensor.from(gpu, values, [2, 4]);
      const teacher = teacherProbabilities(gpu, TEACHER, 2);
      const base = { group: 2, own: false };
      const ce = await scoreLoss(scores, { ...base, teacher: undefined, kind: 'kl_div' }).item();
      const m3 = await scoreLoss(scores, { ...base, teacher, kind: 'm3_kd_loss' }).item();
      const kl = await scoreLoss(scores, { ...base, teacher, kind: 'kl_div' }).item();
      assert.ok(Math.abs(ce - EXPECTED.ce[name]) < 2e-6, `CE(${name}) = ${ce}`);
      assert.ok(Math.abs(m3 - EXPECTED.m3[name]) < 2e-6, `m3_kd(${name}) = ${m3}`);
      assert.ok(Math.abs(kl - EXPECTED.ce[name] - EXPECTED.kl[name]) < 2e-6, `kl_div(${name}) = ${kl}`);
    });
});

const QUERIES = ['eins zwei', 'drei', 'vier fünf sechs', 'sieben'];
const PASSAGES = [
  'one two',
  'eight',
  'three',
  'nine ten',
  'four five six',
  'eleven',
  'seven',
  'twelve and more',
];

const length = (values: Float32Array) => Math.sqrt(values.reduce((total, v) => total + v * v, 0));

/** Dense gradients of one run over `ranks` ranks, averaged. */
async function denseGradients(
  ranks: number,
  compat: ReadonlySet<string>,
  kind: 'kl_div' | 'm3_kd_loss',
  teacher: number[] | null,
) {
  const tokenizer = Tokenizer.load(golden('model'));
  const model = M3Model.load(gpu, golden('model'));
  const emulated = new EmulatedRanks(ranks);
  const play = async (rank: number, communicator: Communicator) => {
    const b = QUERIES.length / ranks;
    const batch = collate(
      gpu,
      tokenizer,
      model.config,
      QUERIES.slice(rank * b, (rank + 1) * b),
      PASSAGES.slice(rank * 2 * b, (rank + 1) * 2 * b),
      { queryMaxLen: 16, passageMaxLen: 16, colbertFloor: false },
    );
    await scope(async () => {
      const { loss } = await m3Loss(
        model.represent(model.hidden(batch.tokens), batch.tokens, false),
        {
          ...batch,
          teacherScores: teacher?.slice(rank * 2 * b, (rank + 1) * 2 * b) ?? null,
          noInBatchNeg: false,
          selfDistill: false,
        },
        { temperature: 0.02, unified: false, kind, negativesCrossDevice: true, compat },
        communicator,
      );
      backward(loss);
    });
    batch.tokens.dispose();
  };
  await Promise.all(Array.from({ length: ranks }, (_, rank) => play(rank, emulated.rank(rank))));
  const gradients = await model.store.readGradients();
  model.dispose();
  for (const values of gradients.values()) for (let i = 0; i < values.length; i++) values[i]! /= ranks;
  return gradients;
}

for (const [name, kind, teacher] of [
  ['cross-entropy', 'kl_div', null],
  ['m3_kd_loss', 'm3_kd_loss', [2, 0, 1, 1.5, 0.5, 0, 3, 2]],
  ['kl_div', 'kl_div', [2, 0, 1, 1.5, 0.5, 0, 3, 2]],
] as const)
  test(`two ranks with cross-device negatives give the gradient of the whole batch: ${name}`, async () => {
    const given = teacher ? [...teacher] : null;
    const one = await denseGradients(1, new Set(), kind, given);
    const two = await denseGradients(2, new Set(), kind, given);
    const upstream = await denseGradients(2, new Set(['cross-device']), kind, given);
    const names = ['model.encoder.layer.1.output.dense.weight', 'model.embeddings.word_embeddings.weight'];
    for (const parameter of names) {
      const [a, b, c] = [one, two, upstream].map((all) => all.get(parameter)!) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      assert.ok(length(a.map((v, i) => v - b[i]!)) < 2e-4 * length(a), `${parameter} differs`);
      // Upstream's is 1/W of it where the whole loss crosses devices.
      if (name !== 'kl_div') assert.ok(length(a.map((v, i) => v / 2 - c[i]!)) < 2e-4 * length(a));
    }
  });

test('a loss of no kind is refused', () => {
  const scores = { shape: [1, 1] } as unknown as Tensor;
  assert.throws(
    () => scoreLoss(scores, { group: 1, own: true, teacher: undefined, kind: 'kl' as 'kl_div' }),
    /kind must be kl_div or m3_kd_loss, found "kl"/,
  );
});

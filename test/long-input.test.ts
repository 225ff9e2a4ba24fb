/** Long input: memory linear in tokens, and a long sequence that trains; one of 8,192 tokens does in test/long. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { PresetName } from '../bench/options.js';
import { presetConfig, stepSettings } from '../bench/presets.js';
import { planSteps } from '../bench/training-run.js';
import { type ForcedKernels, KernelChoices } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport, Purpose } from '../src/gpu/memory.js';
import { kernelSets } from './kernel-sets.js';
import { checkLongTraining, longBatch } from './long-training.js';

let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(() => gpu.close());

const LENGTHS = [1024, 2048, 4096, 8192];

/** What training on texts of each length takes, on an adapter like this one. */
function plans(
  model: { name: PresetName; layers?: number; fp16: boolean; recompute: boolean },
  forced: ForcedKernels | undefined = undefined,
  longQuery = false,
): Promise<MemoryReport[]> {
  const config = presetConfig(model.name, model.layers);
  const like = Gpu.plan({ capabilities: gpu.capabilities, choices: new KernelChoices(forced) });
  const settings = { config, fp16: model.fp16, step: stepSettings(model.recompute, null) };
  return Promise.all(
    LENGTHS.map((tokens) =>
      planSteps(like, settings, longBatch(tokens, config.vocabSize, longQuery ? tokens : 8)),
    ),
  );
}

const perToken = (reports: readonly MemoryReport[], purpose: Purpose) =>
  reports.map(({ highest }, i) => highest[purpose] / LENGTHS[i]!);

function assertLinear(reports: readonly MemoryReport[]): void {
  for (const purpose of ['activations', 'workspace'] as const) {
    const figures = perToken(reports, purpose);
    // Size classes make steps of an eighth; what does not grow at all may fall. Products pack operands in slices up to
    // some length and in one piece beyond (docs/kernels.md), so that their workspace falls and rises again: it may not
    // rise above what it was for the shortest texts. Scores of all pairs of tokens would be 32 kB a token.
    const least = { activations: Math.min, workspace: Math.max }[purpose];
    for (const [i, figure] of figures.entries())
      assert.ok(
        figure <= 1.1 * least(...figures.slice(0, Math.max(1, i))),
        `${purpose}, bytes a token: ${figures.map(Math.round)}`,
      );
  }
  const peaks = reports.map(({ peakByPurpose }) => peakByPurpose.activations);
  assert.ok(peaks.at(-1)! <= 8.8 * peaks[0]!, `activations at the peak: ${peaks}`);
}

for (const [name, layers] of [
  ['tiny', 4],
  ['bge-m3', 1],
] as const)
  for (const fp16 of [false, true])
    for (const recompute of [false, true])
      test(`memory grows with the tokens and no faster: ${name} ${fp16 ? 'f16' : 'f32'}${recompute ? ', recompute' : ''}`, async () => {
        for (const forced of kernelSets) assertLinear(await plans({ name, layers, fp16, recompute }, forced));
      });

test('a query as long as its passage: their token scores are not held', async () => {
  for (const fp16 of [false, true])
    for (const forced of kernelSets)
      assertLinear(await plans({ name: 'tiny', fp16, recompute: true }, forced, true));
});

test('bytes a token: halves take little more than half, recomputation a fraction', async () => {
  const figure = async (fp16: boolean, recompute: boolean) =>
    perToken(await plans({ name: 'tiny', fp16, recompute }), 'activations').at(-1)!;
  const [whole, halves] = [await figure(false, false), await figure(true, false)];
  const [wholeAgain, halvesAgain] = [await figure(false, true), await figure(true, true)];
  const found = `${[whole, halves, wholeAgain, halvesAgain].map(Math.round)} bytes a token`;
  assert.ok(halves <= 0.6 * whole && halvesAgain <= 0.6 * wholeAgain, found);
  assert.ok(wholeAgain <= 0.6 * whole && halvesAgain <= 0.6 * halves, found);
});

test('2,048 tokens train', () => checkLongTraining(gpu, 'f32', 2048));

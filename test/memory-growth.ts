/** Memory that training on texts of some thousand tokens takes, as plans tell it: it grows with the tokens and no faster. */
import assert from 'node:assert/strict';
import type { PresetName } from '../bench/options.js';
import { presetConfig, stepSettings } from '../bench/presets.js';
import { planSteps } from '../bench/training-run.js';
import { type ForcedKernels, KernelChoices } from '../src/gpu/choices.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport, Purpose } from '../src/gpu/memory.js';
import { kernelSets } from './kernel-sets.js';
import { longBatch } from './long-training.js';

const LENGTHS = [1024, 2048, 4096, 8192];

export interface PlannedModel {
  readonly name: PresetName;
  readonly layers?: number;
  readonly fp16: boolean;
  readonly recompute: boolean;
}

/** What training on texts of each length takes, on an adapter like this one. */
export function plans(
  gpu: Gpu,
  model: PlannedModel,
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

export const perToken = (reports: readonly MemoryReport[], purpose: Purpose) =>
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

export const modelName = ({ name, fp16, recompute }: PlannedModel): string =>
  `${name} ${fp16 ? 'f16' : 'f32'}${recompute ? ', recompute' : ''}`;

/** With both sets of kernels. */
export async function checkGrowth(gpu: Gpu, model: PlannedModel, longQuery = false): Promise<void> {
  for (const forced of kernelSets) assertLinear(await plans(gpu, model, forced, longQuery));
}

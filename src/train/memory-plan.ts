/**
 * What a training step will take, found out by taking it on a device that computes nothing (`Gpu.plan`): the same
 * code asks the same pool for the same tensors, so the figure is that of the real step and not an estimate beside
 * it. A run that does not fit ends before its first step.
 */
import { MachineError } from '../errors.js';
import type { Capabilities } from '../gpu/capabilities.js';
import { Gpu } from '../gpu/gpu.js';
import { formatBytes, type MemoryReport } from '../gpu/memory.js';
import type { M3Model } from '../models/m3.js';
import { RandomStreams } from '../tensor/random-streams.js';
import type { M3LossBatch } from './losses/m3-loss.js';
import { AdamW, type AdamWOptions } from './optimizer.js';
import { forwardBackward, lossOf, type StepSettings } from './train-step.js';

export interface PlannedStep {
  /** Of a model whose weights need not be set. */
  readonly model: (gpu: Gpu) => M3Model;
  readonly optimizer: AdamWOptions;
  readonly settings: StepSettings;
  /** The micro-batches of a step. */
  readonly batches: (model: M3Model) => M3LossBatch[];
  /** Of evaluation between steps, if there is any. */
  readonly evaluation?: ((model: M3Model) => M3LossBatch[]) | undefined;
}

/** The accounted memory of training steps on an adapter like this. @throws MachineError when no adapter like it could. */
export async function planMemory(capabilities: Capabilities, step: PlannedStep): Promise<MemoryReport> {
  const gpu = Gpu.plan(capabilities);
  const model = step.model(gpu);
  const optimizer = new AdamW(model.store, step.optimizer);
  const random = new RandomStreams(0);
  // Twice: what a first step leaves behind is there in all later ones.
  for (let n = 0; n < 2; n++) {
    for (const batch of step.batches(model)) {
      await forwardBackward(model, batch, step.settings, { random });
      batch.tokens.dispose();
    }
    await optimizer.step(0);
    for (const batch of step.evaluation?.(model) ?? []) {
      await lossOf(model, batch, step.settings);
      batch.tokens.dispose();
    }
  }
  const report = gpu.memory();
  optimizer.dispose();
  model.dispose();
  await gpu.close();
  return report;
}

/** The peak by purpose, one line each. */
export function renderMemory(report: Pick<MemoryReport, 'peak' | 'peakByPurpose'>): string {
  const rows = [...Object.entries(report.peakByPurpose), ['in all', report.peak] as const];
  return rows.map(([name, bytes]) => `  ${name.padEnd(12)}${formatBytes(bytes).padStart(10)}`).join('\n');
}

/** @throws MachineError when the peak is beyond the budget; `note` gets the table of what takes how much. */
export function requireMemory(report: MemoryReport, budget: number, note: (line: string) => void): void {
  if (report.peak <= budget) return;
  note(`GPU memory that the longest batch would take:\n${renderMemory(report)}`);
  throw new MachineError(
    `training would take ${formatBytes(report.peak)} of GPU memory, the budget is ${formatBytes(budget)}: ` +
      'use --gradient_checkpointing, --fp16 or --sub_batch_size where they are not in use yet, smaller batches or lengths, or raise --max_gpu_memory',
  );
}

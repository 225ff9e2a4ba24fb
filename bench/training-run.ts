/** Real training steps of a preset, timed and weighed: what `bench -- step` and `bench -- memory --run` share. */
import zlib from 'node:zlib';
import type { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport } from '../src/gpu/memory.js';
import type { EncoderConfig } from '../src/models/config.js';
import { M3Model } from '../src/models/m3.js';
import { type PlannedStep, planMemory, reserveMoments } from '../src/train/memory/memory-plan.js';
import { broadcastModel } from '../src/train/ranks/broadcast-model.js';
import type { Reduction } from '../src/train/ranks/reducer.js';
import { type RunSettings, TrainingRun } from '../src/train/run/run.js';
import { collateAhead } from '../src/train/step/collate.js';
import type { StepSettings } from '../src/train/step/train-step.js';
import { type BenchBatch, lossBatch, runSettings } from './presets.js';

export interface BenchedSteps {
  readonly config: EncoderConfig;
  readonly fp16: boolean;
  readonly step: StepSettings;
  /** Where there are several: who the others are, and how they share the work. */
  readonly ranks?: Pick<RunSettings, 'communicator' | 'wire'>;
}

/** One that was taken. */
export interface BenchedStep {
  /** From when the step before was known to when this one was. */
  readonly seconds: number;
  /** Of the CPU, over all threads of the process. */
  readonly cpuSeconds: number;
  /** Of this rank. */
  readonly tokens: number;
  readonly loss: number;
  readonly skipped: boolean;
  /** Where there are several ranks. */
  readonly reduction: Reduction | undefined;
}

export interface RunResult {
  readonly steps: readonly BenchedStep[];
  readonly memory: MemoryReport;
  /** Parameter tensors (parts as files name them): how many, which did not change, how many values are not finite. */
  readonly tensors: number;
  readonly unchanged: string[];
  readonly notFinite: number;
}

export const plannedModel =
  ({ config, fp16 }: BenchedSteps) =>
  (gpu: Gpu): M3Model =>
    M3Model.empty(gpu, config, { precision: fp16 ? 'f16' : 'f32' });

export const distinctWords = (batches: readonly BenchBatch[]) =>
  new Set(batches.flatMap(({ texts }) => texts.flat())).size;

/** What the steps would take, without taking it. */
export function planSteps(
  gpu: Gpu,
  steps: BenchedSteps,
  batch: BenchBatch,
  asked?: PlannedStep['asked'],
  /** Of all steps of all ranks; by default it is one. */
  all: readonly BenchBatch[] = [batch],
): Promise<MemoryReport> {
  return planMemory(gpu, {
    model: plannedModel(steps),
    run: { ...runSettings(steps.fp16, steps.step), ...steps.ranks },
    batches: (model) => [lossBatch(model.gpu, steps.config, batch)],
    words: () => distinctWords(all),
    asked,
  });
}

/** Trains on the batches, one step each, from random weights at a constant rate. */
export async function runSteps(
  gpu: Gpu,
  { config, fp16, step, ranks }: BenchedSteps,
  batches: readonly BenchBatch[],
  note: (line: string) => void = () => {},
  /** Runs steps once more, after those that are timed: in a pass of its own a dispatch takes longer. */
  profiled?: (steps: () => Promise<void>) => Promise<void>,
  /** Distinct ones of all steps of all ranks. */
  words = distinctWords(batches),
): Promise<RunResult> {
  const model = M3Model.random(gpu, config, { precision: fp16 ? 'f16' : 'f32' });
  const run = new TrainingRun(model, { ...runSettings(fp16, step), ...ranks });
  if (ranks?.communicator) await broadcastModel(model, ranks.communicator);
  // A first step makes moments at its end: with room for them before it takes what each later one does.
  reserveMoments(run, words);
  const before = await fingerprints(model);
  gpu.pool.resetPeak();
  const steps: BenchedStep[] = [];
  const tokensOf = ({ texts }: BenchBatch) => texts.reduce((sum, text) => sum + text.length, 0);
  const taken = (list: readonly BenchBatch[]) =>
    run.steps(
      collateAhead(list, (each) => gpu.phase('collate', () => lossBatch(gpu, config, each))),
      run.completed + list.length,
    );
  let started = performance.now();
  let cpuBefore = process.cpuUsage();
  for await (const { number, loss, norm, skipped, event, reduction } of taken(batches)) {
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    const tokens = tokensOf(batches[number - 1]!);
    steps.push({ seconds, cpuSeconds: (user + system) / 1e6, tokens, loss, skipped, reduction });
    note(
      `step ${steps.length}: ${seconds.toFixed(2)} s, ${tokens} tokens, loss ${loss.toFixed(4)}, gradient norm ${norm.toFixed(3)}${event ? `, loss scale ${event.previous_loss_scale} → ${event.loss_scale}` : ''}`,
    );
    started = performance.now();
    cpuBefore = process.cpuUsage();
  }
  const memory = gpu.memory();
  const after = await fingerprints(model);
  await profiled?.(async () => {
    for await (const _ of taken(batches));
  });
  run.dispose();
  model.dispose();
  return {
    steps,
    memory,
    tensors: after.size,
    unchanged: [...after].flatMap(([name, { crc }]) => (before.get(name)!.crc === crc ? [name] : [])),
    notFinite: [...after.values()].reduce((sum, { notFinite }) => sum + notFinite, 0),
  };
}

/** A checksum and the number of values that are not finite, of every tensor that a weight file would hold. */
async function fingerprints(model: M3Model): Promise<Map<string, { crc: number; notFinite: number }>> {
  const result = new Map<string, { crc: number; notFinite: number }>();
  for await (const { name, data } of model.weightPieces()) {
    const sofar = result.get(name) ?? { crc: 0, notFinite: 0 };
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    let { notFinite } = sofar;
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f800000) === 0x7f800000) notFinite++;
    const crc = zlib.crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), sofar.crc);
    result.set(name, { crc, notFinite });
  }
  return result;
}

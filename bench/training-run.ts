/** Real training steps of a preset, timed and weighed: what `bench -- step` and `bench -- memory --run` share. */
import zlib from 'node:zlib';
import type { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport } from '../src/gpu/memory.js';
import type { EncoderConfig } from '../src/models/config.js';
import { M3Model } from '../src/models/m3.js';
import { RandomStreams } from '../src/tensor/random-streams.js';
import { defaultLossScaling, LossScaler } from '../src/train/loss-scale.js';
import { AdamW } from '../src/train/optimizer.js';
import { type PlannedStep, planMemory } from '../src/train/run/memory-plan.js';
import { forwardBackward, type StepSettings } from '../src/train/step/train-step.js';
import { adamW, type BenchBatch, LEARNING_RATE, lossBatch } from './presets.js';

export interface RunSettings {
  readonly config: EncoderConfig;
  readonly fp16: boolean;
  readonly step: StepSettings;
}

export interface RunResult {
  /** Seconds, those of the CPU over all threads, tokens and loss of each step. */
  readonly steps: { seconds: number; cpuSeconds: number; tokens: number; loss: number; skipped: boolean }[];
  readonly memory: MemoryReport;
  /** Parameter tensors (parts as files name them): how many, which did not change, how many values are not finite. */
  readonly tensors: number;
  readonly unchanged: string[];
  readonly notFinite: number;
}

export const plannedModel =
  ({ config, fp16 }: RunSettings) =>
  (gpu: Gpu): M3Model =>
    M3Model.empty(gpu, config, { precision: fp16 ? 'f16' : 'f32' });

/** What the steps would take, without taking it. */
export function planRun(
  gpu: Gpu,
  settings: RunSettings,
  batch: BenchBatch,
  asked?: PlannedStep['asked'],
  /** Of all steps; by default it is one. */
  all: readonly BenchBatch[] = [batch],
): Promise<MemoryReport> {
  return planMemory(gpu, {
    model: plannedModel(settings),
    optimizer: adamW,
    settings: settings.step,
    batches: (model) => [lossBatch(model.gpu, settings.config, batch)],
    words: () => new Set(all.flatMap(({ texts }) => texts.flat())).size,
    asked,
  });
}

/** Trains on the batches, one step each, from random weights at a constant rate. */
export async function runSteps(
  gpu: Gpu,
  settings: RunSettings,
  batches: readonly BenchBatch[],
  note: (line: string) => void = () => {},
  /** Runs the last step once more, after those that are timed: in a pass of its own a dispatch takes longer. */
  profiled?: (step: () => Promise<void>) => Promise<void>,
): Promise<RunResult> {
  const { config, fp16 } = settings;
  const model = M3Model.random(gpu, config, { precision: fp16 ? 'f16' : 'f32' });
  const optimizer = new AdamW(model.store, adamW);
  const before = await fingerprints(model);
  gpu.pool.resetPeak();
  const random = new RandomStreams(1);
  const scaler = new LossScaler(fp16 ? defaultLossScaling : null);
  const steps: RunResult['steps'] = [];
  const trainOn = async (each: BenchBatch) => {
    const batch = gpu.phase('collate', () => lossBatch(gpu, config, each));
    const { tokens } = batch.tokens.packed;
    const loss = await forwardBackward(model, batch, settings.step, { random, lossScale: scaler.scale });
    batch.tokens.dispose();
    return { tokens, loss, ...(await optimizer.step(LEARNING_RATE, 1 / scaler.scale)) };
  };
  for (const each of batches) {
    const started = performance.now();
    const cpuBefore = process.cpuUsage();
    const { tokens, loss, skipped, norm } = await trainOn(each);
    const event = scaler.update(skipped);
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    steps.push({ seconds, cpuSeconds: (user + system) / 1e6, tokens, loss, skipped });
    note(
      `step ${steps.length}: ${seconds.toFixed(2)} s, ${tokens} tokens, loss ${loss.toFixed(4)}, gradient norm ${norm.toFixed(3)}${event ? `, loss scale ${event.previous_loss_scale} → ${event.loss_scale}` : ''}`,
    );
  }
  const memory = gpu.memory();
  const after = await fingerprints(model);
  await profiled?.(async () => void (await gpu.phase('step', () => trainOn(batches.at(-1)!))));
  optimizer.dispose();
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

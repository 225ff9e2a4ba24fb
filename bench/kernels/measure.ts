/**
 * Times of variants that compute the same. Host time: the `benchmark` package takes the samples, in several turns when
 * there are several variants, so that a machine that slows down meanwhile slows all of them down. GPU time: timestamps.
 */
import Benchmark from 'benchmark';
import type { Gpu } from '../../src/gpu/gpu.js';
import type { Trial } from '../../src/kernels/variants.js';
import { scope } from '../../src/tensor/scope.js';

/** What `time` found. */
export interface Times {
  /** Seconds of one run, by host clock: sorted. */
  readonly samples: readonly number[];
  /** Runs between two waits for the GPU. */
  readonly repeats: number;
  /** CPU seconds of one run, over all threads of the process. */
  readonly cpuSeconds: number;
  /** Seconds of one run by the GPU's clock: sorted; empty where the adapter has none. */
  readonly gpuSamples: readonly number[];
}

/** Turns of each variant when several are compared. */
const TURNS = 4;
/** Short runs are repeated until they take so long: a wait for the GPU takes some hundredths of a millisecond. */
const LEAST_BATCH = 5e-3;
const MOST_REPEATS = 256;
const GPU_SAMPLES = 9;

/** @param seconds to spend on samples of each variant, about. */
export async function measure(
  gpu: Gpu,
  trial: Trial,
  variants: readonly string[],
  seconds: number,
): Promise<Map<string, Times>> {
  const turns = variants.length === 1 ? 1 : TURNS;
  const states = new Map<string, { samples: number[]; repeats: number; runs: number; cpu: number }>();
  for (const name of variants)
    states.set(name, { samples: [], repeats: await repeatsOf(gpu, trial, name), runs: 0, cpu: 0 });
  for (let turn = 0; turn < turns; turn++)
    for (const [name, state] of states) {
      const before = process.cpuUsage();
      const { samples, runs } = await sample(gpu, trial, name, state.repeats, seconds / turns, turns);
      const { user, system } = process.cpuUsage(before);
      state.samples.push(...samples);
      state.runs += runs;
      state.cpu += (user + system) / 1e6;
    }
  const times = new Map<string, Times>();
  for (const [name, { samples, repeats, runs, cpu }] of states)
    times.set(name, {
      samples: samples.sort((a, b) => a - b),
      repeats,
      cpuSeconds: cpu / runs,
      gpuSamples: gpu.capabilities.timestamps ? await gpuSamples(gpu, trial, name) : [],
    });
  return times;
}

async function batch(gpu: Gpu, trial: Trial, variant: string, repeats: number): Promise<void> {
  for (let run = 0; run < repeats; run++) scope(() => trial.run(variant));
  await gpu.finish();
}

async function repeatsOf(gpu: Gpu, trial: Trial, variant: string): Promise<number> {
  let repeats = 1;
  for (;;) {
    const start = performance.now();
    await batch(gpu, trial, variant, repeats);
    const took = (performance.now() - start) / 1e3;
    if (took >= LEAST_BATCH || repeats >= MOST_REPEATS) return repeats;
    repeats = Math.min(MOST_REPEATS, repeats * Math.max(2, Math.ceil(LEAST_BATCH / took)));
  }
}

/** Seconds of one run, and how many runs there were, those that warm up included. */
function sample(
  gpu: Gpu,
  trial: Trial,
  variant: string,
  repeats: number,
  maxTime: number,
  turns: number,
): Promise<{ samples: number[]; runs: number }> {
  return new Promise((resolve, reject) => {
    let runs = 0;
    new Benchmark(variant, {
      defer: true,
      minSamples: turns === 1 ? 5 : 2,
      // A batch is long enough for the clock.
      minTime: LEAST_BATCH / 2,
      maxTime,
      fn(deferred: { resolve(): void }) {
        runs += repeats;
        batch(gpu, trial, variant, repeats).then(() => deferred.resolve(), reject);
      },
      onComplete(event: { target: { stats?: { sample: number[] } } }) {
        resolve({ samples: (event.target.stats?.sample ?? []).map((seconds) => seconds / repeats), runs });
      },
      onError(event: { target: { error?: Error } }) {
        reject(event.target.error);
      },
    }).run({ async: true });
  });
}

async function gpuSamples(gpu: Gpu, trial: Trial, variant: string): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < GPU_SAMPLES; i++) {
    await gpu.startProfile();
    scope(() => trial.run(variant));
    const rows = (await gpu.stopProfile()).rows();
    samples.push(rows.reduce((sum, { milliseconds }) => sum + milliseconds / 1e3, 0));
  }
  return samples.sort((a, b) => a - b);
}

/**
 * The samples that rates come from. A GPU's own clock where there is one: short kernels take as long as their launch on the
 * host's. An adapter that computes on the CPU has no other clock than the host's, and its timestamps leave out what it
 * does between dispatches.
 */
export const clockOf = ({ capabilities }: Gpu): 'host' | 'gpu' =>
  capabilities.timestamps && !capabilities.software ? 'gpu' : 'host';

export const samplesBy = (clock: 'host' | 'gpu', times: Times): readonly number[] =>
  clock === 'gpu' ? times.gpuSamples : times.samples;

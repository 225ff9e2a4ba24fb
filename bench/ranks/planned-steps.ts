/**
 * What a step costs each of several ranks in memory and in bytes on the wire, found out by taking it: the trainer's own
 * run on a device that only accounts, with ranks that are told what the others have and count what they send.
 */
import { Gpu, type PlannedDevice } from '../../src/gpu/gpu.js';
import type { MemoryReport } from '../../src/gpu/memory.js';
import type { EncoderConfig } from '../../src/models/config.js';
import { M3Model } from '../../src/models/m3.js';
import type { Communicator } from '../../src/ranks/communicator.js';
import { PlannedRanks } from '../../src/ranks/planned.js';
import { reserveMoments } from '../../src/train/memory/memory-plan.js';
import { type RunSettings, TrainingRun } from '../../src/train/run/run.js';
import type { RunBatch } from '../../src/train/run/step.js';
import { CountedRanks, type SentBytes } from './counted.js';

export interface RankedStep {
  readonly config: EncoderConfig;
  readonly precision: 'f32' | 'f16';
  readonly run: Omit<RunSettings, 'communicator'>;
  /** The gradient of the word embeddings is that of all rows, as where a head is tied to them. */
  readonly dense: boolean;
  /** Distinct words of the whole run: rows that have moments. */
  readonly words: number;
  /** The batch of a rank. The run frees it. */
  readonly batch: (gpu: Gpu, rank: number) => RunBatch;
}

/** Of one rank and one step. */
export interface StepCost {
  readonly memory: Pick<MemoryReport, 'peak' | 'peakByPurpose'>;
  /** Bytes sent to other ranks: of gradients, of weights that this rank has updated for all, and all else. */
  readonly gradients: number;
  readonly weights: number;
  readonly rest: number;
}

/** What takes a rank's step: a step leaves behind what is there in all later ones, so two are taken and the second counts. */
const STEPS = 2;

/** Plans the step of rank `rank` of `size`. */
export async function plannedStep(
  like: PlannedDevice,
  step: RankedStep,
  size: number,
  rank = 0,
): Promise<StepCost> {
  const gpu = Gpu.plan(like);
  const rowsOfRanks = Array.from({ length: size }, (_, each) => rowsOf(gpu, step, each));
  const ranks = size > 1 ? new PlannedRanks(size, rank) : undefined;
  const cost = await costOf(gpu, step, ranks, rank, rowsOfRanks);
  await gpu.close();
  return cost;
}

/** Takes the step with the others that `communicator` is of, on this device. */
export function takenStep(gpu: Gpu, step: RankedStep, communicator: Communicator): Promise<StepCost> {
  return costOf(gpu, step, communicator, communicator.rank);
}

async function costOf(
  gpu: Gpu,
  step: RankedStep,
  by: Communicator | undefined,
  rank: number,
  rowsOfRanks?: readonly Uint32Array[],
): Promise<StepCost> {
  const { config, precision, dense, words } = step;
  const model = gpu.planning
    ? M3Model.empty(gpu, config, { precision })
    : M3Model.random(gpu, config, { precision, seed: 1 });
  const counted = by && new CountedRanks(by);
  const run = new TrainingRun(model, { ...step.run, ...(counted ? { communicator: counted } : {}) });
  if (run.reducer) run.reducer.rowsOfRanks = rowsOfRanks;
  let gradients = 0;
  reserveMoments(run, words);
  gpu.pool.resetPeak();
  for (let n = 0; n < STEPS; n++) {
    counted?.reset();
    await run.accumulate(step.batch(gpu, rank));
    if (dense) for (const table of model.store.tables) table.gradient.dense();
    gradients = (await run.update()).reduction?.sent ?? 0;
  }
  const { peak, peakByPurpose } = gpu.memory();
  run.dispose();
  model.dispose();
  const sent: SentBytes = counted?.sent ?? { sums: 0, parts: 0, bytes: 0 };
  // Of rows of gradient a plan exchanges nothing, and knows what it would be.
  const rows = gpu.planning ? 0 : gradients - sent.sums;
  return { memory: { peak, peakByPurpose }, gradients, weights: sent.parts, rest: sent.bytes - rows };
}

/** The rows of the table of words of which a rank has gradients. */
function rowsOf(gpu: Gpu, step: RankedStep, rank: number): Uint32Array {
  if (step.dense) return Uint32Array.from({ length: step.config.vocabSize }, (_, row) => row);
  const { tokens } = step.batch(gpu, rank);
  try {
    return Uint32Array.from(tokens.words.unique());
  } finally {
    tokens.dispose();
  }
}

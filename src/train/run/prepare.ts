/** What a run has on its device before its first step: the kernels it uses, the memory it will take, its model. */
import { MachineError } from '../../errors.js';
import type { Decision } from '../../gpu/choices.js';
import type { Gpu } from '../../gpu/gpu.js';
import type { MemoryReport } from '../../gpu/memory.js';
import { tuneAsked, tuningSummary, useWinners } from '../../kernels/tuning.js';
import { M3Model } from '../../models/m3.js';
import { broadcastJson, type Communicator } from '../../ranks/communicator.js';
import { onFirstRank } from '../../ranks/together.js';
import { useKernels } from '../checkpoints/resume.js';
import type { OpenCheckpoint } from '../checkpoints/training-state.js';
import { remediesOf } from '../memory/find-remedies.js';
import { requireMemory } from '../memory/memory-plan.js';
import type { RanksMemory } from '../memory/ranks-memory.js';
import { renderRemedies } from '../memory/remedies.js';
import { planRunMemory, type RunBatches } from '../memory/run-memory.js';
import type { RunInputs } from './inputs.js';
import type { RunPlan } from './plan.js';

export function loadModel(gpu: Gpu, { folder, texts, plan }: RunInputs): M3Model {
  const { args } = plan;
  return M3Model.load(gpu, folder, {
    pooling: args.sentencePoolingMethod,
    normalize: args.normalizeEmbeddings,
    colbertDim: args.colbertDim,
    seed: args.seed,
    trainable: (name) => plan.trains(name),
    decay: (name) => plan.decays(name),
    precision: plan.precision,
    texts,
  });
}

/** Where a run starts: its device, what it read, what it goes on from. */
export interface RunStart {
  readonly gpu: Gpu;
  readonly inputs: RunInputs;
  readonly checkpoint: OpenCheckpoint | undefined;
  readonly ranks: Communicator;
  readonly note: (line: string) => void;
}

const plannedOf = ({ inputs, checkpoint, ranks }: RunStart, plan: RunPlan = inputs.plan) => {
  const folder = checkpoint?.folder ?? inputs.folder;
  return { ...inputs, plan, ranks, model: (on: Gpu) => loadModel(on, { ...inputs, plan, folder }) };
};

/**
 * Chooses the kernels, as the checkpoint or `--tune` says. Those of rank 0 are those of all ranks, as far as a rank's
 * adapter can run them: replicas on adapters that are alike then compute the same bits.
 */
export async function chooseKernels(start: RunStart): Promise<void> {
  const { gpu, ranks } = start;
  await onFirstRank(ranks, () => ownKernels(start));
  if (ranks.size > 1) gpu.choices.replaceWinners(await broadcastJson(ranks, gpu.choices.record().winners));
}

async function ownKernels(start: RunStart): Promise<void> {
  const { gpu, inputs, checkpoint, note } = start;
  const { tune } = inputs.plan.args;
  if (checkpoint) {
    useKernels(checkpoint, gpu, note);
    if (tune === 'full') note('--tune full: the kernels are those of the checkpoint');
  } else useWinners(gpu, tune, note);
  if (tune === 'full' && !checkpoint) {
    // With everything that the steps would ask for tuned, the memory is planned anew: variants differ in what they take.
    let asked: readonly Decision[] = [];
    await planRunMemory(
      gpu,
      { ...plannedOf(start), asked: (decisions) => (asked = decisions) },
      gpu.pool.budget,
      () => {},
    );
    const begin = performance.now();
    const tuned = await tuneAsked(gpu, asked);
    note(tuningSummary(tuned, (performance.now() - begin) / 1e3));
  }
}

/** What steps take, and by which batches that is known. */
export interface PlannedMemory {
  readonly memory: MemoryReport;
  readonly batches: RunBatches;
}

/** The memory that steps take with these kernels. @throws MachineError where no adapter could, once `note` has what it could. */
export async function planMemoryOf(start: RunStart): Promise<PlannedMemory> {
  const { gpu, note } = start;
  let batches: RunBatches = { longest: new Map(), words: undefined };
  const plannedBy = (by: RunBatches) => {
    batches = by;
  };
  try {
    const memory = await planRunMemory(gpu, { ...plannedOf(start), plannedBy }, gpu.pool.budget, note);
    return { memory, batches };
  } catch (error) {
    if (error instanceof MachineError && batches.longest.size > 0)
      for (const line of renderRemedies(await remediesFor(start, batches))) note(line);
    throw error;
  }
}

/** @throws MachineError when the memory is beyond the budget, and says what would take less. */
export async function requirePlanned(
  start: RunStart,
  { memory, batches }: PlannedMemory,
  ofAll: RanksMemory | undefined,
): Promise<void> {
  const { budget } = start.gpu.pool;
  const remedies = memory.peak <= budget ? [] : await remediesFor(start, batches);
  requireMemory(memory, budget, start.note, ofAll, remedies);
}

const remediesFor = (start: RunStart, known: RunBatches) =>
  remediesOf(start.gpu, {
    ...{ known, plan: start.inputs.plan, data: start.inputs.data, budget: start.gpu.pool.budget },
    planned: (plan) => plannedOf(start, plan),
  });

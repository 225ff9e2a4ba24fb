/**
 * What a training step will take, found out by taking it on a device that computes nothing (`Gpu.plan`): the same
 * code asks the same pool for the same tensors, so the figure is that of the real step and not an estimate beside
 * it. A run that does not fit ends before its first step.
 */

import type { Parameter } from '../../autograd/parameter.js';
import type { ParameterStore } from '../../autograd/parameter-store.js';
import { MachineError } from '../../errors.js';
import type { Decision } from '../../gpu/choices.js';
import { Gpu, type PlannedDevice } from '../../gpu/gpu.js';
import type { MemoryReport } from '../../gpu/memory.js';
import type { M3Model } from '../../models/m3.js';
import { TokenBatch } from '../../models/token-batch.js';
import { PlannedRanks } from '../../ranks/planned.js';
import { formatBytes } from '../../show.js';
import { Tensor } from '../../tensor/tensor.js';
import { type RunSettings, TrainingRun } from '../run/run.js';
import type { RunBatch } from '../run/step.js';
import { onEachRank, type RanksMemory, sharedWords } from './ranks-memory.js';
import { adviceOf, type Remedy, renderRemedies } from './remedies.js';

export interface PlannedStep {
  /** Of a model whose weights need not be set. */
  readonly model: (gpu: Gpu) => M3Model;
  readonly run: RunSettings;
  /** Batches of which any may come in a step. Each is planned as a step of its own. */
  readonly batches: (model: M3Model) => RunBatch[];
  /** Distinct words that all steps together bring, at most; by default no moments but of those of these batches. */
  readonly words?: ((model: M3Model) => number) | undefined;
  /** Bytes that other words in these batches would take more, at most. */
  readonly extraBytes?: (() => number) | undefined;
  /** Told, when all is planned, which kernels the steps asked for. */
  readonly asked?: ((decisions: readonly Decision[]) => void) | undefined;
  /** Of evaluation between steps, if there is any. */
  readonly evaluation?: ((model: M3Model) => RunBatch[]) | undefined;
  /** And of rows with their candidates. */
  readonly candidates?: ((model: M3Model) => RunBatch[]) | undefined;
}

/** The accounted memory of training steps on an adapter like this. @throws MachineError when no adapter like it could. */
export async function planMemory(like: PlannedDevice, step: PlannedStep): Promise<MemoryReport> {
  const gpu = Gpu.plan(like);
  const model = step.model(gpu);
  const { window, selfDistillAfter, communicator } = step.run;
  const run = new TrainingRun(model, {
    ...step.run,
    ...(communicator ? { communicator: new PlannedRanks(communicator.size, communicator.rank) } : {}),
    learningRate: () => 0,
    selfDistillAfter: selfDistillAfter === null ? null : -1,
  });
  let words: number | undefined;
  // Twice: what a first step leaves behind is there in all later ones.
  for (let n = 0; n < 2; n++) {
    const batches = step.batches(model);
    words ??= step.words?.(model);
    if (n > 0 && words !== undefined) reserveMoments(run, words);
    if (run.reducer) run.reducer.mostRows = words ?? model.config.vocabSize;
    const most = Math.max(...batches.map(({ tokens }) => tokens.words.unique().length));
    for (const batch of batches) {
      await run.accumulate(batch);
      if (window > 1) {
        // Of the batches between the first and the last only their gradients of the tables are left, merged.
        pileUp(model, batch, (window - 2) * most, words ?? model.config.vocabSize);
        await run.accumulate(withOtherWords(model, batch));
      }
      await run.update();
    }
    const ranked = (step.candidates?.(model) ?? []).map((batch) => ({ ...batch, parts: [] }));
    await run.evaluate(step.evaluation?.(model) ?? [], ranked);
    for (const batch of step.evaluation?.(model) ?? []) await run.scoresOf(batch);
  }
  const report = gpu.memory();
  step.asked?.([...gpu.choices.decided.values()]);
  run.dispose();
  model.dispose();
  await gpu.close();
  const extraBytes = step.extraBytes?.() ?? 0;
  return {
    ...report,
    peak: report.peak + extraBytes,
    peakByPurpose: {
      ...report.peakByPurpose,
      workspace: report.peakByPurpose.workspace + extraBytes,
    },
  };
}

/** The same lengths with words that the batch has not, as far as there are others. */
function withOtherWords({ gpu, config }: M3Model, batch: RunBatch): RunBatch {
  const { packed, ids, words } = batch.tokens;
  const distinct = words.unique().length;
  const texts = Array.from({ length: packed.count }, (_, text) =>
    ids
      .subarray(packed.bounds[text]!, packed.bounds[text + 1]!)
      .map((id) => (id + distinct) % config.vocabSize),
  );
  return { ...batch, tokens: new TokenBatch(gpu, texts, config) };
}

/**
 * Gradients of `count` rows more of the word embeddings than the batch has given them, or of all `words` that there are:
 * what that many micro-batches of a step leave there, of which no two share a word.
 */
function pileUp({ gpu, store, config }: M3Model, batch: RunBatch, count: number, words: number): void {
  const table = wordsOf(store);
  if (!table) return;
  const present = new Set(batch.tokens.words.unique());
  const rows = new Uint32Array(Math.max(0, Math.min(count, words - present.size)));
  // From the end: the batches have theirs from the beginning.
  for (let id = config.vocabSize - 1, n = rows.length; n > 0; id--) if (!present.has(id)) rows[--n] = id;
  if (rows.length === 0) return;
  const values = Tensor.zeros(gpu, [rows.length, table.tensor.cols], 'f32', 'gradients').keep();
  table.gradient!.addRows(rows, values);
  table.gradient!.settle();
}

/** The moments that the optimiser has once the last step of a run has been taken: of all its words. */
export function reserveMoments({ model, optimizer }: TrainingRun, words: number): void {
  const table = wordsOf(model.store);
  if (table) optimizer.reserve(table, words);
}

/** The one table of a model; it may be frozen, and then there is none. */
function wordsOf({ tables }: ParameterStore): Parameter | undefined {
  return tables.find(({ name }) => name.endsWith('word_embeddings.weight'));
}

/** The peak by purpose, one line each. */
export function renderMemory(report: Pick<MemoryReport, 'peak' | 'peakByPurpose'>): string {
  const rows = [...Object.entries(report.peakByPurpose), ['in all', report.peak] as const];
  return rows.map(([name, bytes]) => `  ${name.padEnd(12)}${formatBytes(bytes).padStart(10)}`).join('\n');
}

/**
 * `ranks`: where there are several, each of which has such a budget. `remedies`: what would take less.
 * @throws MachineError when the peak is beyond the budget; `note` gets the table of what takes how much.
 */
export function requireMemory(
  report: MemoryReport,
  budget: number,
  note: (line: string) => void,
  ranks?: RanksMemory,
  remedies: readonly Remedy[] = [],
): void {
  if (report.peak <= budget) return;
  note(`GPU memory that the longest batch would take${onEachRank(ranks)}:`);
  for (const line of renderMemory(report).split('\n')) note(line);
  if (ranks?.shared) note(sharedWords(ranks.shared));
  for (const line of renderRemedies(remedies)) note(line);
  const advice = adviceOf(remedies, ranks?.shared !== undefined);
  throw new MachineError(
    `training would take ${formatBytes(report.peak)} of GPU memory${onEachRank(ranks)}, the budget ${ranks ? 'of a rank ' : ''}is ${formatBytes(budget)}: ${advice}`,
  );
}

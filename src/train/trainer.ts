/**
 * The training loop of M3 fine-tuning: data in, a fine-tuned model folder out. It reads as the algorithm; what a step is
 * stands in run/run.ts, what is decided before the first one in run/plan.ts.
 */
import fs from 'node:fs';
import path from 'node:path';
import { InputError, MachineError } from '../errors.js';
import { interruptedSave } from '../files/publish.js';
import type { Decision } from '../gpu/choices.js';
import { Gpu } from '../gpu/gpu.js';
import { formatBytes, type MemoryReport } from '../gpu/memory.js';
import { tuneAsked, tuningSummary, useWinners } from '../kernels/tuning.js';
import { M3Model } from '../models/m3.js';
import { baseModel } from '../models/model-card.js';
import { OutputFolder } from '../models/output-folder.js';
import { printable } from '../show.js';
import { TokenizerThreads } from '../tokenizer/threads.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { SavedFormat } from '../weights/saved-weights.js';
import { type FinetuneArguments, resumeWish } from './arguments.js';
import { neverStops, type StopRequest } from './interruption.js';
import type { LogEntry, Reporter } from './report.js';
import { BetweenSteps } from './run/between-steps.js';
import { trainingSections } from './run/card.js';
import { RunSaves } from './run/checkpoints.js';
import { batchesFrom } from './run/cursor.js';
import { requireDiskSpace } from './run/disk-space.js';
import { openInputs, openModelFolder, placed, preparation, type RunInputs } from './run/inputs.js';
import { RunLog, round } from './run/log.js';
import { planRunMemory } from './run/memory.js';
import { renderMemory, requireMemory } from './run/memory-plan.js';
import type { RunPlan } from './run/plan.js';
import { RunProfile } from './run/profile.js';
import { type ResumePoint, restore, resumePoint, useKernels } from './run/resume.js';
import { TrainingRun } from './run/run.js';
import { type OpenCheckpoint, openCheckpoint, TRAINING_STATE } from './run/training-state.js';
import { collateAhead } from './step/collate.js';

export interface FinetuneResult {
  readonly steps: number;
  readonly log: readonly LogEntry[];
}

/**
 * Fine-tunes as the arguments say. Once `stop` is requested no other batch is begun, a checkpoint of the last whole step
 * is saved, and what was reached is returned; a run whose steps are all taken writes its model.
 * @throws InputError, MachineError.
 */
export async function finetune(
  args: FinetuneArguments,
  report: Reporter,
  openGpu: () => Promise<Gpu> = () =>
    Gpu.open({
      ...(args.adapter ? { adapter: args.adapter } : {}),
      ...(args.maxGpuMemory ? { memoryBudget: args.maxGpuMemory } : {}),
    }),
  stop: StopRequest = neverStops,
): Promise<FinetuneResult> {
  const note = (line: string) => report.note(line);
  const profile = args.profile === null || args.dryRun ? undefined : new RunProfile(args.profile);
  // The base may be the output of a run that was killed while it saved.
  if (!args.dryRun && interruptedSave(args.outputDir)) {
    const interrupted = openOutput(args.outputDir);
    for (const line of interrupted.notices) note(line);
    interrupted.close();
  }
  const folder = await openModelFolder(args, report);
  let inputs = openInputs(folder, args, note);
  const gpu = await openGpu();
  const endProfile = async () => {
    for (const line of (await profile?.finish(gpu, note))?.lines ?? []) note(line);
  };
  let threads: TokenizerThreads | undefined;
  let model: M3Model | undefined;
  let run: TrainingRun | undefined;
  let output: OutputFolder | undefined;
  let checkpoint: ResumePoint | undefined;
  try {
    if (args.dryRun) {
      await tellPlan(gpu, inputs, report);
      return { steps: 0, log: [] };
    }
    output = openOutput(args.outputDir);
    for (const line of output.notices) note(line);
    checkpoint = resumePoint(resumeWish(args), args.outputDir, inputs, note);
    inputs = goingOn(inputs, checkpoint);
    const { plan } = inputs;
    // They make their tokenizers while memory is planned and the model is loaded.
    threads = new TokenizerThreads(inputs.tokenizer, {
      threads: args.dataloaderNumWorkers ?? (gpu.capabilities.software ? 0 : 1),
    });
    const log = new RunLog(plan, report);
    const base = baseModel(args.modelNameOrPath, inputs.folder);
    const facts = { ...inputs, args: plan.args, adapter: gpu.capabilities.name };
    // The checkpoint whose model is written at the end, where that is not the last one's.
    let written: string | undefined;
    const saves = new RunSaves(output, args.saveTotalLimit, {
      // After any of them the run may be interrupted.
      writes: (step) => step > (checkpoint?.step ?? 0) && step <= plan.totalSteps,
      format: savedFormat(args),
      card: (state) => ({ base, training: trainingSections(facts, state, plan.totalSteps, written) }),
      goesOn: checkpoint?.folder,
      keeps: () => (plan.best?.load ? log.best?.bestCheckpoint : undefined),
    });
    for (const line of saves.notices) note(line);
    const memory = await planMemoryOf(gpu, inputs, checkpoint, note);
    requireMemory(memory, gpu.pool.budget, note);
    gpu.pool.expect(memory.peak);
    model = loadModel(gpu, { ...inputs, folder: checkpoint?.folder ?? inputs.folder });
    inputs.requireUnchanged();
    for (const line of model.notices) note(line);
    const modelBytes = BYTES_PER_WEIGHT * model.store.count + tokenizerBytes(inputs.tokenizer);
    const momentBytes = args.saveOnlyModel ? 0 : memory.peakByPurpose.optimizer;
    const space = requireDiskSpace(args.outputDir, modelBytes, {
      ...{ bytes: modelBytes + momentBytes, count: plan.checkpointsKept },
    });
    if (space) note(space);
    run = new TrainingRun(model, plan.run);
    if (checkpoint) restore(checkpoint, run, log);
    checkpoint?.tensors.close();
    note(summary(gpu, model, inputs, memory));
    await profile?.start(gpu, note);
    const { ended, nothingNew } = await train(run, inputs, threads, saves, log, report, stop);
    if (!ended) await endProfile();
    if (!ended) return { steps: log.state.global_step, log: log.state.log_history };
    const { tally } = run;
    const best = bestFolder(plan, log, note);
    if (best) {
      written = path.basename(best);
      run.dispose();
      model.dispose();
      run = model = undefined;
      model = loadModel(gpu, { ...inputs, folder: best });
    }
    const trained = model;
    await gpu.phase('save', () => saves.saveModel(trained, inputs.tokenizer, log.state));
    report.saved?.('model');
    note(`model written to ${printable(args.outputDir)}`);
    await endProfile();
    for (const line of tally.notices()) note(line);
    if (nothingNew)
      throw new MachineError(
        `${nothingNew}: the model in ${printable(args.outputDir)} is that checkpoint's; begin with a lower loss scale, or train without --fp16`,
      );
    return { steps: log.state.global_step, log: log.state.log_history };
  } finally {
    report.end();
    checkpoint?.tensors.close();
    run?.dispose();
    model?.dispose();
    await threads?.close();
    await gpu.close();
    output?.close();
  }
}

/** `--dry_run`: the plan as one record, its memory as a table; nothing is written. @throws MachineError beyond the budget. */
async function tellPlan(gpu: Gpu, opened: RunInputs, report: Reporter): Promise<void> {
  const note = (line: string) => report.note(line);
  const { args } = opened.plan;
  const checkpoint = resumePoint(resumeWish(args), args.outputDir, opened, note);
  checkpoint?.tensors.close();
  const inputs = goingOn(opened, checkpoint);
  const memory = await planMemoryOf(gpu, inputs, checkpoint, note);
  requireMemory(memory, gpu.pool.budget, note);
  note('GPU memory that the longest batch takes:');
  for (const line of renderMemory(memory).split('\n')) note(line);
  report.log({
    ...{ event: 'plan', adapter: gpu.capabilities.name, ...inputs.plan.describe() },
    ...(checkpoint ? { resumes_after_step: checkpoint.step } : {}),
    gpu_memory_bytes: memory.peak,
  });
  note('--dry_run: nothing was trained and nothing written');
}

/** What the run is where it goes on: at another world size it may have more steps or fewer. */
function goingOn(inputs: RunInputs, checkpoint: ResumePoint | undefined): RunInputs {
  if (!checkpoint) return inputs;
  const { plan } = checkpoint;
  return { ...inputs, plan, fingerprint: { ...inputs.fingerprint, total_steps: plan.totalSteps } };
}

/** The loop. Returns whether it came to its end, and why there was nothing new to save after the last step, if so. */
async function train(
  run: TrainingRun,
  inputs: RunInputs,
  threads: TokenizerThreads,
  saves: RunSaves,
  log: RunLog,
  report: Reporter,
  stop: StopRequest,
): Promise<{ ended: boolean; nothingNew?: string | undefined }> {
  const { data, plan } = inputs;
  const prepare = preparation(run.model.gpu, run.model.config, threads, plan.args);
  const ahead = batchesFrom(data, plan, run.cursor, plan.totalSteps - run.completed);
  const batches = collateAhead(ahead, placed(prepare));
  const between = new BetweenSteps({ run, inputs, prepare, saves, log, report, stop });
  const started = performance.now();
  log.start(run.scaler.scale);
  let ended = await between.begin();
  const pauses = (step: number) => plan.pausesAt(step);
  if (!ended)
    for await (const step of run.steps(batches, plan.totalSteps, pauses, () => stop.requested)) {
      log.step(step);
      ended = await between.after(step.number, step.learningRate);
      if (ended) break;
    }
  report.end();
  if (ended) log.end((performance.now() - started) / 1000);
  else await between.interrupted();
  return { ended, nothingNew: between.nothingNew };
}

/** The checkpoint whose model is to be written in place of the run's last; says which is the best. */
function bestFolder(
  { args, best: settings }: RunPlan,
  { best, state }: RunLog,
  note: (line: string) => void,
): string | undefined {
  const name = best?.bestCheckpoint;
  if (name === undefined) return undefined;
  const last = name === `checkpoint-${state.global_step}`;
  const other =
    settings?.load || last ? '' : '; without --load_best_model_at_end that of the last step is written';
  note(`the best model: ${name} (${best!.value})${other}`);
  if (!settings?.load || last) return undefined;
  const folder = path.resolve(args.outputDir, name);
  try {
    if (fs.existsSync(path.join(folder, TRAINING_STATE))) openCheckpoint(folder).tensors.close();
    if (fs.existsSync(folder)) return folder;
    note(`${printable(folder)} is not there any more: the model of the last step is written`);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    note(`the best checkpoint is damaged: ${error.message}: the model of the last step is written`);
  }
  return undefined;
}

function loadModel(gpu: Gpu, { folder, texts, plan }: RunInputs): M3Model {
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

/** Chooses the kernels, as the checkpoint or `--tune` says, and plans the memory that steps take with them. */
async function planMemoryOf(
  gpu: Gpu,
  inputs: RunInputs,
  checkpoint: OpenCheckpoint | undefined,
  note: (line: string) => void,
): Promise<MemoryReport> {
  const { tune } = inputs.plan.args;
  const folder = checkpoint?.folder ?? inputs.folder;
  const planned = { ...inputs, model: (on: Gpu) => loadModel(on, { ...inputs, folder }) };
  if (checkpoint) {
    useKernels(checkpoint, gpu, note);
    if (tune === 'full') note('--tune full: the kernels are those of the checkpoint');
  } else useWinners(gpu, tune, note);
  if (tune === 'full' && !checkpoint) {
    // With everything that the steps would ask for tuned, the memory is planned anew: variants differ in what they take.
    let asked: readonly Decision[] = [];
    await planRunMemory(
      gpu,
      { ...planned, asked: (decisions) => (asked = decisions) },
      gpu.pool.budget,
      () => {},
    );
    const start = performance.now();
    const tuned = await tuneAsked(gpu, asked);
    note(tuningSummary(tuned, (performance.now() - start) / 1e3));
  }
  return planRunMemory(gpu, planned, gpu.pool.budget, note);
}

function summary(gpu: Gpu, model: M3Model, { data, plan }: RunInputs, memory: MemoryReport): string {
  const { totalSteps, stepsPerEpoch } = plan;
  return (
    `adapter ${gpu.capabilities.name} · ${(model.store.count / 1e6).toFixed(1)} M parameters · ${data.rowCount} rows · ` +
    `${stepsPerEpoch} steps an epoch, ${totalSteps} in all${totalSteps > stepsPerEpoch ? ` (${round(totalSteps / stepsPerEpoch, 2)} epochs)` : ''} · at most ${formatBytes(memory.peak)} of GPU memory, ${formatBytes(memory.peakByPurpose.activations)} of them activations`
  );
}

/** The lock on the folder is held from before the first step to the end of the run. */
function openOutput(folder: string): OutputFolder {
  try {
    return OutputFolder.open(folder);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`--output_dir: ${error.message}`);
    throw error instanceof MachineError ? new MachineError(`--output_dir: ${error.message}`) : error;
  }
}

/** How the trained model is written. */
function savedFormat({ saveDtype, maxShardSize }: FinetuneArguments): SavedFormat {
  const dtype = ({ float32: 'f32', float16: 'f16', bfloat16: 'bf16' } as const)[saveDtype];
  return { dtype, ...(maxShardSize === null ? {} : { maxShardBytes: maxShardSize }) };
}

/** Of checkpoints; the trained model takes at most as much. */
const BYTES_PER_WEIGHT = 4;

/** They are in every save too. */
function tokenizerBytes({ files }: Tokenizer): number {
  let bytes = 0;
  for (const file of files.values()) bytes += file.length;
  return bytes;
}

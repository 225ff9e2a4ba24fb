/**
 * The training loop of M3 fine-tuning: data in, a fine-tuned model folder out. It reads as the algorithm; what a step is
 * stands in run/run.ts, what is decided before the first one in run/plan.ts.
 */
import fs from 'node:fs';
import path from 'node:path';
import { neverStops, type StopRequest } from '../console/interruption.js';
import { type LogEntry, quiet, type Reporter } from '../console/reporter.js';
import { InputError, MachineError } from '../errors.js';
import { interruptedSave } from '../files/publish.js';
import type { CommandLine } from '../flags.js';
import { Gpu } from '../gpu/gpu.js';
import { machineMemory } from '../gpu/machine-memory.js';
import type { MemoryReport } from '../gpu/memory.js';
import type { M3Model } from '../models/m3.js';
import { baseModel } from '../models/model-card.js';
import { OutputFolder, SETTINGS_FILE } from '../models/output-folder.js';
import { unlikeAdapters } from '../ranks/alike.js';
import { allGatherJson, broadcastJson, type Communicator } from '../ranks/communicator.js';
import { folderOnAllRanks } from '../ranks/folder.js';
import { beatThroughFirst } from '../ranks/heartbeat.js';
import { RankNotes } from '../ranks/notes.js';
import { openGpuOfPlace, requireOwnGpu } from '../ranks/rank-adapter.js';
import { SingleCommunicator } from '../ranks/single.js';
import { endAllRanks, onFirstRank, together } from '../ranks/together.js';
import { REPORT_FILE } from '../report/report.js';
import { settingsFile } from '../settings-file.js';
import { formatBytes, printable } from '../show.js';
import { TokenizerThreads } from '../tokenizer/threads.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { SavedFormat } from '../weights/saved-weights.js';
import { type FinetuneArguments, finetuneFlags, resumeWish, tellsTensorBoard } from './arguments.js';
import { RunSaves } from './checkpoints/checkpoints.js';
import { requireDiskSpace } from './checkpoints/disk-space.js';
import { type ResumePoint, restore, resumePoint, sharedPoint } from './checkpoints/resume.js';
import { requireSameInputs } from './checkpoints/same-inputs.js';
import { openCheckpoint, TRAINING_STATE } from './checkpoints/training-state.js';
import { renderMemory } from './memory/memory-plan.js';
import { onEachRank, type RanksMemory, ranksMemory, sharedWords } from './memory/ranks-memory.js';
import { broadcastModel } from './ranks/broadcast-model.js';
import type { RunRecorder } from './record/recorder.js';
import { RunRecording } from './record/recording.js';
import { BetweenSteps } from './run/between-steps.js';
import { trainingSections } from './run/card.js';
import { batchesFrom } from './run/cursor.js';
import { openInputs, openModelFolder, placed, preparation, type RunInputs } from './run/inputs.js';
import { RunLog, round } from './run/log.js';
import type { RunPlan } from './run/plan.js';
import { chooseKernels, loadModel, planMemoryOf, type RunStart, requirePlanned } from './run/prepare.js';
import { RunProfile } from './run/profile.js';
import { TrainingRun } from './run/run.js';
import { collateAhead } from './step/collate.js';

/** What a run of `finetune` came to. */
export interface FinetuneResult {
  /** Optimiser steps of the whole run, those of earlier processes included. */
  readonly steps: number;
  /** The records of the run's log. */
  readonly log: readonly LogEntry[];
  /** Of the signal that asked this rank or another to stop, if one did. */
  readonly exitCode?: number | undefined;
}

/**
 * Fine-tunes as the arguments say. Once `stop` is requested no other batch is begun, a checkpoint of the last whole step
 * is saved, and what was reached is returned; a run whose steps are all taken writes its model.
 *
 * With several `ranks` each of them calls this, and all take the same steps, each with rows of its own. Rank 0 alone
 * writes, logs and tells, and asks the hub; where one rank is to stop, all do after the same step, and where one fails,
 * all end with its reason. Each holds a GPU of its own, by default that of its place among the ranks of its machine, or a
 * software adapter; where two hold one GPU, or cannot be shown to hold two, the run ends.
 * `commandLine`: what was typed, for the record of the run; without it values that are not the defaults count as typed.
 * @throws InputError, MachineError; RankError with several ranks.
 */
export async function finetune(
  args: FinetuneArguments,
  report: Reporter,
  openGpu?: () => Promise<Gpu>,
  stop: StopRequest = neverStops,
  ranks: Communicator = new SingleCommunicator(),
  commandLine?: CommandLine,
): Promise<FinetuneResult> {
  try {
    const open = openGpu ?? (() => openOwnGpu(ranks, args));
    return await finetuneOn(ranks, args, report, open, stop, commandLine);
  } catch (error) {
    return endAllRanks(ranks, error);
  }
}

/** Where nobody says what else to open. */
function openOwnGpu(ranks: Communicator, args: FinetuneArguments): Promise<Gpu> {
  const budget = args.maxGpuMemory ? { memoryBudget: args.maxGpuMemory } : {};
  return ranks.size > 1 && !ranks.emulated
    ? openGpuOfPlace(ranks, args, budget)
    : Gpu.open({ ...(args.adapter ? { adapter: args.adapter } : {}), ...budget });
}

async function finetuneOn(
  ranks: Communicator,
  args: FinetuneArguments,
  ownReport: Reporter,
  openGpu: () => Promise<Gpu>,
  stop: StopRequest,
  commandLine: CommandLine | undefined,
): Promise<FinetuneResult> {
  const first = ranks.rank === 0;
  const writes = first && !args.dryRun;
  const keeping = new RunRecording(writes && args.report, writes && tellsTensorBoard(args));
  const report = keeping.listening(first ? ownReport : quiet(ownReport));
  const notes = new RankNotes(ranks, (line) => (first ? report : ownReport).note(line));
  const { note } = notes;
  const profile = args.profile === null || args.dryRun || !first ? undefined : new RunProfile(args.profile);
  // The base may be the output of a run that was killed while it saved.
  await onFirstRank(ranks, () => {
    if (args.dryRun || !interruptedSave(args.outputDir)) return;
    const interrupted = openOutput(args.outputDir);
    for (const line of interrupted.notices) note(line);
    interrupted.close();
  });
  const folder = await folderOnAllRanks(ranks, args.modelNameOrPath, () => openModelFolder(args, report));
  report.progress?.({ phase: 'read', done: 0, unit: 'rows' });
  let inputs = await together(ranks, () => openInputs(folder, args, note, ranks.size));
  await requireSameInputs(ranks, inputs);
  let opened: Gpu | undefined;
  let threads: TokenizerThreads | undefined;
  let model: M3Model | undefined;
  let run: TrainingRun | undefined;
  let output: OutputFolder | undefined;
  let checkpoint: ResumePoint | undefined;
  try {
    const gpu = await together(ranks, async () => (opened = await openGpu()));
    await requireOwnGpu(ranks, gpu);
    if (gpu.capabilities.software && (args.maxGpuMemory ?? 0) > machineMemory())
      note(
        `--max_gpu_memory: ${formatBytes(args.maxGpuMemory!)} is more than the ${formatBytes(machineMemory())} of this machine, in whose memory the adapter computes`,
      );
    const unlike = await unlikeAdapters(ranks, gpu.capabilities);
    if (unlike && !inputs.plan.args.shardOptimizer) {
      note(unlike);
      inputs = { ...inputs, plan: inputs.plan.with({ shardOptimizer: true }) };
    }
    const endProfile = async () => {
      for (const line of (await profile?.finish(gpu, note))?.lines ?? []) note(line);
    };
    if (args.dryRun) {
      await tellPlan({ gpu, inputs, checkpoint, ranks, note }, report);
      await notes.compare();
      return { steps: 0, log: [] };
    }
    await onFirstRank(ranks, () => {
      output = openOutput(args.outputDir);
      for (const line of output.notices) note(line);
    });
    checkpoint = await agreedCheckpoint(ranks, inputs, note);
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
    const saves = await onFirstRank(
      ranks,
      () =>
        new RunSaves(output!, args.saveTotalLimit, {
          // After any of them the run may be interrupted.
          writes: (step) => step > (checkpoint?.step ?? 0) && step <= plan.totalSteps,
          format: savedFormat(args),
          card: (state) => ({ base, training: trainingSections(facts, state, plan.totalSteps, written) }),
          goesOn: checkpoint?.folder,
          settings: settingsOf(args, commandLine),
          keeps: () => (plan.best?.load ? log.best?.bestCheckpoint : undefined),
        }),
    );
    for (const line of saves?.notices ?? []) note(line);
    const start = { gpu, inputs, checkpoint, ranks, note };
    report.progress?.({ phase: 'plan', done: 0, unit: 'batches' });
    await chooseKernels(start);
    const planned = await together(ranks, () => planMemoryOf(start));
    const { memory } = planned;
    const ofAll = await ranksMemory(ranks, memory, gpu.capabilities.software);
    await together(ranks, () => requirePlanned(start, planned, ofAll));
    gpu.pool.expect(memory.peak);
    const trained = { ...inputs, folder: checkpoint?.folder ?? inputs.folder };
    const loaded = await together(ranks, () => {
      model = loadModel(gpu, trained);
      inputs.requireUnchanged();
      return model;
    });
    for (const line of loaded.notices) note(line);
    if (await broadcastModel(loaded, ranks))
      note('ranks read weights that differ from those of rank 0: all go on with the ones of rank 0');
    await onFirstRank(ranks, () => {
      const modelBytes = BYTES_PER_WEIGHT * loaded.store.count + tokenizerBytes(inputs.tokenizer);
      // Rank 0 writes those of all ranks.
      const writers = plan.args.shardOptimizer ? ranks.size : 1;
      const momentBytes = args.saveOnlyModel ? 0 : writers * memory.peakByPurpose.optimizer;
      const space = requireDiskSpace(args.outputDir, modelBytes, {
        ...{ bytes: modelBytes + momentBytes, count: plan.checkpointsKept },
      });
      if (space) note(space);
    });
    run = new TrainingRun(loaded, ranks.size > 1 ? { ...plan.run, communicator: ranks } : plan.run);
    const restored = run;
    await together(ranks, () => {
      if (checkpoint) restore(checkpoint, restored, log);
      checkpoint?.tensors.close();
    });
    await notes.compare();
    if (first) note(summary(gpu, loaded, inputs, memory, ofAll));
    const recorder = keeping.begin({ run: restored, inputs, memory, checkpoint, ranks, commandLine });
    await profile?.start(gpu, note);
    const around = { threads, saves, log, report, stop, ranks, recorder };
    const { ended, nothingNew } = await train(run, inputs, around);
    if (!ended) {
      await endProfile();
      const result = await outcome(ranks, log, stop);
      keeping.end('stopped', `asked to stop after step ${log.state.global_step}`);
      return result;
    }
    const { tally } = run;
    const { optimizer } = run;
    const saveTrained = async () => {
      const best = bestFolder(plan, log, note);
      if (best) {
        written = path.basename(best);
        run?.dispose();
        model?.dispose();
        run = model = undefined;
        model = loadModel(gpu, { ...inputs, folder: best });
      }
      const saving = { phase: 'save', done: 0, unit: 'bytes', subject: 'model' } as const;
      report.progress?.(saving);
      await gpu.phase('save', () => saves!.saveModel(model!, inputs.tokenizer, log.state));
      report.progress?.({ ...saving, ended: true });
    };
    await together(ranks, () => optimizer.withTensors(saves && saveTrained));
    report.saved?.('model');
    const shown = args.report ? `; ${REPORT_FILE} in it shows the run` : '';
    note(`model written to ${printable(args.outputDir)}${shown}`);
    await endProfile();
    for (const line of tally.notices()) note(line);
    await together(ranks, () => {
      if (nothingNew)
        throw new MachineError(
          `${nothingNew}: the model in ${printable(args.outputDir)} is that checkpoint's; begin with a lower loss scale, or train without --fp16`,
        );
    });
    keeping.end('finished');
    return await outcome(ranks, log, stop);
  } catch (error) {
    keeping.end('failed', error instanceof Error ? error.message : String(error));
    throw error;
  } finally {
    report.end();
    checkpoint?.tensors.close();
    run?.dispose();
    model?.dispose();
    await threads?.close();
    await opened?.close();
    output?.close();
  }
}

/** What all ranks return: where one of them was asked to stop, all say so. */
async function outcome(ranks: Communicator, { state }: RunLog, stop: StopRequest): Promise<FinetuneResult> {
  const own = stop.exitCode ?? 0;
  const exitCode = ranks.size === 1 ? own : Math.max(...(await allGatherJson(ranks, own)));
  return { steps: state.global_step, log: state.log_history, ...(exitCode === 0 ? {} : { exitCode }) };
}

/** What rank 0 finds to go on from, which all ranks read. */
async function agreedCheckpoint(
  ranks: Communicator,
  inputs: RunInputs,
  note: (line: string) => void,
): Promise<ResumePoint | undefined> {
  const { args } = inputs.plan;
  const own = await onFirstRank(ranks, () => resumePoint(resumeWish(args), args.outputDir, inputs, note));
  if (ranks.size === 1) return own;
  const folder = await broadcastJson(ranks, own ? path.resolve(own.folder) : null);
  if (folder === null) return undefined;
  return together(ranks, () => own ?? sharedPoint(folder, args.outputDir, inputs, note));
}

/** `--dry_run`: the plan as one record, its memory as a table; nothing is written. @throws MachineError beyond the budget. */
async function tellPlan(opened: RunStart, report: Reporter): Promise<void> {
  const { gpu, ranks, note } = opened;
  const checkpoint = await agreedCheckpoint(ranks, opened.inputs, note);
  checkpoint?.tensors.close();
  const inputs = goingOn(opened.inputs, checkpoint);
  const start = { ...opened, inputs, checkpoint };
  await chooseKernels(start);
  const planned = await together(ranks, () => planMemoryOf(start));
  const { memory } = planned;
  const ofAll = await ranksMemory(ranks, memory, gpu.capabilities.software);
  await together(ranks, () => requirePlanned(start, planned, ofAll));
  note(`GPU memory that the longest batch takes${onEachRank(ofAll)}:`);
  for (const line of renderMemory(memory).split('\n')) note(line);
  if (ofAll?.shared) note(sharedWords(ofAll.shared));
  report.log({
    ...{ event: 'plan', adapter: gpu.capabilities.name, ...inputs.plan.describe() },
    ...(checkpoint ? { resumes_after_step: checkpoint.step } : {}),
    gpu_memory_bytes: ofAll?.most ?? memory.peak,
    ...(ofAll?.shared ? { machine_memory_bytes: ofAll.shared.bytes } : {}),
  });
  note('--dry_run: nothing was trained and nothing written');
}

/** What the run is where it goes on: at another world size it may have more steps or fewer. */
function goingOn(inputs: RunInputs, checkpoint: ResumePoint | undefined): RunInputs {
  if (!checkpoint) return inputs;
  const { plan } = checkpoint;
  return { ...inputs, plan, fingerprint: { ...inputs.fingerprint, total_steps: plan.totalSteps } };
}

/** What a run has around it while it takes its steps. */
interface Around {
  readonly threads: TokenizerThreads;
  /** Of rank 0. */
  readonly saves: RunSaves | undefined;
  readonly log: RunLog;
  readonly report: Reporter;
  readonly stop: StopRequest;
  readonly ranks: Communicator;
  /** Of rank 0, where a record is kept. */
  readonly recorder: RunRecorder | undefined;
}

/** The loop. Returns whether it came to its end, and why there was nothing new to save after the last step, if so. */
async function train(
  run: TrainingRun,
  inputs: RunInputs,
  around: Around,
): Promise<{ ended: boolean; nothingNew?: string | undefined }> {
  const { data, plan } = inputs;
  const { threads, log, report, stop, ranks, recorder } = around;
  const prepare = preparation(run.model.gpu, run.model.config, threads, plan.args);
  const ahead = batchesFrom(data, plan, run.cursor, plan.totalSteps - run.completed, {
    ...{ rank: ranks.rank, worldSize: ranks.size },
  });
  const batches = collateAhead(ahead, placed(prepare));
  const between = new BetweenSteps({ run, inputs, prepare, ...around });
  const started = performance.now();
  log.start(run.scaler.scale);
  await recorder?.rankBefore(run, evaluated(inputs), prepare);
  let ended = await between.begin();
  recorder?.betweenSteps();
  const pauses = (step: number) => plan.pausesAt(step);
  const steps = run.steps(batches, plan.totalSteps, pauses, () => stop.requested);
  if (!ended)
    for await (const step of beatThroughFirst(steps)) {
      recorder?.step(step);
      log.step(step, run.model.gpu.pool.heldBytes);
      ended = await between.after(step.number, step.learningRate);
      recorder?.betweenSteps();
      if (ended) break;
    }
  if (ended) await recorder?.rankAfter(run);
  report.end();
  if (ended) log.end((performance.now() - started) / 1000);
  else await between.interrupted();
  return { ended, nothingNew: between.nothingNew };
}

/** The data that is looked at between steps, if there is any. */
const evaluated = ({ evalData, plan }: RunInputs) => (plan.evalStrategy === 'no' ? undefined : evalData);

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

function summary(
  gpu: Gpu,
  model: M3Model,
  { data, plan }: RunInputs,
  memory: MemoryReport,
  ofAll: RanksMemory | undefined,
): string {
  const { totalSteps, stepsPerEpoch } = plan;
  return (
    `adapter ${gpu.capabilities.name} · ${(model.store.count / 1e6).toFixed(1)} M parameters · ${data.rowCount} rows · ` +
    `${stepsPerEpoch} ${stepsPerEpoch === 1 ? 'step' : 'steps'} an epoch, ${totalSteps} in all${totalSteps > stepsPerEpoch ? ` (${round(totalSteps / stepsPerEpoch, 2)} epochs)` : ''} · a step needs at most ${formatBytes(memory.peak)} of GPU memory${onEachRank(ofAll)}, ${formatBytes(memory.peakByPurpose.activations)} of them activations${ofAll?.shared ? ` · ${sharedWords(ofAll.shared)}` : ''}`
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

/** What `--config` reads to repeat the run. */
const settingsOf = (args: FinetuneArguments, commandLine: CommandLine | undefined): string =>
  settingsFile('finetune', finetuneFlags, args, {
    ...{ name: path.join(args.outputDir, SETTINGS_FILE), changes: '--output_dir OTHER', commandLine },
  });

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

/**
 * The training loop of M3 fine-tuning: data in, a fine-tuned model folder out. It reads as the algorithm; every
 * mechanism (losses, optimiser, schedules, checkpoints, reports) lives in a file of its own.
 */
import { loadDatasets, type TrainBatch, type TrainingData } from '../data/batches.js';
import type { RowPlace } from '../data/rows.js';
import { InputError, MachineError } from '../errors.js';
import { interruptedSave } from '../files/publish.js';
import type { Decision } from '../gpu/choices.js';
import { Gpu } from '../gpu/gpu.js';
import { formatBytes } from '../gpu/memory.js';
import { globalNorm } from '../kernels/adamw.js';
import { tuneAsked, tuningSummary, useWinners } from '../kernels/tuning.js';
import { readEncoderConfig } from '../models/config.js';
import { resolveModelFolder } from '../models/hub-cache.js';
import { M3Model } from '../models/m3.js';
import { decaysByDefault } from '../models/m3-parameters.js';
import { watchFolder } from '../models/model-folder.js';
import { OutputFolder } from '../models/output-folder.js';
import type { ScoredBatch } from '../models/scores.js';
import { printable } from '../show.js';
import { RandomStreams } from '../tensor/random-streams.js';
import { scope } from '../tensor/scope.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import type { SavedFormat } from '../weights/saved-weights.js';
import { type FinetuneArguments, intervalInSteps } from './arguments.js';
import { readDeepSpeed } from './deepspeed.js';
import { defaultLossScaling, type LossScaleEvent, LossScaler } from './loss-scale.js';
import type { M3LossBatch } from './losses/m3-loss.js';
import { AdamW, type AdamWOptions } from './optimizer.js';
import type { LogEntry, Reporter } from './report.js';
import { RunSaves, replacedBase, type TrainerState } from './run/checkpoints.js';
import { requireDiskSpace } from './run/disk-space.js';
import { folderSettings } from './run/folder-settings.js';
import { forecast, type RunSize, runSize } from './run/forecast.js';
import { planRunMemory } from './run/memory.js';
import { requireMemory } from './run/memory-plan.js';
import { adviceOn } from './run/not-finite.js';
import { RunProfile } from './run/profile.js';
import { Evaluation, placesOf, RunTally } from './run/tally.js';
import { learningRateOf, warmupOf } from './schedules.js';
import { collate } from './step/collate.js';
import { forwardBackward, lossOf, type StepSettings } from './step/train-step.js';

export interface FinetuneResult {
  readonly steps: number;
  readonly log: readonly LogEntry[];
}

/** Fine-tunes as the arguments say. @throws InputError, MachineError. */
export async function finetune(
  given: FinetuneArguments,
  report: Reporter,
  openGpu: () => Promise<Gpu> = () =>
    Gpu.open({
      ...(given.adapter ? { adapter: given.adapter } : {}),
      ...(given.maxGpuMemory ? { memoryBudget: given.maxGpuMemory } : {}),
    }),
): Promise<FinetuneResult> {
  const profile = given.profile === null ? undefined : new RunProfile(given.profile);
  // The base may be the output of a run that was killed while it saved.
  if (interruptedSave(given.outputDir)) {
    const interrupted = openOutput(given.outputDir);
    for (const line of interrupted.notices) report.note(line);
    interrupted.close();
  }
  const folder = resolveModelFolder(given.modelNameOrPath, given.cacheDir);
  const requireUnchanged = watchFolder(folder);
  const replaced = replacedBase(folder, given);
  if (replaced) report.note(replaced);
  const { args, texts, notices } = folderSettings(folder, given);
  for (const line of notices) report.note(line);
  const tokenizer = Tokenizer.load(folder);
  tokenizer.requireRows(readEncoderConfig(folder).vocabSize);
  const dataOptions = {
    ...args,
    seed: args.dataSeed ?? args.seed,
    nonePrefix: args.flagembeddingCompat.has('none-prefix'),
  };
  const data = loadDatasets(dataOptions);
  const evalData = args.evalData
    ? loadDatasets({
        ...dataOptions,
        trainData: args.evalData,
        flag: '--eval_data',
        dataloaderDropLast: false,
      })
    : undefined;
  const deepspeed = args.deepspeed ? readDeepSpeed(args.deepspeed, args) : null;
  // What concerns flags is told by both sets of data.
  for (const line of new Set([
    ...tokenizer.notices,
    ...data.notices,
    ...(evalData?.notices ?? []),
    ...(deepspeed?.notices ?? []),
  ]))
    report.note(line);
  const precision = deepspeed?.settings.precision ?? (args.fp16 ? 'float16' : 'float32');
  if (precision === 'bfloat16' && !args.bf16)
    report.note(`${printable(args.deepspeed!)}: bfloat16: training runs in float32`);
  const scaler = new LossScaler(
    precision === 'float16' ? (deepspeed?.settings.lossScaling ?? defaultLossScaling) : null,
  );

  // Both look through their rows, so that bad ones are found before the first step.
  const batchesPerEpoch = data.batchesPerEpoch();
  evalData?.batchesPerEpoch();
  for (const each of [data, ...(evalData ? [evalData] : [])])
    for (const line of each.usage().notices) report.note(line);
  const size = runSize(args, batchesPerEpoch);
  const { window, stepsPerEpoch, totalSteps } = size;
  const loggingSteps = intervalInSteps(args.loggingSteps, totalSteps);
  const saveSteps = intervalInSteps(args.saveSteps, totalSteps);
  const checkpointAfter = (step: number): boolean => {
    if (args.saveStrategy === 'no' || step > totalSteps) return false;
    return step === totalSteps || step % (args.saveStrategy === 'steps' ? saveSteps : stepsPerEpoch) === 0;
  };
  const learningRate = learningRateOf(args, totalSteps, deepspeed?.settings ?? null);
  const warmup = warmupOf(args, totalSteps, deepspeed?.settings ?? null);
  for (const line of forecast(args, size, learningRate, warmup)) report.note(line);

  const settings = stepSettings(args);
  const adam = deepspeed?.settings.optimizer;
  const adamOptions: AdamWOptions = {
    beta1: adam?.betas[0] ?? args.adamBeta1,
    beta2: adam?.betas[1] ?? args.adamBeta2,
    eps: adam?.epsilon ?? args.adamEpsilon,
    weightDecay: adam?.weightDecay ?? args.weightDecay,
    maxGradNorm: deepspeed?.settings.maxGradNorm ?? args.maxGradNorm,
  };
  const loadModel = (on: Gpu) =>
    M3Model.load(on, folder, {
      pooling: args.sentencePoolingMethod,
      normalize: args.normalizeEmbeddings,
      texts,
      colbertDim: args.colbertDim,
      seed: args.seed,
      trainable: trainableNames(args),
      decay: adam?.decaysEverything ? () => true : decaysByDefault,
      precision: precision === 'float16' ? 'f16' : 'f32',
    });
  const gpu = await openGpu();
  let model: M3Model | undefined;
  let optimizer: AdamW | undefined;
  let output: OutputFolder | undefined;
  try {
    output = openOutput(args.outputDir);
    const saves = new RunSaves(output, args.saveTotalLimit ?? null, checkpointAfter, savedFormat(args));
    for (const line of [...output.notices, ...saves.notices]) report.note(line);
    const note = (line: string) => report.note(line);
    const planned = {
      ...{ model: loadModel, optimizer: adamOptions, settings },
      ...{ tokenizer, args, data, evalData, window, steps: totalSteps },
    };
    useWinners(gpu, args.tune, note);
    if (args.tune === 'full') {
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
    const memory = await planRunMemory(gpu, planned, gpu.pool.budget, note);
    requireMemory(memory, gpu.pool.budget, note);
    gpu.pool.expect(memory.peak);
    model = loadModel(gpu);
    requireUnchanged();
    for (const line of model.notices) report.note(line);
    const space = requireDiskSpace(
      args.outputDir,
      BYTES_PER_WEIGHT * model.store.count + tokenizerBytes(tokenizer),
      1 + checkpointsKept(args, size, saveSteps),
    );
    if (space) report.note(space);
    optimizer = new AdamW(model.store, adamOptions);
    report.note(
      `adapter ${gpu.capabilities.name} · ${(model.store.count / 1e6).toFixed(1)} M parameters · ${data.rowCount} rows · ` +
        `${stepsPerEpoch} steps an epoch, ${totalSteps} in all${totalSteps > stepsPerEpoch ? ` (${round(totalSteps / stepsPerEpoch, 2)} epochs)` : ''} · at most ${formatBytes(memory.peak)} of GPU memory, ${formatBytes(memory.peakByPurpose.activations)} of them activations`,
    );

    const random = new RandomStreams(args.seed);
    const batches = batchesOfSteps(data, size);
    const state: TrainerState = {
      global_step: 0,
      epoch: 0,
      max_steps: totalSteps,
      num_train_epochs: args.numTrainEpochs,
      train_batch_size: args.perDeviceTrainBatchSize,
      logging_steps: loggingSteps,
      save_steps: saveSteps,
      seed: args.seed,
      log_history: [],
    };
    const log = (entry: LogEntry) => {
      state.log_history.push({ ...entry, step: state.global_step });
      report.log(entry);
    };
    const started = performance.now();
    let forwards = 0;
    const tally = new RunTally();
    let nothingNew: string | undefined;
    const sinceLog = new Mean();
    const inAll = new Mean();

    await profile?.start(gpu, note);
    report.start(totalSteps);
    if (precision === 'float16') log({ event: 'loss_scale', loss_scale: scaler.scale, step: 0 });
    while (state.global_step < totalSteps) {
      const endStep = gpu.openPhase(`step ${state.global_step + 1}`);
      let loss = 0;
      const rows: RowPlace[] = [];
      for (let n = 0; n < window; n++) {
        const batch = batches.next().value;
        const selfDistill = args.useSelfDistill && forwards++ > args.selfDistillStartStep;
        const part = await withBatch(model, tokenizer, args, batch, selfDistill, (scored) =>
          forwardBackward(model!, scored, settings, { random, lossScale: scaler.scale }),
        );
        loss += part / window;
        // For a message that names rows: those of a batch that is not finite, else some of all.
        if (!Number.isFinite(part)) rows.unshift(...batch.rows);
        else if (rows.length < batch.rows.length) rows.push(...batch.rows);
      }
      // The first update of a warm-up has rate 0.
      const rate = learningRate(tally.applied);
      const { norm, skipped } = await optimizer.step(rate, 1 / (window * scaler.scale));
      endStep();
      const advice = async () =>
        adviceOn({
          moved: tally.moved,
          weightsFinite: await weightsFinite(model!),
          learningRate: rate,
          temperature: args.temperature,
          half: precision === 'float16',
          rows,
        });
      state.global_step++;
      state.epoch = state.global_step / stepsPerEpoch;
      const event = await updateScale(scaler, skipped, `step ${state.global_step}, loss ${loss}`, advice);
      if (event) log({ ...event, step: state.global_step });
      if (!skipped && !Number.isFinite(loss))
        throw new MachineError(
          `loss ${loss} at step ${state.global_step}: nothing of this step is saved; ${await advice()}`,
        );
      tally.step(skipped, rate, norm);
      for (const mean of [sinceLog, inAll]) mean.add(loss);
      report.step(state.global_step, loss);
      if (state.global_step % loggingSteps === 0 || state.global_step === totalSteps) {
        log({
          ...(sinceLog.count > 0 ? { loss: round(sinceLog.value, 4) } : {}),
          ...(Number.isFinite(norm) ? { grad_norm: round(norm, 6) } : {}),
          learning_rate: rate,
          ...(precision === 'float16' ? { loss_scale: scaler.scale } : {}),
          epoch: round(state.epoch, 4),
          step: state.global_step,
        });
        sinceLog.reset();
      }
      const epochEnds = state.global_step % stepsPerEpoch === 0;
      const last = state.global_step === totalSteps;
      if (evalData && (epochEnds || last)) {
        const evaluation = await gpu.phase('evaluate', () =>
          evaluate(model!, tokenizer, args, evalData, settings),
        );
        tally.evaluated(evaluation);
        const { loss: evalLoss, batches: evalBatches, notFinite } = evaluation;
        const line = evaluation.notice(state.global_step);
        if (line) report.note(line);
        log({
          ...(evalLoss === undefined
            ? { eval_batches: evalBatches, eval_batches_not_finite: notFinite }
            : { eval_loss: round(evalLoss, 4) }),
          epoch: round(state.epoch, 4),
          step: state.global_step,
        });
      }
      const due = checkpointAfter(state.global_step);
      if (last) tally.requireApplied(scaler.scale);
      if (due || last) await checkFinite(model, state.global_step, rate);
      // A step that overflowed leaves the weights as they were.
      if (tally.nothingNew) {
        if (due) report.note(`step ${state.global_step}: no checkpoint: ${tally.whyNothingNew}`);
        if (last) nothingNew = tally.whyNothingNew;
      } else if (due) {
        await gpu.phase('save', () => saves.saveCheckpoint(model!, tokenizer, state));
        tally.saved(state.global_step);
        report.saved?.(`checkpoint-${state.global_step}`);
      }
    }
    report.end();
    const seconds = (performance.now() - started) / 1000;
    log({
      train_runtime: round(seconds, 2),
      train_steps_per_second: round(totalSteps / seconds, 4),
      ...(inAll.count > 0 ? { train_loss: round(inAll.value, 4) } : {}),
      epoch: round(state.epoch, 4),
    });
    await gpu.phase('save', () => saves.saveModel(model!, tokenizer, state));
    report.saved?.('model');
    report.note(`model written to ${printable(args.outputDir)}`);
    for (const line of (await profile?.finish(gpu, note))?.lines ?? []) report.note(line);
    for (const line of tally.notices()) report.note(line);
    if (nothingNew)
      throw new MachineError(
        `${nothingNew}: the model in ${printable(args.outputDir)} is that checkpoint's; begin with a lower loss scale, or train without --fp16`,
      );
    return { steps: totalSteps, log: state.log_history };
  } finally {
    report.end();
    optimizer?.dispose();
    model?.dispose();
    await gpu.close();
    output?.close();
  }
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

/** `LossScaler.update`, whose errors begin with `where` and end with what to do. */
async function updateScale(
  scaler: LossScaler,
  overflow: boolean,
  where: string,
  advice: () => Promise<string>,
): Promise<LossScaleEvent | undefined> {
  try {
    return scaler.update(overflow);
  } catch (error) {
    throw error instanceof MachineError
      ? new MachineError(`${where}: ${error.message}; ${await advice()}`)
      : error;
  }
}

/** The loss on the evaluation data: no dropout, no self-distillation. */
async function evaluate(
  model: M3Model,
  tokenizer: Tokenizer,
  args: FinetuneArguments,
  data: TrainingData,
  settings: StepSettings,
): Promise<Evaluation> {
  const evaluation = new Evaluation();
  for (const batch of data.epoch(0))
    evaluation.add(
      await withBatch(model, tokenizer, args, batch, false, (scored) => lossOf(model, scored, settings)),
      batch.rows,
    );
  return evaluation;
}

/** Tokenises and packs a batch for `use`. */
async function withBatch<T>(
  model: M3Model,
  tokenizer: Tokenizer,
  args: FinetuneArguments,
  batch: TrainBatch,
  selfDistill: boolean,
  use: (batch: M3LossBatch) => Promise<T>,
): Promise<T> {
  const packed = model.gpu.phase('collate', () => lossBatch(model, tokenizer, args, batch, selfDistill));
  try {
    return await use(packed);
  } finally {
    packed.tokens.dispose();
  }
}

/** @throws InputError of a text, which names the rows of the batch; what `use` throws later is not blamed on them. */
function lossBatch(
  model: M3Model,
  tokenizer: Tokenizer,
  args: FinetuneArguments,
  batch: TrainBatch,
  selfDistill: boolean,
): M3LossBatch {
  let scored: ScoredBatch;
  try {
    scored = collate(model.gpu, tokenizer, model.config, batch.queries, batch.passages, {
      queryMaxLen: args.queryMaxLen,
      passageMaxLen: args.passageMaxLen,
      padToMultipleOf: args.padToMultipleOf ?? null,
      colbertFloor: args.flagembeddingCompat.has('colbert-floor'),
    });
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(`${error.message} (rows ${placesOf(batch.rows, 16)})`);
  }
  return {
    ...scored,
    teacherScores: args.knowledgeDistillation ? batch.teacherScores : null,
    noInBatchNeg: batch.noInBatchNeg,
    selfDistill,
  };
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

function stepSettings(args: FinetuneArguments): StepSettings {
  return {
    temperature: args.temperature,
    unified: args.unifiedFinetuning,
    kind: args.kdLossType,
    negativesCrossDevice: args.negativesCrossDevice,
    compat: args.flagembeddingCompat,
    recompute: args.gradientCheckpointing,
    subBatchSize: args.subBatchSize,
  };
}

/** Of what is finite: the loss of a step that overflowed and was skipped says nothing. */
class Mean {
  private sum = 0;
  count = 0;

  add(value: number): void {
    if (!Number.isFinite(value)) return;
    this.sum += value;
    this.count++;
  }

  get value(): number {
    return this.sum / this.count;
  }

  reset(): void {
    this.sum = this.count = 0;
  }
}

/** A model with a weight that is not finite must not replace a good one on disk. */
async function checkFinite(model: M3Model, step: number, learningRate: number): Promise<void> {
  if (!(await weightsFinite(model)))
    throw new MachineError(
      `weights are no longer finite at step ${step}: nothing is saved; lower --learning_rate (${learningRate} in this step)`,
    );
}

/** Of what trains. */
async function weightsFinite(model: M3Model): Promise<boolean> {
  const { weights, tables } = model.store;
  const sources = [...(weights ? [weights] : []), ...tables.map((table) => table.tensor)];
  return sources.length === 0 || Number.isFinite(await scope(() => globalNorm(sources).item()));
}

/**
 * The batches that steps take, epoch after epoch. An epoch gives whole steps and drops the rest; one that is shorter
 * than a step is one (`runSize`).
 */
function* batchesOfSteps(
  data: TrainingData,
  { window, stepsPerEpoch }: RunSize,
): Generator<TrainBatch, never> {
  for (let epoch = 0; ; epoch++) {
    let left = window * stepsPerEpoch;
    for (const batch of data.epoch(epoch)) {
      if (left-- === 0) break;
      yield batch;
    }
  }
}

/** How many checkpoints a run leaves. */
function checkpointsKept(
  { saveStrategy, saveTotalLimit }: FinetuneArguments,
  { totalSteps, stepsPerEpoch }: RunSize,
  saveSteps: number,
): number {
  if (saveStrategy === 'no') return 0;
  const all = Math.ceil(totalSteps / (saveStrategy === 'epoch' ? stepsPerEpoch : saveSteps));
  return Math.min(all, saveTotalLimit ?? all);
}

/** Heads train only in unified fine-tuning; otherwise they get no gradient and must not decay either. */
function trainableNames(args: FinetuneArguments): (name: string) => boolean {
  return (name) => {
    if (/^(colbert|sparse)_linear/.test(name)) return args.unifiedFinetuning;
    if (args.fixEncoder) return false;
    return !(args.fixPositionEmbedding && name.includes('position_embeddings'));
  };
}

const round = (value: number, digits: number) => Number(value.toFixed(digits));

/**
 * The training loop of M3 fine-tuning: data in, a fine-tuned model folder out. It reads as the algorithm; every
 * mechanism (losses, optimiser, schedules, checkpoints, reports) lives in a file of its own.
 */
import fs from 'node:fs';
import { backward } from '../autograd/index.js';
import { loadDatasets, type TrainBatch, type TrainingData } from '../data/batches.js';
import { InputError, MachineError } from '../errors.js';
import { Gpu } from '../gpu/gpu.js';
import { formatBytes } from '../gpu/memory.js';
import { globalNorm } from '../kernels/adamw.js';
import { RandomStreams } from '../models/encoder.js';
import { resolveModelFolder } from '../models/hub-cache.js';
import { decaysByDefault, M3Model } from '../models/m3.js';
import type { ScoredBatch } from '../models/scores.js';
import { Tokenizer } from '../models/tokenizer.js';
import { noGrad, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type FinetuneArguments, intervalInSteps } from './arguments.js';
import { saveCheckpoint, saveModel, type TrainerState } from './checkpoints.js';
import { collate } from './collate.js';
import { readDeepSpeed } from './deepspeed.js';
import { m3Loss } from './losses/m3-loss.js';
import { AdamW } from './optimizer.js';
import type { LogEntry, Reporter } from './report.js';
import { learningRateOf } from './schedules.js';

export interface FinetuneResult {
  readonly steps: number;
  readonly log: readonly LogEntry[];
}

/** Fine-tunes as the arguments say. @throws InputError, MachineError. */
export async function finetune(
  args: FinetuneArguments,
  report: Reporter,
  openGpu: () => Promise<Gpu> = () =>
    Gpu.open({
      ...(args.adapter ? { adapter: args.adapter } : {}),
      ...(args.maxGpuMemory ? { memoryBudget: args.maxGpuMemory } : {}),
    }),
): Promise<FinetuneResult> {
  const folder = resolveModelFolder(args.modelNameOrPath, args.cacheDir);
  const tokenizer = Tokenizer.load(folder);
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
  for (const line of [...data.notices, ...(deepspeed?.notices ?? [])]) report.note(line);
  const precision = deepspeed?.settings.precision ?? 'float32';
  if (precision !== 'float32' && !args.fp16 && !args.bf16)
    report.note(`${args.deepspeed}: ${precision}: training runs in float32 for now`);

  // Both look through their rows, so that bad ones are found before the first step.
  const batchesPerEpoch = data.batchesPerEpoch();
  evalData?.batchesPerEpoch();
  const accumulation = args.gradientAccumulationSteps;
  const stepsPerEpoch = Math.max(1, Math.floor(batchesPerEpoch / accumulation));
  const totalSteps = args.maxSteps > 0 ? args.maxSteps : Math.ceil(args.numTrainEpochs * stepsPerEpoch);
  const loggingSteps = intervalInSteps(args.loggingSteps, totalSteps);
  const saveSteps = intervalInSteps(args.saveSteps, totalSteps);
  const learningRate = learningRateOf(args, totalSteps, deepspeed?.settings ?? null);

  prepareOutput(args.outputDir);
  const gpu = await openGpu();
  let model: M3Model | undefined;
  let optimizer: AdamW | undefined;
  try {
    model = M3Model.load(gpu, folder, {
      pooling: args.sentencePoolingMethod,
      normalize: args.normalizeEmbeddings,
      colbertDim: args.colbertDim,
      seed: args.seed,
      trainable: trainableNames(args),
      decay: deepspeed?.settings.optimizer.decaysEverything ? () => true : decaysByDefault,
    });
    for (const line of model.notices) report.note(line);
    for (const [flag, limit] of [
      ['--query_max_len', args.queryMaxLen],
      ['--passage_max_len', args.passageMaxLen],
    ] as const)
      if (limit > model.config.maxTokens)
        report.note(
          `${flag} ${limit}: the model has positions for ${model.config.maxTokens} tokens; a longer text will end the run`,
        );
    const adam = deepspeed?.settings.optimizer;
    optimizer = new AdamW(model.store, {
      beta1: adam?.betas[0] ?? args.adamBeta1,
      beta2: adam?.betas[1] ?? args.adamBeta2,
      eps: adam?.epsilon ?? args.adamEpsilon,
      weightDecay: adam?.weightDecay ?? args.weightDecay,
      maxGradNorm: deepspeed?.settings.maxGradNorm ?? args.maxGradNorm,
    });
    report.note(
      `adapter ${gpu.capabilities.name} · ${(model.store.count / 1e6).toFixed(1)} M parameters · ${data.rowCount} rows · ` +
        `${stepsPerEpoch} steps an epoch, ${totalSteps} in all · ${formatBytes(gpu.memory().peak)} of GPU memory for weights and optimiser`,
    );

    const random = new RandomStreams(args.seed);
    const windows = endlessWindows(data, accumulation);
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
    let lossSinceLog = 0;
    let lossInAll = 0;
    let stepsSinceLog = 0;

    report.start(totalSteps);
    while (state.global_step < totalSteps) {
      const window = windows.next().value;
      let loss = 0;
      for (const batch of window) {
        const selfDistill = args.useSelfDistill && forwards++ > args.selfDistillStartStep;
        loss += (await forwardBackward(model, tokenizer, args, batch, selfDistill, random)) / window.length;
      }
      // The schedule counts completed steps: the first update of a warm-up has rate 0.
      const rate = learningRate(state.global_step);
      const normTensor = optimizer.step(rate, 1 / window.length);
      const norm = await normTensor.item();
      normTensor.dispose();
      state.global_step++;
      state.epoch = state.global_step / stepsPerEpoch;
      lossSinceLog += loss;
      lossInAll += loss;
      stepsSinceLog++;
      if (!Number.isFinite(loss) || !Number.isFinite(norm))
        throw new MachineError(
          `loss ${loss}, gradient norm ${norm} at step ${state.global_step}: nothing of this step is saved; lower --learning_rate, or look at its data`,
        );
      report.step(state.global_step, loss);
      if (state.global_step % loggingSteps === 0 || state.global_step === totalSteps) {
        log({
          loss: round(lossSinceLog / stepsSinceLog, 4),
          grad_norm: round(norm, 6),
          learning_rate: rate,
          epoch: round(state.epoch, 4),
          step: state.global_step,
        });
        lossSinceLog = stepsSinceLog = 0;
      }
      const epochEnds = state.global_step % stepsPerEpoch === 0;
      const last = state.global_step === totalSteps;
      if (evalData && (epochEnds || last))
        log({
          eval_loss: round(await evaluateLoss(model, tokenizer, args, evalData), 4),
          epoch: round(state.epoch, 4),
          step: state.global_step,
        });
      const due =
        args.saveStrategy === 'steps'
          ? state.global_step % saveSteps === 0 || last
          : args.saveStrategy === 'epoch' && (epochEnds || last);
      if (due || last) await checkFinite(model, state.global_step);
      if (due) await saveCheckpoint(args.outputDir, model, tokenizer, state, args.saveTotalLimit ?? null);
    }
    report.end();
    const seconds = (performance.now() - started) / 1000;
    log({
      train_runtime: round(seconds, 2),
      train_steps_per_second: round(totalSteps / seconds, 4),
      train_loss: round(lossInAll / totalSteps, 4),
      epoch: round(state.epoch, 4),
    });
    await saveModel(args.outputDir, model, tokenizer, state);
    report.note(`model written to ${args.outputDir}`);
    return { steps: totalSteps, log: state.log_history };
  } finally {
    report.end();
    optimizer?.dispose();
    model?.dispose();
    await gpu.close();
  }
}

/** @throws InputError when the folder cannot be made or written, before anything is computed. */
function prepareOutput(folder: string): void {
  try {
    fs.mkdirSync(folder, { recursive: true });
    fs.accessSync(folder, fs.constants.W_OK);
  } catch (error) {
    throw new InputError(`--output_dir: ${folder}: cannot be written: ${(error as Error).message}`);
  }
}

/** Adds one batch's gradients to the model's; returns its loss. */
async function forwardBackward(
  model: M3Model,
  tokenizer: Tokenizer,
  args: FinetuneArguments,
  batch: TrainBatch,
  selfDistill: boolean,
  random: RandomStreams,
): Promise<number> {
  return withLoss(model, tokenizer, args, batch, selfDistill, random, (loss) => {
    // A batch on which nothing trains (one query, one passage) has a constant loss and no graph.
    if (loss.node) backward(loss);
    return loss.item();
  });
}

/** Mean loss of the evaluation data: no dropout, no self-distillation. */
async function evaluateLoss(
  model: M3Model,
  tokenizer: Tokenizer,
  args: FinetuneArguments,
  data: TrainingData,
): Promise<number> {
  let sum = 0;
  let count = 0;
  for (const batch of data.epoch(0)) {
    sum += await noGrad(() =>
      withLoss(model, tokenizer, args, batch, false, undefined, (loss) => loss.item()),
    );
    count++;
  }
  return sum / count;
}

async function withLoss<T>(
  model: M3Model,
  tokenizer: Tokenizer,
  args: FinetuneArguments,
  batch: TrainBatch,
  selfDistill: boolean,
  random: RandomStreams | undefined,
  use: (loss: Tensor) => Promise<T>,
): Promise<T> {
  const compat = args.flagembeddingCompat;
  let scored: ScoredBatch | undefined;
  try {
    scored = collate(model.gpu, tokenizer, model.config, batch.queries, batch.passages, {
      queryMaxLen: args.queryMaxLen,
      passageMaxLen: args.passageMaxLen,
      padToMultipleOf: args.padToMultipleOf ?? null,
      colbertFloor: compat.has('colbert-floor'),
    });
    const texts = scored;
    return await scope(async () => {
      const hidden = model.hidden(texts.tokens, { dropout: random });
      const { loss } = await m3Loss(
        model,
        hidden,
        {
          ...texts,
          teacherScores: args.knowledgeDistillation ? batch.teacherScores : null,
          noInBatchNeg: batch.noInBatchNeg,
          selfDistill,
        },
        {
          temperature: args.temperature,
          unified: args.unifiedFinetuning,
          kind: args.kdLossType,
          negativesCrossDevice: args.negativesCrossDevice,
          compat,
        },
      );
      return use(loss);
    });
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const places = batch.rows.map(({ file, line }) => `${file}:${line}`).join(', ');
    throw new InputError(`${error.message} (rows ${places})`);
  } finally {
    scored?.tokens.dispose();
  }
}

/** A model with a weight that is not finite must not replace a good one on disk. */
async function checkFinite(model: M3Model, step: number): Promise<void> {
  const { weights, tables } = model.store;
  const sources = [...(weights ? [weights] : []), ...tables.map((table) => table.tensor)];
  if (sources.length === 0) return;
  const norm = await scope(() => globalNorm(sources).item());
  if (!Number.isFinite(norm))
    throw new MachineError(
      `weights are no longer finite at step ${step}: nothing is saved; lower --learning_rate`,
    );
}

/**
 * The batches of each optimiser step. An epoch gives whole windows of `accumulation` batches and drops the rest;
 * one that is shorter than a window is one step.
 */
function* endlessWindows(data: TrainingData, accumulation: number): Generator<TrainBatch[], never> {
  for (let epoch = 0; ; epoch++) {
    let window: TrainBatch[] = [];
    let whole = 0;
    for (const batch of data.epoch(epoch)) {
      window.push(batch);
      if (window.length === accumulation) {
        yield window;
        whole++;
        window = [];
      }
    }
    if (whole === 0) yield window;
  }
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

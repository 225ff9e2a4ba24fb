/** What a run reads before anything is computed: the model's folder, its tokenizer, the rows, the DeepSpeed file. */

import { realpathSync } from 'node:fs';
import type { Reporter } from '../../console/reporter.js';
import { loadDatasets, type TrainBatch, type TrainingData } from '../../data/batches.js';
import type { CandidateBatch } from '../../data/candidates.js';
import { findSource } from '../../data/sources.js';
import { InputError } from '../../errors.js';
import { Faults } from '../../files/faults.js';
import { PositionedFile } from '../../files/positioned.js';
import type { Gpu } from '../../gpu/gpu.js';
import { isHubName } from '../../hub/download.js';
import { downloadReport } from '../../hub/download-report.js';
import { type EncoderConfig, readEncoderConfig } from '../../models/config.js';
import { resolveModelFolder } from '../../models/hub-cache.js';
import { watchFolder } from '../../models/model-folder.js';
import type { TextSettings } from '../../models/sentence-files.js';
import { printable } from '../../show.js';
import type { TokenizerThreads } from '../../tokenizer/threads.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { FinetuneArguments } from '../arguments.js';
import { replacedBase } from '../checkpoints/checkpoints.js';
import { fingerprintOf, flagValue, type RunFingerprint } from '../checkpoints/fingerprint.js';
import { readDeepSpeed } from '../deepspeed.js';
import type { OtherSources } from '../record/settings.js';
import { packTexts, specialIdsOf, tokenizeInThreads } from '../step/collate.js';
import type { PlacedBatch } from './cursor.js';
import { folderSettings } from './folder-settings.js';
import { RunPlan } from './plan.js';
import type { RankedBatch, RunBatch } from './step.js';
import { placesOf } from './tally.js';

export interface RunInputs {
  readonly folder: string;
  /** What the folder that is written says of texts. */
  readonly texts: TextSettings;
  readonly tokenizer: Tokenizer;
  readonly data: TrainingData;
  readonly evalData: TrainingData | undefined;
  readonly plan: RunPlan;
  readonly fingerprint: RunFingerprint;
  /** What decided settings beside the flags. */
  readonly sources: OtherSources;
  /** @throws InputError when the model's folder is no longer what it was. */
  readonly requireUnchanged: () => void;
}

/**
 * The folder that the model is in, fetched when `--model_name_or_path` is a name of the hub. Data that is not there is
 * told before a download that would be for nothing. @throws InputError, MachineError.
 */
export async function openModelFolder(args: FinetuneArguments, report: Reporter): Promise<string> {
  if (isHubName(args.modelNameOrPath) && !PositionedFile.exists(args.modelNameOrPath)) {
    for (const source of args.trainData) findSource(source, '--train_data');
    for (const source of args.evalData ?? []) findSource(source, '--eval_data');
  }
  return resolveModelFolder(
    args.modelNameOrPath,
    {
      cacheDir: args.cacheDir,
      token: args.token,
      revision: args.revision,
      report: downloadReport(report),
    },
    '--model_name_or_path',
  );
}

/**
 * `folder`: the model's, which is here by now. All rows are looked through, so that bad ones are found before the first
 * step. `worldSize`: ranks that share each step. @throws InputError.
 */
export function openInputs(
  folder: string,
  given: FinetuneArguments,
  note: (line: string) => void,
  worldSize = 1,
): RunInputs {
  const requireUnchanged = watchFolder(folder);
  const replaced = replacedBase(folder, given);
  if (replaced) note(replaced);
  const { args: settled, texts, notices } = folderSettings(folder, given);
  for (const line of notices) note(line);
  const deepspeed = settled.deepspeed ? readDeepSpeed(settled.deepspeed, settled, worldSize) : null;
  const args = { ...settled, shardOptimizer: settled.shardOptimizer || deepspeed?.shardsOptimizer === true };
  const tokenizer = Tokenizer.load(folder);
  const config = readEncoderConfig(folder);
  tokenizer.requireRows(config.vocabSize);
  const dataOptions = {
    ...args,
    seed: args.dataSeed ?? args.seed,
    nonePrefix: args.flagembeddingCompat.has('none-prefix'),
  };
  const faults = new Faults();
  const training = faults.joined(() =>
    loadDatasets({ ...dataOptions, acrossRanks: args.negativesCrossDevice && worldSize > 1 }),
  );
  const { evalData: trainData } = args;
  const evaluation = { flag: '--eval_data', dataloaderDropLast: false };
  const evalData = trainData
    ? faults.joined(() => loadDatasets({ ...dataOptions, trainData, ...evaluation }))
    : undefined;
  faults.throwIfAny();
  const data = training!;
  // What concerns flags is told by both sets of data.
  for (const line of new Set([
    ...tokenizer.notices,
    ...data.notices,
    ...(evalData?.notices ?? []),
    ...(deepspeed?.notices ?? []),
  ]))
    note(line);
  if (deepspeed?.settings.precision === 'bfloat16' && !args.bf16)
    note(`${printable(args.deepspeed!)}: bfloat16: training runs in float32`);
  if (args.shardOptimizer && worldSize === 1)
    note(
      `${settled.shardOptimizer ? '--shard_optimizer' : `${printable(args.deepspeed!)}: zero_optimization.stage 1`} has no effect with one rank, which has all of the optimiser’s state`,
    );
  const batchesPerEpoch = data.batchesPerEpoch(worldSize);
  // Each batch of an evaluation is one rank's, so that its metrics are those of one rank.
  evalData?.batchesPerEpoch();
  for (const line of [...data.usage(worldSize).notices, ...(evalData?.usage().notices ?? [])]) note(line);
  for (const line of evaluationNotices(args, evalData)) note(line);
  for (const line of repeatedFiles(data, evalData)) note(line);
  const size = { rows: data.rowCount, batchesPerEpoch, worldSize, ranked: evalData?.ranked().rows };
  const plan = new RunPlan(args, deepspeed?.settings ?? null, size);
  for (const line of plan.notices) note(line);
  const settings = deepspeed?.settings ?? null;
  const fingerprint = fingerprintOf({
    ...{ args, deepspeed: settings, config, totalSteps: plan.totalSteps, worldSize },
    ...{ data: data.fingerprint(), evaluation: evalData?.fingerprint() ?? null, tokenizer: tokenizer.files },
  });
  const sources = {
    deepspeed: deepspeed?.says ?? new Map<string, never>(),
    model: new Set(
      (['query_max_len', 'passage_max_len'] as const).filter(
        (name) => flagValue(given, name) !== flagValue(settled, name),
      ),
    ),
  };
  return { folder, texts, tokenizer, data, evalData, plan, fingerprint, sources, requireUnchanged };
}

/** What evaluation does less than was asked, one line each. */
function evaluationNotices(args: FinetuneArguments, evalData: TrainingData | undefined): string[] {
  if (!evalData || args.evalStrategy === 'no' || args.predictionLossOnly) return [];
  const { rows, withoutNegatives } = evalData.ranked();
  return withoutNegatives === 0
    ? []
    : [
        `--eval_data: ${withoutNegatives} of ${rows + withoutNegatives} rows have no negatives: they are not ranked`,
      ];
}

/** Files that are read more often than a person may have meant, one line each. */
function repeatedFiles(data: TrainingData, evalData: TrainingData | undefined): string[] {
  const filesOf = ({ datasets }: TrainingData) =>
    datasets.flatMap((dataset) => dataset.files().map(({ path }) => ({ path, file: realpathSync(path) })));
  const trained = new Map<string, number>();
  for (const { file } of filesOf(data)) trained.set(file, (trained.get(file) ?? 0) + 1);
  const twice = filesOf(data).find(({ file }) => trained.get(file)! > 1);
  const seen = evalData && filesOf(evalData).find(({ file }) => trained.has(file));
  return [
    ...(twice
      ? [
          `--train_data: ${printable(twice.path)} is given ${trained.get(twice.file)} times: its rows are trained on as often`,
        ]
      : []),
    ...(seen
      ? [
          `--eval_data: ${printable(seen.path)} is trained on too: what is measured there says nothing of other rows`,
        ]
      : []),
  ];
}

/** What of a batch of rows is packed. */
type Preparable = Pick<TrainBatch, 'queries' | 'passages' | 'teacherScores' | 'noInBatchNeg' | 'rows'>;

/**
 * Makes a packed batch of rows, whose texts are tokenized in other threads. It needs the device's name alone: nothing is moved there before the batch is used.
 * The function throws an InputError of a text, which names the rows of the batch.
 */
export function preparation(
  gpu: Gpu,
  config: EncoderConfig,
  threads: TokenizerThreads,
  args: FinetuneArguments,
): (batch: Preparable) => Promise<RunBatch> {
  const specialIds = specialIdsOf(threads.tokenizer);
  const options = {
    queryMaxLen: args.queryMaxLen,
    passageMaxLen: args.passageMaxLen,
    padToMultipleOf: args.padToMultipleOf ?? null,
    colbertFloor: args.flagembeddingCompat.has('colbert-floor'),
  };
  return async (batch) => {
    try {
      const texts = await tokenizeInThreads(threads, batch.queries, batch.passages, options);
      return gpu.phase('collate', () => ({
        ...packTexts(gpu, config, texts, specialIds, options),
        teacherScores: args.knowledgeDistillation ? batch.teacherScores : null,
        noInBatchNeg: batch.noInBatchNeg,
        rows: batch.rows,
      }));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      throw new InputError(`${error.message} (rows ${placesOf(batch.rows, 16)})`);
    }
  };
}

/** The same for rows with their candidates. */
export const ranked =
  (prepare: (batch: Preparable) => Promise<RunBatch>) =>
  async ({ parts, queries, passages, rows }: CandidateBatch): Promise<RankedBatch> => {
    const {
      tokens,
      queries: count,
      group,
      specialIds,
      floor,
    } = await prepare({
      ...{ queries, passages, rows, teacherScores: null, noInBatchNeg: true },
    });
    return { tokens, queries: count, group, specialIds, floor, parts };
  };

/** The same for batches of a run, which say where the data goes on after them. */
export const placed =
  (prepare: (batch: TrainBatch) => Promise<RunBatch>) =>
  async ({ batch, next }: PlacedBatch): Promise<RunBatch> => ({ ...(await prepare(batch)), next });

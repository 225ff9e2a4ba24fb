/**
 * The memory of a whole run, known before its first step: how long batches can be (the data says, in tokens), made-up
 * batches of that size, and their steps on a planning device. Looking for the longest texts is also where texts are
 * found that the model cannot take.
 */

import type { TrainingData } from '../../data/batches.js';
import type { LongestBatch, LongestKind, TokenMeasure } from '../../data/longest.js';
import { compileFormat } from '../../data/prompts.js';
import type { TokenIds, WordLimits } from '../../data/words.js';
import { InputError, MachineError } from '../../errors.js';
import type { PlannedDevice } from '../../gpu/gpu.js';
import type { MemoryReport } from '../../gpu/memory.js';
import type { EncoderConfig } from '../../models/config.js';
import type { Communicator } from '../../ranks/communicator.js';
import { PlannedRanks } from '../../ranks/planned.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { FinetuneArguments } from '../arguments.js';
import type { RunPlan } from '../run/plan.js';
import { specialIdsOf } from '../step/collate.js';
import { matchBytes, plannedBatches, tokensOf } from './longest-step.js';
import { type PlannedStep, planMemory } from './memory-plan.js';

/** Characters of text that are tokenised for a plan, some ten seconds. The rest is bounded by its bytes. */
const EFFORT = 3e7;
/** And to count words, about a second. Where they are more, the tokens of all steps and the vocabulary bound them. */
const WORD_EFFORT = 2e6;

/** What a plan asks of the data. */
export interface RunBatches {
  /** Of training, of evaluation, and of candidates that are ranked, as far as there are such. */
  readonly longest: ReadonlyMap<string, readonly LongestBatch[]>;
  /** Different words of all rows; undefined where they were not counted. */
  readonly words: number | undefined;
}

export interface PlannedRun extends Pick<PlannedStep, 'model' | 'asked'> {
  readonly tokenizer: Tokenizer;
  readonly plan: RunPlan;
  readonly data: TrainingData;
  readonly evalData: TrainingData | undefined;
  /** That take the steps together. */
  readonly ranks?: Pick<Communicator, 'rank' | 'size'> | undefined;
  /** Told by which batches the run was planned, also where no adapter could take them. */
  readonly plannedBy?: ((batches: RunBatches) => void) | undefined;
  /** Known before: the data is not looked at again. */
  readonly known?: RunBatches | undefined;
}

/**
 * At most what the run takes. Where the bytes of texts that were not tokenised, or the number of their words, leave it
 * open whether that fits into `budget`, they are tokenised too; `note` says so.
 * @throws InputError for a text that the model cannot take, MachineError when no adapter like this could.
 */
export async function planRunMemory(
  like: PlannedDevice,
  run: PlannedRun,
  budget: number,
  note: (line: string) => void,
  effort = EFFORT,
  words: WordLimits = { effort: WORD_EFFORT, most: Number.POSITIVE_INFINITY },
): Promise<MemoryReport> {
  const { tokenizer, plan, data, evalData, model, asked, known } = run;
  const { args } = plan;
  const empty = [...tokenizer.encode('')];
  const options = {
    unified: args.unifiedFinetuning,
    colbertFloor: args.flagembeddingCompat.has('colbert-floor'),
    chunk: args.subBatchSize,
    empty,
    specialIds: specialIdsOf(tokenizer),
  };
  for (const [side, limit] of [
    ['query', args.queryMaxLen],
    ['passage', args.passageMaxLen],
  ] as const)
    if (known) continue;
    else if (limit <= empty.length)
      note(
        `--${side}_max_len ${limit}: the special tokens alone are ${empty.length}: no ${side} has a word left`,
      );
    else if (instructionFills(side, tokenizer, args))
      note(
        `--${side}_max_len ${limit}: --${side}_instruction_for_retrieval alone is as long: no ${side} without another has a word left`,
      );
  const found = new Map<string, readonly LongestBatch[]>(known?.longest);
  let maxTokens = 0;
  const batchesOf =
    (name: string, from: TrainingData, kind: LongestKind = 'sampled', worldSize = 1) =>
    (model: Parameters<PlannedStep['batches']>[0]) => {
      let longest = found.get(name);
      if (!longest) {
        maxTokens = model.config.maxTokens;
        longest = from.longest(measureOf(tokenizer, model.config, args), effort, kind, worldSize);
        found.set(name, longest);
      }
      return plannedBatches(model, longest, options);
    };
  // Words that have moments once the last step has been taken, and bytes of the moments of one.
  let [moving, momentBytes] = [0, 0];
  let counted = known?.words;
  const { size: worldSize, rank } = run.ranks ?? { size: 1, rank: 0 };
  const communicator = worldSize > 1 ? new PlannedRanks(worldSize, rank) : undefined;
  const planned = planOn(like, {
    ...{ model, asked, run: { ...plan.run, communicator } },
    batches: batchesOf('training', data, 'sampled', plan.worldSize),
    words: ({ config, store }) => {
      if (store.tables.length === 0) return 0;
      if (!known) counted = data.words(idsOf(tokenizer, args), words, plan.worldSize);
      momentBytes = (2 * 4 * config.hiddenSize) / (args.shardOptimizer ? worldSize : 1);
      // Of the whole run, steps before it was resumed included: their words have moments too.
      const batches = plan.totalSteps * plan.window * plan.worldSize;
      const tokens = batches * Math.max(...found.get('training')!.map(tokensOf));
      moving = Math.min(config.vocabSize, tokens, counted ?? Number.POSITIVE_INFINITY);
      return moving;
    },
    evaluation: plan.evalStrategy === 'no' ? undefined : evalData && batchesOf('evaluation', evalData),
    candidates: plan.ranks ? evalData && batchesOf('candidates', evalData, 'candidates') : undefined,
    extraBytes: () =>
      args.unifiedFinetuning ? Math.max(...[...found.values()].map((each) => matchBytes(each, options))) : 0,
  });
  const report = await planned.finally(() => run.plannedBy?.({ longest: found, words: counted }));
  if (known) return report;
  const unreadOf = (name: string) => (found.get(name) ?? []).reduce((sum, each) => sum + each.unread, 0);
  const unread = unreadOf('training') + Math.max(unreadOf('evaluation'), unreadOf('candidates'));
  if (unread > 0 && report.peak > budget) {
    note(`${unread} rows may be too long for the memory there is: all of them are tokenised to know`);
    return planRunMemory(like, run, budget, note, Number.POSITIVE_INFINITY, words);
  }
  // Beyond so many words it does not fit anyway.
  const most = moving - (report.peak - budget) / momentBytes;
  const mayCount = counted === undefined && args.shuffleRatio === 0 && Number.isFinite(words.effort);
  if (report.peak > budget && mayCount && most > 0) {
    note(
      `moments of ${moving} words may be too many for the memory there is: all texts are tokenised to count them`,
    );
    return planRunMemory(like, run, budget, note, effort, { effort: Number.POSITIVE_INFINITY, most });
  }
  if (unread === 0) return report;
  for (const [flag, limit] of [
    ['--query_max_len', args.queryMaxLen],
    ['--passage_max_len', args.passageMaxLen],
  ] as const)
    if (limit > maxTokens)
      note(
        `${flag} ${limit}: the model has positions for ${maxTokens} tokens; a longer text will end the run`,
      );
  return report;
}

/** Whether two texts that differ from their first letter are the same behind the instruction, as long as they may be. */
function instructionFills(side: 'query' | 'passage', tokenizer: Tokenizer, args: FinetuneArguments): boolean {
  const [instruction, format, limit] =
    side === 'query'
      ? [args.queryInstructionForRetrieval, args.queryInstructionFormat, args.queryMaxLen]
      : [args.passageInstructionForRetrieval, args.passageInstructionFormat, args.passageMaxLen];
  if (instruction === null) return false;
  const join = compileFormat(format, `--${side}_instruction_format`);
  const [a, b] = ['a', 'b'].map((text) => tokenizer.encode(join(instruction, text), limit).join());
  return a === b;
}

/** What no adapter like this could do at all, with what to change. */
async function planOn(like: PlannedDevice, step: PlannedStep): Promise<MemoryReport> {
  try {
    return await planMemory(like, step);
  } catch (error) {
    if (!(error instanceof MachineError)) throw error;
    throw new MachineError(
      `the longest batch is more than this adapter can do (${error.message}): lower --per_device_train_batch_size, --train_group_size or the lengths, or use --sub_batch_size`,
    );
  }
}

function idsOf(tokenizer: Tokenizer, args: FinetuneArguments): TokenIds {
  return {
    query: (text) => tokenizer.encode(text, args.queryMaxLen),
    passage: (text) => tokenizer.encode(text, args.passageMaxLen),
  };
}

function measureOf(tokenizer: Tokenizer, config: EncoderConfig, args: FinetuneArguments): TokenMeasure {
  const count = (side: 'query' | 'passage', limit: number) => (text: string) => {
    const ids = tokenizer.encode(text, limit);
    if (ids.length > config.maxTokens)
      throw new InputError(
        `a ${side} has ${ids.length} tokens, the model has positions for ${config.maxTokens}: lower --${side}_max_len`,
      );
    return ids.length;
  };
  return {
    query: count('query', args.queryMaxLen),
    passage: count('passage', args.passageMaxLen),
    queryLimit: args.queryMaxLen,
    passageLimit: args.passageMaxLen,
  };
}

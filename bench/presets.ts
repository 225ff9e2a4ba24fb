/** The models and batches of `bench -- step` and `bench -- memory`. */
import fs from 'node:fs';
import zlib from 'node:zlib';
import { parseRow } from '../src/data/rows.js';
import { InputError } from '../src/errors.js';
import { systemReason } from '../src/files/reason.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { bgeM3 } from '../src/models/bge-m3.js';
import { type EncoderConfig, parseEncoderConfig } from '../src/models/config.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { defaultLossScaling } from '../src/optim/loss-scale.js';
import { printable } from '../src/show.js';
import type { M3LossBatch } from '../src/train/losses/m3-loss.js';
import type { StoreAdamWOptions } from '../src/train/optimizer.js';
import type { RunSettings } from '../src/train/run/run.js';
import type { StepSettings } from '../src/train/step/train-step.js';
import type { PresetName } from './options.js';

/** XLM-R in three sizes; `bge-m3` is BAAI/bge-m3 itself. */
const sizes: Record<PresetName, object> = {
  tiny: { hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4, intermediate_size: 512 },
  minilm: { hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12, intermediate_size: 1536 },
  'bge-m3': {},
};

/** `--layers` cuts a preset down. */
export const presetConfig = (name: PresetName, layers?: number): EncoderConfig =>
  parseEncoderConfig({
    ...bgeM3,
    ...sizes[name],
    ...(layers === undefined ? {} : { num_hidden_layers: layers }),
  });

/** AdamW as FlagEmbedding's defaults have it. */
export const adamW: StoreAdamWOptions = {
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0,
  maxGradNorm: 1,
};

const LEARNING_RATE = 1e-5;

/** The unified objective with teacher scores, self-distillation from the first step, τ 0.02. */
export function stepSettings(recompute: boolean, subBatchSize: number | null): StepSettings {
  return {
    temperature: 0.02,
    unified: true,
    kind: 'm3_kd_loss',
    negativesCrossDevice: false,
    compat: new Set(),
    recompute,
    subBatchSize,
  };
}

/** A run of such steps, one batch each, at a constant rate. */
export function runSettings(fp16: boolean, step: StepSettings): RunSettings {
  return {
    optimizer: adamW,
    step,
    window: 1,
    learningRate: () => LEARNING_RATE,
    lossScaling: fp16 ? defaultLossScaling : null,
    seed: 1,
    selfDistillAfter: -1,
  };
}

const SPECIAL_IDS = [0, 1, 2, 3];

/**
 * Ids without a tokenizer: `[0] + [4 + crc32(word) mod (vocab − 5) for each whitespace word, cut to max − 2] + [2]`.
 * PyTorch was timed on the same.
 */
export function hashedIds(text: string, maxLength: number, vocab: number): number[] {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const ids = words.slice(0, maxLength - 2).map((word) => 4 + (zlib.crc32(word) % (vocab - 5)));
  return [0, ...ids, 2];
}

/** Texts as ids, and what the teacher says. */
export interface BenchBatch {
  readonly texts: readonly (readonly number[])[];
  readonly queries: number;
  readonly group: number;
  readonly teacherScores: Float32Array;
}

export interface BatchShape {
  batch: number;
  group: number;
  queryMaxLen: number;
  passageMaxLen: number;
  vocab: number;
}

/** Batch number `index` of a JSONL file: rows in order, the first positive and the first negatives of each. */
export function fileBatch(file: string, index: number, shape: BatchShape): BenchBatch {
  requireSize(shape);
  let lines: string[];
  try {
    lines = fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '');
  } catch (error) {
    throw new InputError(`--data: ${printable(file)}: cannot read: ${systemReason(error)}`);
  }
  if (lines.length === 0)
    throw new InputError(`--data: ${printable(file)}: expected at least one row, found none`);
  const queries: number[][] = [];
  const passages: number[][] = [];
  const scores: number[] = [];
  for (let i = 0; i < shape.batch; i++) {
    const at = (index * shape.batch + i) % lines.length;
    const row = parseRow(lines[at]!, { file, line: at + 1 });
    const negatives = shape.group - 1;
    if (negatives > 0 && row.neg.length === 0)
      throw new InputError(
        `${file}:${at + 1}: expected "neg" to have at least one text for --group ${shape.group}, found none`,
      );
    queries.push(hashedIds(row.query, shape.queryMaxLen, shape.vocab));
    passages.push(hashedIds(row.pos[0]!, shape.passageMaxLen, shape.vocab));
    scores.push(row.posScores?.[0] ?? 1);
    for (let n = 0; n < negatives; n++) {
      const negative = n % row.neg.length;
      passages.push(hashedIds(row.neg[negative]!, shape.passageMaxLen, shape.vocab));
      scores.push(row.negScores?.[negative] ?? 0);
    }
  }
  return {
    texts: [...queries, ...passages],
    queries: shape.batch,
    group: shape.group,
    teacherScores: Float32Array.from(scores),
  };
}

/** Words that all texts of a full batch begin with: the sparse head learns from what texts share only. */
const SHARED_WORDS = 8;

/** Tokens of a batch: more than any adapter's memory takes, and the host would spend minutes on making them. */
const MOST_TOKENS = 1 << 22;

/** @throws InputError for a batch that no machine could take. */
function requireSize({ batch, group, queryMaxLen, passageMaxLen }: BatchShape): void {
  const tokens = batch * (queryMaxLen + group * passageMaxLen);
  if (tokens > MOST_TOKENS)
    throw new InputError(
      `--batch ${batch} --group ${group}: expected at most ${MOST_TOKENS} tokens in a batch, found ${tokens}`,
    );
}

/** A batch whose texts are all as long as they may be, and share little more than their first words. Others have other words. */
export function fullBatch(shape: BatchShape, index = 0): BenchBatch {
  requireSize(shape);
  let word = index * shape.batch * (shape.queryMaxLen + shape.group * shape.passageMaxLen);
  const text = (length: number) =>
    hashedIds(
      Array.from({ length: length - 2 }, (_, i) => (i < SHARED_WORDS ? `shared${i}` : `w${word++}`)).join(
        ' ',
      ),
      length,
      shape.vocab,
    );
  const passages = shape.batch * shape.group;
  return {
    texts: [
      ...Array.from({ length: shape.batch }, () => text(shape.queryMaxLen)),
      ...Array.from({ length: passages }, () => text(shape.passageMaxLen)),
    ],
    queries: shape.batch,
    group: shape.group,
    teacherScores: Float32Array.from({ length: passages }, (_, i) => (i % shape.group === 0 ? 100 : 90)),
  };
}

/** On the device. Dispose of its tokens. */
export function lossBatch(gpu: Gpu, config: EncoderConfig, batch: BenchBatch): M3LossBatch {
  return {
    tokens: new TokenBatch(gpu, batch.texts, config),
    queries: batch.queries,
    group: batch.group,
    specialIds: SPECIAL_IDS,
    teacherScores: batch.teacherScores,
    noInBatchNeg: false,
    selfDistill: true,
  };
}

/** Checkpoints of a model of a few weights: damaged files, and checksums that are right around content that is not. */
import { crc32 } from 'node:zlib';
import { silentReporter } from '../../src/console/reporter.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { parseEncoderConfig } from '../../src/models/config.js';
import { M3Model } from '../../src/models/m3.js';
import { parseFinetuneArguments } from '../../src/train/arguments.js';
import { differences, fingerprintOf } from '../../src/train/checkpoints/fingerprint.js';
import { dataGoesOn, restore } from '../../src/train/checkpoints/resume.js';
import {
  OPTIMIZER_FILE,
  openCheckpoint,
  sealed,
  TRAINER_STATE,
  TRAINING_STATE,
} from '../../src/train/checkpoints/training-state.js';
import { RunLog } from '../../src/train/run/log.js';
import { RunPlan } from '../../src/train/run/plan.js';
import { TrainingRun } from '../../src/train/run/run.js';
import { damageBytes } from './bytes.js';
import { wordsOf } from './corpus.js';
import { damageTree, textOf, treeOf } from './json.js';
import { capabilities, config } from './model-inputs.js';
import type { FuzzRandom } from './random.js';
import { frameSafetensors } from './weight-inputs.js';

const once = <T>(make: () => T): (() => T) => {
  let value: T | undefined;
  return () => (value ??= make());
};

const words = once(() => [
  ...wordsOf('train/run', 'optim/loss-scale.js'),
  OPTIMIZER_FILE,
  '../x',
  '/etc/hosts',
]);

const plan = once(() => {
  const line = '--model_name_or_path m --train_data d --output_dir o --max_steps 6 --unified_finetuning True';
  const { args } = parseFinetuneArguments(line.split(' '));
  return new RunPlan(args, null, { rows: 4, batchesPerEpoch: 2, ranked: undefined });
});
const fingerprint = once(() => {
  const data = { seed: 42, files: [{ path: '/d.jsonl', bytes: 9, rows: 4, crc32: 7 }] };
  return fingerprintOf({
    ...{ args: plan().args, deepspeed: null, data, evaluation: null, totalSteps: 6, worldSize: 1 },
    ...{ config: parseEncoderConfig(config), tokenizer: new Map([['tokenizer.json', Buffer.from('{}')]]) },
  });
});

/** On a device that computes nothing. */
function newRun(): TrainingRun {
  const model = M3Model.empty(Gpu.plan({ capabilities }), parseEncoderConfig(config), { colbertDim: 8 });
  return new TrainingRun(model, plan().run);
}

/** Header of the optimiser's file, two rows of each table; and how many bytes of data it tells of. */
const tensors = once(() => {
  const run = newRun();
  const entries: Record<string, unknown> = {};
  let at = 0;
  for (const { name, shape, dtype } of run.optimizer.tensors()) {
    const table = /word_embeddings|position_embeddings|token_type/.test(name) && shape[0] === 0;
    const own = table ? [Math.min(2, /token_type/.test(name) ? 1 : 2), ...shape.slice(1)] : [...shape];
    const size = own.reduce((product, extent) => product * extent, 4);
    entries[name] = { dtype: dtype === 'u32' ? 'U32' : 'F32', shape: own, data_offsets: [at, at + size] };
    at += size;
  }
  run.dispose();
  run.model.dispose();
  return { entries, bytes: at };
});

export function checkpointInput(random: FuzzRandom): Record<string, Uint8Array | string> {
  const { entries, bytes } = tensors();
  const data = new Uint8Array(bytes);
  const rows = Object.entries(entries as Record<string, { data_offsets: number[]; shape: number[] }>);
  for (const [name, { data_offsets, shape }] of rows)
    if (name.endsWith('.rows') && shape[0] === 2)
      data[data_offsets[0]! + 4] = random.chance(0.1) ? random.below(256) : 1;
  if (random.chance(0.2)) data.set(random.bytes(4), random.below(Math.max(1, bytes - 4)) & ~3);
  const header = treeOf(entries);
  const inner: Record<string, Uint8Array | string> = {
    [OPTIMIZER_FILE]: frameSafetensors(
      textOf(random.chance(0.3) ? damageTree(header, random, Object.keys(entries)) : header),
      data,
    ),
  };
  const history = treeOf({
    global_step: 4,
    log_history: [
      { loss: 1.5, step: 2 },
      { event: 'overflow', step: 3 },
    ],
  });
  inner[TRAINER_STATE] = textOf(random.chance(0.3) ? damageTree(history, random, words()) : history);
  const files = Object.fromEntries(
    Object.entries(inner).map(([name, content]) => {
      const raw = Buffer.from(content as Uint8Array);
      return [name, { bytes: raw.length, crc32: crc32(raw) }];
    }),
  );
  const mean = { sum: 3.5, count: 2 };
  const state = treeOf({
    format: 2,
    run: {
      ...{ step: 4, cursor: { epoch: 2, batch: 0 }, forwards: 4, random: 17, optimizer: { updates: 3 } },
      loss_scale: { scale: 1, good: 1, hysteresis: 1, overflows: 0 },
      tally: {
        ...{ applied: 3, skipped: 1, without_rate: 0, without_gradient: 0 },
        ...{ evaluations: 0, evaluations_not_finite: 0, saved: { step: 2, applied: 2 } },
      },
    },
    means: { since_log: mean, in_all: mean },
    fingerprint: JSON.parse(JSON.stringify(fingerprint())),
    kernels: { 'matmul {} 1': 'tile64' },
    adapter: { name: 'none', driver: 'none' },
    files,
  });
  const json = textOf(random.chance(0.7) ? damageTree(state, random, words()) : state);
  const seal = random.chance(0.9) ? sealedText(json) : json;
  inner[TRAINING_STATE] = random.chance(0.1) ? damageBytes(Buffer.from(seal), random) : seal;
  if (random.chance(0.1)) {
    const name = random.pick(Object.keys(inner));
    inner[name] = damageBytes(Buffer.from(inner[name] as Uint8Array), random);
  }
  return inner;
}

/** With the checksum that what it says has. */
function sealedText(json: string): string {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? JSON.stringify(sealed(value as Record<string, unknown>))
      : json;
  } catch {
    return json;
  }
}

/** As a run goes on from it. */
export function useCheckpoint(folder: string): void {
  const opened = openCheckpoint(folder);
  const run = newRun();
  try {
    differences(opened.state.fields('fingerprint'), fingerprint());
    const layout = { datasets: [{ rows: 4, batches: 2, size: 2 }], shuffled: false };
    const goesOn = dataGoesOn(opened, { data: { layout: () => layout }, plan: plan() });
    const point = { ...opened, ...goesOn, sameEvaluation: true, located: (name: string) => name };
    restore(point, run, new RunLog(plan(), silentReporter));
  } finally {
    opened.tensors.close();
    run.dispose();
    run.model.dispose();
  }
}

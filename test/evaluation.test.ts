/** Evaluation during training: rank metrics, which candidates are ranked, what is best, when a run stops. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { type LogEntry, silentReporter } from '../src/console/reporter.js';
import { loadDatasets } from '../src/data/batches.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { checkpoints } from '../src/train/checkpoints/checkpoints.js';
import { BestModel } from '../src/train/run/best.js';
import { Evaluation } from '../src/train/run/evaluation.js';
import { rankMetrics } from '../src/train/run/rank-metrics.js';
import type { LossName } from '../src/train/step/train-step.js';
import { finetune } from '../src/train/trainer.js';
import { lendGpu } from './lent-gpu.js';
import { golden } from './repository.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-evaluation-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
const write = (name: string, rows: readonly object[]) => {
  const file = path.join(folder, name);
  fs.writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return file;
};

test('nDCG@10 and MRR@10 of rankings worked out by hand; ties go against the relevant', () => {
  const log2 = Math.log2;
  const table: [number[], number, number, number][] = [
    [[3, 2, 1], 1, 1, 1],
    [[2, 3, 1], 1, 1 / log2(3), 1 / 2],
    [[1, 1, 1], 1, 1 / 2, 1 / 3],
    // Relevant at ranks 1 and 3 of 4.
    [[4, 2, 3, 1], 2, (1 + 1 / 2) / (1 + 1 / log2(3)), 1],
    [[1, 5, 4, 3], 3, (1 + 1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / 2), 1],
    // The only relevant one at rank 11.
    [[0, ...Array.from({ length: 10 }, (_, i) => i + 1)], 1, 0, 0],
    [[0.5, ...Array.from({ length: 10 }, (_, i) => i)], 1, 1 / log2(11), 1 / 10],
    // Twelve relevant ones: ten places are the best there is.
    [Array.from({ length: 13 }, (_, i) => -i), 12, 1, 1],
  ];
  for (const [scores, relevant, ndcg, reciprocalRank] of table) {
    const found = rankMetrics(scores, relevant, 10)!;
    assert.ok(Math.abs(found.ndcg - ndcg) < 1e-12, `${scores}: nDCG ${found.ndcg}, not ${ndcg}`);
    assert.equal(found.reciprocalRank, reciprocalRank);
  }
  assert.equal(rankMetrics([1, Number.NaN], 1, 10), undefined);
  assert.equal(rankMetrics([1, Number.POSITIVE_INFINITY], 1, 10), undefined);
});

test('every candidate of every row with negatives comes once, within the lengths that the plan knows', () => {
  const text = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme-ascii' }).map((word) => `t${word}`);
  const row = fc.record({
    query: text,
    pos: fc.array(text, { minLength: 1, maxLength: 4 }),
    neg: fc.array(text, { minLength: 1, maxLength: 6 }),
  });
  // By characters, which no order of candidates changes.
  const measure = {
    query: (words: string) => words.length,
    passage: (words: string) => words.length,
    queryLimit: 1000,
    passageLimit: 1000,
  };
  let n = 0;
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 7 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 4 }),
      (rows, trainGroupSize, perDeviceTrainBatchSize) => {
        const data = loadDatasets({
          ...{ trainData: [write(`rows-${n++}.jsonl`, rows)], trainGroupSize, perDeviceTrainBatchSize },
        });
        const [longest] = data.longest(measure, Number.POSITIVE_INFINITY, 'candidates');
        const seen = new Map<string, string[]>();
        for (const batch of data.candidates()) {
          assert.ok(batch.queries.length <= perDeviceTrainBatchSize && batch.groupSize <= trainGroupSize);
          const sorted = batch.passages.map((passage) => passage.length).sort((a, b) => b - a);
          assert.ok(sorted.every((length, i) => length <= longest!.passages[i]!));
          batch.parts.forEach((part, q) => {
            const place = `${batch.rows[q]!.line}`;
            const own = batch.passages.slice(q * batch.groupSize, q * batch.groupSize + part.count);
            if (!seen.has(place)) seen.set(place, []);
            assert.equal(seen.get(place)!.length, part.first);
            seen.get(place)!.push(...own);
          });
        }
        const all = rows.map(({ pos, neg }, i): [string, string[]] => [`${i + 1}`, [...pos, ...neg]]);
        assert.deepEqual([...seen].sort(), all.sort());
        assert.equal(data.ranked().rows, rows.length);
      },
    ),
    { numRuns: 60 },
  );
});

test('candidates that come in several batches are ranked together; what is not finite is no mean', () => {
  const evaluation = new Evaluation();
  const part = (row: number, first: number, count: number) => ({
    row,
    first,
    count,
    candidates: 3,
    positives: 1,
  });
  const scores = (...values: number[]) =>
    new Map<LossName, Float32Array>([['dense', Float32Array.from(values)]]);
  // Row 0: 2, 5 and 1; row 1: 4, 3 and (in a group that is filled up) 0.
  evaluation.rank([part(0, 0, 2), part(1, 0, 2)], 2, scores(2, 5, 4, 3));
  assert.equal(evaluation.metrics().size, 0);
  evaluation.rank([part(0, 2, 1), part(1, 2, 1)], 2, scores(1, 99, 0, 99));
  assert.deepEqual(
    [...evaluation.metrics()],
    [
      ['eval_dense_ndcg@10', (1 / Math.log2(3) + 1) / 2],
      ['eval_dense_mrr@10', 0.75],
    ],
  );
  evaluation.rank([part(2, 0, 3)], 3, scores(1, Number.NaN, 0));
  assert.equal(evaluation.metrics().size, 0);
  assert.match(evaluation.notices(4)[0]!, /the dense scores of 1 of 3 rows are not finite/);
});

test('what is best, and how long to wait for better, as the trainer of transformers 4.57 has it', () => {
  const settings = { metric: 'eval_loss', greaterIsBetter: false, load: true, patience: 2, threshold: 0.1 };
  const best = new BestModel(settings);
  const told: [number, number | undefined, boolean, string | undefined, number][] = [
    // step, metric, saved, best checkpoint then, evaluations waited
    [1, 1.0, false, undefined, 0],
    [2, 1.1, true, 'checkpoint-2', 1],
    // Better, but by less than the threshold: the best all the same.
    [3, 0.95, true, 'checkpoint-3', 2],
  ];
  for (const [step, metric, saved, checkpoint, waited] of told) {
    best.evaluated(step, new Map(metric === undefined ? [] : [['eval_loss', metric]]));
    if (saved) best.saved(step, `checkpoint-${step}`);
    assert.equal(best.bestCheckpoint, checkpoint);
    assert.equal(best.state().early_stopping_patience_counter, waited);
  }
  assert.match(
    best.whyStopped!,
    /eval_loss was not better than 0.95 by more than 0.1 in the last 2 evaluations/,
  );
  best.evaluated(4, new Map([['eval_loss', 0.8]]));
  assert.equal(best.whyStopped, undefined);
  assert.equal(best.state().best_global_step, 4);
  // Never saved, so that the best checkpoint is another one.
  assert.equal(best.bestCheckpoint, 'checkpoint-3');
  best.evaluated(5, new Map());
  best.saved(5, 'checkpoint-5');
  assert.equal(best.bestCheckpoint, 'checkpoint-3');
  assert.equal(best.state().early_stopping_patience_counter, 1);
});

const nq = golden('example_data', 'retrieval', 'nq.jsonl');
const flags = (output: string, more: readonly string[]) => [
  ...['--model_name_or_path', golden('model'), '--train_data', nq, '--output_dir', path.join(folder, output)],
  ...['--train_group_size', '3', '--query_max_len', '16', '--passage_max_len', '24', '--max_steps', '4'],
  ...['--per_device_train_batch_size', '2', '--unified_finetuning', 'True', '--logging_steps', '1'],
  ...more,
];
const run = async (output: string, more: readonly string[], notes: string[] = []) => {
  const { args } = parseFinetuneArguments(flags(output, more));
  return finetune(args, { ...silentReporter, note: (line) => void notes.push(line) }, lendGpu);
};
const evaluations = (log: readonly LogEntry[]) =>
  log.filter((entry) => Object.keys(entry).some((key) => key.startsWith('eval_')));

test('a run evaluates when it is told to, and ends with the best model or when it gets no better', async () => {
  const rows = fs
    .readFileSync(nq, 'utf8')
    .trim()
    .split('\n')
    .slice(0, 5)
    .map((line) => JSON.parse(line) as { query: string; pos: string[]; neg: string[] });
  const evalData = write('eval.jsonl', rows);
  const notes: string[] = [];
  // A rate that spoils the model, so that the first is the best.
  const { log, steps } = await run(
    'best',
    [
      ...[
        '--eval_data',
        evalData,
        '--eval_strategy',
        'steps',
        '--eval_steps',
        '1',
        '--eval_on_start',
        'True',
      ],
      ...['--save_steps', '1', '--save_total_limit', '1', '--load_best_model_at_end', 'True'],
      ...['--metric_for_best_model', 'loss', '--early_stopping_patience', '2', '--learning_rate', '0.3'],
      ...['--lr_scheduler_type', 'constant', '--max_steps', '8'],
    ],
    notes,
  );
  const found = evaluations(log);
  const names = ['dense', 'sparse', 'colbert', 'hybrid'];
  const expected = [
    'eval_loss',
    ...names.map((name) => `eval_${name}_loss`),
    ...names.flatMap((name) => [`eval_${name}_ndcg@10`, `eval_${name}_mrr@10`]),
    ...['epoch', 'step'],
  ];
  for (const entry of found) assert.deepEqual(Object.keys(entry), expected);
  assert.equal(found[0]!['step'], 0);
  // Stopped two evaluations after the best.
  const losses = found.slice(1).map((entry) => Number(entry['eval_loss']));
  const bestStep = 1 + losses.indexOf(Math.min(...losses));
  assert.equal(losses.length, bestStep + 2, `${losses}`);
  assert.equal(steps, bestStep + 2);
  assert.ok(
    notes.some((line) => line.includes(`the best model: checkpoint-${bestStep}`)),
    notes.join('\n'),
  );
  assert.ok(notes.some((line) => line.startsWith(`stopped after step ${bestStep + 2}`)));
  const kept = checkpoints(path.join(folder, 'best')).map(({ step }) => step);
  assert.deepEqual(kept, [bestStep, bestStep + 2]);
  const file = (...names: string[]) => fs.readFileSync(path.join(folder, 'best', ...names));
  const saved = file(`checkpoint-${bestStep}`, 'model.safetensors');
  assert.ok(file('model.safetensors').equals(saved));
  assert.ok(!file(`checkpoint-${bestStep + 2}`, 'model.safetensors').equals(saved));
  assert.match(
    file('README.md').toString(),
    new RegExp(`The model is that of \`checkpoint-${bestStep}\`, which`),
  );
  const state = JSON.parse(file('trainer_state.json').toString());
  assert.equal(state.best_global_step, bestStep);
  assert.equal(state.best_model_checkpoint, `checkpoint-${bestStep}`);
  assert.ok(Math.abs(state.best_metric - losses[bestStep - 1]!) <= 5e-5);
});

test('what cannot be best, and evaluation that is asked for without data, is refused before the first step', async () => {
  const refused: [string, RegExp][] = [
    ['--eval_strategy steps', /^--eval_strategy steps: expected --eval_data with it/],
    ['--load_best_model_at_end', /^--load_best_model_at_end: expected --eval_data, found none/],
    ['--early_stopping_patience 2', /^--early_stopping_patience 2: expected --eval_data, found none/],
    [`--eval_data ${nq} --eval_strategy no --load_best_model_at_end`, /with an --eval_strategy/],
    [
      `--eval_data ${nq} --load_best_model_at_end --metric_for_best_model sparse_ndcg --unified_finetuning True`,
      /^--metric_for_best_model: expected one of loss, dense_loss, .*hybrid_mrr@10, found "sparse_ndcg"/,
    ],
    [
      `--eval_data ${nq} --load_best_model_at_end --metric_for_best_model sparse_ndcg@10 --unified_finetuning False`,
      /^--metric_for_best_model: expected one of loss, dense_ndcg@10, dense_mrr@10, found/,
    ],
    [
      `--eval_data ${nq} --load_best_model_at_end --metric_for_best_model dense_ndcg@10 --prediction_loss_only`,
      /found "dense_ndcg@10"/,
    ],
    [
      `--eval_data ${nq} --load_best_model_at_end --eval_strategy steps --eval_steps 2 --save_steps 3`,
      /expected an evaluation whenever a checkpoint is written, found one every 2 steps and checkpoints every 3/,
    ],
    [
      `--eval_data ${nq} --load_best_model_at_end --save_strategy no`,
      /^--load_best_model_at_end: expected checkpoints, found --save_strategy no/,
    ],
  ];
  const plain = flags('refused', []).filter(
    (_, i, all) => !/unified/.test(all[i]!) && !/unified/.test(all[i - 1] ?? ''),
  );
  for (const [line, message] of refused)
    await assert.rejects(
      async () => {
        const { args } = parseFinetuneArguments([...plain, ...line.split(' ')]);
        await finetune(args, silentReporter, lendGpu);
      },
      { name: 'InputError', message },
      line,
    );
  assert.ok(!fs.existsSync(path.join(folder, 'refused')));
});

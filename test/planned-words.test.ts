/** The moments that a run's plan has room for: of the words that its data can bring. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { loadDatasets } from '../src/data/batches.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport } from '../src/gpu/memory.js';
import { M3Model } from '../src/models/m3.js';
import { TokenBatch } from '../src/models/token-batch.js';
import { Tokenizer } from '../src/tokenizer/tokenizer.js';
import { parseFinetuneArguments } from '../src/train/arguments.js';
import { planMemory } from '../src/train/memory/memory-plan.js';
import { planRunMemory } from '../src/train/memory/run-memory.js';
import { RunPlan } from '../src/train/run/plan.js';
import { type RunSettings, TrainingRun } from '../src/train/run/run.js';
import type { RunBatch } from '../src/train/run/step.js';
import { collateAhead } from '../src/train/step/collate.js';
import { plannedAndTakenOn } from './memory-shapes.js';
import { optimizer } from './planned-steps.js';
import { golden } from './repository.js';
import { settings } from './training-cases.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-words-'));
const data = golden('example_data', 'retrieval', 'nq.jsonl');
const tokenizer = Tokenizer.load(golden('model'));
// Blocks of 255 rows of the golden model's 4,000 words.
const open = () => Gpu.open({ maxBindingSize: 65536 });
let gpu: Gpu;
before(async () => {
  gpu = await open();
});
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

for (const line of ['--max_steps 10', '--max_steps 5 --fp16 --weight_decay 0.1'])
  test(`a run takes what it planned, moments in blocks included: ${line}`, async () => {
    const { planned, taken } = await plannedAndTakenOn(await open(), folder, ...line.split(' '));
    assert.ok(taken > 0.9 * planned && taken <= planned, `${taken} of ${planned} bytes`);
  });

/** Two queries with four passages each, of 300 words in all that no other batch has. */
function ownWords({ gpu: on, config }: M3Model, batch: number): RunBatch {
  const first = 4 + 300 * batch;
  const texts = Array.from({ length: 10 }, (_, text) => [
    0,
    ...Array.from({ length: 30 }, (_, n) => first + 30 * text + n),
    2,
  ]);
  return {
    tokens: new TokenBatch(on, texts, config),
    ...{ queries: 2, group: 4, specialIds: [0, 1, 2, 3], noInBatchNeg: false },
    teacherScores: Float32Array.from({ length: 8 }, (_, n) => n),
  };
}

for (const precision of ['f32', 'f16'] as const)
  test(`the moments of words that later steps bring are planned to the byte: ${precision}`, async () => {
    const run: RunSettings = {
      ...{ optimizer, step: settings, window: 1, seed: 1 },
      ...{ learningRate: () => 1e-4, lossScaling: null, selfDistillAfter: null },
    };
    const load = (on: Gpu) => M3Model.load(on, golden('model'), { precision });
    const planned = await planMemory(gpu, {
      ...{ model: load, run, batches: (model) => [ownWords(model, 0)] },
      // With the ids around every text.
      words: () => 4 * 300 + 2,
    });
    gpu.pool.trim();
    gpu.pool.resetPeak();
    const model = load(gpu);
    const taken = new TrainingRun(model, run);
    // The last step has all moments from its beginning, as every planned one has.
    const batches = collateAhead([0, 1, 2, 3, 0], (n) => ownWords(model, n));
    for await (const { skipped } of taken.steps(batches, 5)) assert.ok(!skipped);
    const { peak, peakByPurpose } = gpu.memory();
    taken.dispose();
    model.dispose();
    assert.deepEqual(peakByPurpose, planned.peakByPurpose);
    assert.equal(peak, planned.peak);
  });

test('words are counted over all texts as they are trained on: prompts, limits, every passage', () => {
  const texts = (text: string) => [...tokenizer.encode(text, 12)];
  const ids = { query: texts, passage: texts };
  const everything = { effort: Number.POSITIVE_INFINITY, most: Number.POSITIVE_INFINITY };
  const options = {
    trainData: [data],
    trainGroupSize: 101,
    queryInstructionForRetrieval: 'find: ',
    queryInstructionFormat: '{}{}',
  };
  const loaded = loadDatasets(options);
  // With at most a hundred negatives a row and groups of 101, a few epochs bring every text.
  const brought = [0, 1, 2, 3].flatMap((epoch) =>
    [...loaded.epoch(epoch)].flatMap(({ queries, passages }) => [...queries, ...passages]),
  );
  const all = [...new Set(brought)];
  const seen = new Set(all.flatMap(texts));
  assert.equal(loaded.words(ids, everything), seen.size);
  assert.equal(loaded.words(ids, { ...everything, most: seen.size }), seen.size);
  assert.equal(loaded.words(ids, { ...everything, most: seen.size - 1 }), undefined);
  const characters = all.join('').length;
  assert.equal(loaded.words(ids, { ...everything, effort: characters / 2 }), undefined);
  assert.equal(loaded.words(ids, { ...everything, effort: 100 }), undefined);
  // Texts that are cut and joined anew may have other tokens.
  assert.equal(loadDatasets({ ...options, shuffleRatio: 0.5 }).words(ids, everything), undefined);
});

test('words that were not counted are bounded, and counted where that decides', async () => {
  const flags = ['--model_name_or_path', golden('model'), '--train_data', data, '--output_dir', folder];
  const limits = ['--query_max_len', '16', '--passage_max_len', '32', '--train_group_size', '3'];
  const notes: string[] = [];
  const plan = (budget: number, steps: number, effort?: number): Promise<MemoryReport> => {
    notes.length = 0;
    const { args } = parseFinetuneArguments([
      ...[...flags, ...limits, '--per_device_train_batch_size', '2'],
      ...['--max_steps', `${steps}`, '--unified_finetuning', 'True'],
    ]);
    const size = { rows: 10, batchesPerEpoch: 5, ranked: undefined };
    return planRunMemory(
      gpu,
      {
        model: (on) => M3Model.load(on, golden('model')),
        ...{ tokenizer, plan: new RunPlan(args, null, size), evalData: undefined },
        data: loadDatasets({ trainData: [data], trainGroupSize: 3, perDeviceTrainBatchSize: 2 }),
      },
      budget,
      (line) => notes.push(line),
      undefined,
      effort === undefined ? undefined : { effort, most: Number.POSITIVE_INFINITY },
    );
  };
  const optimizer = ({ peakByPurpose }: MemoryReport) => peakByPurpose.optimizer;
  const counted = await plan(Number.POSITIVE_INFINITY, 1e6);
  const bounded = await plan(Number.POSITIVE_INFINITY, 1e6, 0);
  const few = await plan(Number.POSITIVE_INFINITY, 1, 0);
  assert.ok(optimizer(bounded) > optimizer(counted) + 1e6, `${optimizer(bounded)}, ${optimizer(counted)}`);
  assert.ok(optimizer(few) < optimizer(counted), `${optimizer(few)}, ${optimizer(counted)}`);
  assert.deepEqual(notes, []);
  const fits = await plan(counted.peak, 1e6, 0);
  assert.deepEqual(fits, counted);
  assert.equal(notes.length, 1);
  assert.match(notes[0]!, /^moments of 4000 words may be too many for the memory there is: /);
  assert.ok((await plan(counted.peak - 1, 1e6, 0)).peak >= counted.peak);
  // What no number of words would make fit needs no counting.
  assert.equal((await plan(few.peak - 2e6, 1e6, 0)).peak, bounded.peak);
  assert.deepEqual(notes, []);
});

/** The record that a run keeps: thinned, whole after whatever ends the run, and taken up by the run that goes on. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { TrainingData } from '../src/data/batches.js';
import { REPORT_FILE } from '../src/report/report.js';
import { runPage } from '../src/report/run-page.js';
import { Columns, MOST_POINTS } from '../src/run-record/columns.js';
import { readRunRecord } from '../src/run-record/read.js';
import { type Column, RUN_RECORD_FILE, type RunRecord } from '../src/run-record/record.js';
import { CounterRandom } from '../src/tensor/random.js';
import { RetrievalBeforeAndAfter } from '../src/train/record/retrieval.js';
import type { TrainingRun } from '../src/train/run/run.js';
import type { RunBatch } from '../src/train/run/step.js';
import { called, check } from './documents/commands.js';
import { at, run } from './resumed-runs.js';

const columnsOf = (columns: Columns) => ({
  ...{ from: columns.from, stride: columns.stride, step: columns.steps() },
  all: new Map(columns),
});

/** Values that are there in some steps only, and names that come later than others. */
function valuesOf(step: number): Record<string, number | undefined> {
  const random = new CounterRandom(1, [step]);
  const uniform = () => random.word() / 2 ** 32;
  return {
    loss: uniform(),
    rate: step / 7,
    ...(uniform() < 0.3 ? { sometimes: uniform() } : {}),
    ...(step > 3000 ? { later: uniform() } : {}),
    overflow: step % 5 === 0 ? Number.POSITIVE_INFINITY : 1,
  };
}

test('columns that are written and read again in between are those that were not', () => {
  const whole = new Columns();
  let stopped = new Columns();
  for (let step = 1; step <= 4 * MOST_POINTS + 3; step++) {
    whole.add(valuesOf(step));
    stopped.add(valuesOf(step));
    if (step % 1237 !== 0 && step !== MOST_POINTS) continue;
    const { all, ...points } = JSON.parse(JSON.stringify({ ...columnsOf(stopped), all: [...stopped] })) as {
      from: number;
      stride: number;
      step: number[];
      all: [string, Column][];
    };
    assert.ok(points.step.length <= MOST_POINTS);
    stopped = Columns.restore(points, new Map(all));
  }
  assert.deepEqual(columnsOf(stopped), columnsOf(whole));
  assert.equal(whole.stride, 8);
  assert.equal(whole.step, 4 * MOST_POINTS + 3);
});

test('a point is the mean, the least and the greatest of its steps that have a value', () => {
  const columns = new Columns(100);
  const steps = MOST_POINTS * 2 + 1;
  for (let n = 0; n < steps; n++)
    columns.add({
      ...{ n, down: -n, even: n % 2 === 0 ? n : undefined },
      ...(n % 4 === 3 ? {} : { three: n }),
    });
  const { mean, min, max, count } = columns.get('n');
  assert.equal(columns.stride, 4);
  assert.deepEqual(columns.steps().slice(0, 2), [104, 108]);
  assert.deepEqual([columns.steps().at(-1), mean.at(-1)], [100 + steps, steps - 1]);
  assert.deepEqual([mean[3], min![3], max![3], count], [13.5, 12, 15, undefined]);
  const even = columns.get('even');
  assert.deepEqual([even.mean[3], even.max![3], even.count![3]], [13, 14, 2]);
  const down = columns.get('down');
  assert.deepEqual([down.mean[3], down.min![3], down.max![3]], [-13.5, -15, -12]);
  // Of two points of two steps and of one, each step counts as much.
  const three = columns.get('three');
  assert.deepEqual([three.mean[3], three.count![3]], [13, 3]);
});

test('the longest record is below 2 MB', () => {
  const columns = new Columns();
  const names = 'loss dense sparse colbert ensemble distillation rate norm tokens seconds speed'.split(' ');
  // Each with as many digits as there may be; the scale of the loss is a power of two.
  const values = (n: number) =>
    Object.fromEntries(names.map((name) => [name, -((n % 89) + 1.234567) * 1.000001e-7]));
  for (let n = 0; n < 2 * MOST_POINTS; n++)
    columns.add({ ...values(n), scale: 2 ** (n % 33), ...(n % 3 === 0 ? { skipped: 1 } : {}) });
  const bytes = JSON.stringify([...columns, columns.steps().map((step) => step + 9_000_000)]).length;
  // Beside them: evaluations, points of memory, notices, settings, samples.
  const others = 1024 * 500 + 256 * 160 + 400 * 500 + 50_000;
  assert.ok(bytes + others < 2e6, `${bytes} + ${others}`);
});

/** What lies beside the record. */
const pageOf = (folder: string) => fs.readFileSync(at(folder, REPORT_FILE), 'utf8');
const recordOf = (...folder: string[]): RunRecord => readRunRecord(at(...folder));

test('a run that is stopped, that fails or that ends says so; the next one goes on with its record', async () => {
  await run('kept', '--use_self_distill True', 4);
  const failed = recordOf('kept');
  assert.deepEqual([failed.status, failed.reason, failed.step], ['failed', 'stopped', 4]);
  assert.equal(pageOf('kept'), runPage(failed));
  const saved = recordOf('kept', 'checkpoint-2');
  assert.deepEqual([saved.status, saved.step], ['running', 2]);
  assert.deepEqual(saved.steps.loss.mean, failed.steps.loss.mean.slice(0, 2));
  await run('kept', '--use_self_distill True --resume_from_checkpoint True');
  const whole = recordOf('kept');
  assert.deepEqual([whole.status, whole.step, whole.total_steps], ['finished', 6, 6]);
  assert.equal(pageOf('kept'), runPage(whole));
  assert.deepEqual(whole.steps.step, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(
    whole.sessions.map(({ from_step, to_step }) => [from_step, to_step]),
    [
      [0, 2],
      [2, 6],
    ],
  );
  // What both processes tell of themselves stands there once.
  assert.equal(whole.notices.filter((line) => line.startsWith('adapter ')).length, 1);
  assert.deepEqual([...new Set(whole.notices)], whole.notices);
  // Of what it is made is what was given; secrets are not.
  const settings = new Map(whole.settings.map((setting) => [setting.name, setting]));
  assert.equal(settings.get('max_steps')!.origin, 'flag');
  assert.equal(settings.get('temperature')!.origin, 'default');
  assert.ok(!settings.has('token'));
  // The command that uses the model is one that can be run as it is.
  const [command] = whole.model!.use.filter(({ language }) => language === 'sh');
  check(called(command!.code)!, true);
  assert.ok(command!.code.includes(whole.model!.folder));
  const { d, s, c, e, k, loss } = Object.fromEntries(
    Object.entries({ ...whole.steps.components, loss: whole.steps.loss }).map(([name, column]) => [
      ({ dense: 'd', sparse: 's', colbert: 'c', ensemble: 'e', distillation: 'k' } as Record<string, string>)[
        name
      ] ?? name,
      column!.mean[4]!,
    ]),
  ) as Record<string, number>;
  const expected = ((d! + 0.1 * s! + c! + e!) / 4 + k!) / 2;
  assert.ok(Math.abs(loss! - expected) < 1e-4 * expected);
});

test('a record that is damaged begins anew; --report False keeps none', async () => {
  for (const name of fs.readdirSync(at('kept')))
    if (/^checkpoint-[46]$/.test(name)) fs.rmSync(at('kept', name), { recursive: true });
  fs.writeFileSync(path.join(at('kept', 'checkpoint-2'), RUN_RECORD_FILE), '{"format": 1, "status": 7}');
  fs.writeFileSync(at('kept', REPORT_FILE), 'a letter');
  const { notes } = await run('kept', '--use_self_distill True --resume_from_checkpoint True');
  assert.match(notes.join('\n'), /^the record of the run begins anew: .*"status"/m);
  assert.match(
    notes.join('\n'),
    /report\.html is written no more: .*is there already and is no report: move it away$/m,
  );
  assert.equal(pageOf('kept'), 'a letter');
  const { steps, sessions } = recordOf('kept');
  assert.deepEqual([steps.from, steps.step, sessions.length], [2, [3, 4, 5, 6], 1]);

  await run('unkept', '--report False --max_steps 2');
  assert.ok(!fs.existsSync(at('unkept', RUN_RECORD_FILE)));
  assert.ok(!fs.existsSync(at('unkept', REPORT_FILE)));
  assert.ok(!fs.existsSync(at('unkept', 'checkpoint-2', RUN_RECORD_FILE)));
});

test('the data and the examples of --eval_data are those of the run', async () => {
  const rows = at('rows.jsonl');
  await run('evaluated', `--max_steps 2 --eval_data ${rows} --query_instruction_for_retrieval q:`);
  const { data, retrieval, evaluations, memory } = recordOf('evaluated');
  const lines = fs.readFileSync(rows, 'utf8').trim().split('\n').length;
  assert.deepEqual([data.rows, data.dropped, data.looked_at, data.queries.texts], [lines, 0, lines, lines]);
  for (const lengths of [data.queries, data.passages]) {
    const { histogram, texts, tokens, kept_tokens: kept, cut, longest, limit } = lengths;
    assert.equal(
      histogram.count.reduce((sum, count) => sum + count, 0),
      texts,
    );
    assert.ok(cut > 0 && longest > limit && kept < tokens && kept <= texts * limit);
    assert.ok(histogram.up_to.at(-1)! >= longest && histogram.count.at(-1)! > 0);
  }
  const [{ query, passages }] = data.samples as [(typeof data.samples)[0]];
  assert.deepEqual(
    passages.map(({ positive }) => positive),
    [true, false, false],
  );
  assert.ok(
    query.tokens === 12 && query.length > 12 && query.text.startsWith('Given a question'),
    query.text,
  );
  assert.deepEqual(
    evaluations.map(({ step }) => step),
    [2],
  );
  assert.equal(retrieval!.passages, 6);
  assert.deepEqual([retrieval!.before!.step, retrieval!.after!.step], [0, 2]);
  for (const { before, after } of retrieval!.examples)
    for (const ranked of [before, after])
      for (const name of ['dense', 'sparse', 'colbert', 'hybrid'] as const)
        assert.ok(ranked!.ranks[name]! >= 1 && ranked!.ranks[name]! <= 6);
  assert.ok(memory.points.at(-1)!.peak <= memory.planned.peak);
});

test('a positive that others are level with is the first', async () => {
  const batch = {
    queries: ['a', 'b'],
    passages: ['a+', 'a-', 'b+', 'b-'],
    groupSize: 2,
    noInBatchNeg: false,
  };
  const data = { epoch: () => [batch].values() } as unknown as TrainingData;
  const examples = RetrievalBeforeAndAfter.of(data, async () => ({}) as RunBatch)!;
  const scores = new Map([['dense', new Float32Array(8)]]);
  await examples.rankBefore({ completed: 3, scoresOf: async () => scores } as unknown as TrainingRun);
  const { before, examples: told } = examples.result();
  assert.deepEqual(before, { step: 3, queries: 2, first: { dense: 1 }, mrr: { dense: 1 } });
  for (const example of told) assert.deepEqual(example.before, { ranks: { dense: 1 }, first: null });
});

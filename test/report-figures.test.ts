/** The numbers that a report works out of a record: what they are of records whose answers are known. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { courseSections } from '../src/report/course.js';
import { curveOf, MEASURES } from '../src/report/curves.js';
import { bestMetric, metricRows } from '../src/report/evaluations.js';
import { figure } from '../src/report/figure.js';
import { tokensOf } from '../src/report/headline.js';
import { lossCourse } from '../src/report/loss-course.js';
import type { EvaluationPoint, RunRecord, StepColumns } from '../src/run-record/record.js';
import { golden } from './repository.js';

const text = fs.readFileSync(golden('run-record.json'), 'utf8');
const record = (more: Partial<RunRecord> = {}): RunRecord => ({ ...JSON.parse(text), ...more });
const steps = (more: Partial<StepColumns>): StepColumns => ({ ...record().steps, ...more });

test('tokens are those of the steps that have a value, which a point may not all have', () => {
  const course = steps({
    ...{ from: 0, stride: 4, step: [4, 6] },
    tokens: { mean: [10, 30], count: [3, 2] },
    seconds: { mean: [2, 1] },
  });
  assert.deepEqual(tokensOf(record({ steps: course })), { tokens: 90, perSecond: 9 });
});

test('the speed at a step is that of the steps around it: one that seems to take no time is no peak', () => {
  const seconds = Array.from({ length: 20 }, (_, i) => (i === 9 ? 1.999 : i === 10 ? 0.001 : 1));
  const tokens = seconds.map(() => 100);
  const course = steps({
    ...{ from: 0, stride: 1, step: seconds.map((_, i) => i + 1) },
    ...{ tokens: { mean: tokens }, seconds: { mean: seconds } },
    tokens_per_second: { mean: seconds.map((time) => 100 / time) },
  });
  const speed = MEASURES.find(({ id }) => id === 'speed')!;
  const { values } = curveOf(record({ steps: course }), speed)!;
  assert.equal(values.length, 20);
  for (const value of values) assert.ok(value! > 85 && value! < 115, String(values));
});

test('the best of a loss is the least, of other metrics the greatest', () => {
  const evaluations = [3, 1, 2].map(
    (value, n): EvaluationPoint => ({
      step: n + 1,
      epoch: 0,
      metrics: { eval_loss: value, eval_dense_mrr: value },
    }),
  );
  const asked = (name: string) =>
    record({
      evaluations,
      settings: [{ name: 'metric_for_best_model', value: name, origin: 'flag', group: '' }],
    });
  assert.deepEqual([bestMetric(asked('loss'))!.value, bestMetric(asked('loss'))!.step], [1, 2]);
  assert.deepEqual([bestMetric(asked('dense_mrr'))!.value, bestMetric(asked('dense_mrr'))!.step], [3, 1]);
});

test('an axis may be logarithmic where values reach far; the table has the value of the point a step is in', () => {
  const drawn = (values: number[]) =>
    figure({ id: 'f', title: 'F', about: '', kind: 'number', log: null }, [
      { label: 'a', colour: 0, curve: { steps: [10, 20, 30], values, width: 1 } },
      { label: 'b', colour: 1, curve: { steps: [15, 30], values: [4, 7], width: 1 } },
    ]).html.toString();
  assert.match(drawn([1, 2, 50]), /logarithmic axis/);
  assert.doesNotMatch(drawn([1, 2, 9]), /logarithmic axis/);
  const rows = [...drawn([1, 2, 9]).matchAll(/<tr>([\s\S]*?)<\/tr>/g)].map(([, row]) =>
    [...row!.matchAll(/<t[dh][^>]*>([\s\S]*?)<\/t[dh]>/g)].map(([, cell]) =>
      cell!.replaceAll(/<[^>]*>/g, ''),
    ),
  );
  assert.deepEqual(rows.slice(1, 5), [
    ['10', '1', '4'],
    ['15', '2', '4'],
    ['20', '2', '7'],
    ['30', '9', '7'],
  ]);
});

test('gaps are explained where steps were skipped and each has a point', () => {
  const loss = (more: Partial<StepColumns>) =>
    String(courseSections(record({ steps: steps(more) }))[0]!.content);
  const { length } = record().steps.step;
  const skipped = Array.from({ length }, (_, n) => Number(n === 1));
  assert.match(loss({ stride: 1, skipped }), /Gaps: 1 step overflowed and was skipped/);
  assert.doesNotMatch(loss({ stride: 1, skipped: skipped.map(() => 0) }), /Gaps/);
  assert.doesNotMatch(loss({ stride: 2, skipped }), /Gaps/);
});

test('a comparison tells what was written beside the best, and counts nothing that was there before training', () => {
  const evaluations = [0.9, 0.7, 0.8, 0.6].map(
    (value, n): EvaluationPoint => ({ step: n, epoch: 0, metrics: { eval_dense_mrr: value } }),
  );
  const setting = (name: string, value: boolean | string) =>
    ({ name, value, origin: 'flag', group: '' }) as const;
  const chosen = [setting('load_best_model_at_end', true), setting('metric_for_best_model', 'dense_mrr')];
  const rows = (more: Partial<RunRecord>) =>
    metricRows([{ name: 'a', record: record({ evaluations, settings: [], plan: {}, ...more }) }]).map(
      ({ title, cells: [cell] }) =>
        `${title}: ${(typeof cell === 'object' ? String(cell.content) : cell)!.replaceAll(/<[^>]*>/g, '')}`,
    );
  const said = (last: string) => [
    'dense MRR, before training: 0.9000',
    `dense MRR, last: ${last}`,
    'dense MRR, best: 0.8000 step 2',
  ];
  assert.deepEqual(rows({}), said('0.6000 step 3'));
  assert.deepEqual(rows({ settings: chosen }), said('0.8000 step 2'));
  // Of the checkpoints alone, and only once it is written.
  assert.deepEqual(rows({ settings: chosen, plan: { save_steps: 3 } }), said('0.6000 step 3'));
  assert.deepEqual(rows({ settings: chosen, status: 'stopped' }), said('0.6000 step 3'));
  const untrained = { evaluations: evaluations.slice(0, 1) };
  assert.equal(bestMetric(record({ ...untrained, settings: [] })), undefined);
  assert.deepEqual(rows(untrained).slice(1), ['dense MRR, last: –', 'dense MRR, best: –']);
});

test('where the loss began and ended does not rest on the small last batch of an epoch, and the chart says why', () => {
  const course = (stride: number) =>
    record({
      steps: steps({
        ...{ stride, from: 0, step: [1, 2, 3, 4].map((n) => n * stride) },
        loss: { mean: [3, 2, 1, 0.04] },
        tokens: { mean: [400, 390, 410, 100] },
      }),
    });
  assert.deepEqual(lossCourse(course(1)), { first: 3, last: 1, tenths: false, small: 1 });
  assert.deepEqual(lossCourse(course(2)), { first: 3, last: 0.04, tenths: false, small: 0 });
  assert.match(String(courseSections(course(1))[0]!.content), /A smaller last batch of an epoch/);
});

/** Validation losses and retrieval metrics of evaluations during a run: curves, a table, the best. */
import { type Content, html } from '../html/markup.js';
import { type Cell, table } from '../html/table.js';
import type { EvaluationPoint, RunRecord } from '../run-record/record.js';
import { grouped, shortNumber } from './browser/numbers.js';
import type { NamedRun } from './course.js';
import { type Figure, type FigureCurve, figure } from './figure.js';
import { chartSection, type Section } from './section.js';

/** A metric's name in the log, in its parts: `eval_dense_ndcg@10` is nDCG@10 of the dense scores. */
interface MetricName {
  readonly name: string;
  /** `loss`, `ndcg@10`, … */
  readonly kind: string;
  /** The scores that are measured; empty: all together. */
  readonly scores: string;
}

function metricName(name: string): MetricName {
  const bare = name.replace(/^eval_/, '');
  const at = bare.indexOf('_');
  return at < 0
    ? { name, kind: bare, scores: '' }
    : { name, kind: bare.slice(at + 1), scores: bare.slice(0, at) };
}

const KIND_TITLES: Record<string, string> = { loss: 'Validation loss', ndcg: 'nDCG', mrr: 'MRR', map: 'MAP' };

function kindTitle(kind: string): string {
  const [word, cut] = kind.split('@');
  return `${KIND_TITLES[word!] ?? word}${cut === undefined ? '' : `@${cut}`}`;
}

/** Colours are those of the losses: one kind of scores has one colour in all charts of a page. */
const SCORES = ['', 'dense', 'sparse', 'colbert', 'hybrid', 'distillation'];

const lessIsBetter = ({ kind }: MetricName) => kind === 'loss';
/** `validation loss`, `dense validation loss`, `dense nDCG@10`. */
const titleOf = ({ kind, scores }: MetricName) =>
  `${scores} ${kind === 'loss' ? 'validation loss' : kindTitle(kind)}`.trim();

/** Metrics of these runs, losses first, those of one kind together. */
function metricsOf(records: readonly RunRecord[]): MetricName[] {
  const names = new Set(
    records.flatMap(({ evaluations }) => evaluations.flatMap(({ metrics }) => Object.keys(metrics))),
  );
  const all = [...names].map(metricName);
  const kinds = [...new Set(all.map(({ kind }) => kind))].sort(
    (a, b) => Number(b === 'loss') - Number(a === 'loss'),
  );
  return kinds.flatMap((kind) => all.filter((metric) => metric.kind === kind));
}

const metricOf = ({ metrics }: EvaluationPoint, name: string): number | null =>
  Object.hasOwn(metrics, name) ? metrics[name]! : null;

/** A metric's value at an evaluation. */
interface MetricPoint {
  readonly step: number;
  readonly value: number;
}

/** The values of a metric, those of the untrained model, which no run comes to, left out. */
function trainedPoints({ evaluations }: RunRecord, { name }: MetricName): MetricPoint[] {
  return evaluations.flatMap((point) => {
    const value = metricOf(point, name);
    return value === null || point.step === 0 ? [] : [{ step: point.step, value }];
  });
}

/** The first of the best, undefined where there is none. */
function bestPoint(points: readonly MetricPoint[], lessBetter: boolean): MetricPoint | undefined {
  let best: MetricPoint | undefined;
  for (const point of points)
    if (!best || (lessBetter ? point.value < best.value : point.value > best.value)) best = point;
  return best;
}

/** The evaluation after some training at which a metric was best, undefined where none has it. */
const bestOf = (record: RunRecord, metric: MetricName): MetricPoint | undefined =>
  bestPoint(trainedPoints(record, metric), lessIsBetter(metric));

const settingOf = ({ settings }: RunRecord, name: string) =>
  settings.find((setting) => setting.name === name)?.value;

/**
 * The step whose model a run came to: the newest that was evaluated, or of a finished run with
 * `--load_best_model_at_end` that of the best checkpoint, as the trainer chooses it (train/run/best.ts).
 */
function reachedStep(record: RunRecord, metrics: readonly MetricName[]): number | undefined {
  const last = record.evaluations.findLast(({ step }) => step > 0)?.step;
  if (record.status !== 'finished' || settingOf(record, 'load_best_model_at_end') !== true) return last;
  const asked = settingOf(record, 'metric_for_best_model') ?? 'loss';
  const chooses = metrics.find(({ name }) => name === asked || name === `eval_${asked}`);
  if (!chooses) return last;
  const every = record.plan['save_steps'];
  const saved = ({ step }: MetricPoint) =>
    typeof every !== 'number' || step % every === 0 || step === record.total_steps;
  const greater = settingOf(record, 'greater_is_better') ?? !lessIsBetter(chooses);
  return bestPoint(trainedPoints(record, chooses).filter(saved), greater !== true)?.step ?? last;
}

export interface BestMetric {
  readonly title: string;
  readonly value: number;
  readonly step: number;
  /** The first evaluation, that before training too. */
  readonly first: MetricPoint;
  /** As such values are written. */
  text(value: number): string;
}

/**
 * What a run is judged by: the metric that chooses its best checkpoint, else that of the scores which count most in
 * retrieval, else the validation loss. Undefined where nothing was evaluated.
 */
export function bestMetric(record: RunRecord): BestMetric | undefined {
  const metrics = metricsOf([record]);
  const asked = settingOf(record, 'metric_for_best_model');
  const isAsked = ({ name }: MetricName) => name === asked || name === `eval_${asked}`;
  const order = ['hybrid', 'dense', 'colbert', 'sparse'];
  const chosen =
    metrics.find(isAsked) ??
    metrics
      .filter((metric) => !lessIsBetter(metric) && order.includes(metric.scores))
      .sort((a, b) => order.indexOf(a.scores) - order.indexOf(b.scores))[0] ??
    metrics[0];
  const best = chosen && bestOf(record, chosen);
  const first = record.evaluations.find((point) => chosen && metricOf(point, chosen.name) !== null);
  if (!chosen || !best || !first) return undefined;
  return {
    ...{ title: titleOf(chosen), ...best },
    first: { value: metricOf(first, chosen.name)!, step: first.step },
    text: (value) => (lessIsBetter(chosen) ? shortNumber(Number(value.toPrecision(3))) : value.toFixed(3)),
  };
}

/** Evaluations whose table is open at once. */
const FEW_EVALUATIONS = 12;

export function evaluationSection(record: RunRecord): Section | undefined {
  const metrics = metricsOf([record]);
  if (metrics.length === 0) return undefined;
  const kinds = [...new Set(metrics.map(({ kind }) => kind))];
  const figures = kinds.flatMap((kind) =>
    metricFigure(
      kind,
      metrics
        .filter((metric) => metric.kind === kind)
        .map((metric) => ({
          record,
          metric,
          label: metric.scores === '' ? 'all' : metric.scores,
          colour: Math.max(0, SCORES.indexOf(metric.scores)),
        })),
    ),
  );
  const all = allEvaluations(record, metrics);
  return chartSection(
    'evaluation',
    'Validation',
    figures,
    record.evaluations.length > FEW_EVALUATIONS
      ? html`<details><summary>All ${record.evaluations.length} evaluations</summary>${all}</details>`
      : html`<h3>All evaluations</h3>${all}`,
  );
}

/** Each metric that these runs have, with a curve of each run. */
export function comparedEvaluations(runs: readonly NamedRun[]): Section | undefined {
  const metrics = metricsOf(runs.map(({ record }) => record));
  if (metrics.length === 0) return undefined;
  const figures = metrics.flatMap((metric) =>
    metricFigure(
      metric.name.replaceAll(/[^\w-]/g, '-'),
      runs.map(({ name, record }, i) => ({ record, metric, label: name, colour: i })),
      titleOf(metric),
    ),
  );
  return chartSection('evaluation', 'Validation', figures);
}

interface MetricCurve {
  readonly record: RunRecord;
  readonly metric: MetricName;
  readonly label: string;
  readonly colour: number;
}

/** `title`: of one metric of several runs; else the metrics of one kind of one run. */
function metricFigure(id: string, curves: readonly MetricCurve[], title?: string): Figure[] {
  const shown = curves.flatMap(({ record: { evaluations }, metric, label, colour }): FigureCurve[] => {
    const values = evaluations.map((point) => metricOf(point, metric.name));
    if (values.every((value) => value === null)) return [];
    return [{ label, colour, curve: { steps: evaluations.map(({ step }) => step), values, width: 1 } }];
  });
  if (shown.length === 0) return [];
  const loss = lessIsBetter(curves[0]!.metric);
  return [
    figure(
      {
        id: `evaluation-${id.replaceAll(/[^\w-]/g, '-')}`,
        title: capital(title ?? kindTitle(id)),
        about: loss ? 'Less is better.' : 'From 0 to 1, more is better.',
        kind: loss ? 'number' : 'share',
        log: null,
        marks: true,
        dashed: title !== undefined,
      },
      shown,
    ),
  ];
}

/** nDCG begins as it is. */
const capital = (title: string): string =>
  title.startsWith('nDCG') ? title : `${title[0]!.toUpperCase()}${title.slice(1)}`;

function allEvaluations(record: RunRecord, metrics: readonly MetricName[]): Content {
  const best = metrics.map((metric) => bestOf(record, metric)?.step);
  return table(
    [
      { title: 'step', number: true },
      { title: 'epoch', number: true },
      ...metrics.map((metric) => ({ title: titleOf(metric), number: true })),
    ],
    record.evaluations.map((point) => [
      point.step === 0 ? 'before training' : grouped(point.step),
      shortNumber(point.epoch),
      ...metrics.map((metric, i): Cell => {
        const value = metricOf(point, metric.name);
        return {
          content: value === null ? '–' : lessIsBetter(metric) ? shortNumber(value) : value.toFixed(4),
          looks: point.step === best[i] ? 'best' : '',
        };
      }),
    ]),
    'All evaluations',
  );
}

/**
 * Each metric that the runs have: before training where that was evaluated, of the model that a run came to, and its best
 * value after training; the best of all runs are marked.
 */
export function metricRows(runs: readonly NamedRun[]): { title: string; cells: (string | Cell)[] }[] {
  const metrics = metricsOf(runs.map(({ record }) => record));
  const reached = runs.map(({ record }) => reachedStep(record, metrics));
  return metrics.flatMap((metric) => {
    const before = runs.map(({ record }): MetricPoint | undefined => {
      const point = record.evaluations.find(({ step }) => step === 0);
      const value = point ? metricOf(point, metric.name) : null;
      return value === null ? undefined : { step: 0, value };
    });
    const last = runs.map(({ record }, i) =>
      trainedPoints(record, metric).find(({ step }) => step === reached[i]),
    );
    const best = runs.map(({ record }) => bestOf(record, metric));
    return [
      ...(before.some((point) => point) ? [metricRow('before training', metric, before)] : []),
      metricRow('last', metric, last),
      metricRow('best', metric, best),
    ];
  });
}

function metricRow(
  which: 'before training' | 'last' | 'best',
  metric: MetricName,
  points: readonly (MetricPoint | undefined)[],
): { title: string; cells: (string | Cell)[] } {
  const known = points.filter((point) => point !== undefined);
  const first = which === 'before training' ? undefined : bestPoint(known, lessIsBetter(metric));
  return {
    title: `${titleOf(metric)}, ${which}`,
    cells: points.map((point) => {
      if (!point) return '–';
      const value = lessIsBetter(metric) ? shortNumber(point.value) : point.value.toFixed(4);
      return {
        content:
          point.step === 0 ? value : html`${value} <span class="soft">step ${grouped(point.step)}</span>`,
        looks: known.length > 1 && point.value === first?.value ? 'best' : '',
      };
    }),
  };
}

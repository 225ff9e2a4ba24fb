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

/** The evaluation at which a metric was best, undefined where none has it. */
function bestOf({ evaluations }: RunRecord, metric: MetricName): { step: number; value: number } | undefined {
  let best: { step: number; value: number } | undefined;
  for (const point of evaluations) {
    const value = metricOf(point, metric.name);
    if (value !== null && (!best || (lessIsBetter(metric) ? value < best.value : value > best.value)))
      best = { step: point.step, value };
  }
  return best;
}

export interface BestMetric {
  readonly title: string;
  readonly value: number;
  readonly step: number;
  /** The first evaluation. */
  readonly first: { readonly value: number; readonly step: number };
  /** As such values are written. */
  text(value: number): string;
}

/**
 * What a run is judged by: the metric that chooses its best checkpoint, else that of the scores which count most in
 * retrieval, else the validation loss. Undefined where nothing was evaluated.
 */
export function bestMetric(record: RunRecord): BestMetric | undefined {
  const metrics = metricsOf([record]);
  const asked = record.settings.find(({ name }) => name === 'metric_for_best_model')?.value;
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
  if (!best || !first) return undefined;
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
      grouped(point.step),
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

/** The best value of each metric that the runs have, the best of all marked. */
export function bestMetricRows(runs: readonly NamedRun[]): { title: string; cells: (string | Cell)[] }[] {
  return metricsOf(runs.map(({ record }) => record)).map((metric) => {
    const found = runs.map(({ record }) => bestOf(record, metric));
    const values = found.flatMap((best) => (best ? [best.value] : []));
    const first = lessIsBetter(metric) ? Math.min(...values) : Math.max(...values);
    return {
      title: `best ${titleOf(metric)}`,
      cells: found.map((best) =>
        best === undefined
          ? '–'
          : {
              content: html`${lessIsBetter(metric) ? shortNumber(best.value) : best.value.toFixed(4)} <span class="soft">step ${grouped(best.step)}</span>`,
              looks: values.length > 1 && best.value === first ? 'best' : '',
            },
      ),
    };
  });
}

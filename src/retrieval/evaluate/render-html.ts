/** Results as one HTML file that needs nothing else: tables with bars, groups as a heat map, differences query by query. */
import { htmlDocument } from '../../html/document.js';
import { type Html, html } from '../../html/markup.js';
import { type Cell, type Column, table } from '../../html/table.js';
import { type Metric, metricName } from './metrics.js';
import { percent, pValue, shortName, signed } from './render-markdown.js';
import {
  type Comparison,
  type EvaluationReport,
  meanOf,
  type SystemResult,
  significanceNote,
  type TaskResult,
} from './results.js';

const PAGE_STYLE = `
td{vertical-align:middle}
td small{color:var(--soft);font-size:12px}
.best{font-weight:700}
.bar{height:4px;border-radius:2px;background:var(--line);margin-top:3px;min-width:72px}
.bar i{display:block;height:100%;border-radius:2px;background:var(--s0)}
svg{display:block;width:208px;height:48px}
svg .zero{stroke:var(--soft);stroke-width:1;vector-effect:non-scaling-stroke}
svg .good{fill:var(--good)}svg .bad{fill:var(--bad)}
ul{padding-left:18px;margin-top:40px;border-top:1px solid var(--line);padding-top:16px;color:var(--soft)}
`;

export function renderHtml(report: EvaluationReport): string {
  const note = significanceNote(report);
  const notes = [...report.notes, ...(note === undefined ? [] : [note])];
  const body = html`<h1>${report.title}</h1>
<p class="soft">Means times 100; the best of a column is bold.</p>
${report.tasks.map((task) => taskPart(report, task))}
${report.tasks.length > 1 && report.metrics.map((metric) => averagePart(report, metric))}
${notes.length > 0 && html`<ul>${notes.map((line) => html`<li>${line}</li>`)}</ul>`}`;
  return htmlDocument({ title: report.title, style: PAGE_STYLE, body });
}

function taskPart(report: EvaluationReport, task: TaskResult): Html {
  const { name, queries, documents, systems, comparisons } = task;
  const groups = systems[0]?.groups ?? [];
  const first = report.metrics[0];
  const means = metricTable(
    name,
    report.metrics.map(metricName),
    systems,
    systems.map((system) => report.metrics.map((metric) => meanOf(report, system, metric))),
  );
  return html`<h2>${name}</h2><p class="soft">${queries} queries${documents !== undefined && `, ${documents} documents`}</p>
${means}
${first && groups.length > 0 && groupTable(report, task, first)}
${comparisons.length > 0 && comparisonTable(comparisons)}
`;
}

function averagePart(report: EvaluationReport, metric: Metric): Html {
  const systems = report.tasks[0]!.systems;
  const rows = systems.map((_, s) => {
    const values = report.tasks.map((task) => meanOf(report, task.systems[s]!, metric));
    return [values.reduce((sum, value) => sum + value, 0) / values.length, ...values];
  });
  const title = `${metricName(metric)} over all`;
  return html`<h2>${title}</h2>${metricTable(title, ['average', ...report.tasks.map(({ name }) => name)], systems, rows)}\n`;
}

const MODEL: Column = { title: 'Model' };

function metricTable(
  label: string,
  headers: readonly string[],
  systems: readonly SystemResult[],
  rows: readonly (readonly number[])[],
): Html {
  const best = headers.map((_, c) => Math.max(...rows.map((values) => values[c]!)));
  const cell = (value: number, c: number): Cell => ({
    looks: rows.length > 1 && value === best[c] ? 'best' : '',
    content: html`${percent(value)}<div class="bar"><i style="width:${(100 * Math.min(1, Math.max(0, value))).toFixed(1)}%"></i></div>`,
  });
  return table(
    [MODEL, ...headers.map((title) => ({ title, number: true }))],
    rows.map((values, r) => [nameOf(systems[r]!), ...values.map(cell)]),
    label,
  );
}

function groupTable(report: EvaluationReport, { systems }: TaskResult, metric: Metric): Html {
  const groups = systems[0]!.groups;
  const rows = systems.map((system) => {
    const cells = groups.map(({ group }) => {
      const found = system.groups.find((each) => each.group === group);
      if (!found) return '–';
      const value = meanOf(report, found, metric);
      return { content: percent(value), heat: value };
    });
    return [nameOf(system), ...cells];
  });
  const columns = groups.map(({ group, queries }) => ({ title: `${group} (${queries})`, number: true }));
  const title = `${metricName(metric)} by group`;
  return html`<h3>${title}</h3>${table([MODEL, ...columns], rows, title)}`;
}

const COMPARISON_COLUMNS: readonly Column[] = [
  { title: 'Metric' },
  ...['A', 'B', 'B − A', 'p', 'p (t)', 'Queries (different)'].map((title) => ({ title, number: true })),
  { title: 'Each query’s difference' },
];

function comparisonTable(comparisons: readonly Comparison[]): Html {
  const rows = comparisons.map(({ metric, a, b, meanA, meanB, test, differences }) => [
    html`${metricName(metric)}<br><small>${shortName(a)} → ${shortName(b)}</small>`,
    percent(meanA),
    percent(meanB),
    {
      content: signed(test.difference),
      looks: test.difference > 0 ? 'good' : test.difference < 0 ? 'bad' : '',
    },
    pValue(test.randomisation),
    test.t === null ? '–' : pValue(test.t),
    `${test.pairs} (${test.different})`,
    differencesPicture(differences),
  ]);
  const title = 'Compared, query by query';
  return html`<h3>${title}</h3>${table(COMPARISON_COLUMNS, rows, title)}`;
}

/** Bars of the differences in descending order; of many queries so many as fit, each the mean of its neighbours. */
function differencesPicture(differences: Float64Array): Html | false {
  const most = 120;
  const count = Math.min(most, differences.length);
  if (count === 0) return false;
  const bars = Array.from({ length: count }, (_, i) => {
    const part = differences.subarray(
      Math.floor((i * differences.length) / count),
      Math.floor(((i + 1) * differences.length) / count),
    );
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  const scale = 48 / Math.max(1e-9, ...bars.map(Math.abs));
  const width = 200 / count;
  const shapes = bars.map((value, i) => {
    const height = Math.abs(value) * scale;
    const y = value > 0 ? 50 - height : 50;
    return height < 0.01
      ? false
      : html`<rect class="${value > 0 ? 'good' : 'bad'}" x="${(i * width).toFixed(2)}" y="${y.toFixed(2)}" width="${(width * 0.85).toFixed(2)}" height="${height.toFixed(2)}"/>`;
  });
  return html`<svg viewBox="0 0 200 100" preserveAspectRatio="none" role="img" aria-label="differences of the queries, greatest first">${shapes}<line class="zero" x1="0" y1="50" x2="200" y2="50"/></svg>`;
}

function nameOf({ system: { model, mode, reranker } }: SystemResult): Html {
  return html`${model} <small>${mode}${reranker !== 'NoReranker' && ` + ${reranker}`}</small>`;
}

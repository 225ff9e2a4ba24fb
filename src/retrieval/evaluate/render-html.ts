/** Results as one HTML file that needs nothing else: tables with bars, groups as a heat map, differences query by query. */
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

const STYLE = `
:root{color-scheme:light dark;--back:#fff;--text:#1c2126;--soft:#5d6872;--line:#dfe4e8;--row:#f5f7f9;--bar:#3d7dca;--heat:61,125,202;--up:#2b8a57;--down:#c2502e}
@media(prefers-color-scheme:dark){:root{--back:#15181b;--text:#e4e8eb;--soft:#98a3ad;--line:#2e343a;--row:#1c2024;--bar:#5b98de;--heat:91,152,222;--up:#55b583;--down:#e2815f}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:68rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.6rem;margin:0 0 .25rem;font-weight:650}
h2{font-size:1.2rem;margin:2.5rem 0 .25rem;font-weight:650}
h3{font-size:1rem;margin:1.75rem 0 .5rem;font-weight:650}
p,li{color:var(--soft);margin:.25rem 0}
ul{padding-left:1.1rem;margin-top:2.5rem;border-top:1px solid var(--line);padding-top:1rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;margin-top:.5rem}
th{font-weight:600;color:var(--soft);font-size:.85rem;border-bottom:1px solid var(--line);white-space:nowrap}
th,td{padding:.45rem .7rem;text-align:right;vertical-align:middle}
th.name,td.name{text-align:left}
td.name{white-space:nowrap}
td.name small{color:var(--soft);font-size:.85rem}
tbody tr{border-bottom:1px solid var(--line)}
tbody tr:hover{background:var(--row)}
.best{font-weight:700}
.bar{height:4px;border-radius:2px;background:var(--line);margin-top:.2rem;min-width:4.5rem}
.bar i{display:block;height:100%;border-radius:2px;background:var(--bar)}
.up{color:var(--up)}.down{color:var(--down)}
svg{display:block;width:13rem;height:3rem}
svg .zero{stroke:var(--soft);stroke-width:1;vector-effect:non-scaling-stroke}
svg .up{fill:var(--up)}svg .down{fill:var(--down)}
`;

export function renderHtml(report: EvaluationReport): string {
  const note = significanceNote(report);
  const notes = [...report.notes, ...(note === undefined ? [] : [note])];
  const body = [
    `<h1>${escaped(report.title)}</h1>`,
    '<p>Means times 100; the best of a column is bold.</p>',
    ...report.tasks.map((task) => taskPart(report, task)),
    ...(report.tasks.length > 1 ? report.metrics.map((metric) => averagePart(report, metric)) : []),
    notes.length > 0 ? `<ul>${notes.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul>` : '',
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escaped(report.title)}</title><style>${STYLE}</style></head>
<body><main>
${body.filter((part) => part !== '').join('\n')}
</main></body></html>
`;
}

function taskPart(report: EvaluationReport, task: TaskResult): string {
  const { systems, comparisons } = task;
  const groups = systems[0]?.groups ?? [];
  const first = report.metrics[0];
  return [
    `<h2>${escaped(task.name)}</h2><p>${task.queries} queries${task.documents === undefined ? '' : `, ${task.documents} documents`}</p>`,
    metricTable(
      report.metrics.map(metricName),
      systems,
      systems.map((system) => report.metrics.map((metric) => meanOf(report, system, metric))),
    ),
    first && groups.length > 0 ? groupTable(report, task, first) : '',
    comparisons.length > 0 ? comparisonTable(comparisons) : '',
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function averagePart(report: EvaluationReport, metric: Metric): string {
  const systems = report.tasks[0]!.systems;
  const rows = systems.map((_, s) => {
    const values = report.tasks.map((task) => meanOf(report, task.systems[s]!, metric));
    return [values.reduce((sum, value) => sum + value, 0) / values.length, ...values];
  });
  return `<h2>${escaped(metricName(metric))} over all</h2>${metricTable(['average', ...report.tasks.map(({ name }) => name)], systems, rows)}`;
}

function metricTable(
  headers: readonly string[],
  systems: readonly SystemResult[],
  rows: readonly (readonly number[])[],
): string {
  const best = headers.map((_, c) => Math.max(...rows.map((values) => values[c]!)));
  const cells = (values: readonly number[]) =>
    values
      .map((value, c) => {
        const name = rows.length > 1 && value === best[c] ? ' class="best"' : '';
        return `<td${name}>${percent(value)}<div class="bar"><i style="width:${(100 * Math.min(1, Math.max(0, value))).toFixed(1)}%"></i></div></td>`;
      })
      .join('');
  return table(
    `<th class="name">Model</th>${headers.map((header) => `<th>${escaped(header)}</th>`).join('')}`,
    rows.map((values, r) => nameCell(systems[r]!) + cells(values)),
  );
}

function groupTable(report: EvaluationReport, { systems }: TaskResult, metric: Metric): string {
  const groups = systems[0]!.groups;
  const shade = (value: number) =>
    `background:rgba(var(--heat),${(0.04 + 0.5 * Math.min(1, Math.max(0, value))).toFixed(3)})`;
  const rows = systems.map((system) => {
    const cells = groups.map(({ group }) => {
      const found = system.groups.find((each) => each.group === group);
      if (!found) return '<td>–</td>';
      const value = meanOf(report, found, metric);
      return `<td style="${shade(value)}">${percent(value)}</td>`;
    });
    return nameCell(system) + cells.join('');
  });
  const headers = groups.map(({ group, queries }) => `<th>${escaped(group)} (${queries})</th>`);
  return `<h3>${escaped(metricName(metric))} by group</h3>${table(`<th class="name">Model</th>${headers.join('')}`, rows)}`;
}

function comparisonTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ metric, a, b, meanA, meanB, test, differences }) => {
    const side = test.difference > 0 ? 'up' : test.difference < 0 ? 'down' : '';
    return [
      `<td class="name">${escaped(metricName(metric))}<br><small>${escaped(shortName(a))} → ${escaped(shortName(b))}</small></td>`,
      `<td>${percent(meanA)}</td><td>${percent(meanB)}</td><td class="${side}">${signed(test.difference)}</td>`,
      `<td>${pValue(test.randomisation)}</td><td>${test.t === null ? '–' : pValue(test.t)}</td>`,
      `<td>${test.pairs} (${test.different})</td><td>${differencesPicture(differences)}</td>`,
    ].join('');
  });
  return `<h3>Compared, query by query</h3>${table('<th class="name">Metric</th><th>A</th><th>B</th><th>B − A</th><th>p</th><th>p (t)</th><th>Queries (different)</th><th class="name">Each query’s difference</th>', rows)}`;
}

/** Bars of the differences in descending order; of many queries so many as fit, each the mean of its neighbours. */
function differencesPicture(differences: Float64Array): string {
  const most = 120;
  const count = Math.min(most, differences.length);
  if (count === 0) return '';
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
      ? ''
      : `<rect class="${value > 0 ? 'up' : 'down'}" x="${(i * width).toFixed(2)}" y="${y.toFixed(2)}" width="${(width * 0.85).toFixed(2)}" height="${height.toFixed(2)}"/>`;
  });
  return `<svg viewBox="0 0 200 100" preserveAspectRatio="none" role="img" aria-label="differences of the queries, greatest first">${shapes.join('')}<line class="zero" x1="0" y1="50" x2="200" y2="50"/></svg>`;
}

function nameCell({ system: { model, mode, reranker } }: SystemResult): string {
  const more = reranker === 'NoReranker' ? '' : ` + ${escaped(reranker)}`;
  return `<td class="name">${escaped(model)} <small>${escaped(mode)}${more}</small></td>`;
}

function table(headers: string, rows: readonly string[]): string {
  return `<div class="wide"><table><thead><tr>${headers}</tr></thead><tbody>${rows.map((row) => `<tr>${row}</tr>`).join('\n')}</tbody></table></div>`;
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);

/** A page of its own: one file of HTML with its style inside, no script, nothing fetched; light or dark as the reader has it. */
import { escaped, SERIES_COLOURS } from './chart.js';
import type { Machine } from './machine.js';

export interface Section {
  readonly title: string;
  readonly summary: string;
  /** Names of the series, with what is said of each. */
  readonly legend: readonly { readonly name: string; readonly why: string }[];
  /** SVG. */
  readonly charts: readonly string[];
}

export interface Table {
  readonly columns: readonly { readonly title: string; readonly number: boolean }[];
  readonly rows: readonly (readonly string[])[];
}

const LIGHT = [
  '#2b6cd4',
  '#d4761c',
  '#1f8f66',
  '#a8439a',
  '#8a6a2f',
  '#55708c',
  '#c2445e',
  '#3d9fb8',
  '#7b5fc4',
];
const DARK = [
  '#6ea3f5',
  '#f0a050',
  '#4cc495',
  '#d983cd',
  '#c9a765',
  '#94adc8',
  '#ee8398',
  '#6cc9df',
  '#ab94ec',
];

const colours = (palette: readonly string[]): string =>
  palette.map((colour, i) => `--s${i}:${colour}`).join(';');

const series = Array.from(
  { length: SERIES_COLOURS },
  (_, i) => `.s${i}{fill:var(--s${i});background:var(--s${i})}`,
).join('');

const STYLE = `
:root{color-scheme:light dark;--ground:#fff;--panel:#f6f7f9;--ink:#1b2026;--soft:#5a6572;--line:#d9dee4;--limit:#c22f3c;${colours(LIGHT)}}
@media (prefers-color-scheme:dark){:root{--ground:#14171b;--panel:#1c2126;--ink:#e7eaee;--soft:#9aa6b2;--line:#333b44;--limit:#ff7a85;${colours(DARK)}}}
*{box-sizing:border-box}
body{margin:0 auto;padding:28px 24px 60px;max-width:1180px;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 2px}p{margin:4px 0 10px}
.soft{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:14px 0 10px;padding:12px 16px;background:var(--panel);border-radius:8px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
ul.legend{list-style:none;margin:8px 0;padding:0;font-size:14px}
ul.legend li{display:grid;grid-template-columns:14px max-content 1fr;gap:0 10px;align-items:baseline;margin:2px 0}
ul.legend i{width:12px;height:12px;border-radius:3px;align-self:start;margin-top:5px}
ul.legend b{font-weight:600}
i.limit{width:0!important;border-left:2px dashed var(--limit);justify-self:center;border-radius:0!important;height:14px!important;margin-top:4px!important}
.scroll{overflow-x:auto;max-width:100%}
svg{display:block;width:100%;min-width:720px;height:auto;margin:8px 0 4px}
svg text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
svg .variant,svg .axis{fill:var(--soft)}
svg .grid{stroke:var(--line);stroke-width:1;fill:none}
svg .limit{stroke:var(--limit);stroke-width:2;stroke-dasharray:4 3;fill:none}
svg .whisker{stroke:var(--ink);stroke-width:1.2;fill:none;opacity:.75}
${series}
table{border-collapse:collapse;width:100%;font-size:12.5px;font-variant-numeric:tabular-nums}
th,td{padding:4px 7px;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}
td.n,th.n{text-align:right}
tbody tr:hover{background:var(--panel)}
@media (max-width:700px){body{padding:20px 14px 40px}dl{grid-template-columns:1fr}dd{margin-bottom:6px}ul.legend li{grid-template-columns:14px 1fr}ul.legend span{grid-column:2}}
@media print{body{max-width:none}.scroll{overflow:visible}}
`;

export function page(
  title: string,
  machine: Machine,
  facts: readonly (readonly [name: string, value: string])[],
  sections: readonly Section[],
  table: Table,
): string {
  const all: (readonly [string, string])[] = [
    ['adapter', `${machine.adapter}${machine.software ? ' (computes on the CPU)' : ''}`],
    ['driver', machine.driver],
    ['CPU', `${machine.cores} × ${machine.cpu}`],
    [
      'versions',
      `dawntune ${machine.versions.dawntune}, webgpu ${machine.versions.webgpu}, Node ${machine.versions.node}`,
    ],
    ['date', machine.date.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')],
    ...facts,
  ];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p class="soft">Every result was checked against its reference before it was timed. Bars: medians, with a whisker from quartile to quartile.</p>
<dl>${all.map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`).join('')}</dl>
${sections.map(sectionOf).join('\n')}
<h2>All rows</h2>
<div class="scroll">${tableOf(table)}</div>
</body>
</html>
`;
}

function sectionOf({ title, summary, legend, charts }: Section): string {
  const items = legend.map(
    ({ name, why }, i) =>
      `<li><i class="s${i % SERIES_COLOURS}"></i><b>${escaped(name)}</b><span class="soft">${escaped(why)}</span></li>`,
  );
  if (charts.some((chart) => chart.includes('class="limit"')))
    items.push(
      '<li><i class="limit"></i><b>roofline</b><span class="soft">what the measured peaks of this adapter allow</span></li>',
    );
  return `<section><h2>${escaped(title)}</h2><p class="soft">${escaped(summary)}</p><ul class="legend">${items.join('')}</ul>${charts.map((chart) => `<div class="scroll">${chart}</div>`).join('')}</section>`;
}

function tableOf({ columns, rows }: Table): string {
  const kind = (i: number) => (columns[i]!.number ? ' class="n"' : '');
  const head = columns.map(({ title }, i) => `<th${kind(i)}>${escaped(title)}</th>`).join('');
  const body = rows.map(
    (row) => `<tr>${row.map((cell, i) => `<td${kind(i)}>${escaped(cell)}</td>`).join('')}</tr>`,
  );
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table>`;
}

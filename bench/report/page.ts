/** The page of a benchmark: what ran where, a section of charts for each family, all rows. */
import { htmlDocument } from '../../src/html/document.js';
import { type Html, html } from '../../src/html/markup.js';
import { SERIES_COLOURS } from '../../src/html/style.js';
import { table } from '../../src/html/table.js';
import { CHART_STYLE } from './chart.js';
import type { Machine } from './machine.js';

export interface Section {
  readonly title: string;
  readonly summary: string;
  /** Names of the series, with what is said of each. */
  readonly legend: readonly { readonly name: string; readonly why: string }[];
  readonly charts: readonly Html[];
}

export interface Table {
  readonly columns: readonly { readonly title: string; readonly number: boolean }[];
  readonly rows: readonly (readonly string[])[];
}

const PAGE_STYLE = `
ul.legend{list-style:none;margin:8px 0;padding:0;font-size:14px}
ul.legend li{display:grid;grid-template-columns:14px max-content 1fr;gap:0 10px;align-items:baseline;margin:2px 0}
ul.legend i{width:12px;height:12px;border-radius:3px;align-self:start;margin-top:5px}
ul.legend b{font-weight:600}
i.limit{width:0!important;border-left:2px dashed var(--bad);justify-self:center;border-radius:0!important;height:14px!important;margin-top:4px!important}
nav ul{columns:150px;list-style:none;margin:14px 0;padding:10px 0;border-block:1px solid var(--line);font-size:14px}
a{color:var(--s0)}
html{scroll-padding-top:12px}
:focus-visible{outline:2px solid var(--s0);outline-offset:2px;border-radius:4px}
@media (max-width:700px){ul.legend li{grid-template-columns:14px 1fr}ul.legend span{grid-column:2}}
`;

/** No family is called so. */
const ALL_ROWS = 'all-rows';

export function page(
  title: string,
  machine: Machine,
  facts: readonly (readonly [name: string, value: string])[],
  sections: readonly Section[],
  { columns, rows }: Table,
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
  const body = html`<h1>${title}</h1>
<p class="soft">Every result was checked against its reference before it was timed. Bars: rates by the median time, with a whisker from quartile to quartile; the longer the faster.</p>
<dl>${all.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
<nav aria-label="Sections"><ul>${[...sections.map(({ title }) => [title, title]), [ALL_ROWS, 'All rows']].map(([id, name]) => html`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
<main>
${sections.map((section) => html`${sectionOf(section)}\n`)}
<h2 id="${ALL_ROWS}">All rows</h2>
${table(columns, rows, 'All rows')}
</main>`;
  return htmlDocument({ title, style: CHART_STYLE + PAGE_STYLE, body });
}

function sectionOf({ title, summary, legend, charts }: Section): Html {
  const items = legend.map(
    ({ name, why }, i) =>
      html`<li><i class="s${i % SERIES_COLOURS}"></i><b>${name}</b><span class="soft">${why}</span></li>`,
  );
  if (charts.some(({ markup }) => markup.includes('class="limit"')))
    items.push(
      html`<li><i class="limit"></i><b>roofline</b><span class="soft">what the measured peaks of this adapter allow</span></li>`,
    );
  return html`<section aria-labelledby="${title}"><h2 id="${title}">${title}</h2><p class="soft">${summary}</p><ul class="legend">${items}</ul>${charts}</section>`;
}

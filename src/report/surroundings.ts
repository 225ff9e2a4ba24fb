/** Where a run took place, how its model is used, and what the run told. */

import { html } from '../html/markup.js';
import type { RunRecord } from '../run-record/record.js';
import { formatBytes } from '../show.js';
import { countNumber, grouped, shortNumber } from './browser/numbers.js';
import { counted } from './numbers.js';
import { facts, type Section } from './section.js';

export function environmentSection({ environment, plan }: RunRecord): Section {
  const { adapter, ranks } = environment;
  const abilities = [
    adapter.software && 'computes on the CPU',
    adapter.f16 ? 'f16' : 'no f16',
    adapter.subgroups ? 'subgroups' : 'no subgroups',
    adapter.matrix_units && 'matrix units',
  ].filter(Boolean);
  const planned = Object.entries(plan);
  const content = html`${facts([
    ['adapter', html`<bdi>${adapter.name}</bdi> <span class="soft">${abilities.join(', ')}</span>`],
    ['driver', html`<bdi>${adapter.driver}</bdi>`],
    [
      'processor',
      html`${environment.cores} × <bdi>${environment.processor}</bdi>, ${formatBytes(environment.memory)} of memory`,
    ],
    ['system', environment.platform],
    [
      'versions',
      `dawntune ${environment.dawntune}, Dawn (webgpu) ${environment.dawn}, Node ${environment.node}`,
    ],
    ['processes', counted(ranks, 'rank')],
  ])}
${planned.length > 0 && html`<details><summary>What the run was planned to be</summary>${facts(planned.map(([name, value]) => [name.replaceAll('_', ' '), typeof value === 'number' ? plainNumber(value) : value]))}</details>`}`;
  return { id: 'environment', title: 'Environment', content };
}

const plainNumber = (value: number): string =>
  Number.isInteger(value) ? grouped(value) : shortNumber(value);

export function modelSection({ model, status }: RunRecord): Section {
  // The folder of a run that has not ended as it should may hold no model yet, or that of a run before it.
  const unfinished =
    status !== 'finished' &&
    html`<p>The model is written into this folder at the end of the run, which was not reached when this page was written. Until then each <code>checkpoint-N</code> in it is a model, and loads as is said below.</p>\n`;
  const content = html`${unfinished}${facts([
    ['folder', html`<bdi>${model.folder}</bdi>`],
    ['trained from', html`<bdi>${model.base}</bdi>`],
    [
      'parameters',
      html`${grouped(model.parameters)}${model.trained_parameters !== model.parameters && `, ${grouped(model.trained_parameters)} of them trained`}`,
    ],
    [
      'size',
      `${counted(model.layers, 'layer')} of width ${grouped(model.hidden_size)}, ColBERT vectors of ${grouped(model.colbert_dim)}, ${countNumber(model.vocabulary)} tokens in the vocabulary`,
    ],
    ['longest text', `${grouped(model.max_length)} tokens`],
  ])}
${model.use.map(({ title, language, code }) => html`<h3>${title}</h3><pre class="code" tabindex="0" data-language="${language}"><code>${code}</code></pre>\n`)}`;
  return { id: 'model', title: 'Use the model', content };
}

/** Notices that are shown at once. */
const FEW_NOTICES = 20;

export function noticesSection({ notices }: RunRecord): Section | undefined {
  if (notices.length === 0) return undefined;
  const items = notices.map((line) => html`<li><bdi>${line}</bdi></li>`);
  const rest = items.slice(FEW_NOTICES);
  const content = html`<ul class="notices">${items.slice(0, FEW_NOTICES)}</ul>
${rest.length > 0 && html`<details><summary>${counted(rest.length, 'more notice')}</summary><ul class="notices">${rest}</ul></details>`}`;
  return { id: 'notices', title: 'Notices', content };
}

/** What the model finds before training and after: shares over a batch of validation queries, and a few of them. */
import { type Content, type Html, html } from '../html/markup.js';
import { type Cell, type Row, table } from '../html/table.js';
import { type Ranks, type RetrievalExamples, type RunRecord, SCORE_NAMES } from '../run-record/record.js';
import { grouped } from './browser/numbers.js';
import { dataText } from './data.js';
import { counted } from './numbers.js';
import type { Section } from './section.js';

export function retrievalSection({ retrieval }: RunRecord): Section | undefined {
  if (!retrieval || (!retrieval.before && !retrieval.after && retrieval.examples.length === 0))
    return undefined;
  const { passages, before, after, examples } = retrieval;
  const queries = (after ?? before)?.queries;
  const content = html`<p class="soft">${queries !== undefined && `${counted(queries, 'query', 'queries')} of the validation rows, each ranked among ${counted(passages, 'passage')}. `}${after ? '' : 'What it finds after training is asked when the run has come to its end.'}</p>
${(before || after) && summaryTable(retrieval)}
${examples.length > 0 && html`<h3>Examples</h3><div class="samples">${examples.map((example) => exampleCard(example))}</div>`}`;
  return { id: 'retrieval', title: 'Retrieval before and after', content };
}

const present = (ranks: readonly (Ranks | undefined)[]) =>
  SCORE_NAMES.filter((name) => ranks.some((each) => each?.[name] !== undefined));

function summaryTable({ before, after }: RetrievalExamples): Html {
  const rows = present([before?.first, after?.first, before?.mrr, after?.mrr]).map((name): Row => {
    const pair = (from: number | undefined, to: number | undefined): (string | Cell)[] => [
      from === undefined ? '–' : from.toFixed(3),
      to === undefined
        ? '–'
        : {
            content: to.toFixed(3),
            looks: from === undefined || to === from ? '' : to > from ? 'good' : 'bad',
          },
    ];
    return [
      name,
      ...pair(before?.first[name], after?.first[name]),
      ...pair(before?.mrr[name], after?.mrr[name]),
    ];
  });
  const steps = (summary: { readonly step: number } | null, what: string) =>
    summary ? html`${what} <small>step ${grouped(summary.step)}</small>` : what;
  return table(
    [
      { title: 'scores' },
      { title: steps(before, 'positive first, before'), number: true },
      { title: steps(after, 'after'), number: true },
      { title: steps(before, 'MRR, before'), number: true },
      { title: steps(after, 'after'), number: true },
    ],
    rows,
    'Retrieval before and after training',
  );
}

function exampleCard({ query, positive, before, after }: RetrievalExamples['examples'][number]): Html {
  const names = present([before?.ranks, after?.ranks]);
  const ranks = names.map((name) => {
    const from = before?.ranks[name];
    const to = after?.ranks[name];
    const looks = from === undefined || to === undefined || from === to ? '' : to < from ? 'good' : 'bad';
    return html`<li>${name} <b class="${looks}">${place(from)} → ${place(to)}</b></li>`;
  });
  return html`<article class="card"><p class="query">${dataText(query)}</p>
<dl class="texts"><dt>positive</dt><dd>${dataText(positive)}</dd>${firstRow('first before', before)}${firstRow('first after', after)}</dl>
<p class="soft">place of the positive, before → after</p><ul class="ranks">${ranks}</ul></article>
`;
}

function firstRow(title: string, ranked: { readonly first: string | null } | null): Content {
  if (!ranked) return null;
  return html`<dt>${title}</dt><dd>${ranked.first === null ? html`<span class="good">the positive</span>` : dataText(ranked.first)}</dd>`;
}

const place = (rank: number | undefined): string => (rank === undefined ? '–' : grouped(rank));

/** What was trained on: files, how long texts are and how much of them was cut, rows as the model saw them. */
import { type Html, html } from '../html/markup.js';
import { table } from '../html/table.js';
import type { DataFile, RunRecord, SampleRow, SampleText, TextLengths } from '../run-record/record.js';
import { grouped, shortNumber } from './browser/numbers.js';
import { counted, percentOf } from './numbers.js';
import { facts, type Section } from './section.js';

export function dataSection({ data }: RunRecord): Section {
  const { files, rows, dropped, looked_at: lookedAt, evaluation, queries, passages, samples } = data;
  const content = html`${facts([
    ['training rows', `${grouped(rows)}${dropped > 0 ? `, and ${grouped(dropped)} that take no part` : ''}`],
    ['files', fileList(files)],
    lookedAt < rows && ['rows whose texts were measured', `${grouped(lookedAt)}, drawn at random`],
    evaluation && ['validation rows', grouped(evaluation.rows)],
    evaluation && ['validation files', fileList(evaluation.files)],
  ])}
<div class="figures">${lengthFigure('queries', queries)}
${lengthFigure('passages', passages)}</div>
${
  samples.length > 0 &&
  html`<h3>Rows as the model saw them</h3>
<p class="soft">Read back from their tokens: prompts in place, the end cut where a text was too long.</p>
<div class="samples">${samples.map(sampleCard)}</div>`
}`;
  return { id: 'data', title: 'Data', content };
}

const MOST_FILES = 12;

function fileList(files: readonly DataFile[]): Html {
  const shown = files
    .slice(0, MOST_FILES)
    .map(
      ({ path, rows }) => html`<li><bdi>${path}</bdi> <span class="soft">${counted(rows, 'row')}</span></li>`,
    );
  const more = files.length - shown.length;
  return html`<ul class="plain">${shown}${more > 0 && html`<li class="soft">and ${counted(more, 'more file')}</li>`}</ul>`;
}

/** Bars of a histogram that fit beside each other on a narrow screen. */
const MOST_BARS = 40;

/** Bars by length, those beyond the limit in another colour: of these texts the end was cut. */
function lengthFigure(what: string, lengths: TextLengths): Html {
  const { limit, texts, tokens, kept_tokens: kept, cut, longest } = lengths;
  const about =
    texts === 0
      ? 'No text was read yet.'
      : `${counted(texts, 'text')}, ${shortNumber(tokens / texts)} tokens on average, the longest ${grouped(longest)}. ${
          cut === 0
            ? `None is above the limit of ${grouped(limit)}.`
            : `${grouped(cut)} (${percentOf(cut, texts)}) are above the limit of ${grouped(limit)} and lost ${percentOf(tokens - kept, tokens)} of all tokens.`
        }`;
  const bars = barsOf(lengths);
  const most = Math.max(1, ...bars.map(({ count }) => count));
  const shapes = bars.map(({ from, upTo, count }) => {
    const range = from === upTo ? `${grouped(upTo)} tokens` : `${grouped(from)} to ${grouped(upTo)} tokens`;
    const height = count === 0 ? 0 : Math.max(1, (100 * count) / most);
    return html`<i class="${from > limit ? 's1' : 's0'}" style="height:${height.toFixed(1)}%" title="${range}: ${counted(count, 'text')}"></i>`;
  });
  return html`<figure><figcaption><h3>Length of ${what}</h3><p class="soft">${about}</p></figcaption>
${
  bars.length > 0 &&
  html`<div class="histogram" role="img" aria-label="Texts by length, from ${grouped(bars[0]!.from)} to ${grouped(bars.at(-1)!.upTo)} tokens">${shapes}</div>
<div class="histogram-axis soft"><span>${grouped(bars[0]!.from)}</span><span>${grouped(bars.at(-1)!.upTo)} tokens</span></div>
<ul class="legend"><li><i class="s0"></i> whole</li>${cut > 0 && html`<li><i class="s1"></i> cut at ${grouped(limit)}</li>`}<li class="soft">highest bar: ${counted(most, 'text')}</li></ul>
<details><summary>As a table</summary>${barTable(what, bars)}</details>`
}</figure>`;
}

interface LengthBar {
  readonly from: number;
  readonly upTo: number;
  readonly count: number;
}

const barTable = (what: string, bars: readonly LengthBar[]): Html =>
  table(
    [
      { title: 'tokens', number: true },
      { title: 'texts', number: true },
    ],
    bars
      .filter(({ count }) => count > 0)
      .map(({ from, upTo, count }) => [
        from === upTo ? grouped(upTo) : `${grouped(from)} – ${grouped(upTo)}`,
        grouped(count),
      ]),
    `Length of ${what}, as a table`,
  );

/** Without the empty bars at both ends; neighbours are added up where there are too many. */
function barsOf({ histogram: { up_to: upTo, count } }: TextLengths): LengthBar[] {
  const all = count.map((each, i) => ({ from: (upTo[i - 1] ?? 0) + 1, upTo: upTo[i]!, count: each }));
  const first = all.findIndex((bar) => bar.count > 0);
  if (first < 0) return [];
  const bars = all.slice(first, all.findLastIndex((bar) => bar.count > 0) + 1);
  const together = Math.ceil(bars.length / MOST_BARS);
  return Array.from({ length: Math.ceil(bars.length / together) }, (_, i) => {
    const own = bars.slice(i * together, (i + 1) * together);
    return {
      from: own[0]!.from,
      upTo: own.at(-1)!.upTo,
      count: own.reduce((sum, bar) => sum + bar.count, 0),
    };
  });
}

/** Passages of a row that are shown at once. */
const FEW_PASSAGES = 4;

function sampleCard({ place, query, passages }: SampleRow): Html {
  const items = passages.map(
    (passage) =>
      html`<li>${mark(passage.positive)} ${sampleText(passage)}${passage.teacher_score !== undefined && html` <span class="soft">· teacher ${shortNumber(passage.teacher_score)}</span>`}</li>`,
  );
  const rest = items.slice(FEW_PASSAGES);
  return html`<article class="card"><p class="soft"><bdi>${place}</bdi></p>
<p class="query">${sampleText(query)}</p>
<ul class="plain">${items.slice(0, FEW_PASSAGES)}</ul>
${rest.length > 0 && html`<details><summary>${counted(rest.length, 'more passage')}</summary><ul class="plain">${rest}</ul></details>`}</article>
`;
}

const mark = (positive: boolean): Html =>
  positive
    ? html`<span class="good" title="positive">+<span class="unseen"> positive</span></span>`
    : html`<span class="bad" title="negative">−<span class="unseen"> negative</span></span>`;

/** Texts are shown whole up to so many characters. */
const LONGEST_TEXT = 1200;

/** A text of people's data: its own direction, its own line ends, a bounded length. */
export function dataText(text: string): Html {
  if (text.length <= LONGEST_TEXT) return html`<bdi class="text" dir="auto">${text}</bdi>`;
  const cut = text.slice(0, LONGEST_TEXT).replace(/[\ud800-\udbff]$/, '');
  return html`<bdi class="text" dir="auto">${cut}…</bdi> <span class="soft">${counted(text.length - cut.length, 'more character')}</span>`;
}

function sampleText({ text, tokens, length }: SampleText): Html {
  const cut = length > tokens;
  return html`${dataText(text)} <span class="soft">${counted(tokens, 'token')}</span>${cut && html` <span class="cut">· cut from ${grouped(length)}</span>`}`;
}

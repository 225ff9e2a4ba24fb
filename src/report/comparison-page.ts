/** Several runs over one another: final figures, curves, and the settings in which they differ. */
import { html } from '../html/markup.js';
import { SERIES_COLOURS } from '../html/style.js';
import { type Row, table } from '../html/table.js';
import { countNumber, grouped, shortNumber } from './browser/numbers.js';
import { comparedCourses, type NamedRun } from './course.js';
import { comparedEvaluations, metricRows } from './evaluations.js';
import { secondsOf, statusBadge, tokensOf } from './headline.js';
import { lossCourse } from './loss-course.js';
import { comparedMemory } from './memory.js';
import { duration, moment } from './numbers.js';
import { runName, runTitle, shortNames } from './run-names.js';
import { reportPage } from './run-page.js';
import type { Section } from './section.js';
import { differingSettings } from './settings.js';

/** @param given two or more, by names that differ. @returns the text of the page. */
export function comparisonPage(given: readonly NamedRun[]): string {
  const names = shortNames(given.map(({ name }) => name));
  const runs = given.map(({ record }, i) => ({ name: names[i]!, record }));
  // Here alone the names stand whole.
  const list = given.map(
    ({ name, record }, i) =>
      html`<li><i class="s${i % SERIES_COLOURS}"></i>${runName(name)} ${statusBadge(record)} <span class="soft">${moment(record.updated)}</span>${record.reason !== null && html` <span class="soft"><bdi>${record.reason}</bdi></span>`}</li>`,
  );
  const head = html`<header><p class="crumb soft">dawntune · comparison of runs</p><h1>${runs.length} runs</h1><ul class="runs">${list}</ul></header>`;
  return reportPage(`Comparison of ${runs.length} runs`, head, [
    finalFigures(runs),
    differingSettings(runs),
    ...comparedCourses(runs),
    comparedEvaluations(runs),
    comparedMemory(runs),
  ]);
}

function finalFigures(runs: readonly NamedRun[]): Section {
  const row = (title: string, value: (run: NamedRun) => string | undefined): Row => [
    title,
    ...runs.map((run) => value(run) ?? '–'),
  ];
  const metrics = metricRows(runs);
  const losses = runs.map(({ record }) => lossCourse(record));
  const notes = [
    'First and last loss: means of the first and last tenth of the steps; of fewer than 20, the first and the last step.',
    ...(losses.some((loss) => loss && loss.small > 0)
      ? [
          'Steps with less than two thirds of the usual tokens, such as the last of an epoch, are left out: fewer negatives make their losses smaller.',
        ]
      : []),
    ...(metrics.length > 0
      ? [
          'Last: the newest evaluation; of a finished run with --load_best_model_at_end that of the checkpoint whose model was written. Best: of the evaluations after step 0.',
        ]
      : []),
  ].join(' ');
  const rows: Row[] = [
    row('steps', ({ record }) => `${grouped(record.step)} of ${grouped(record.total_steps)}`),
    ['first loss', ...losses.map((loss) => number(loss?.first) ?? '–')],
    ['last loss', ...losses.map((loss) => number(loss?.last) ?? '–')],
    ...metrics.map(({ title, cells }): Row => [title, ...cells]),
    row('time', ({ record }) => duration(secondsOf(record))),
    row('tokens per second', ({ record }) => {
      const { perSecond } = tokensOf(record);
      return perSecond === undefined ? undefined : countNumber(perSecond);
    }),
    row('tokens', ({ record }) => countNumber(tokensOf(record).tokens)),
    row('parameters', ({ record }) => countNumber(record.model.parameters)),
    row('adapter', ({ record }) => record.environment.adapter.name),
    row('dawntune', ({ record }) => record.environment.dawntune),
  ];
  return {
    id: 'figures',
    title: 'Final figures',
    content: html`<div class="compared">${table(
      [{ title: '' }, ...runs.map(({ name }, i) => ({ title: runTitle(name, i), number: true }))],
      rows,
      'Final figures',
    )}</div>
<p class="soft">${notes}</p>`,
  };
}

const number = (value: number | undefined) => (value === undefined ? undefined : shortNumber(value));

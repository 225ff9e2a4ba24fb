/** What a run came to, in one look. */

import { type Content, type Html, html } from '../html/markup.js';
import type { RunRecord } from '../run-record/record.js';
import { formatBytes } from '../show.js';
import { countNumber, grouped, shortNumber } from './browser/numbers.js';
import { type BestMetric, bestMetric } from './evaluations.js';
import { type LossCourse, lossCourse } from './loss-course.js';
import { counted, duration, moment } from './numbers.js';

const STATUS_WORDS: Record<
  RunRecord['status'],
  { readonly title: string; readonly about: string; readonly looks: string }
> = {
  running: {
    title: 'running',
    about: 'as of the newest save; a run that was killed is found like this too',
    looks: 'busy',
  },
  stopped: { title: 'stopped', about: 'by a signal, after a whole step', looks: 'busy' },
  finished: { title: 'finished', about: 'all steps were taken', looks: 'good' },
  failed: { title: 'failed', about: 'before all steps were taken', looks: 'bad' },
};

/** A word with a colour and a sign, so that it is told without the colour too. */
export function statusBadge({ status }: RunRecord): Html {
  const { title, looks } = STATUS_WORDS[status];
  const sign = { good: '✓', bad: '✗', busy: '…' }[looks];
  return html`<span class="badge ${looks}"><span aria-hidden="true">${sign}</span> ${title}</span>`;
}

export const secondsOf = ({ sessions }: RunRecord): number =>
  sessions.reduce((sum, { seconds }) => sum + seconds, 0);

/** Tokens of the steps that the record knows, and how many per second over their time. */
export function tokensOf({ steps }: RunRecord): { tokens: number; perSecond: number | undefined } {
  let tokens = 0;
  let seconds = 0;
  for (const [i, mean] of steps.tokens.mean.entries()) {
    const before = i === 0 ? steps.from : steps.step[i - 1]!;
    const taken = Math.max(0, steps.step[i]! - before);
    tokens += (mean ?? 0) * (steps.tokens.count?.[i] ?? taken);
    seconds += (steps.seconds.mean[i] ?? 0) * (steps.seconds.count?.[i] ?? taken);
  }
  return { tokens, perSecond: seconds > 0 ? tokens / seconds : undefined };
}

type Card = readonly [title: string, value: Content, about: Content];

const fromTo = (from: string, to: string): Content => html`<small>${from} →</small> ${to}`;

/** In three digits, so that both ends fit beside each other. */
function lossCard({ first, last, tenths, small }: LossCourse): Card {
  const digits = (value: number) => shortNumber(Number(value.toPrecision(3)));
  if (first === last) return ['loss', digits(last), 'of the one step'];
  return [
    'loss',
    fromTo(digits(first), digits(last)),
    `first and last ${tenths ? 'tenth of the steps' : 'step'}${small > 0 ? ', small ones left out' : ''}`,
  ];
}

function metricCard({ title, value, step, first, text }: BestMetric): Card {
  if (first.step === step)
    return [`best ${title}`, text(value), `at step ${grouped(step)}, the first evaluation`];
  const began = first.step === 0 ? 'before training' : `step ${grouped(first.step)}`;
  return [title, fromTo(text(first.value), text(value)), `${began}, best at step ${grouped(step)}`];
}

/** What is found by the scores that count most, where both were asked. */
function retrievalCards({ retrieval }: RunRecord): Card[] {
  const { before, after, passages = 0 } = retrieval ?? {};
  const name = (['hybrid', 'dense', 'colbert', 'sparse'] as const).find(
    (each) => before?.first[each] !== undefined && after?.first[each] !== undefined,
  );
  if (!name || !before || !after) return [];
  return [
    [
      `positive first, ${name}`,
      fromTo(before.first[name]!.toFixed(2), after.first[name]!.toFixed(2)),
      `of ${counted(after.queries, 'query', 'queries')} among ${counted(passages, 'passage')}`,
    ],
  ];
}

function memoryCards({ memory: { planned, points } }: RunRecord): Card[] {
  if (points.length === 0) return [];
  const peak = Math.max(...points.map((point) => point.peak));
  return [['GPU memory', formatBytes(peak), `at most; planned ${formatBytes(planned.peak)}`]];
}

/** As many beside each other as make whole rows, if any do. */
const columnsFor = (cards: number): number => (cards <= 5 ? cards : cards === 6 ? 3 : 4);

export function headline(record: RunRecord): Html {
  const { status, reason, step, total_steps: total, epoch, sessions, model } = record;
  const loss = lossCourse(record);
  const best = bestMetric(record);
  const { tokens, perSecond } = tokensOf(record);
  const seconds = secondsOf(record);
  const { about } = STATUS_WORDS[status];
  const first = sessions[0];
  const cards: Card[] = [
    ...(loss ? [lossCard(loss)] : []),
    ...(best ? [metricCard(best)] : []),
    ...retrievalCards(record),
    ...(sessions.length > 0
      ? ([
          [
            'time',
            duration(seconds),
            sessions.length === 1
              ? 'evaluations and saves included'
              : `in ${counted(sessions.length, 'session')}`,
          ],
        ] as const)
      : []),
    ...(perSecond === undefined
      ? []
      : ([['tokens per second', countNumber(perSecond), `${countNumber(tokens)} tokens in all`]] as const)),
    ...memoryCards(record),
    [
      'steps',
      grouped(step),
      `of ${grouped(total)}, ${counted(Number(epoch.toPrecision(3)), 'epoch')} of data`,
    ],
    ['parameters', countNumber(model.parameters), trainedOf(record)],
  ];
  return html`<header>
<p class="crumb soft">dawntune ${record.environment.dawntune} · run report</p>
<h1>Fine-tuning <bdi>${model.base}</bdi> ${statusBadge(record)}</h1>
<p class="soft">${first ? `Started ${moment(first.started)}, written` : 'Written'} ${moment(record.updated)}; ${about}.</p>
${reason !== null && html`<p class="reason ${status === 'failed' ? 'failure' : ''}" role="${status === 'failed' ? 'alert' : 'note'}"><strong>${status === 'failed' ? 'What failed' : 'Why'}:</strong> <bdi>${reason}</bdi></p>`}
${step === 0 && html`<p class="reason">No step was taken: there are no curves.</p>`}
<div class="cards" style="--columns:${columnsFor(cards.length)}">${cards.map(([title, value, about]) => html`<div class="card"><span class="soft">${title}</span><b>${value}</b><span class="soft">${about}</span></div>\n`)}</div>
${sessions.length > 1 && resumptions(record)}
</header>`;
}

function trainedOf({ model: { parameters, trained_parameters: trained } }: RunRecord): string {
  return trained === parameters ? 'all of them trained' : `${countNumber(trained)} of them trained`;
}

const MOST_SESSIONS = 6;

function resumptions({ sessions }: RunRecord): Html {
  const shown = sessions
    .slice(-MOST_SESSIONS)
    .map(
      ({ started, from_step: from, to_step: to, seconds }) =>
        html`<li>${moment(started)}: from step ${grouped(from)} to ${grouped(to)} in ${duration(seconds)}</li>`,
    );
  const more = sessions.length - shown.length;
  return html`<details><summary>${counted(sessions.length, 'session')}</summary><ul>${more > 0 && html`<li>${counted(more, 'earlier session')}</li>`}${shown}</ul></details>`;
}

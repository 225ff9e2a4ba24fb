/** What a run came to, in one look. */
import { type Content, type Html, html } from '../html/markup.js';
import type { RunRecord } from '../run-record/record.js';
import { countNumber, grouped, shortNumber } from './browser/numbers.js';
import { curveOf, extentOf, LOSS } from './curves.js';
import { bestMetric } from './evaluations.js';
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

/** First and last loss of a run, over the single steps or points that it has. */
export function lossCourse(record: RunRecord): { first: number; last: number } | undefined {
  const curve = curveOf(record, LOSS);
  const extent = curve && extentOf({ steps: curve.steps, values: curve.raw ?? curve.values });
  return extent && { first: extent.first.value, last: extent.last.value };
}

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

/** In three digits, so that both ends fit beside each other. */
function lossCard({ first, last }: { first: number; last: number }): Card {
  const digits = (value: number) => shortNumber(Number(value.toPrecision(3)));
  return first === last
    ? ['loss', digits(last), 'of the one step']
    : ['loss', html`<small>${digits(first)} →</small> ${digits(last)}`, 'first and last step'];
}

export function headline(record: RunRecord): Html {
  const { status, reason, step, total_steps: total, epoch, sessions, model } = record;
  const loss = lossCourse(record);
  const best = bestMetric(record);
  const { tokens, perSecond } = tokensOf(record);
  const seconds = secondsOf(record);
  const { about } = STATUS_WORDS[status];
  const first = sessions[0];
  const cards: Card[] = [
    [
      'steps',
      grouped(step),
      `of ${grouped(total)}, ${counted(Number(epoch.toPrecision(3)), 'epoch')} of data`,
    ],
    ...(loss ? [lossCard(loss)] : []),
    ...(best
      ? ([[`best ${best.title}`, shortNumber(best.value), `at step ${grouped(best.step)}`]] as const)
      : []),
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
    ['parameters', countNumber(model.parameters), trainedOf(record)],
  ];
  return html`<header>
<p class="crumb soft">dawntune ${record.environment.dawntune} · run report</p>
<h1>Fine-tuning <bdi>${model.base}</bdi> ${statusBadge(record)}</h1>
<p class="soft">${first ? `Started ${moment(first.started)}, written` : 'Written'} ${moment(record.updated)}; ${about}.</p>
${reason !== null && html`<p class="reason ${status === 'failed' ? 'failure' : ''}" role="${status === 'failed' ? 'alert' : 'note'}"><strong>${status === 'failed' ? 'What failed' : 'Why'}:</strong> <bdi>${reason}</bdi></p>`}
${step === 0 && html`<p class="reason">No step was taken: there are no curves.</p>`}
<div class="cards">${cards.map(([title, value, about]) => html`<div class="card"><span class="soft">${title}</span><b>${value}</b><span class="soft">${about}</span></div>\n`)}</div>
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

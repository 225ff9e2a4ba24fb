/** A chart in the page: what it shows in words, the place that its script fills, a legend, and the numbers as a table. */
import { type Content, type Html, html } from '../html/markup.js';
import { SERIES_COLOURS } from '../html/style.js';
import { table } from '../html/table.js';
import { grouped, type NumberKind, numberText } from './browser/numbers.js';
import type { ChartPayload, CurvePayload } from './browser/payload.js';
import { type Curve, extentOf } from './curves.js';

/** A chart with what its script needs. */
export interface Figure {
  readonly html: Html;
  readonly payload: ChartPayload;
}

export interface FigureCurve {
  readonly label: string;
  readonly colour: number;
  readonly curve: Curve;
}

export interface FigureOptions {
  readonly id: string;
  readonly title: string;
  readonly about: Content;
  readonly kind: NumberKind;
  readonly log: 2 | 10 | null;
  /** Of runs over one another: each has a pattern of its own. */
  readonly dashed?: boolean;
  /** Evaluations: a mark at each point. */
  readonly marks?: boolean;
}

/** @param curves at least one, each with a value. */
export function figure(options: FigureOptions, curves: readonly FigureCurve[]): Figure {
  const { id, title, about, kind, log, marks, dashed } = options;
  const legend = curves.map(
    ({ label, colour, curve }) =>
      html`<li><button type="button" aria-pressed="true" disabled><i class="s${colour % SERIES_COLOURS}"></i><bdi>${label}</bdi></button> <span class="told-here"><span class="course soft">${course(curve, kind)}</span><span class="value"></span></span></li>`,
  );
  const widths = new Set(curves.map(({ curve }) => curve.width));
  const notes = [
    ...(curves.some(({ curve }) => curve.raw)
      ? [`lines: means of ${span(widths)} steps; faint: single steps`]
      : []),
    ...(curves.some(({ curve }) => curve.low)
      ? [`lines: means of ${span(widths)} steps; bands: their least and greatest`]
      : []),
  ];
  const steps: (readonly number[])[] = [];
  const indexOf = (list: readonly number[]) => {
    const found = steps.findIndex((each) => each === list || sameNumbers(each, list));
    return found >= 0 ? found : steps.push(list) - 1;
  };
  const drawn = curves.map(
    ({ label, colour, curve }): CurvePayload => ({
      label,
      colour: colour % SERIES_COLOURS,
      steps: indexOf(curve.steps),
      values: curve.values.map(rounded),
      ...(curve.low && curve.high && { low: curve.low.map(rounded), high: curve.high.map(rounded) }),
      ...(curve.raw && { raw: curve.raw.map(rounded) }),
      ...(dashed && { dash: colour }),
      ...(marks && { marks }),
    }),
  );
  const words = curves.map(({ label, curve }) => `${label} ${course(curve, kind)}`).join('; ');
  return {
    payload: { id, kind, log, steps, curves: drawn },
    html: html`<figure>
<figcaption><h3>${title}</h3>${about && html`<p class="soft">${about}</p>`}</figcaption>
<div class="chart" id="${id}" role="group" aria-roledescription="chart" aria-label="${title}: ${words}" tabindex="0"></div>
<p class="unseen" id="${id}-spoken" aria-live="polite"></p>
<ul class="legend" id="${id}-legend">${legend}<li class="step soft"></li></ul>
${notes.length > 0 && html`<p class="note soft">${notes.join('; ')}</p>`}
<div class="under"><details><summary>As a table</summary>${numbers(title, curves, kind)}</details>
${(log !== null || (kind !== 'share' && reachesFar(curves))) && html`<button type="button" class="axis" id="${id}-axis" aria-pressed="${log !== null ? 'true' : 'false'}" disabled>logarithmic axis</button>`}</div>
</figure>`,
  };
}

/** A logarithm shows what a linear axis hides: values above zero of which some are many times as large as others. */
function reachesFar(curves: readonly FigureCurve[]): boolean {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const { curve } of curves)
    for (const value of curve.values)
      if (value !== null && value > 0) {
        least = Math.min(least, value);
        most = Math.max(most, value);
      }
  return most > 10 * least;
}

const span = (widths: ReadonlySet<number>): string =>
  [...widths]
    .sort((a, b) => a - b)
    .map(grouped)
    .join(' or ');

const sameNumbers = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((value, i) => value === b[i]);

/** Six digits: more than a chart shows. */
const rounded = (value: number | null): number | null =>
  value === null ? null : Number(value.toPrecision(6));

/** From where to where a curve goes. */
function course(curve: Curve, kind: NumberKind): string {
  const { first, last } = extentOf({ steps: curve.steps, values: curve.raw ?? curve.values })!;
  const from = numberText(first.value, kind);
  const to = numberText(last.value, kind);
  return first.step === last.step || from === to ? to : `${from} → ${to}`;
}

const TABLE_ROWS = 12;

/** Some of the points, evenly over the run, and where each curve is least and greatest. */
function numbers(title: string, curves: readonly FigureCurve[], kind: NumberKind): Html {
  const all = [...new Set(curves.flatMap(({ curve }) => curve.steps))].sort((a, b) => a - b);
  const rows = Math.min(TABLE_ROWS, all.length);
  const shown = new Set(
    Array.from({ length: rows }, (_, i) => all[Math.round((i * (all.length - 1)) / Math.max(1, rows - 1))]!),
  );
  const extents = curves.map(({ curve }) => extentOf(curve)!);
  const point = ({ step, value }: { step: number; value: number }) =>
    html`${numberText(value, kind)} <span class="soft">step ${grouped(step)}</span>`;
  return table(
    [
      { title: 'step', number: true },
      ...curves.map(({ label }) => ({ title: html`<bdi>${label}</bdi>`, number: true })),
    ],
    [
      ...[...shown].map((step) => [grouped(step), ...curves.map(({ curve }) => valueAt(curve, step, kind))]),
      ['least', ...extents.map(({ least }) => point(least))],
      ['greatest', ...extents.map(({ most }) => point(most))],
    ],
    `${title}, as a table`,
  );
}

/** Of the point that the step belongs to: a point stands for the steps up to its own. */
function valueAt({ steps, values }: Curve, step: number, kind: NumberKind): string {
  const at = steps.findIndex((each) => each >= step);
  const value = at < 0 ? null : values[at]!;
  return value === null ? '–' : numberText(value, kind);
}

/**
 * Horizontal bars as inline SVG: groups (a kernel's case) of bars (its variants), each with a whisker from quartile to
 * quartile, and across a group the line that its roofline sets. Colours are CSS variables of the page.
 */
import { escaped, Html } from '../../src/html/markup.js';
import { SERIES_COLOURS } from '../../src/html/style.js';

export interface Bar {
  /** Shown beside the bar when a group of the chart has several. */
  readonly label: string;
  readonly value: number;
  /** Ends of the whisker, in the unit of `value`. */
  readonly low: number;
  readonly high: number;
  /** Index of the series: bars of one colour. */
  readonly series: number;
  /** Shown after the value. */
  readonly note: string;
}

export interface BarGroup {
  readonly label: string;
  readonly bars: readonly Bar[];
  /** What the roofline allows, in the unit of the bars; null: not known. */
  readonly limit: number | null;
}

export interface BarChart {
  readonly unit: string;
  readonly groups: readonly BarGroup[];
}

const WIDTH = 1040;
const BAR = 16;
const GAP = 5;
const GROUP_GAP = 12;
const TOP = 26;
const BOTTOM = 8;
/** Of the text in the charts: a little more than a digit of a wide font (DejaVu Sans) at its size, so that no label is cut. */
const CHARACTER = 8.4;

/** A number in at most three digits. */
export function short(value: number): string {
  if (value === 0) return '0';
  if (Math.abs(value) >= 1e4) return value.toExponential(1);
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** Steps of 1, 2 or 5 times a power of ten: at most five lines of the grid. */
function gridStep(most: number): number {
  const raw = most / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw)!;
}

const widest = (labels: readonly string[]): number =>
  Math.max(0, ...labels.map((label) => label.length)) * CHARACTER;

export function barChart({ unit, groups }: BarChart): Html {
  const several = groups.some(({ bars }) => bars.length > 1);
  const labelWidth = Math.min(380, widest(groups.map(({ label }) => label))) + 12;
  const variantWidth = several
    ? Math.min(180, widest(groups.flatMap(({ bars }) => bars.map(({ label }) => label)))) + 12
    : 0;
  const noteWidth =
    widest(groups.flatMap(({ bars }) => bars.map(({ value, note }) => valueText(value, unit, note)))) + 12;
  const left = labelWidth + variantWidth;
  const room = WIDTH - left - noteWidth;
  const most = Math.max(
    ...groups.flatMap(({ bars, limit }) => [
      limit ?? 0,
      ...bars.map(({ value, high }) => Math.max(value, high)),
    ]),
  );
  const scale = room / (most || 1);
  const x = (value: number) => (left + value * scale).toFixed(1);

  const parts: string[] = [];
  let y = TOP;
  for (const { label, bars, limit } of groups) {
    const top = y;
    parts.push(text('label', labelWidth - 12, y + BAR - 4, label, 'end'));
    for (const bar of bars) {
      const middle = y + BAR / 2;
      if (several) parts.push(text('variant', left - 12, y + BAR - 4, bar.label, 'end'));
      parts.push(
        `<rect class="s${bar.series % SERIES_COLOURS}" x="${x(0)}" y="${y}" width="${Math.max(1, bar.value * scale).toFixed(1)}" height="${BAR}" rx="2"><title>${escaped(`${label} ${bar.label}: ${valueText(bar.value, unit, bar.note)}`)}</title></rect>`,
      );
      if (bar.high > bar.low)
        parts.push(
          `<path class="whisker" d="M${x(bar.low)} ${middle}H${x(bar.high)}M${x(bar.low)} ${middle - 3}v6M${x(bar.high)} ${middle - 3}v6"/>`,
        );
      const end = Math.max(bar.value, bar.high);
      // The note stands clear of the roofline's line where that crosses it.
      const noteEnd = end * scale + valueText(bar.value, unit, bar.note).length * CHARACTER + 8;
      const crossed = limit !== null && limit * scale > end * scale && limit * scale < noteEnd;
      parts.push(
        text(
          'value',
          Number(x(crossed ? limit : end)) + 7,
          y + BAR - 4,
          valueText(bar.value, unit, bar.note),
          'start',
        ),
      );
      y += BAR + GAP;
    }
    if (limit !== null)
      parts.push(
        `<path class="limit" d="M${x(limit)} ${top - 4}V${y - GAP + 4}"><title>${escaped(`roofline: ${short(limit)} ${unit}`)}</title></path>`,
      );
    y += GROUP_GAP;
  }
  const bottom = y - GROUP_GAP + BOTTOM;
  const grid: string[] = [];
  const step = gridStep(most || 1);
  for (let value = 0; value <= most * 1.0001; value += step)
    grid.push(
      `<path class="grid" d="M${x(value)} ${TOP - 6}V${bottom}"/>`,
      text('axis', Number(x(value)), TOP - 12, `${short(value)}${value === 0 ? ` ${unit}` : ''}`, 'middle'),
    );
  return new Html(
    `<svg viewBox="0 0 ${WIDTH} ${bottom + 4}" role="img" aria-label="${escaped(`${unit} by kernel`)}">${grid.join('')}${parts.join('')}</svg>`,
  );
}

const valueText = (value: number, unit: string, note: string): string =>
  `${short(value)} ${unit}${note === '' ? '' : ` · ${note}`}`;

const text = (
  kind: string,
  x: number,
  y: number,
  content: string,
  anchor: 'start' | 'middle' | 'end',
): string =>
  `<text class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(content)}</text>`;

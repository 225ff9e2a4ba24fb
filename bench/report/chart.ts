/**
 * Horizontal bars as elements of the page: groups (a kernel's case) of bars (its variants), each with a whisker from
 * quartile to quartile, and the line that its roofline sets. Names, bars and values are columns; on a narrow screen a bar
 * stands below its name. Lengths are shares of the column, colours CSS variables of the page.
 */
import { type Html, html } from '../../src/html/markup.js';
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

export const CHART_STYLE = `
.bars{display:grid;grid-auto-flow:row dense;grid-template-columns:fit-content(34%) minmax(60px,1fr) max-content;gap:0 12px;margin:10px 0 4px;font-size:13px;font-variant-numeric:tabular-nums}
.bars>div{display:contents}
.bars .name{grid-column:1;padding:3px 0;text-align:right;overflow-wrap:anywhere}
.bars .value{grid-column:3;padding:3px 0}
.bars .track{grid-column:2;position:relative;padding:4px 0;background:repeating-linear-gradient(to right,var(--line) 0 1px,transparent 1px var(--step))}
.bars .first .name,.bars .first .value{padding-top:10px}
.bars .first .track{padding-top:11px}
.bars .bar{display:block;position:relative;height:16px}
.bars .bar i{display:block;height:100%;min-width:1px;border-radius:0 2px 2px 0}
.bars .whisker{position:absolute;top:5px;height:7px;border:solid var(--ink);border-width:0 1px;opacity:.75}
.bars .whisker::before{content:"";position:absolute;inset:3px 0 auto;border-top:1px solid var(--ink)}
.bars .limit{position:absolute;top:0;bottom:0;border-left:2px dashed var(--bad)}
.bars .axis{grid-column:2;position:relative;height:20px;color:var(--soft)}
.bars .axis span{position:absolute;transform:translateX(-50%)}
.bars .axis span:first-child{transform:none}
@media (max-width:700px){.bars{grid-template-columns:minmax(0,1fr) max-content}.bars .name{text-align:left;font-weight:600;padding-top:8px!important}.bars .value{grid-column:2;padding-top:8px!important}.bars .track{grid-column:1/3;padding-top:4px!important}.bars .axis{grid-column:1/3}.bars .head .name,.bars .head .value{display:none}}
`;

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

/** @param about says what the bars are to those who do not see them. */
export function barChart({ unit, groups }: BarChart, about: string): Html {
  const several = groups.some(({ bars }) => bars.length > 1);
  const most = Math.max(
    ...groups.flatMap(({ bars, limit }) => [
      limit ?? 0,
      ...bars.map(({ value, high }) => Math.max(value, high)),
    ]),
  );
  const reach = most || 1;
  const share = (value: number) => `${((100 * value) / reach).toFixed(2)}%`;
  const step = gridStep(reach);
  const ticks = Array.from({ length: Math.floor(reach / step + 1e-4) + 1 }, (_, i) => i * step)
    // A label at the end would stand in the next column.
    .filter((tick) => tick <= 0.97 * reach);
  const head = html`<div class="head" aria-hidden="true"><span class="name soft">${unit}</span><span class="axis">${ticks.map((tick) => html`<span style="left:${share(tick)}">${short(tick)}</span>`)}</span><span class="value"></span></div>\n`;
  const rows = groups.flatMap(({ label, bars, limit }) =>
    bars.map(({ label: variant, value, low, high, series, note }, i) => {
      const whisker =
        high > low &&
        html`<span class="whisker" style="left:${share(low)};width:${share(high - low)}"></span>`;
      const line =
        limit !== null &&
        html`<span class="limit" style="left:${share(limit)}" title="roofline: ${short(limit)} ${unit}"></span>`;
      const name = html`${i === 0 && label}${several && html` <span class="soft">${variant}</span>`}`;
      return html`<div role="listitem"${several && i === 0 && html` class="first"`}><span class="name">${name}</span><span class="track" style="--step:${share(step)}"><span class="bar"><i class="s${series % SERIES_COLOURS}" style="width:${share(value)}"></i>${whisker}</span>${line}</span><span class="value">${short(value)} ${unit}${note !== '' && ` · ${note}`}</span></div>\n`;
    }),
  );
  return html`<div class="bars" role="list" aria-label="${about}, ${unit}">\n${head}${rows}</div>`;
}

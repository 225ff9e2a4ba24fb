/**
 * The script of a report: it draws the curves of the page's data with uPlot, in the colours that the page has just now,
 * and lets people point, zoom, go along with the keyboard and switch curves off. Without it the page still has its tables.
 */
import type UPlot from 'uplot';
import { numberText, tickTexts } from './numbers.js';
import type { ChartPayload, CurvePayload } from './payload.js';

const HEIGHT = 250;
/** Whole steps only: between two of them nothing happened. */
const STEP_INCREMENTS = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();
const DASHES = [[], [9, 4], [3, 3], [12, 3, 3, 3]];
const EMPTY: (number | null)[] = [];

const style = () => getComputedStyle(document.documentElement);
const colour = (name: string) => style().getPropertyValue(`--${name}`).trim();

/** A row of a chart's data and how it is drawn. */
interface Line {
  readonly curve: number;
  readonly values: readonly (number | null)[];
  readonly series: UPlot.Series;
}

/** Curves with what stands behind them: band and raw values first, so that the curve lies above. */
function linesOf({ curves }: ChartPayload): { lines: Line[]; bands: UPlot.Band[] } {
  const lines: Line[] = [];
  const bands: UPlot.Band[] = [];
  for (const [i, curve] of curves.entries()) {
    const stroke = colour(`s${curve.colour}`);
    const hidden: UPlot.Series = { stroke: 'transparent', width: 0, points: { show: false } };
    if (curve.low && curve.high) {
      lines.push(
        { curve: i, values: curve.high, series: hidden },
        { curve: i, values: curve.low, series: hidden },
      );
      bands.push({ series: [lines.length - 1, lines.length], fill: `${stroke}2e` });
    }
    if (curve.raw)
      lines.push({
        curve: i,
        values: curve.raw,
        series: { stroke: `${stroke}59`, width: 1, points: { show: false } },
      });
    lines.push({ curve: i, values: curve.values, series: lookOf(curve, stroke) });
  }
  return { lines, bands };
}

function lookOf({ marks, values, dash }: CurvePayload, stroke: string): UPlot.Series {
  // A value between two that are none makes no line: it is seen by its mark.
  const alone = values.filter((value) => value !== null).length < 3;
  return {
    stroke,
    width: 2,
    ...(dash !== undefined && { dash: DASHES[dash % DASHES.length]! }),
    points: { show: marks || alone, size: 6, fill: stroke, stroke },
    spanGaps: marks ?? false,
  };
}

/** Rows on the steps of all curves; where a curve has no point the others pass through. A logarithm has no place for zero. */
function dataOf({ steps, curves, log }: ChartPayload, lines: readonly Line[]): UPlot.AlignedData {
  const rows = lines.map(({ values }) =>
    values.map((value) => (value === null || log === null || value > 0 ? value : null)),
  );
  if (steps.length === 1) return [[...steps[0]!], ...rows];
  const tables = rows.map((row, i): UPlot.AlignedData => [[...steps[curves[lines[i]!.curve]!.steps]!], row]);
  return uPlot.join(
    tables,
    tables.map(() => [1, 1]),
  );
}

/** Room for the longest label of an axis. */
const axisSize: UPlot.Axis.Size = (plot, labels, index, cycle) => {
  const axis = plot.axes[index] as UPlot.Axis & { _size: number };
  if (cycle > 1) return axis._size;
  const longest = (labels ?? []).reduce(
    (most, label) => (label && label.length > most.length ? label : most),
    '',
  );
  plot.ctx.font = axis.font?.[0] ?? '12px sans-serif';
  return Math.ceil(plot.ctx.measureText(longest).width / devicePixelRatio) + 16;
};

function isPower(value: number, base: 2 | 10): boolean {
  const power = base === 2 ? Math.log2(value) : Math.log10(value);
  return Math.abs(power - Math.round(power)) < 1e-6;
}

function axesOf({ kind, log }: ChartPayload): UPlot.Axis[] {
  const look = {
    stroke: colour('soft'),
    font: '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif',
    grid: { stroke: colour('line'), width: 1 },
    ticks: { stroke: colour('line'), width: 1, size: 5 },
  };
  // Between two powers a logarithmic axis has more lines than help.
  const atPowers: UPlot.Axis.Filter = (_, ticks) =>
    ticks.map((tick) => (log !== null && isPower(tick, log) ? tick : null));
  return [
    {
      ...look,
      label: 'step',
      labelFont: look.font,
      labelSize: 16,
      labelGap: 0,
      size: 28,
      space: 64,
      incrs: STEP_INCREMENTS,
      values: (_, ticks) => ticks.map((step) => (Number.isInteger(step) ? numberText(step, 'whole') : '')),
    },
    {
      ...look,
      size: axisSize,
      ...(log !== null && {
        filter: atPowers,
        grid: { ...look.grid, filter: atPowers },
        ticks: { ...look.ticks, filter: atPowers },
      }),
      values: (_, ticks) => tickTexts(ticks, kind),
    },
  ];
}

/** Of the values' axis: shares end at 0 and 1, with room for the mark of a point that lies there. */
function scaleOf({ kind, log }: ChartPayload): UPlot.Scale {
  if (log !== null) return { distr: 3, log };
  if (kind !== 'share') return {};
  return {
    range: (_, from, to) => {
      const [low, high] = uPlot.rangeNum(from, to, 0.1, true) as [number, number];
      const least = Math.max(0, low);
      return [least, Math.max(to, Math.min(high, 1 + 0.04 * (1 - least)))];
    },
  };
}

class Chart {
  private plot: UPlot;
  /** As the reader wishes it. */
  private payload: ChartPayload;
  private readonly hidden = new Set<number>();
  private readonly lines: Line[];
  private readonly buttons: readonly HTMLButtonElement[];
  private readonly outputs: readonly HTMLElement[];
  private readonly legend: HTMLElement | null;
  private readonly step: HTMLElement | null;
  private readonly spoken: HTMLElement | null;

  constructor(
    payload: ChartPayload,
    private readonly place: HTMLElement,
  ) {
    this.payload = payload;
    const legend = document.getElementById(`${payload.id}-legend`);
    this.legend = legend;
    this.buttons = [...(legend?.querySelectorAll('button') ?? [])];
    this.outputs = [...(legend?.querySelectorAll<HTMLElement>('.value') ?? [])];
    this.step = legend?.querySelector('.step') ?? null;
    this.spoken = document.getElementById(`${payload.id}-spoken`);
    const { plot, lines } = this.make();
    this.plot = plot;
    this.lines = lines;
    for (const [i, button] of this.buttons.entries()) {
      button.disabled = false;
      button.addEventListener('click', () => this.toggle(i));
    }
    const axis = document.getElementById(`${payload.id}-axis`) as HTMLButtonElement | null;
    if (axis) axis.disabled = false;
    axis?.addEventListener('click', () => {
      const log = this.payload.log === null ? (payload.log ?? 10) : null;
      this.payload = { ...this.payload, log };
      axis.setAttribute('aria-pressed', String(log !== null));
      this.draw();
    });
    place.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.fit()).observe(place);
  }

  /** In the colours of now. */
  draw(): void {
    this.plot.destroy();
    this.plot = this.make().plot;
  }

  fit(): void {
    const width = this.place.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  private make(): { plot: UPlot; lines: Line[] } {
    const { lines, bands } = linesOf(this.payload);
    const plot = new uPlot(
      {
        width: Math.max(1, this.place.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        // Half of the label of the last step stands beside the plot.
        padding: [10, 24, 0, 0],
        cursor: { sync: { key: 'steps', setSeries: false }, y: false, drag: { x: true, y: false } },
        scales: {
          x: {
            time: false,
            range: (_, from, to) => (from === to ? [from - 1, to + 1] : [from, to]),
          },
          y: scaleOf(this.payload),
        },
        axes: axesOf(this.payload),
        series: [{}, ...lines.map(({ curve, series }) => ({ ...series, show: !this.hidden.has(curve) }))],
        bands,
        hooks: { setCursor: [() => this.tell()] },
      },
      dataOf(this.payload, lines),
      this.place,
    );
    return { plot, lines };
  }

  private toggle(curve: number): void {
    const shown = this.hidden.delete(curve);
    if (!shown) this.hidden.add(curve);
    this.buttons[curve]!.setAttribute('aria-pressed', String(shown));
    for (const [i, line] of this.lines.entries())
      if (line.curve === curve) this.plot.setSeries(i + 1, { show: shown });
  }

  /** The value of each curve at the cursor: its own newest point, where the others have more steps. */
  private values(): { step: number | undefined; values: (number | null | undefined)[] } {
    const at = this.plot.cursor.idx;
    if (at === null || at === undefined) return { step: undefined, values: [] };
    const values: (number | null | undefined)[] = [];
    for (const [i, { curve }] of this.lines.entries()) {
      const row = this.plot.data[i + 1] ?? EMPTY;
      let from = at;
      while (from > 0 && row[from] === undefined) from--;
      // The curve itself is the last of its lines.
      values[curve] = row[from];
    }
    return { step: this.plot.data[0][at], values };
  }

  private tell(): void {
    const { step, values } = this.values();
    // In the place of where the curve goes from and to.
    this.legend?.classList.toggle('told', step !== undefined);
    if (this.step) this.step.textContent = step === undefined ? '' : `step ${numberText(step, 'whole')}`;
    for (const [i, output] of this.outputs.entries()) {
      const value = values[i];
      output.textContent = value === undefined || value === null ? '' : numberText(value, this.payload.kind);
    }
  }

  private key(event: KeyboardEvent): void {
    const [steps] = this.plot.data;
    const last = steps.length - 1;
    const at = this.plot.cursor.idx ?? (event.key === 'ArrowLeft' ? last + 1 : -1);
    const far = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
    const next = { ArrowLeft: at - far, ArrowRight: at + far, Home: 0, End: last }[event.key];
    if (event.key === 'Escape') this.plot.setData(this.plot.data);
    if (next === undefined) return;
    event.preventDefault();
    const index = Math.min(last, Math.max(0, next));
    this.plot.setCursor({ left: this.plot.valToPos(steps[index]!, 'x'), top: 1 });
    if (!this.spoken) return;
    const { values } = this.values();
    const told = this.payload.curves.map(({ label }, i) => {
      const value = values[i];
      return `${label} ${value === null || value === undefined ? 'none' : numberText(value, this.payload.kind)}`;
    });
    this.spoken.textContent = `step ${steps[index]}: ${told.join(', ')}`;
  }
}

const payloads = JSON.parse(document.getElementById('charts')?.textContent ?? '[]') as ChartPayload[];
const charts: Chart[] = [];
for (const payload of payloads) {
  const place = document.getElementById(payload.id);
  if (place) charts.push(new Chart(payload, place));
}
const draw = () => {
  for (const chart of charts) {
    chart.draw();
    chart.fit();
  }
};
for (const query of ['(prefers-color-scheme: dark)', 'print'])
  matchMedia(query).addEventListener('change', draw);

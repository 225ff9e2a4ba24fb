/** Columns of a record as curves: which there are, what each is called, and how many steps' values become one line. */
import type { Column, LossComponent, RunRecord, StepColumns } from '../run-record/record.js';
import type { NumberKind } from './browser/numbers.js';

/** Values over steps; what a page shows of it is up to the page. */
export interface Curve {
  readonly steps: readonly number[];
  readonly values: readonly (number | null)[];
  readonly low?: readonly (number | null)[];
  readonly high?: readonly (number | null)[];
  /** Values of single steps where `values` are means of several. */
  readonly raw?: readonly (number | null)[];
  /** How many steps a value is the mean of. */
  readonly width: number;
}

/** A quantity that has a chart of its own. */
export interface Measure {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  readonly kind: NumberKind;
  /** Base of the axis where the values reach over more than a few powers of ten. */
  readonly log: 2 | 10 | null;
  /** Whether single steps vary so much that a mean over neighbours shows the course. */
  readonly smooth: boolean;
  readonly column: (steps: StepColumns) => Column | undefined;
}

export const LOSS: Measure = {
  id: 'loss',
  title: 'Loss',
  about: 'what the optimiser makes less of: the mean over the batches of a step',
  kind: 'number',
  log: null,
  smooth: true,
  column: ({ loss }) => loss,
};

const COMPONENT_TITLES: Record<LossComponent, string> = {
  dense: 'dense',
  sparse: 'sparse',
  colbert: 'ColBERT',
  ensemble: 'ensemble',
  distillation: 'distillation',
};

/** The losses of the score matrices that these runs have, each before it is weighed. */
export function componentMeasures(
  records: readonly RunRecord[],
): (Measure & { readonly label: string; readonly colour: number })[] {
  return Object.entries(COMPONENT_TITLES).flatMap(([name, title], i) => {
    const column = ({ components }: StepColumns) => components[name as LossComponent];
    return records.some(({ steps }) => column(steps))
      ? [
          {
            ...LOSS,
            id: `loss-${name}`,
            title: `Loss: ${title}`,
            about: '',
            column,
            colour: i + 1,
            label: title,
          },
        ]
      : [];
  });
}

export const MEASURES: readonly Measure[] = [
  {
    id: 'learning-rate',
    title: 'Learning rate',
    about: 'of the step, after warm-up and decay',
    kind: 'number',
    log: null,
    smooth: false,
    column: (steps) => steps.learning_rate,
  },
  {
    id: 'gradient-norm',
    title: 'Gradient norm',
    about: 'global, before clipping',
    kind: 'number',
    log: 10,
    smooth: true,
    column: (steps) => steps.grad_norm,
  },
  {
    id: 'loss-scale',
    title: 'Loss scale',
    about: 'of mixed precision: halved where gradients overflow, doubled after a while without',
    kind: 'whole',
    log: 2,
    smooth: false,
    column: (steps) => steps.loss_scale,
  },
  {
    id: 'speed',
    title: 'Tokens per second',
    about: 'of queries and passages, over the steps around each, without what is done between steps',
    kind: 'tokens',
    log: null,
    smooth: true,
    column: speedAround,
  },
];

/** Steps on each side whose tokens and seconds count towards the speed at a step. */
const SPEED_NEIGHBOURS = 4;

/**
 * Tokens of the steps around each by their seconds. The device computes ahead of the host, so that the ends of two steps may be
 * heard of at once: the second then seems to take no time, and its own speed says nothing. Points of several steps stay.
 */
function speedAround({ tokens, seconds, tokens_per_second: speed }: StepColumns): Column | undefined {
  if (speed.min) return speed;
  const mean = speed.mean.map((own, i) => {
    if (own === null) return null;
    let [sum, time] = [0, 0];
    for (let j = Math.max(0, i - SPEED_NEIGHBOURS); j <= i + SPEED_NEIGHBOURS; j++) {
      const [some, taken] = [tokens.mean[j] ?? null, seconds.mean[j] ?? null];
      if (some === null || taken === null) continue;
      sum += some;
      time += taken;
    }
    return time > 0 ? sum / time : own;
  });
  return { mean };
}

/** From so many points of single steps on the eye no longer finds the course among them. */
const MANY_POINTS = 150;
/** Points that a smooth curve has room for. */
const SMOOTH_POINTS = 50;

/** Points with a band that the eye can follow. */
const BAND_POINTS = 250;

/** Undefined where the run has no such column or no value in it. */
export function curveOf({ steps }: RunRecord, { column, smooth }: Measure): Curve | undefined {
  const found = column(steps);
  if (!found?.mean.some((value) => value !== null)) return undefined;
  const { mean, min, max } = found;
  if (min && max) return joined(steps, found, smooth ? Math.ceil(mean.length / BAND_POINTS) : 1);
  if (!smooth || mean.length <= MANY_POINTS) return { steps: steps.step, values: mean, width: steps.stride };
  const width = 2 * Math.round(mean.length / SMOOTH_POINTS / 2) + 1;
  return { steps: steps.step, values: smoothed(mean, width), raw: mean, width };
}

/** Each `together` points become one, with the mean, the least and the greatest of their steps. */
function joined(
  { step, stride, from }: StepColumns,
  { mean, min = mean, max = mean, count }: Column,
  together: number,
): Curve {
  const curve = {
    ...{ steps: [] as number[], values: [] as (number | null)[] },
    ...{ low: [] as (number | null)[], high: [] as (number | null)[] },
  };
  for (let at = 0; at < mean.length; at += together) {
    const end = Math.min(mean.length, at + together);
    let [sum, steps] = [0, 0];
    let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let i = at; i < end; i++) {
      const value = mean[i]!;
      if (value === null) continue;
      const own = count?.[i] ?? step[i]! - (i === 0 ? from : step[i - 1]!);
      sum += value * own;
      steps += own;
      least = Math.min(least, min[i] ?? value);
      most = Math.max(most, max[i] ?? value);
    }
    curve.steps.push(step[end - 1]!);
    curve.values.push(steps === 0 ? null : sum / steps);
    curve.low.push(steps === 0 ? null : least);
    curve.high.push(steps === 0 ? null : most);
  }
  return { ...curve, width: stride * together };
}

/** The mean of the `width` values around each, of fewer at the ends; none where there is none around. */
function smoothed(values: readonly (number | null)[], width: number): (number | null)[] {
  const half = (width - 1) / 2;
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - half), i + half + 1).filter((value) => value !== null);
    return near.length === 0 ? null : near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

/** Whether the values of these curves need the logarithm that the measure proposes. */
export function logOf({ log }: Measure, curves: readonly Curve[]): 2 | 10 | null {
  if (log === null) return null;
  const values = curves.flatMap(({ values, low, high, raw }) =>
    [values, low, high, raw].flatMap((list) => list?.filter((value) => value !== null) ?? []),
  );
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  // A logarithm needs a whole power of its base to have two ticks.
  return least > 0 && most / least > (log === 2 ? 2 : 30) ? log : null;
}

/** Where a curve begins, ends, and is least and greatest. */
export interface Extent {
  readonly first: Point;
  readonly last: Point;
  readonly least: Point;
  readonly most: Point;
}

export interface Point {
  readonly step: number;
  readonly value: number;
}

/** Of a curve with a value; undefined of one without. */
export function extentOf({ steps, values }: Pick<Curve, 'steps' | 'values'>): Extent | undefined {
  let extent: Extent | undefined;
  for (const [i, value] of values.entries()) {
    if (value === null) continue;
    const point = { step: steps[i]!, value };
    extent = {
      first: extent?.first ?? point,
      last: point,
      least: extent && extent.least.value <= value ? extent.least : point,
      most: extent && extent.most.value >= value ? extent.most : point,
    };
  }
  return extent;
}

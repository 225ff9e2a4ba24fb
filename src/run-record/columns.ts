/**
 * Columns of numbers by step that stay short however long the run is: a point stands for one step at first; when there are
 * MOST_POINTS of them, two and two become one, with the mean, the least and the greatest of its steps. What a column is
 * depends on the values alone, not on when it was written and read again.
 */
import type { Column } from './record.js';

/** Even. A run of so many steps or fewer has a point for each. */
export const MOST_POINTS = 2048;

/** Decimal digits that are kept of a point which is whole. */
const DIGITS = 6;

const rounded = (value: number) => (Number.isInteger(value) ? value : Number(value.toPrecision(DIGITS)));

class Values {
  readonly mean: (number | null)[] = [];
  readonly min: (number | null)[] = [];
  readonly max: (number | null)[] = [];
  /** How many steps of the point have a value. */
  readonly count: number[] = [];

  open(): void {
    this.mean.push(null);
    this.min.push(null);
    this.max.push(null);
    this.count.push(0);
  }

  add(value: number): void {
    const at = this.mean.length - 1;
    const mean = this.mean[at] ?? 0;
    this.mean[at] = mean + (value - mean) / ++this.count[at]!;
    this.min[at] = Math.min(this.min[at] ?? value, value);
    this.max[at] = Math.max(this.max[at] ?? value, value);
  }

  /** The last point is whole. Until then it has all its digits, by which the mean goes on. */
  close(): void {
    const at = this.mean.length - 1;
    for (const list of [this.mean, this.min, this.max]) if (list[at] !== null) list[at] = rounded(list[at]!);
  }

  halve(): void {
    const { mean, min, max, count } = this;
    for (let i = 0; 2 * i < mean.length; i++) {
      const [a, b] = [2 * i, 2 * i + 1];
      const [left, right] = [count[a]!, count[b]!];
      count[i] = left + right;
      if (left + right === 0) mean[i] = min[i] = max[i] = null;
      else if (left === 0 || right === 0) {
        const only = left === 0 ? b : a;
        [mean[i], min[i], max[i]] = [mean[only]!, min[only]!, max[only]!];
      } else {
        mean[i] = rounded((mean[a]! * left + mean[b]! * right) / (left + right));
        min[i] = Math.min(min[a]!, min[b]!);
        max[i] = Math.max(max[a]!, max[b]!);
      }
    }
    for (const list of [mean, min, max, count]) list.length = Math.ceil(list.length / 2);
  }
}

/** Columns that are filled step by step, one after the other. */
export class Columns {
  /** Steps of a point. */
  stride = 1;
  private points = 0;
  /** Of the last point, so far. */
  private filled = 0;
  private readonly columns = new Map<string, Values>();

  /** `from`: steps before the first that is added. */
  constructor(readonly from = 0) {}

  /** What a run had when it was saved, to go on with. All columns are as long as `step`. */
  static restore(
    {
      from,
      stride,
      step,
    }: { readonly from: number; readonly stride: number; readonly step: readonly number[] },
    columns: ReadonlyMap<string, Column>,
  ): Columns {
    const restored = new Columns(from);
    restored.stride = stride;
    restored.points = step.length;
    const sizes = step.map((last, i) => last - (i === 0 ? from : step[i - 1]!));
    restored.filled = sizes.at(-1) ?? 0;
    for (const [name, { mean, min = mean, max = mean, count = sizes }] of columns) {
      const values = new Values();
      values.mean.push(...mean);
      values.min.push(...min);
      values.max.push(...max);
      values.count.push(...count);
      restored.columns.set(name, values);
    }
    return restored;
  }

  /** The newest step that was added. */
  get step(): number {
    return this.points === 0 ? this.from : this.from + (this.points - 1) * this.stride + this.filled;
  }

  /** The next step's values; one that is not finite, or is not there, is none. */
  add(values: Readonly<Record<string, number | undefined>>): void {
    if (this.points === 0 || this.filled === this.stride) {
      if (this.points === MOST_POINTS) {
        this.stride *= 2;
        this.points /= 2;
        for (const column of this.columns.values()) column.halve();
      }
      this.points++;
      this.filled = 0;
      for (const column of this.columns.values()) column.open();
    }
    this.filled++;
    for (const [name, value] of Object.entries(values))
      if (value !== undefined && Number.isFinite(value)) this.column(name).add(value);
    if (this.filled === this.stride) for (const column of this.columns.values()) column.close();
  }

  private column(name: string): Values {
    let column = this.columns.get(name);
    if (!column) {
      this.columns.set(name, (column = new Values()));
      for (let n = 0; n < this.points; n++) column.open();
    }
    return column;
  }

  /** The last step of each point. */
  steps(): number[] {
    return Array.from({ length: this.points }, (_, i) =>
      i === this.points - 1 ? this.step : this.from + (i + 1) * this.stride,
    );
  }

  /** How many steps of each point have a value of that name. */
  counts(name: string): number[] {
    return [...(this.columns.get(name)?.count ?? new Array<number>(this.points).fill(0))];
  }

  /** The columns that have a value, by name. */
  *[Symbol.iterator](): Generator<[string, Column], void, undefined> {
    const whole = this.steps().map((last, i) => last - (this.from + i * this.stride));
    for (const [name, { mean, min, max, count }] of this.columns)
      yield [
        name,
        {
          mean: [...mean],
          ...(this.stride > 1 ? { min: [...min], max: [...max] } : {}),
          ...(count.every((each, i) => each === whole[i]) ? {} : { count: [...count] }),
        },
      ];
  }

  get(name: string): Column {
    for (const [each, column] of this) if (each === name) return column;
    return { mean: new Array<null>(this.points).fill(null) };
  }
}

/** What the script of a report draws: curves over steps, as the page carries them. Types alone. */
import type { NumberKind } from './numbers.js';

export interface ChartPayload {
  /** Of the element that the chart fills; its legend and its place for spoken values are found by it. */
  readonly id: string;
  readonly kind: NumberKind;
  /** Base of the logarithm of the values' axis; null: it is linear. */
  readonly log: 2 | 10 | null;
  /** Steps of the points; a curve names its own. */
  readonly steps: readonly (readonly number[])[];
  readonly curves: readonly CurvePayload[];
}

export interface CurvePayload {
  readonly label: string;
  /** Index into `steps`. */
  readonly steps: number;
  /** Index of the colour. */
  readonly colour: number;
  readonly values: readonly (number | null)[];
  /** Least and most of the steps of each point, drawn as a band; of one step each where a smooth curve stands for many. */
  readonly low?: readonly (number | null)[];
  readonly high?: readonly (number | null)[];
  /** Values of single steps behind a smooth curve, drawn faintly. */
  readonly raw?: readonly (number | null)[];
  /** Which pattern the line has: runs that take the same course are seen through each other. */
  readonly dash?: number;
  /** Marks each point: of values with many steps between them. */
  readonly marks?: boolean;
}

/** The report of a kernel suite, as JSON and as lines for people. */
import type { Roofline } from '../../src/gpu/profile-report.js';
import type { OldFields, Timed } from '../report/compare.js';
import type { Machine } from '../report/machine.js';
import type { KernelRow } from './row.js';

export interface KernelReport extends Machine {
  readonly suite: string;
  /** Null where the adapter's peaks were not measured. */
  readonly peaks: { readonly gflops: number; readonly gbPerSecond: number } | null;
  readonly rows: readonly KernelRow[];
  /** False when the run was stopped before its last row. */
  readonly complete: boolean;
}

export const shownPeaks = (peaks: Roofline | null): KernelReport['peaks'] =>
  peaks && { gflops: peaks.peakFlops / 1e9, gbPerSecond: peaks.copyBandwidth / 1e9 };

/** What a row is called among others of the same report. */
export const rowKey = ({ kernel, variant }: Pick<KernelRow, 'kernel' | 'variant'>): string =>
  `${kernel} [${variant}]`;

/** A row of an earlier report. */
export function oldRow(fields: OldFields): Timed {
  const kernel = fields.text('kernel');
  const variant = fields.given('variant');
  return {
    // Reports from before there were variants name none.
    key: variant === undefined ? kernel : rowKey({ kernel, variant: fields.text('variant') }),
    milliseconds: fields.above0('milliseconds'),
    lowerQuartile: fields.number('lowerQuartile'),
    upperQuartile: fields.number('upperQuartile'),
  };
}

/** Operations per byte from which a kernel is one of arithmetic, where no peaks were measured. */
const INTENSE = 8;

/** The rate that says most about a row: arithmetic where it is that which limits, else traffic. */
export function rate({ gflops, gbPerSecond, bound }: KernelRow): { value: number; unit: 'GFLOP/s' | 'GB/s' } {
  const intense = bound === null ? (gflops ?? 0) > INTENSE * gbPerSecond : bound === 'arithmetic';
  return intense && gflops !== null
    ? { value: gflops, unit: 'GFLOP/s' }
    : { value: gbPerSecond, unit: 'GB/s' };
}

/** Milliseconds and rates in three digits, whatever their size. */
export function digits(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const COLUMNS = ['', 'rate', 'median', 'quartiles', 'host', 'GPU', 'roofline', 'CPU', 'error'] as const;
const WIDTHS = [0, 15, 11, 19, 11, 11, 10, 11, 10] as const;

const aligned = (cells: readonly string[], first: number): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(first) : cell.padStart(WIDTHS[i]!))).join('');

/** `first`: characters of the longest row key. */
export const headerLine = (first: number): string => aligned(COLUMNS, first);

export function rowLine(row: KernelRow, first: number): string {
  const { value, unit } = rate(row);
  return aligned(
    [
      rowKey(row),
      `${digits(value)} ${unit}`,
      `${digits(row.milliseconds)} ms`,
      `${digits(row.lowerQuartile)} – ${digits(row.upperQuartile)}`,
      `${digits(row.hostMilliseconds)} ms`,
      row.gpuMilliseconds === null ? '–' : `${digits(row.gpuMilliseconds)} ms`,
      row.roofline === null ? '–' : `${(row.roofline * 100).toFixed(0)} %`,
      `${digits(row.cpuSeconds * 1e3)} ms`,
      row.error.toExponential(1),
    ],
    first,
  );
}

export function peaksLine(peaks: KernelReport['peaks']): string {
  return peaks === null
    ? 'roofline: not measured'
    : `roofline: ${digits(peaks.gflops)} GFLOP/s multiplied and added, ${digits(peaks.gbPerSecond)} GB/s copied`;
}

/** What `bench peers` prints: rates, and how many times the best other WebGPU library dawntune is. */
import type { Timed } from './protocol.js';

/** A library on a workload: figures, or the reason why there are none. */
export interface PeerRow {
  readonly workload: string;
  readonly peer: string;
  readonly version: string | null;
  readonly backend: 'webgpu' | 'cpu';
  /** Where operands and results are while the clock runs. */
  readonly operands: string;
  readonly reason?: string;
  readonly variant?: string | null;
  /** Largest error relative to the largest reference value. */
  readonly checked?: number;
  readonly flops?: number;
  /** Repetitions in one sample. */
  readonly times?: number;
  /** Of one repetition, one a round. */
  readonly samples?: readonly Timed[];
}

export interface PeerSummary {
  readonly workload: string;
  /** The fastest other WebGPU library. */
  readonly best: string;
  /** Its time over dawntune's, the median of the rounds. */
  readonly ratio: number;
  /** The same of processor time. */
  readonly cpuRatio: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const secondsOf = (row: PeerRow): number => median(row.samples!.map(({ seconds }) => seconds));
const cpuSecondsOf = (row: PeerRow): number => median(row.samples!.map(({ cpuSeconds }) => cpuSeconds));

export function ratesOf(row: PeerRow): {
  gflops: number;
  low: number;
  high: number;
  gflopPerCpuSecond: number;
} {
  const rates = row.samples!.map(({ seconds }) => row.flops! / seconds / 1e9);
  return {
    gflops: row.flops! / secondsOf(row) / 1e9,
    low: Math.min(...rates),
    high: Math.max(...rates),
    gflopPerCpuSecond: row.flops! / cpuSecondsOf(row) / 1e9,
  };
}

/** One for each workload that dawntune and another WebGPU library both did. */
export function summarize(rows: readonly PeerRow[]): PeerSummary[] {
  return [...new Set(rows.map(({ workload }) => workload))].flatMap((workload): PeerSummary[] => {
    const timed = rows.filter((row) => row.workload === workload && row.reason === undefined);
    const own = timed.find(({ peer }) => peer === 'dawntune');
    const [best] = timed
      .filter((row) => row !== own && row.backend === 'webgpu')
      .sort((a, b) => secondsOf(a) - secondsOf(b));
    if (!own || !best) return [];
    const ratios = own.samples!.flatMap((sample, round) => {
      const other = best.samples![round];
      return other ? [[other.seconds / sample.seconds, other.cpuSeconds / sample.cpuSeconds] as const] : [];
    });
    return [
      {
        workload,
        best: best.peer,
        ratio: median(ratios.map(([ratio]) => ratio)),
        cpuRatio: median(ratios.map(([, ratio]) => ratio)),
      },
    ];
  });
}

export function renderPeers(rows: readonly PeerRow[], summaries: readonly PeerSummary[]): string {
  const lines: string[] = [];
  for (const workload of new Set(rows.map((row) => row.workload))) {
    const header = ['', 'version', 'GFLOP/s', 'spread', 'GFLOP/CPU-s', 'ms', 'error', 'operands', 'variant'];
    const table = rows
      .filter((row) => row.workload === workload)
      .map((row) => {
        const name = [row.peer, row.version ?? ''];
        if (row.reason !== undefined) return [...name, row.reason];
        const { gflops, low, high, gflopPerCpuSecond } = ratesOf(row);
        return [
          ...name,
          gflops.toFixed(2),
          `${low.toFixed(2)}–${high.toFixed(2)}`,
          gflopPerCpuSecond.toFixed(2),
          (secondsOf(row) * 1000).toFixed(1),
          row.checked!.toExponential(0),
          row.operands,
          row.variant ?? '',
        ];
      });
    const cells = [header, ...table];
    const widths = header.map((_, c) =>
      Math.max(
        ...cells.filter((row) => row.length > 3).map((row) => row[c]?.length ?? 0),
        ...(c < 2 ? table.map((row) => row[c]!.length) : []),
      ),
    );
    lines.push(
      workload,
      ...cells.map(
        (row) =>
          `  ${row
            .map((cell, c) => cell.padEnd(widths[c]!))
            .join('  ')
            .trimEnd()}`,
      ),
    );
    const summary = summaries.find((each) => each.workload === workload);
    if (summary)
      lines.push(
        `  dawntune is ${summary.ratio.toFixed(2)} times as fast as ${summary.best}, the best other WebGPU library; per CPU-second ${summary.cpuRatio.toFixed(2)} times`,
      );
    lines.push('');
  }
  return `${lines.join('\n')}\n`;
}

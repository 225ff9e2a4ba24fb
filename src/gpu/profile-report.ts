/**
 * What a profile found: dispatches with their times, the operations that they belong to, phases of the host; and the
 * table of time by kernel and variant, with what was achieved of the adapter's rates.
 */

/** What a launch computes. Whoever launches a kernel tells what is known of it. */
export interface Work {
  /** The operation it belongs to, as a kernel family is named; by default the shader's label. */
  readonly kernel?: string | undefined;
  /** The family's variant that runs; undefined where there is no choice. */
  readonly variant?: string | undefined;
  /** Floating-point operations that the result needs; what a variant recomputes counts once. */
  readonly flops?: number | undefined;
  /** Bytes of operands read once and results written once. */
  readonly bytes?: number | undefined;
}

/** Nanoseconds since the profile began. */
export interface TimedDispatch {
  /** Of its shader. */
  readonly label: string;
  /** Of this dispatch alone. */
  readonly work: Work | undefined;
  /** The operation in whose launch it was recorded. */
  readonly span: LaunchSpan | undefined;
  /** Nanoseconds since the profile began. */
  begin: number;
  /** Nanoseconds since the profile began. */
  end: number;
  /** It was not run, since its recording was not valid, or has no times. */
  failed?: boolean;
}

/** One launch of an operation, whose dispatches are [first, end). */
export interface LaunchSpan {
  /** What it computes, told once. */
  readonly work: Work;
  /** Place of its first dispatch among the profile's. */
  readonly first: number;
  /** Place behind its last. */
  end: number;
}

/** Something that the host did while a profile was taken, and how long it took. */
export interface HostPhase {
  /** As `Gpu.phase` was given it. */
  readonly name: string;
  /** Nanoseconds since the profile began. */
  begin: number;
  /** Undefined where the profile ended first. */
  end: number | undefined;
}

/** Dispatches [first, end) were handed over at a time, in nanoseconds since the profile began. */
export interface Submission {
  readonly time: number;
  readonly first: number;
  readonly end: number;
}

/** One kernel's dispatches in a profile, added up. */
export interface ProfileRow {
  /** The operation, as a kernel family is named. */
  readonly kernel: string;
  /** Undefined where there is no choice. */
  readonly variant: string | undefined;
  /** Launches, each of one dispatch or several. */
  readonly count: number;
  /** Of all launches. */
  readonly dispatches: number;
  /** GPU milliseconds. */
  readonly milliseconds: number;
  /** In all; undefined where no launch told. */
  readonly flops: number | undefined;
  /** In all; undefined where no launch told. */
  readonly bytes: number | undefined;
}

interface Measured {
  /** The GPU was measured; otherwise only the host. */
  readonly times: boolean;
  /** How long the profile took, on the host. */
  readonly nanoseconds: number;
  /** In the order in which they were recorded. */
  readonly dispatches: readonly TimedDispatch[];
  readonly spans: readonly LaunchSpan[];
  /** In the order of their beginnings; two of them are apart, or one lies within the other. */
  readonly phases: readonly HostPhase[];
  readonly submissions: readonly Submission[];
}

/** Of time, in nanoseconds since the profile began. */
export interface Window {
  /** The first moment of it. */
  readonly begin: number;
  /** The moment behind it. */
  readonly end: number;
}

type Sums = { -readonly [K in keyof ProfileRow]: ProfileRow[K] };

/** What a device did from `startProfile` to `stopProfile`. */
export class Profile {
  /** Whether dispatches were timed; without timestamps the host alone was. */
  readonly times: boolean;
  /** From `startProfile` to `stopProfile`. */
  readonly nanoseconds: number;
  /** In the order in which they were recorded. */
  readonly dispatches: readonly TimedDispatch[];
  /** Launches of operations, in their order. */
  readonly spans: readonly LaunchSpan[];
  /** What the host did, in the order in which it began; phases lie within others. */
  readonly phases: readonly HostPhase[];
  private readonly submissions: readonly Submission[];

  constructor(measured: Measured) {
    ({
      times: this.times,
      nanoseconds: this.nanoseconds,
      dispatches: this.dispatches,
      spans: this.spans,
      phases: this.phases,
      submissions: this.submissions,
    } = measured);
  }

  /**
   * For how long the GPU had nothing to do because the host had given it nothing, in nanoseconds: from the end of what
   * was handed over to when more was; `of` is the time from the first dispatch to the last, or that of `windows`, which
   * are apart. Undefined without times.
   */
  emptyQueue(windows?: readonly Window[]):
    | {
        /** With nothing to do. */
        nanoseconds: number;
        /** In all. */
        of: number;
      }
    | undefined {
    let [begin, end] = [Number.NaN, Number.NaN];
    let nanoseconds = 0;
    const within = (from: number, to: number) =>
      (windows ?? [{ begin: from, end: to }]).reduce(
        (sum, window) => sum + Math.max(0, Math.min(to, window.end) - Math.max(from, window.begin)),
        0,
      );
    for (const { time, first, end: behind } of this.submissions)
      for (let i = first; i < behind; i++) {
        const dispatch = this.dispatches[i]!;
        if (dispatch.failed) continue;
        if (Number.isNaN(begin)) begin = end = dispatch.begin;
        else if (time > end) nanoseconds += within(end, Math.min(time, dispatch.begin));
        end = Math.max(end, dispatch.end);
      }
    return this.times && end > begin ? { nanoseconds, of: within(begin, end) } : undefined;
  }

  /**
   * The time of steps after the first two, in which kernels are compiled, each from its beginning to that of the next one,
   * without those that an evaluation or a save follows.
   */
  steadySteps(): Window[] {
    const steps = this.phases.filter(({ name }) => /^step \d+$/.test(name));
    const breaks = this.phases.filter(({ name }) => name === 'evaluate' || name === 'save');
    return steps.slice(2, -1).flatMap(({ begin }, n) => {
      const end = steps[n + 3]!.begin;
      return breaks.some((phase) => phase.begin >= begin && phase.begin < end) ? [] : [{ begin, end }];
    });
  }

  /** Time by kernel and variant, most first. */
  rows(): ProfileRow[] {
    const sums = new Map<string, Sums>();
    const rowOf = (kernel: string, variant: string | undefined): Sums => {
      const key = `${kernel}\n${variant ?? ''}`;
      let row = sums.get(key);
      if (!row) {
        row = {
          kernel,
          variant,
          count: 0,
          dispatches: 0,
          milliseconds: 0,
          flops: undefined,
          bytes: undefined,
        };
        sums.set(key, row);
      }
      return row;
    };
    const launched = (row: Sums, work: Work | undefined) => {
      row.count++;
      if (work?.flops !== undefined) row.flops = (row.flops ?? 0) + work.flops;
      if (work?.bytes !== undefined) row.bytes = (row.bytes ?? 0) + work.bytes;
    };
    for (const { label, work, span, begin, end, failed } of this.dispatches) {
      if (failed) continue;
      const whose = work ?? span?.work;
      const row = rowOf(whose?.kernel ?? label, whose?.variant);
      row.dispatches++;
      row.milliseconds += (end - begin) / 1e6;
      if (work || !span) launched(row, work);
    }
    // The work of a launch counts once, however many dispatches it took; one without any has left no time.
    for (const { work, first, end } of this.spans)
      if (end > first) launched(rowOf(work.kernel ?? this.dispatches[first]!.label, work.variant), work);
    return [...sums.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** Dispatches that have no times. */
  get untimed(): number {
    let count = 0;
    for (const { failed } of this.dispatches) if (failed) count++;
    return count;
  }
}

/** What an adapter reaches at best, as somebody measured it. */
export interface Roofline {
  /** Floating-point operations a second. */
  readonly peakFlops: number;
  /** Bytes a second, read and written. */
  readonly copyBandwidth: number;
}

/**
 * The least time that the work of a row could take, as a share of what it took; undefined where the work is not known.
 * (Roofline: Williams, Waterman, Patterson 2009.)
 */
export function rooflineShare(row: ProfileRow, { peakFlops, copyBandwidth }: Roofline): number | undefined {
  if ((row.flops === undefined && row.bytes === undefined) || row.milliseconds === 0) return undefined;
  const seconds = Math.max((row.flops ?? 0) / peakFlops, (row.bytes ?? 0) / copyBandwidth);
  return seconds / (row.milliseconds / 1e3);
}

/** The table for people: kernel, variant, launches, milliseconds, share of all GPU time, rates, share of the roofline. */
export function renderProfile(rows: readonly ProfileRow[], roofline?: Roofline): string {
  const all = rows.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const rate = (amount: number | undefined, milliseconds: number) =>
    amount === undefined || milliseconds === 0 ? '' : (amount / milliseconds / 1e6).toFixed(1);
  const percent = (share: number | undefined) => (share === undefined ? '' : `${(share * 100).toFixed(1)} %`);
  const head = ['kernel', 'variant', 'count', 'dispatches', 'ms', 'share', 'GFLOP/s', 'GB/s'];
  const lines = rows.map((row) => [
    row.kernel,
    row.variant ?? '',
    `${row.count}`,
    `${row.dispatches}`,
    row.milliseconds.toFixed(2),
    percent(all === 0 ? undefined : row.milliseconds / all),
    rate(row.flops, row.milliseconds),
    rate(row.bytes, row.milliseconds),
    ...(roofline ? [percent(rooflineShare(row, roofline))] : []),
  ]);
  const sum = (of: (row: ProfileRow) => number) => `${rows.reduce((total, row) => total + of(row), 0)}`;
  const table = [
    roofline ? [...head, 'roofline'] : head,
    ...lines,
    ['all', '', sum((row) => row.count), sum((row) => row.dispatches), all.toFixed(2)],
  ];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((line) => (line[i] ?? '').length)));
  return table
    .map((line) =>
      line
        .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

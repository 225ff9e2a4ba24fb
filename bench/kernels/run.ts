/**
 * A kernel suite: cases of kernel families, every variant's result checked before it is timed. A wrong kernel ends the run:
 * there is no number for it. The families are an argument, so that tests can hand in broken ones.
 */
import os from 'node:os';
import { InputError, MachineError } from '../../src/errors.js';
import { requireWritable, writeFileAtomic } from '../../src/files/atomic.js';
import { type FlagValues, parseFlags } from '../../src/flags.js';
import { Gpu } from '../../src/gpu/gpu.js';
import type { Roofline } from '../../src/gpu/profile-report.js';
import { checkTrial, outputValues } from '../../src/kernels/check.js';
import type { Family } from '../../src/kernels/variants.js';
import { type OldReport, printComparison, readReport } from '../report/compare.js';
import { toCsv } from '../report/csv.js';
import { requireComparison, requireOneFormat } from '../report/flags.js';
import { machineLine, machineOf } from '../report/machine.js';
import { type Output, standardOutput } from '../report/told.js';
import { kernelsFlags } from './flags.js';
import { clockOf, measure } from './measure.js';
import { kernelPage } from './page.js';
import { headerLine, type KernelReport, oldRow, peaksLine, rowKey, rowLine, shownPeaks } from './report.js';
import { measurePeaks } from './roofline.js';
import { type KernelRow, rowOf } from './row.js';
import { kernelName, type Selected, select } from './select.js';
import { printedSources } from './sources.js';

export interface KernelSuite {
  readonly name: string;
  readonly families: readonly Family[];
  /** Where the copy and the arithmetic peak are found. */
  readonly all: readonly Family[];
}

/** Milliseconds within which a second signal is the first once more. */
const SECOND_SIGNAL = 500;

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

type KernelOptions = FlagValues<typeof kernelsFlags>;

/** @returns the exit status. @throws InputError for flags, MachineError for a wrong kernel. */
export async function runKernelSuite(
  suite: KernelSuite,
  argv: readonly string[],
  given?: Output,
): Promise<number> {
  const { values: options, given: flags, notices } = parseFlags(kernelsFlags, argv);
  const output = given ?? standardOutput(options.progress);
  for (const notice of notices) output.note(`${notice}\n`);
  refuseContradictions(options, flags);
  // Before anything is measured.
  const old = options.compare === null ? null : readReport(options.compare, suite.name, oldRow);
  if (options.html !== null) requireWritable('--html', options.html);
  let gpu: Gpu | undefined;
  // Whoever ends a long run, or a time limit that does, gets the rows that are there; a signal after that ends at once.
  const stop: { signal?: NodeJS.Signals; at?: number } = {};
  const onSignal = (signal: NodeJS.Signals) => {
    // The command `timeout` signals the process and its group, which is the same process again.
    if (stop.at !== undefined && performance.now() - stop.at > SECOND_SIGNAL)
      process.exit(128 + os.constants.signals[signal]);
    stop.signal ??= signal;
    stop.at ??= performance.now();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
    if (options.wgsl !== null) {
      output.out(printedSources(gpu.capabilities, suite.families, options.wgsl, options));
      return 0;
    }
    const report = await measureSuite(gpu, suite, options, output, stop);
    output.end?.();
    if (options.html !== null) writeFileAtomic(options.html, kernelPage(report, suite.families));
    const status = deliver(report, options, old, output);
    return stop.signal === undefined ? status : 128 + os.constants.signals[stop.signal];
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
    output.end?.();
    await gpu?.close();
  }
}

/** Flags that would be ignored beside others. */
function refuseContradictions(options: KernelOptions, given: ReadonlySet<string>): void {
  requireOneFormat(options);
  requireComparison(options.compare, given);
  if (options.wgsl === null) return;
  const unused = ['sizes', 'min_time', 'json', 'csv', 'html', 'compare'].find((name) => given.has(name));
  if (unused) throw new InputError(`bench: --${unused} has no meaning with --wgsl: nothing is measured`);
}

async function measureSuite(
  gpu: Gpu,
  suite: KernelSuite,
  options: KernelOptions,
  output: Output,
  stop: { readonly signal?: NodeJS.Signals | undefined },
): Promise<KernelReport> {
  const machine = machineOf(gpu);
  const selected = select(gpu, suite.families, options);
  const lines = !options.json && !options.csv;
  const say = lines ? output.out : output.note;
  const keys = selected.flatMap(({ family, case: { name }, variants }) =>
    variants.map((variant) => rowKey({ kernel: kernelName(family, name), variant: variant.name })),
  );
  const width = Math.max(...keys.map((key) => key.length));
  say(`${machineLine(machine)}\n`);
  const tell = (done: number, subject: string) =>
    output.progress?.({ phase: 'measure', done, total: keys.length, unit: 'rows', subject });
  tell(0, 'peaks');
  const peaks = await measurePeaks(gpu, suite.all);
  say(`${peaksLine(shownPeaks(peaks))}\n${headerLine(width)}\n`);
  const rows: KernelRow[] = [];
  for (const each of selected) {
    if (stop.signal !== undefined) break;
    tell(rows.length, kernelName(each.family, each.case.name));
    for (const row of await measureCase(gpu, each, options.minTime, peaks)) {
      rows.push(row);
      say(`${rowLine(row, width)}\n`);
    }
  }
  if (stop.signal === undefined)
    output.progress?.({ phase: 'measure', done: rows.length, total: keys.length, unit: 'rows' });
  const complete = stop.signal === undefined;
  if (!complete)
    output.note(`${stop.signal}: stopped; what was measured is given, which is not all that was asked for\n`);
  return { suite: suite.name, ...machine, peaks: shownPeaks(peaks), rows, complete };
}

async function measureCase(
  gpu: Gpu,
  selected: Selected,
  seconds: number,
  peaks: Roofline | null,
): Promise<KernelRow[]> {
  const { family, variants } = selected;
  const { name, form, size } = selected.case;
  const tolerance = family.tolerance(form, size);
  const trial = family.trial(gpu, form, size);
  try {
    const errors = new Map<string, number>();
    let expected: Float32Array[] | undefined;
    for (const variant of variants) {
      const { error, problem } = await checkTrial(trial, tolerance, variant.name, expected);
      if (problem)
        throw new MachineError(
          `${rowKey({ kernel: kernelName(family, name), variant: variant.name })} ${problem}: there is no time of a wrong result`,
        );
      // All elements of the others are held against the variant that always works.
      if (variants.length > 1 && variant === family.variants[0]) expected = await outputValues(trial);
      errors.set(variant.name, error);
    }
    const times = await measure(
      gpu,
      trial,
      variants.map((variant) => variant.name),
      seconds,
    );
    return variants.map((variant) =>
      rowOf(
        gpu.capabilities,
        selected,
        variant,
        times.get(variant.name)!,
        errors.get(variant.name)!,
        peaks,
        clockOf(gpu),
      ),
    );
  } finally {
    trial.dispose();
  }
}

function deliver(
  report: KernelReport,
  options: KernelOptions,
  old: OldReport | null,
  { out, note }: Output,
): number {
  if (options.json) out(`${JSON.stringify(report)}\n`);
  if (options.csv) out(toCsv(report.rows));
  if (!old) return 0;
  const now = report.rows.map((row) => ({ ...row, key: rowKey(row) }));
  return printComparison(old, now, report, options.maxSlowdown, options.json || options.csv ? note : out);
}

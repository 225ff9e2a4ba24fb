/**
 * `dawntune bench ranks`: what several ranks cost. How fast their sums are, by who carries, beside a copy by one thread;
 * how much of a step's exchange its backward hides; what a step of bge-m3 sends.
 */

import { parseToldFlags } from '../src/console/told-flags.js';
import { InputError } from '../src/errors.js';
import { type FlagValues, parseFlags } from '../src/flags.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { WireFormat } from '../src/ranks/communicator.js';
import { formatBytes } from '../src/show.js';
import { scalingFlags, stepFlags } from './options.js';
import type { ExchangeRow } from './ranks/exchange.js';
import { type CarrierName, ranksFlags } from './ranks/flags.js';
import { jointSteps, stepsOfRanks, stepsTask } from './ranks/rank-runs.js';
import { type CostRow, costOfWay, nameOf, WAYS } from './ranks/ways.js';
import { carriersOf, exchangeOver } from './ranks/worlds.js';
import { type OldFields, printComparison, readReport, type Timed } from './report/compare.js';
import { toCsv } from './report/csv.js';
import { requireComparison, requireOneFormat } from './report/flags.js';
import { machineLine, machineOf } from './report/machine.js';
import { quantile } from './report/statistics.js';

type Options = FlagValues<typeof ranksFlags>;

interface Row extends ExchangeRow {
  readonly carrier: CarrierName;
  readonly ranks: number;
  /** Its rate as a share of the copy's. */
  readonly toMemcpy: number | null;
}

export async function benchRanks(argv: readonly string[]): Promise<number> {
  const { values: options, given } = parseToldFlags(ranksFlags, argv);
  requireOneFormat(options);
  requireComparison(options.compare, given);
  const unused = ['model', 'steps'].find((name) => given.has(name));
  if (!options.overlap && unused)
    throw new InputError(`bench ranks: --${unused} has no meaning without --overlap: no steps are taken`);
  const old = options.compare === null ? null : readReport(options.compare, 'ranks', oldRow);
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  const machine = machineOf(gpu);
  await gpu.close();
  const { nprocPerNode: ranks, payload, rounds } = options;
  const note = (line: string) => process.stderr.write(`${line}\n`);
  const quiet = options.json || options.csv;
  if (!quiet) process.stdout.write(`${machineLine(machine)}\n`);
  const rows: Row[] = [];
  const exchange = { rounds, bytes: wholeFloats(payload), buckets: options.buckets.map(wholeFloats) };
  for (const carrier of carriersOf(options.carriers, note)) {
    const [found] = await exchangeOver(carrier, ranks, exchange);
    const memcpy = found!.find(({ operation }) => operation === 'memcpy')!.gbPerSecond!;
    const now = found!.map(
      (row): Row => ({
        ...{ carrier, ranks },
        ...row,
        toMemcpy: row.gbPerSecond === null ? null : row.gbPerSecond / memcpy,
      }),
    );
    rows.push(...now);
    if (!quiet) process.stdout.write(now.map((row) => `${line(row)}\n`).join(''));
  }
  const overlap = options.overlap ? await overlapOf(options, note) : undefined;
  if (overlap && !options.json)
    (options.csv ? process.stderr : process.stdout).write(`${overlapLine(overlap)}\n`);
  const bytes = options.bytes ? await bytesOf(options) : undefined;
  if (bytes && !options.json)
    (options.csv ? process.stderr : process.stdout).write(bytes.map((row) => `${bytesLine(row)}\n`).join(''));
  const more = { ...(overlap && { overlap }), ...(bytes && { bytes }) };
  if (options.json)
    process.stdout.write(`${JSON.stringify({ suite: 'ranks', ...machine, rows, ...more })}\n`);
  else if (options.csv) process.stdout.write(toCsv(rows));
  if (!old) return 0;
  const say = quiet ? process.stderr : process.stdout;
  const timed = rows.map((row): Timed => ({ key: keyOf(row), ...row }));
  return printComparison(old, timed, machine, options.maxSlowdown, (text) => void say.write(text));
}

interface Overlap {
  readonly model: string;
  readonly ranks: number;
  readonly carrier: 'threads' | 'processes';
  readonly wire: WireFormat;
  /** Of a step, in which gradients of `sentBytes` are exchanged by each rank in `milliseconds`. */
  readonly stepMilliseconds: number;
  readonly sentBytes: number;
  readonly milliseconds: number;
  readonly hiddenShare: number;
}

async function overlapOf(
  { nprocPerNode, model, steps, adapter }: Options,
  note: (line: string) => void,
): Promise<Overlap> {
  const defaults = parseFlags(stepFlags, []).values;
  const task = stepsTask({ ...defaults, model, steps: steps + 1 });
  const ranks = await stepsOfRanks(nprocPerNode, task, { adapter, launcher: 'auto' }, note);
  const { steps: taken, exchange } = jointSteps(ranks, 1);
  const sorted = taken
    .slice(1)
    .map((step) => step.seconds)
    .sort((a, b) => a - b);
  return {
    ...{ model, ranks: nprocPerNode, carrier: ranks.carrier, wire: task.wire },
    stepMilliseconds: 1e3 * quantile(sorted, 0.5),
    ...exchange,
  };
}

function overlapLine({ model, ranks, carrier, wire, ...overlap }: Overlap): string {
  return (
    `${carrier}, ${ranks} ranks: a step of ${model} takes ${overlap.stepMilliseconds.toFixed(0)} ms; each rank sends ${formatBytes(overlap.sentBytes)} of gradients (${wire}) ` +
    `in ${overlap.milliseconds.toFixed(0)} ms, of which ${(100 * overlap.hiddenShare).toFixed(0)} % are hidden behind backward`
  );
}

/** What a step of bge-m3 sends, in every way in which ranks can share it. */
async function bytesOf({ adapter, nprocPerNode }: Options): Promise<CostRow[]> {
  const defaults = parseFlags(scalingFlags, []).values;
  const gpu = await Gpu.open(adapter ? { adapter } : {});
  try {
    const rows: CostRow[] = [];
    for (const way of WAYS) rows.push(await costOfWay(gpu, defaults, nprocPerNode, way));
    return rows;
  } finally {
    await gpu.close();
  }
}

const bytesLine = (row: CostRow): string =>
  `bge-m3, ${row.ranks} ranks: ${`${nameOf(row)}:`.padEnd(42)}${formatBytes(row.sentBytes.total).padStart(9)} sent by a rank in a step`;

const wholeFloats = (bytes: number): number => Math.max(4, 4 * Math.floor(bytes / 4));

function keyOf(
  row: Pick<Row, 'carrier' | 'ranks' | 'operation' | 'bytes' | 'bucketBytes'> & { wire: unknown },
) {
  const { carrier, ranks, operation, wire, bytes, bucketBytes } = row;
  const size =
    operation === 'gather'
      ? `${bytes} bytes`
      : `${bytes / 1e6} MB${bucketBytes === bytes ? '' : ` in buckets of ${bucketBytes / 1e6} MB`}`;
  return `${carrier}, ${ranks} ranks: ${operation} of ${size}${typeof wire === 'string' ? `, ${wire}` : ''}`;
}

function line(row: Row): string {
  const rate =
    row.gbPerSecond === null
      ? ''
      : `${row.gbPerSecond.toFixed(2).padStart(8)} GB/s${row.operation === 'memcpy' ? '' : `, ${(row.toMemcpy! * 100).toFixed(0)} % of memcpy`}`;
  const times = [row.lowerQuartile, row.upperQuartile].map((each) => each.toPrecision(3)).join(' to ');
  return `${keyOf(row).padEnd(64)}${row.milliseconds.toPrecision(3).padStart(9)} ms (${times})${rate}`;
}

/** A row of an earlier report. */
function oldRow(fields: OldFields): Timed {
  return {
    key: keyOf({
      carrier: fields.text('carrier') as CarrierName,
      ranks: fields.above0('ranks'),
      operation: fields.text('operation') as Row['operation'],
      wire: fields.given('wire'),
      bytes: fields.above0('bytes'),
      bucketBytes: fields.above0('bucketBytes'),
    }),
    milliseconds: fields.above0('milliseconds'),
    lowerQuartile: fields.number('lowerQuartile'),
    upperQuartile: fields.number('upperQuartile'),
  };
}

/**
 * `dawntune bench ranks`: what several ranks cost. How fast their sums are, by who carries, beside a copy by one thread.
 */
import { parseFlags } from '../src/flags.js';
import { Gpu } from '../src/gpu/gpu.js';
import { type ExchangeRow, exchangeTimes } from './ranks/exchange.js';
import { ranksFlags } from './ranks/flags.js';
import { type CarrierName, carrierNames, worlds } from './ranks/worlds.js';
import { type OldFields, printComparison, readReport, type Timed } from './report/compare.js';
import { toCsv } from './report/csv.js';
import { requireComparison, requireOneFormat } from './report/flags.js';
import { machineLine, machineOf } from './report/machine.js';

interface Row extends ExchangeRow {
  readonly carrier: CarrierName;
  readonly ranks: number;
  /** Its rate as a share of the copy's. */
  readonly toMemcpy: number | null;
}

export async function benchRanks(argv: readonly string[]): Promise<number> {
  const { values: options, given } = parseFlags(ranksFlags, argv);
  requireOneFormat(options);
  requireComparison(options.compare, given);
  const old = options.compare === null ? null : readReport(options.compare, 'ranks', oldRow);
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  const machine = machineOf(gpu);
  await gpu.close();
  const { nprocPerNode: ranks, payload, rounds } = options;
  const quiet = options.json || options.csv;
  if (!quiet) process.stdout.write(`${machineLine(machine)}\n`);
  const rows: Row[] = [];
  for (const carrier of options.carriers ?? carrierNames) {
    const [found] = await worlds[carrier](ranks, (communicator) =>
      exchangeTimes(communicator, {
        rounds,
        bytes: wholeFloats(payload),
        buckets: options.buckets.map(wholeFloats),
      }),
    );
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
  if (options.json) process.stdout.write(`${JSON.stringify({ suite: 'ranks', ...machine, rows })}\n`);
  else if (options.csv) process.stdout.write(toCsv(rows));
  if (!old) return 0;
  const say = quiet ? process.stderr : process.stdout;
  const timed = rows.map((row): Timed => ({ key: keyOf(row), ...row }));
  return printComparison(old, timed, machine, options.maxSlowdown, (text) => void say.write(text));
}

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

/**
 * `dawntune bench scaling`: memory of a rank, and bytes that it sends to others in a step, for 1 to 64 ranks. Every figure
 * comes from taking the step on a device that only accounts, with ranks that count what they send
 * (ranks/planned-steps.ts); a test holds it to what ranks that really train take and send.
 */

import { parseToldFlags } from '../src/console/told-flags.js';
import { Gpu } from '../src/gpu/gpu.js';
import { formatBytes } from '../src/show.js';
import { scalingFlags } from './options.js';
import { type CostRow, costOfWay, nameOf, WAYS, type Way } from './ranks/ways.js';
import { toCsv } from './report/csv.js';
import { requireOneFormat } from './report/flags.js';
import { machineOf } from './report/machine.js';

export async function benchScaling(argv: readonly string[]): Promise<number> {
  const { values: options } = parseToldFlags(scalingFlags, argv);
  requireOneFormat(options);
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  const machine = machineOf(gpu);
  const rows: CostRow[] = [];
  try {
    for (const ranks of options.ranks)
      for (const way of WAYS) {
        // One rank shares nothing.
        if (ranks === 1 && (way.sharded || way.wire !== 'f32')) continue;
        rows.push(await costOfWay(gpu, options, ranks, way));
        process.stderr.write(`${ranks} ranks: ${nameOf(way)}\n`);
      }
  } finally {
    await gpu.close();
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ suite: 'scaling', ...machine, rows })}\n`);
  else if (options.csv) process.stdout.write(toCsv(rows));
  else process.stdout.write(tables(rows, options.ranks));
  return 0;
}

/** Two tables in Markdown. */
function tables(rows: readonly CostRow[], ranks: readonly number[]): string {
  const cell = (count: number, way: Way, show: (row: CostRow) => string): string => {
    const row = rows.find(
      (each) =>
        each.ranks === count &&
        each.table === way.table &&
        // What one rank has is the same in all ways.
        (count === 1 || (each.wire === way.wire && each.sharded === way.sharded)),
    );
    return row ? show(row) : '';
  };
  const table = (
    title: string,
    ways: readonly Way[],
    name: (way: Way) => string,
    show: (row: CostRow) => string,
  ): string => {
    const lines = [
      ['ranks', ...ways.map(name)],
      ['---', ...ways.map(() => '---:')],
      ...ranks.map((count) => [String(count), ...ways.map((way) => cell(count, way, show))]),
    ];
    return `${title}\n\n${lines.map((line) => `| ${line.join(' | ')} |\n`).join('')}`;
  };
  // The format on the wire changes no memory.
  const memory = WAYS.filter(({ wire }) => wire === 'f32');
  const wireless = (way: Way) => nameOf(way).replace(', f32', '');
  return [
    table('GPU memory of a rank', memory, wireless, ({ gpuBytes }) => formatBytes(gpuBytes['total']!)),
    table('Sent by a rank in a step', WAYS, nameOf, ({ sentBytes }) => formatBytes(sentBytes.total)),
  ].join('\n');
}

/**
 * `dawntune bench memory`: what training takes, by purpose, in f32 and f16, with and without recomputation. The
 * figures come from running the step's own code on a device that only accounts (`Gpu.plan`), so models far beyond
 * this machine can be weighed; `--run` takes the steps too and shows both. `--long` weighs one sequence of 1k to 8k
 * tokens instead.
 */

import { parseToldFlags } from '../src/console/told-flags.js';
import { InputError, MachineError } from '../src/errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import type { MemoryReport } from '../src/gpu/memory.js';
import { formatBytes } from '../src/show.js';
import { memoryFlags } from './options.js';
import {
  type BatchShape,
  type BenchBatch,
  fullBatch,
  hashedIds,
  presetConfig,
  stepSettings,
} from './presets.js';
import { toCsv } from './report/csv.js';
import { requireOneFormat } from './report/flags.js';
import { machineOf } from './report/machine.js';
import { type BenchedSteps, planSteps, runSteps } from './training-run.js';

interface Row {
  model: string;
  batch: number;
  group: number;
  precision: 'f32' | 'f16';
  recompute: boolean;
  subBatchSize: number | null;
  tokens: number;
  gpuBytes: Record<string, number>;
  /** Of a real step: the same, its ratio to the prediction, and how long it took. */
  measuredGpuBytes?: Record<string, number>;
  measuredToPredicted?: number;
  seconds?: number;
}

export async function benchMemory(argv: readonly string[]): Promise<number> {
  const { values: options, given } = parseToldFlags(memoryFlags, argv);
  requireOneFormat(options);
  const fixed = ['batch', 'group', 'query_max_len', 'passage_max_len'].find((name) => given.has(name));
  if (options.long && fixed)
    throw new InputError(`bench memory: --${fixed} has no meaning with --long, which weighs one sequence`);
  const config = presetConfig(options.model, options.layers ?? undefined);
  const shape: BatchShape = { ...options, vocab: config.vocabSize };
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  const model = options.layers === null ? options.model : `${options.model}, ${options.layers} layers`;
  const rows: Row[] = [];
  try {
    const cases: { batch: BenchBatch; fp16: boolean; recompute: boolean }[] = options.long
      ? [1024, 2048, 4096, 8192].flatMap((tokens) =>
          [false, true].map((fp16) => ({ batch: longBatch(tokens, shape.vocab), fp16, recompute: true })),
        )
      : [false, true].flatMap((fp16) =>
          [false, true].map((recompute) => ({ batch: fullBatch(shape), fp16, recompute })),
        );
    for (const { batch, fp16, recompute } of cases) {
      const settings: BenchedSteps = { config, fp16, step: stepSettings(recompute, options.subBatchSize) };
      const row: Row = {
        model,
        batch: batch.queries,
        group: batch.group,
        precision: fp16 ? 'f16' : 'f32',
        recompute,
        subBatchSize: options.subBatchSize,
        tokens: batch.texts.reduce((sum, text) => sum + text.length, 0),
        gpuBytes: byPurpose(await planSteps(gpu, settings, batch)),
      };
      if (options.run) {
        const started = performance.now();
        const { memory, notFinite } = await runSteps(gpu, settings, [batch]);
        if (notFinite > 0) throw new MachineError(`${notFinite} weights are not finite after the step`);
        row.seconds = (performance.now() - started) / 1000;
        row.measuredGpuBytes = byPurpose(memory);
        row.measuredToPredicted = memory.peak / row.gpuBytes['total']!;
      }
      rows.push(row);
      if (!options.json && !options.csv)
        process.stdout.write(`${rows.length === 1 ? header(gpu, options.run) : ''}${line(row)}\n`);
    }
    if (options.json)
      process.stdout.write(`${JSON.stringify({ suite: 'memory', ...machineOf(gpu), rows })}\n`);
    if (options.csv) process.stdout.write(toCsv(rows));
  } finally {
    await gpu.close();
  }
  return 0;
}

/** One query of few words and one long passage: the passage is the sequence that is weighed. */
function longBatch(tokens: number, vocab: number): BenchBatch {
  const words = Array.from({ length: tokens }, (_, i) => `w${i}`).join(' ');
  const query = hashedIds('w1 w2 w3 w4 w5', 8, vocab);
  const passages = [hashedIds(words, tokens, vocab), hashedIds('w7 w8', 8, vocab)];
  return { texts: [query, ...passages], queries: 1, group: 2, teacherScores: Float32Array.of(100, 90) };
}

const byPurpose = (report: MemoryReport) => ({ ...report.peakByPurpose, total: report.peak });
const today = () => new Date().toISOString().slice(0, 10);

const columns = ['weights', 'gradients', 'optimizer', 'activations', 'workspace', 'total'];

function header(gpu: Gpu, run: boolean): string {
  const titles = [
    'tokens',
    'precision',
    'recompute',
    ...columns,
    ...(run ? ['measured', 'ratio', 'seconds'] : []),
  ];
  return `GPU memory at its peak, planned${run ? ' and measured' : ''} · ${gpu.capabilities.name} · ${today()}\n${'model'.padEnd(18)}${titles.map((title) => title.padStart(12)).join('')}\n`;
}

function line(row: Row): string {
  const cells = [
    String(row.tokens),
    row.precision,
    row.recompute ? 'yes' : 'no',
    ...columns.map((name) => formatBytes(row.gpuBytes[name]!)),
    ...(row.measuredGpuBytes
      ? [
          formatBytes(row.measuredGpuBytes['total']!),
          row.measuredToPredicted!.toFixed(4),
          row.seconds!.toFixed(1),
        ]
      : []),
  ];
  return `${row.model.padEnd(18)}${cells.map((cell) => cell.padStart(12)).join('')}`;
}

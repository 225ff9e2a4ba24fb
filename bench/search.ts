/**
 * `dawntune bench search`: exact search beside the product that it is made of, beside an index of usearch and, where a
 * Python with it is named, the flat index of faiss. The corpus lies in a temporary file and passes as any other would. All
 * take their turns in every round; what is found for some queries is compared with brute force in float64.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseToldFlags } from '../src/console/told-flags.js';
import { MachineError } from '../src/errors.js';
import type { FlagValues } from '../src/flags.js';
import { Gpu } from '../src/gpu/gpu.js';
import { matmul } from '../src/kernels/matmul/matmul.js';
import { ApproximateIndex, buildApproximateIndex } from '../src/retrieval/search/approximate.js';
import { searchExact } from '../src/retrieval/search/exact.js';
import type { Neighbours } from '../src/retrieval/search/neighbours.js';
import { openVectors, writeNpy } from '../src/retrieval/vectors/files.js';
import type { VectorRows } from '../src/retrieval/vectors/rows.js';
import { formatBytes, messageLine } from '../src/show.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { PeerProcess } from './peers/process.js';
import { machineLine, machineOf } from './report/machine.js';
import { quantile } from './report/statistics.js';
import { faissProgram } from './search/faiss.js';
import { searchFlags } from './search/flags.js';
import { clusteredRows, recallOf, worstScores } from './search/vectors.js';

type Options = FlagValues<typeof searchFlags>;

interface Sample {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** One searcher with one k, or the product. */
interface Row {
  readonly searcher: string;
  readonly rows: number;
  readonly width: number;
  readonly queries: number;
  readonly metric: string;
  readonly k: number | null;
  /** Medians over the rounds. */
  readonly milliseconds: number;
  readonly cpuSeconds: number;
  /** Operations of the product of all queries with all rows, a second; of what does not make it whole, null. */
  readonly gflops: number | null;
  /** The same beside the product's: median of the ratios within rounds. */
  readonly toProduct: number | null;
  /** Of `checked` queries. */
  readonly recall: number | null;
  readonly checked: number;
  /** Most that was taken on the device at once. */
  readonly deviceBytes: number | null;
  readonly buildSeconds: number | null;
  readonly indexBytes: number | null;
  readonly samples: readonly Sample[];
}

/** One that takes turns. */
interface Turn {
  readonly searcher: string;
  readonly k: number | null;
  readonly product: boolean;
  run(): Promise<{ readonly sample: Sample; readonly indices?: Uint32Array; readonly deviceBytes?: number }>;
  readonly buildSeconds?: number;
  readonly indexBytes?: number;
}

export async function benchSearch(argv: readonly string[]): Promise<number> {
  const { values: options } = parseToldFlags(searchFlags, argv);
  const gpu = await Gpu.open(options.adapter ? { adapter: options.adapter } : {});
  const machine = machineOf(gpu);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-bench-search-'));
  const rows: Row[] = [];
  if (!options.json) process.stdout.write(`${machineLine(machine)}\n`);
  try {
    for (const count of options.rows) {
      const found = await searchIn(gpu, count, options, folder);
      rows.push(...found);
      if (!options.json) process.stdout.write(found.map((row) => `${lineOf(row)}\n`).join(''));
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
    await gpu.close();
  }
  const { maxRSS } = process.resourceUsage();
  if (options.json)
    process.stdout.write(
      `${JSON.stringify({ suite: 'search', ...machine, rows, hostBytes: 1024 * maxRSS })}\n`,
    );
  else process.stdout.write(`memory of the process at most: ${formatBytes(1024 * maxRSS)}\n`);
  const wrong = rows.find(({ searcher, recall }) => searcher === 'dawntune' && recall !== 1);
  if (wrong)
    throw new MachineError(
      `exact search found ${wrong.recall} of the ${wrong.k} nearest of ${wrong.rows} rows`,
    );
  return 0;
}

/** All searchers in a corpus of `count` rows. */
async function searchIn(gpu: Gpu, count: number, options: Options, folder: string): Promise<Row[]> {
  const { width, queries: asked, metric, rounds } = options;
  const note = (line: string) => process.stderr.write(`${line}\n`);
  const files = { corpus: path.join(folder, 'corpus.npy'), queries: path.join(folder, 'queries.npy') };
  note(`${count} rows of ${width} values are written`);
  await writeNpy(files.corpus, clusteredRows(count, width, 0));
  await writeNpy(files.queries, clusteredRows(asked, width, count));
  const [corpus, queries] = [openVectors(files.corpus), openVectors(files.queries)];
  const faiss = options.python
    ? new PeerProcess(options.python, ['-c', faissProgram], process.env, 600)
    : undefined;
  try {
    const checked = Math.min(options.checked, asked);
    const sample = await queries.read(0, checked);
    const ks = options.k.filter((k) => k <= count);
    const worst = await worstScores(metric, sample, corpus, ks);
    // Kernels are compiled before anything is timed.
    const few: VectorRows = {
      width,
      count: Math.min(count, 4096),
      read: (start, end) => corpus.read(start, end),
    };
    await searchExact(gpu, queries, few, { metric, k: 1 });
    const turns = [
      await productTurn(gpu, queries, corpus),
      ...ks.map((k) => exactTurn(gpu, queries, corpus, { metric, k })),
      ...(count <= options.usearchRows
        ? await usearchTurns(queries, corpus, path.join(folder, 'index'), options, ks, note)
        : []),
      ...(faiss ? await faissTurns(faiss, files, options, ks, checked, note) : []),
    ];
    const samples = turns.map(() => [] as Sample[]);
    const last: Awaited<ReturnType<Turn['run']>>[] = [];
    for (let round = 0; round < rounds; round++)
      for (const [i, turn] of turns.entries()) {
        last[i] = await turn.run();
        samples[i]!.push(last[i]!.sample);
      }
    const rows: Row[] = [];
    for (const [i, { searcher, k, product, buildSeconds, indexBytes }] of turns.entries()) {
      const seconds = median(samples[i]!.map((each) => each.seconds));
      const { indices, deviceBytes } = last[i]!;
      rows.push({
        ...{ searcher, rows: count, width, queries: asked, metric, k },
        milliseconds: 1e3 * seconds,
        cpuSeconds: median(samples[i]!.map((each) => each.cpuSeconds)),
        gflops: product ? (2 * asked * count * width) / seconds / 1e9 : null,
        toProduct:
          product && k !== null
            ? median(samples[i]!.map((each, round) => samples[0]![round]!.seconds / each.seconds))
            : null,
        recall:
          indices && k !== null
            ? await recallOf(metric, sample, corpus, { k, indices }, worst.get(k)!)
            : null,
        checked,
        deviceBytes: deviceBytes ?? null,
        buildSeconds: buildSeconds ?? null,
        indexBytes: indexBytes ?? null,
        samples: samples[i]!,
      });
    }
    return rows;
  } finally {
    faiss?.stop();
    corpus.close();
    queries.close();
  }
}

const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

async function timed(body: () => Promise<void>): Promise<Sample> {
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  await body();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - start) / 1e3, cpuSeconds: (user + system) / 1e6 };
}

/** Rows of a product that stands for all of them: what comes after is the same again. */
const PRODUCT_ROWS = 4096;

/** The product alone: operands that are on the device, results that nobody looks at; repeated to as many operations. */
async function productTurn(gpu: Gpu, queries: VectorRows, corpus: VectorRows): Promise<Turn> {
  const { width } = corpus;
  const run = () =>
    scope(async () => {
      const count = Math.min(PRODUCT_ROWS, corpus.count);
      const a = Tensor.from(gpu, await queries.read(0, queries.count), [queries.count, width]);
      const b = Tensor.from(gpu, await corpus.read(0, count), [count, width]);
      const out = Tensor.empty(gpu, [queries.count, count]);
      await gpu.finish();
      const times = Math.max(1, Math.ceil(Math.min(corpus.count, MOST_PRODUCT_ROWS) / count));
      const sample = await timed(async () => {
        for (let i = 0; i < times; i++) scope(() => matmul(a, b, { transB: true, out }));
        await gpu.finish();
      });
      // Of a large corpus a part is computed, and the rest taken to be as fast.
      const share = (times * count) / corpus.count;
      return { sample: { seconds: sample.seconds / share, cpuSeconds: sample.cpuSeconds / share } };
    });
  await run();
  return { searcher: 'product alone', k: null, product: true, run };
}

const MOST_PRODUCT_ROWS = 200_000;

function exactTurn(
  gpu: Gpu,
  queries: VectorRows,
  corpus: VectorRows,
  options: { metric: Options['metric']; k: number },
): Turn {
  return {
    searcher: 'dawntune',
    k: options.k,
    product: true,
    async run() {
      gpu.pool.resetPeak();
      let found: Neighbours | undefined;
      const sample = await timed(async () => {
        found = await searchExact(gpu, queries, corpus, options);
      });
      return { sample, indices: found!.indices, deviceBytes: gpu.memory().peak };
    },
  };
}

async function usearchTurns(
  queries: VectorRows,
  corpus: VectorRows,
  file: string,
  { metric }: Options,
  ks: readonly number[],
  note: (line: string) => void,
): Promise<Turn[]> {
  note('usearch builds an index');
  let built: Sample;
  try {
    built = await timed(() => buildApproximateIndex(corpus, file, { metric }));
  } catch (error) {
    note(messageLine((error as Error).message));
    return [];
  }
  const index = ApproximateIndex.open(file);
  return ks.map((k) => ({
    searcher: 'usearch',
    k,
    product: false,
    async run() {
      let found: Neighbours | undefined;
      const sample = await timed(async () => {
        found = await index.search(queries, corpus, { k });
      });
      return { sample, indices: found!.indices };
    },
    buildSeconds: built.seconds,
    indexBytes: fs.statSync(file).size,
  }));
}

async function faissTurns(
  peer: PeerProcess,
  files: { corpus: string; queries: string },
  { metric, python }: Options,
  ks: readonly number[],
  checked: number,
  note: (line: string) => void,
): Promise<Turn[]> {
  try {
    const { version } = await peer.ask<{ version: string }>({ do: 'open' });
    note(`faiss ${version} of ${python}`);
    await peer.ask({ do: 'prepare', ...files, metric });
  } catch (error) {
    note(`faiss: ${messageLine((error as Error).message)}`);
    return [];
  }
  return ks.map((k) => ({
    searcher: 'faiss flat',
    k,
    product: true,
    async run() {
      const { seconds, cpuSeconds, indices } = await peer.ask<Sample & { indices: number[] }>({
        do: 'search',
        k,
        checked,
      });
      return { sample: { seconds, cpuSeconds }, indices: Uint32Array.from(indices) };
    },
  }));
}

function lineOf(row: Row): string {
  const parts = [
    `${row.searcher.padEnd(13)} ${row.rows}×${row.width}, ${row.queries} queries, ${row.metric}${row.k === null ? '' : `, best ${row.k}`}:`,
    `${row.milliseconds.toFixed(0)} ms`,
    `${row.cpuSeconds.toFixed(2)} s of CPU`,
    ...(row.gflops === null ? [] : [`${row.gflops.toFixed(1)} GFLOP/s`]),
    ...(row.toProduct === null ? [] : [`${row.toProduct.toFixed(2)} of the product`]),
    ...(row.recall === null ? [] : [`recall ${row.recall.toFixed(4)}`]),
    ...(row.deviceBytes === null ? [] : [`${formatBytes(row.deviceBytes)} on the device`]),
    ...(row.buildSeconds === null
      ? []
      : [`built in ${row.buildSeconds.toFixed(1)} s, ${formatBytes(row.indexBytes!)}`]),
  ];
  return parts.join(' · ').replace(': ·', ':');
}

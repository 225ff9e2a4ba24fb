/** Exact search at length: corpora in files, of halves too, more queries than a tile has, ranks, and drawn extents. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { Gpu } from '../../src/gpu/gpu.js';
import { EmulatedRanks } from '../../src/ranks/emulated.js';
import { searchExact } from '../../src/retrieval/search/exact.js';
import { scoreOf } from '../../src/retrieval/search/float64.js';
import { METRICS, type Metric, type Neighbours } from '../../src/retrieval/search/neighbours.js';
import { openVectors, writeNpy } from '../../src/retrieval/vectors/files.js';
import { memoryRows, type VectorRows } from '../../src/retrieval/vectors/rows.js';
import { CounterRandom } from '../../src/tensor/random.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-search-'));
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

const draw = (seed: number, length: number, value: (random: CounterRandom) => number) => {
  const random = new CounterRandom(seed, 0);
  return Float32Array.from({ length }, () => value(random));
};

/** That the neighbours of some queries are those of brute force, rows and scores. */
async function check(
  metric: Metric,
  queries: Float32Array,
  corpus: VectorRows,
  { k, indices, scores }: Neighbours,
  checked: readonly number[],
): Promise<void> {
  const { width, count } = corpus;
  const values = await corpus.read(0, count);
  for (const q of checked) {
    const all = Float32Array.from({ length: count }, (_, r) =>
      scoreOf(metric, queries, q * width, values, r * width, width),
    );
    const sign = metric === 'l2' ? 1 : -1;
    const order = Uint32Array.from(all.keys()).sort((a, b) => sign * (all[a]! - all[b]!) || a - b);
    assert.deepEqual(indices.slice(q * k, (q + 1) * k), order.slice(0, k), `${metric}, query ${q}`);
    assert.deepEqual(
      scores.slice(q * k, (q + 1) * k),
      Float32Array.from(order.slice(0, k), (row) => all[row]!),
    );
  }
}

test('corpora in files, of f32 and of halves, for more queries than a tile has', async () => {
  const width = 96;
  const queries = draw(1, 1100 * width, (random) => random.uniform() - 0.5);
  const rows = memoryRows(
    draw(2, 50_000 * width, (random) => random.uniform() - 0.5),
    width,
  );
  for (const dtype of ['f32', 'f16'] as const) {
    const file = path.join(folder, `${dtype}.npy`);
    await writeNpy(file, rows, dtype);
    const corpus = openVectors(file);
    for (const metric of METRICS)
      for (const k of [100, 1000]) {
        const found = await searchExact(gpu, memoryRows(queries, width), corpus, { metric, k });
        await check(metric, queries, corpus, found, [0, 500, 549, 550, 1099]);
        if (k === 1000) continue;
        const ranks = new EmulatedRanks(2);
        for (const shared of await Promise.all(
          [0, 1].map((rank) =>
            searchExact(gpu, memoryRows(queries, width), corpus, {
              ...{ metric, k },
              communicator: ranks.rank(rank),
            }),
          ),
        ))
          assert.deepEqual(shared, found);
      }
    corpus.close();
  }
});

test('ascending scores, each better than all before, over many tiles', async () => {
  const corpus = memoryRows(
    Float32Array.from({ length: 200_000 }, (_, r) => r / 4),
    1,
  );
  const queries = Float32Array.of(1, -1, 0.25);
  for (const metric of ['ip', 'l2'] as const)
    for (const k of [1, 300]) {
      const found = await searchExact(gpu, memoryRows(queries, 1), corpus, { metric, k });
      await check(metric, queries, corpus, found, [0, 1, 2]);
    }
});

test('drawn extents, values and devices', async () => {
  const small = await Gpu.open({ maxBindingSize: 1 << 18 });
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...METRICS),
        fc.boolean(),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 150 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 1, max: 12 }),
        fc.nat(),
        async (metric, littleAtOnce, width, count, rows, k, distinct, seed) => {
          const value = (random: CounterRandom) => Math.floor(random.uniform() * distinct) - (distinct >> 1);
          const queries = draw(seed, count * width, value);
          const corpus = memoryRows(draw(seed + 1, rows * width, value), width);
          const device = littleAtOnce ? small : gpu;
          const found = await searchExact(device, memoryRows(queries, width), corpus, { metric, k });
          await check(metric, queries, corpus, found, [0, count >> 1, count - 1]);
        },
      ),
      { numRuns: 150, seed: 7 },
    );
  } finally {
    await small.close();
  }
});

/** Exact search against brute force in float64: every metric, on random vectors and on those that tempt it to err. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { Gpu } from '../src/gpu/gpu.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { searchExact } from '../src/retrieval/search/exact.js';
import { METRICS, type Metric, type Neighbours } from '../src/retrieval/search/neighbours.js';
import { planSearch } from '../src/retrieval/search/plan.js';
import { memoryRows } from '../src/retrieval/vectors/rows.js';
import { CounterRandom } from '../src/tensor/random.js';

interface Vectors {
  /** Those that f32 can tell apart on them; by default all. */
  readonly metrics?: readonly Metric[];
  readonly width: number;
  readonly queries: Float32Array;
  readonly corpus: Float32Array;
}

/** One sum after the other, all scores sorted: best first, as f32, equal ones by row. */
function bruteForce(metric: Metric, { width, queries, corpus }: Vectors, k: number): Neighbours {
  const rows = corpus.length / width;
  const most = Math.min(k, rows);
  const count = queries.length / width;
  const found = { k: most, indices: new Uint32Array(count * most), scores: new Float32Array(count * most) };
  for (let q = 0; q < count; q++) {
    const scores = Float32Array.from({ length: rows }, (_, r) => {
      let [product, distance, own, other] = [0, 0, 0, 0];
      for (let c = 0; c < width; c++) {
        const [x, y] = [queries[q * width + c]!, corpus[r * width + c]!];
        product += x * y;
        distance += (x - y) ** 2;
        own += x * x;
        other += y * y;
      }
      if (metric === 'l2') return distance;
      if (metric === 'ip') return product;
      return own === 0 || other === 0 ? 0 : product / Math.sqrt(own) / Math.sqrt(other);
    });
    const sign = metric === 'l2' ? 1 : -1;
    const order = Array.from(scores.keys()).sort((a, b) => sign * (scores[a]! - scores[b]!) || a - b);
    found.indices.set(order.slice(0, most), q * most);
    found.scores.set(
      order.slice(0, most).map((row) => scores[row]!),
      q * most,
    );
  }
  return found;
}

const normal = (random: CounterRandom) =>
  Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());

const draw = (seed: number, length: number, value: (random: CounterRandom, i: number) => number) => {
  const random = new CounterRandom(seed, 0);
  return Float32Array.from({ length }, (_, i) => value(random, i));
};

const ofRows = (width: number, rows: number, row: (r: number) => ArrayLike<number>) => {
  const values = new Float32Array(width * rows);
  for (let r = 0; r < rows; r++) values.set(row(r), r * width);
  return values;
};

const W = 20;
const plain = draw(1, 9 * W, normal);
const pool = draw(2, 2200 * W, normal);
const rowOf = (values: Float32Array, r: number) => values.subarray(r * W, (r + 1) * W);

/** By what they are hard for. */
const HARD: Readonly<Record<string, Vectors>> = {
  'random vectors': { width: W, queries: plain, corpus: pool },
  'a width that is no multiple of four': {
    width: 7,
    queries: draw(3, 7 * 5, normal),
    corpus: draw(4, 7 * 999, normal),
  },
  'width 1': { width: 1, queries: draw(3, 5, normal), corpus: draw(4, 999, normal) },
  'one row': { width: W, queries: plain, corpus: pool.slice(0, W) },
  'all rows equal': { width: W, queries: plain, corpus: ofRows(W, 1700, () => rowOf(pool, 0)) },
  'ten rows again and again': {
    width: W,
    queries: plain,
    corpus: ofRows(W, 1700, (r) => rowOf(pool, r % 10)),
  },
  'few distinct scores': {
    width: W,
    queries: draw(5, 9 * W, (random) => Math.floor(random.uniform() * 3) - 1),
    corpus: draw(6, 1700 * W, (random) => Math.floor(random.uniform() * 3) - 1),
  },
  'every row better than all before': {
    width: 2,
    queries: Float32Array.of(1, 0, 0.5, 0),
    corpus: ofRows(2, 5000, (r) => [r / 8, 0]),
  },
  'every row worse than all before': {
    width: 2,
    queries: Float32Array.of(1, 0, 0.5, 0),
    corpus: ofRows(2, 5000, (r) => [(5000 - r) / 8, 0]),
  },
  'zeros of both signs': {
    width: 3,
    queries: Float32Array.of(0, -0, 0, 1, -1, -0, -0, -0, -0),
    corpus: ofRows(3, 90, (r) => [r % 2 ? 0 : -0, r % 3 ? -0 : 0, r % 5 === 0 ? 1 : -0]),
  },
  'the longest vectors of f32': {
    metrics: ['ip', 'cosine'],
    width: W,
    queries: plain.map((v) => v * 1e-10),
    corpus: pool.map((v, i) => (v * 6e37) / (1 + (i % 7))),
  },
  'vectors whose distances are just within f32': {
    width: W,
    queries: plain.map((v) => v * 1e18),
    corpus: pool.map((v, i) => (v * 1e18) / (1 + (i % 7))),
  },
  'very short vectors': {
    width: W,
    queries: plain.map((v) => v * 1e-18),
    corpus: pool.map((v) => v * 1e-18),
  },
  'far from zero and near each other': {
    metrics: ['ip', 'l2'],
    width: W,
    queries: plain.map((v) => 1000 + v / 16),
    corpus: pool.map((v) => 1000 + v / 16),
  },
  'nearly one direction': {
    width: W,
    queries: plain.map((v) => 10 + v / 4),
    corpus: pool.map((v) => 10 + v / 4),
  },
  'one vector far from all others': {
    width: W,
    queries: plain,
    corpus: pool.map((v, i) => (i < W ? 1e18 * v : v)),
  },
};

/** The best `most` neighbours as text, a query a line, so that a difference is seen where it is. */
const told = ({ k, indices, scores }: Neighbours, most = k) =>
  Array.from({ length: indices.length / Math.max(1, k) }, (_, q) =>
    Array.from({ length: Math.min(k, most) }, (_, i) => `${indices[q * k + i]}:${scores[q * k + i]}`).join(
      ' ',
    ),
  );

describe('exact search', () => {
  let gpu: Gpu;
  before(async () => {
    gpu = await Gpu.open();
  });
  after(() => gpu.close());

  const search = ({ width, queries, corpus }: Vectors, metric: Metric, k: number) =>
    searchExact(gpu, memoryRows(queries, width), memoryRows(corpus, width), { metric, k });

  for (const [name, vectors] of Object.entries(HARD))
    test(`${name}: as float64 finds them`, async () => {
      for (const metric of vectors.metrics ?? METRICS) {
        const all = bruteForce(metric, vectors, 1000);
        for (const k of [1, 10, 1000])
          assert.deepEqual(told(await search(vectors, metric, k)), told(all, k), `${metric}, ${k} best`);
      }
    });

  test('what is not finite is named, on either side, whatever the metric', async () => {
    for (const metric of METRICS)
      for (const [value, written] of [
        [Number.NaN, 'NaN'],
        [Infinity, 'Infinity'],
        [-Infinity, '-Infinity'],
      ] as const) {
        const corpus = pool.slice();
        corpus[2199 * W + 7] = value;
        await assert.rejects(search({ width: W, queries: plain, corpus }, metric, 3), {
          name: 'InputError',
          message: `search: corpus row 2199, value 7 is ${written}; expected finite numbers (rows and values count from 0)`,
        });
        const queries = plain.slice();
        queries[3 * W] = value;
        await assert.rejects(search({ width: W, queries, corpus: pool }, metric, 3), {
          name: 'InputError',
          message: `search: query row 3, value 0 is ${written}; expected finite numbers (rows and values count from 0)`,
        });
      }
  });

  test('what cannot be searched is refused in words', async () => {
    const refused = async (vectors: Vectors, metric: string, k: number, message: RegExp) =>
      assert.rejects(search(vectors, metric as Metric, k), { name: 'InputError', message });
    const vectors = { width: W, queries: plain, corpus: pool };
    await refused(vectors, 'manhattan', 3, /one of ip, cosine, l2, found "manhattan"/);
    for (const k of [0, -1, 1.5, Number.NaN])
      await refused(vectors, 'ip', k, /k must be a whole number of at least 1/);
    await assert.rejects(
      searchExact(gpu, memoryRows(plain, W), memoryRows(pool, 40), { metric: 'ip', k: 3 }),
      /queries of 20 values and a corpus of 40/,
    );
  });

  test('of nothing nothing is found', async () => {
    const none = new Float32Array();
    assert.deepEqual(await search({ width: W, queries: none, corpus: pool }, 'ip', 3), {
      k: 3,
      indices: new Uint32Array(),
      scores: none,
    });
    assert.deepEqual(await search({ width: W, queries: plain, corpus: none }, 'l2', 3), {
      k: 0,
      indices: new Uint32Array(),
      scores: none,
    });
  });

  test('where f32 cannot tell more rows apart than are kept, the corpus is searched again', async () => {
    // Multiples of a few directions, whose cosines are the same, but for what they are rounded by.
    const corpus = ofRows(W, 2500, (r) => rowOf(pool, r % 3).map((x) => x * (1 + r / 7)));
    const vectors = { width: W, queries: plain, corpus };
    const seen: string[] = [];
    const found = await searchExact(gpu, memoryRows(plain, W), memoryRows(corpus, W), {
      ...{ metric: 'cosine', k: 10 },
      onProgress: (done, total) => seen.push(`${done} of ${total}`),
    });
    assert.deepEqual(told(found), told(bruteForce('cosine', vectors, 10)));
    assert.deepEqual(seen, ['2500 of 2500', '5000 of 5000']);
  });

  test('whatever the extents, with few distinct values', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...METRICS),
        fc.record({
          width: fc.integer({ min: 1, max: 9 }),
          queries: fc.integer({ min: 1, max: 70 }),
          rows: fc.integer({ min: 1, max: 400 }),
          k: fc.integer({ min: 1, max: 420 }),
          seed: fc.nat(),
        }),
        async (metric, { width, queries, rows, k, seed }) => {
          const value = (random: CounterRandom) => Math.floor(random.uniform() * 5) - 2;
          const vectors = {
            width,
            queries: draw(seed, queries * width, value),
            corpus: draw(seed + 1, rows * width, value),
          };
          assert.deepEqual(told(await search(vectors, metric, k)), told(bruteForce(metric, vectors, k)));
        },
      ),
      { numRuns: 25, seed: 12 },
    );
  });

  describe('on a device that binds little at once', () => {
    const most = 1 << 18;
    let small: Gpu;
    before(async () => {
      small = await Gpu.open({ maxBindingSize: most });
    });
    after(() => small.close());

    test('blocks and pieces give what one block does', async () => {
      const copies = ofRows(W, 6000, (r) => rowOf(pool, r % 1500));
      for (const metric of METRICS)
        for (const k of [9, 300]) {
          const found = await searchExact(small, memoryRows(plain, W), memoryRows(copies, W), { metric, k });
          assert.deepEqual(
            told(found),
            told(await search({ width: W, queries: plain, corpus: copies }, metric, k)),
          );
        }
      assert.equal(small.memory().liveBuffers, 0);
    });

    test('queries whose lists have no room at once are searched with in several passes', async () => {
      const width = 3;
      const vectors = {
        width,
        queries: draw(11, 1300 * width, normal),
        corpus: draw(12, 700 * width, normal),
      };
      const extents = { queries: 1300, corpus: 700, width, k: 4 };
      const { kept, queryTile, groupTiles } = planSearch(small.capabilities, extents);
      const passes = Math.ceil(Math.ceil(extents.queries / queryTile) / groupTiles(kept));
      assert.ok(passes > 1);
      const seen: string[] = [];
      const found = await searchExact(
        small,
        memoryRows(vectors.queries, width),
        memoryRows(vectors.corpus, width),
        { metric: 'l2', k: 4, onProgress: (done, total) => seen.push(`${done} of ${total}`) },
      );
      assert.deepEqual(told(found), told(await search(vectors, 'l2', 4)));
      assert.deepEqual([seen.at(-1), new Set(seen).size > 1], [`${700 * passes} of ${700 * passes}`, true]);
    });

    test('memory is bounded, and planned to the byte', async () => {
      const options = { metric: 'l2', k: 30 } as const;
      const corpus = memoryRows(draw(8, 20_000 * W, normal), W);
      const queries = memoryRows(plain, W);
      const peakOf = async (gpu: Gpu) => {
        gpu.pool.trim();
        gpu.pool.resetPeak();
        await searchExact(gpu, queries, corpus, options);
        return gpu.memory().peak;
      };
      const peak = await peakOf(small);
      assert.equal(peak, await peakOf(Gpu.plan(small)));
      const { queryTile, corpusTile, blockRows } = planSearch(small.capabilities, {
        queries: queries.count,
        corpus: corpus.count,
        width: W,
        k: 30,
      });
      assert.ok(4 * queryTile * corpusTile <= most && 2 * 4 * W * blockRows <= most);
      // A tile, two blocks and their lengths, lists and queries, and what packs the operands of the product.
      assert.ok(peak < 6 * most, `${peak} bytes`);
      assert.ok(4 * corpus.count * W > 1_500_000);
    });
  });

  test('several ranks find the same, each for its share of the queries', async () => {
    const width = 4;
    const queries = draw(9, 1200 * width, normal);
    const corpus = draw(10, 1500 * width, normal);
    for (const metric of METRICS) {
      const options = { metric, k: 5 };
      const alone = await searchExact(gpu, memoryRows(queries, width), memoryRows(corpus, width), options);
      const ranks = new EmulatedRanks(4);
      const all = await Promise.all(
        [0, 1, 2, 3].map((rank) =>
          searchExact(gpu, memoryRows(queries, width), memoryRows(corpus, width), {
            ...options,
            communicator: ranks.rank(rank),
          }),
        ),
      );
      for (const found of all) assert.deepEqual(found, alone);
    }
  });
});

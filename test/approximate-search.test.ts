/** Approximate search: what an index on disk finds beside exact search, and what is refused. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gpu } from '../src/gpu/gpu.js';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { ApproximateIndex, buildApproximateIndex, loadUsearch } from '../src/retrieval/search/approximate.js';
import { searchExact } from '../src/retrieval/search/exact.js';
import { METRICS } from '../src/retrieval/search/neighbours.js';
import { memoryRows } from '../src/retrieval/vectors/rows.js';
import { CounterRandom } from '../src/tensor/random.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-index-'));
const file = path.join(folder, 'pool.usearch');
let gpu: Gpu;
before(async () => {
  gpu = await Gpu.open();
});
after(async () => {
  await gpu.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

const W = 16;
const draw = (seed: number, rows: number) => {
  const random = new CounterRandom(seed, 0);
  return Float32Array.from({ length: rows * W }, () => random.uniform() - 0.5);
};
const queries = memoryRows(draw(1, 300), W);
const corpus = memoryRows(draw(2, 700), W);

test('an index finds nearly all neighbours, with the scores of exact search, whatever the metric', async () => {
  for (const metric of METRICS)
    for (const precision of ['f32', 'f16'] as const) {
      await buildApproximateIndex(corpus, file, { metric, precision });
      const index = ApproximateIndex.open(file);
      const found = await index.search(queries, corpus, { k: 10 });
      const exact = await searchExact(gpu, queries, corpus, { metric, k: 10 });
      let same = 0;
      for (let q = 0; q < queries.count; q++) {
        const scores = new Map<number, number>();
        for (let i = 10 * q; i < 10 * q + 10; i++) scores.set(exact.indices[i]!, exact.scores[i]!);
        for (let i = 10 * q; i < 10 * q + 10; i++) {
          const score = scores.get(found.indices[i]!);
          if (score === undefined) continue;
          same++;
          assert.equal(found.scores[i], score);
        }
      }
      assert.ok(
        same / found.indices.length > 0.95,
        `${metric} ${precision}: ${same} of ${found.indices.length}`,
      );
      assert.deepEqual(
        await index.search(queries, corpus, { k: 10 }),
        found,
        'one index finds the same again',
      );
      const ranks = new EmulatedRanks(2);
      for (const shared of await Promise.all(
        [0, 1].map((rank) => index.search(queries, corpus, { k: 10, communicator: ranks.rank(rank) })),
      ))
        assert.deepEqual(shared, found);
    }
});

test('all rows of a small corpus, and one query', async () => {
  const few = memoryRows(draw(3, 7), W);
  await buildApproximateIndex(few, file, { metric: 'cosine' });
  const found = await ApproximateIndex.open(file).search(memoryRows(draw(1, 1), W), few, { k: 20 });
  assert.deepEqual(
    found,
    await searchExact(gpu, memoryRows(draw(1, 1), W), few, { metric: 'cosine', k: 20 }),
  );
});

test('what is no index, or another’s, is refused in words', async () => {
  await buildApproximateIndex(corpus, file, { metric: 'ip' });
  const refused = (name: string, message: RegExp) =>
    assert.throws(() => ApproximateIndex.open(path.join(folder, name)), { name: 'InputError', message });
  refused('nothing', /nothing\.json: expected the description of an index: no such file or folder/);
  fs.writeFileSync(path.join(folder, 'other.json'), '{}');
  refused('other', /expected the description of an index, found \{\}/);
  fs.writeFileSync(path.join(folder, 'broken.json'), '{');
  refused('broken', /expected the description of an index: no JSON/);
  fs.copyFileSync(`${file}.json`, path.join(folder, 'short.json'));
  fs.writeFileSync(path.join(folder, 'short'), fs.readFileSync(file).subarray(0, 5000));
  refused('short', /short: an index of \d+ bytes, found 5000; build it again/);
  const index = ApproximateIndex.open(file);
  await assert.rejects(
    index.search(queries, memoryRows(draw(2, 3), W), { k: 3 }),
    /an index of 700 rows of 16 values, and a corpus of 3 of 16/,
  );
  await assert.rejects(
    index.search(memoryRows(draw(2, 3).fill(Number.NaN, 20, 21), W), corpus, { k: 3 }),
    /query row 1, value 4 is NaN/,
  );
  await assert.rejects(
    buildApproximateIndex(memoryRows(draw(2, 3).fill(Infinity, 40, 41), W), file, { metric: 'ip' }),
    /corpus row 2, value 8 is Infinity/,
  );
});

test('a package that does not load is a matter of the machine, with what to do', async () => {
  await assert.rejects(loadUsearch('usearch-that-is-not-there'), {
    name: 'MachineError',
    message:
      /^approximate search needs the package usearch, which does not load here \(.*\); install it with npm install usearch@2\.25\.3, or search exactly$/,
  });
});

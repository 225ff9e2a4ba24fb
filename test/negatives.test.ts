/** Which candidates become negatives: by a slow account of the rules, and by cases that people ask about. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { type MinedRow, type NegativeRules, negativesOf } from '../src/retrieval/mine/negatives.js';
import { TextPool } from '../src/retrieval/mine/pool.js';

const RULES: NegativeRules = {
  range: { lowest: 0, highest: 10 },
  negatives: 3,
  sampling: 'top',
  fill: 'none',
  ascending: false,
  nearest: null,
  farthest: null,
  absoluteMargin: null,
  relativeMargin: null,
  seed: 1,
};
const ROW: MinedRow = {
  row: 0,
  candidates: [4, 2, 0, 1, 3, 5],
  scores: [0.9, 0.8, 0.7, 0.6, 0.5, -0.4],
  excluded: new Set([2]),
  positiveScores: [0.8],
  poolSize: 6,
};

test('ranges, bounds and margins leave out what they say', () => {
  for (const [rules, row, places] of [
    [{}, {}, [4, 0, 1]],
    [{ range: { lowest: 1, highest: 3 } }, {}, [0]],
    [{ range: { lowest: 6, highest: 9 } }, {}, []],
    [{ nearest: 0.75 }, {}, [0, 1, 3]],
    [{ nearest: 0.7 }, {}, [0, 1, 3]],
    [{ nearest: 0.65, farthest: 0.5 }, {}, [1, 3]],
    [{ absoluteMargin: 0.15 }, {}, [1, 3, 5]],
    [{ relativeMargin: 0.3 }, {}, [3, 5]],
    // A margin below the worst of several positives, and of one with a negative score.
    [{ absoluteMargin: 0.05 }, { positiveScores: [0.8, 0.6] }, [3, 5]],
    [{ relativeMargin: 0.5 }, { positiveScores: [-0.2] }, [5]],
    // Distances: smaller is nearer.
    [{ ascending: true, nearest: 0.2, farthest: 0.5 }, { scores: [0.1, 0.2, 0.2, 0.4, 0.5, 0.6] }, [0, 1, 3]],
    [
      { ascending: true, relativeMargin: 1 },
      { scores: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], positiveScores: [0.2] },
      [1, 3, 5],
    ],
    [{ negatives: 9 }, {}, [4, 0, 1, 3, 5]],
  ] as const)
    assert.deepEqual(
      negativesOf({ ...ROW, ...row }, { ...RULES, ...rules }).places,
      places,
      JSON.stringify([rules, row]),
    );
});

test('what is drawn are other texts of the pool, all of them where it is small', () => {
  const fill = { fill: 'random', negatives: 5, range: { lowest: 0, highest: 1 } } as const;
  const all = negativesOf(ROW, { ...RULES, ...fill });
  assert.equal(all.filled, 4);
  assert.equal(all.places[0], 4);
  assert.deepEqual([...all.places].sort(), [0, 1, 3, 4, 5]);
  const large = negativesOf({ ...ROW, poolSize: 1000 }, { ...RULES, ...fill });
  assert.equal(large.places.length, 5);
  // Fewer where the pool has no more.
  const few = negativesOf({ ...ROW, poolSize: 3, candidates: [2], scores: [1] }, { ...RULES, ...fill });
  assert.deepEqual([...few.places].sort(), [0, 1]);
});

test('negatives are distinct, allowed, as many as there can be, and the same for the same seed and row', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 0, max: 20 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 12 }),
      fc.constantFrom('random', 'top'),
      fc.constantFrom('random', 'none'),
      fc.array(fc.nat(45), { maxLength: 6 }),
      fc.nat(1000),
      (poolSize, lowest, length, negatives, sampling, fill, out, row) => {
        const candidates = Array.from({ length: poolSize }, (_, i) => (7 * i + row) % poolSize).filter(
          (place, i, all) => all.indexOf(place) === i,
        );
        const mined: MinedRow = {
          ...{ row, candidates, excluded: new Set(out), positiveScores: [], poolSize },
          scores: candidates.map((_, i) => -i),
        };
        const rules = {
          ...RULES,
          ...{ range: { lowest, highest: lowest + length }, negatives, sampling, fill },
        } as const;
        const { places, filled } = negativesOf(mined, rules);
        assert.deepEqual(negativesOf(mined, rules).places, places);
        assert.equal(new Set(places).size, places.length);
        const left = candidates.slice(lowest, lowest + length).filter((place) => !mined.excluded.has(place));
        const own = places.slice(0, places.length - filled);
        assert.equal(own.length, Math.min(negatives, left.length));
        assert.ok(own.every((place) => left.includes(place)));
        const free = Array.from({ length: poolSize }, (_, i) => i).filter((i) => !mined.excluded.has(i));
        if (fill === 'none') assert.equal(filled, 0);
        else assert.equal(places.length, Math.min(negatives, free.length));
        assert.ok(places.every((place) => free.includes(place)));
      },
    ),
  );
});

test('each candidate is drawn as often as any other', () => {
  const counts = new Map<number, number>();
  const rules = { ...RULES, sampling: 'random', range: { lowest: 0, highest: 10 } } as const;
  for (let row = 0; row < 3000; row++)
    for (const place of negativesOf({ ...ROW, row }, rules).places)
      counts.set(place, (counts.get(place) ?? 0) + 1);
  // 3 of 5, 3000 times: a standard deviation of 27.
  for (const place of [4, 0, 1, 3, 5]) assert.ok(Math.abs(counts.get(place)! - 1800) < 135);
});

test('a pool keeps distinct texts in their order, in memory or in a file', () => {
  const texts = ['b', '', 'ä', '語'.repeat(1000), 'b ', '\u0000', 'a'.repeat(50)];
  for (const memory of [1 << 20, 1000, 0]) {
    const pool = new TextPool({ memory });
    for (const [i, text] of [...texts, ...texts].entries()) assert.equal(pool.add(text), i % texts.length);
    assert.equal(pool.onDisk, memory <= 1000);
    assert.deepEqual([...pool.texts()], texts);
    assert.equal(pool.placeOf('ä'), 2);
    assert.equal(pool.placeOf('a'), undefined);
    assert.throws(() => pool.text(7), RangeError);
    pool.dispose();
  }
  const many = new TextPool();
  for (let i = 0; i < 3000; i++) many.add(`${i}`);
  assert.equal(many.text(2999), '2999');
  many.dispose();
  assert.ok(!fs.readdirSync(os.tmpdir()).some((name) => name.startsWith(`dawntune-${process.pid}-`)));
  assert.throws(
    () => new TextPool({ memory: 0, folder: '/no/such' }).add('x'),
    /cannot keep temporary files/,
  );
});

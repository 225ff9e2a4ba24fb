/** Threefry against its published known answers, and the distributions that are built on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CounterRandom, streamKey, threefry2x32 } from '../src/tensor/random.js';

test('Threefry-2x32-20 gives the known-answer vectors of Random123', () => {
  const ones = 0xffffffff;
  assert.deepEqual(threefry2x32(0, 0, 0, 0), [0x6b200159, 0x99ba4efe]);
  assert.deepEqual(threefry2x32(ones, ones, ones, ones), [0x1cb996fc, 0xbb002be7]);
  assert.deepEqual(threefry2x32(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3), [0xc4923a9c, 0x483df7a0]);
});

test('the first words of a stream are the blocks of its key in counter order', () => {
  const random = new CounterRandom(7, [1, 2]);
  const [key0, key1] = streamKey(7, [1, 2]);
  assert.deepEqual(
    Array.from({ length: 4 }, () => random.word()),
    [...threefry2x32(key0, key1, 0, 0), ...threefry2x32(key0, key1, 1, 0)],
  );
});

test('a restored state continues exactly, from an odd position too', () => {
  const random = new CounterRandom(42, 3);
  for (let i = 0; i < 7; i++) random.word();
  const saved = JSON.parse(JSON.stringify(random.state));
  const expected = [random.word(), random.uniform(), random.int(10), random.normal()];
  const again = CounterRandom.restore(saved);
  assert.deepEqual([again.word(), again.uniform(), again.int(10), again.normal()], expected);
  random.state = saved;
  assert.equal(random.word(), expected[0]);
});

test('streams and seeds are told apart, also beyond 32 bits and below zero', () => {
  const seeds = [0, 1, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 52];
  const streams = [[0], [1], [0, 0], [0, 1], [1, 0], [2 ** 40]];
  const keys = seeds.flatMap((seed) => streams.map((stream) => streamKey(seed, stream).join()));
  assert.equal(new Set(keys).size, keys.length);
  assert.throws(() => new CounterRandom(0.5), /expected an integer, found 0.5/);
});

test('uniform and normal have the right moments', () => {
  const random = new CounterRandom(1);
  const count = 40000;
  let sum = 0;
  let squares = 0;
  let normalSum = 0;
  let normalSquares = 0;
  for (let i = 0; i < count; i++) {
    const u = random.uniform();
    assert.ok(u >= 0 && u < 1);
    sum += u;
    squares += u * u;
    const z = random.normal();
    normalSum += z;
    normalSquares += z * z;
  }
  assert.ok(Math.abs(sum / count - 1 / 2) < 0.006);
  assert.ok(Math.abs(squares / count - 1 / 3) < 0.006);
  assert.ok(Math.abs(normalSum / count) < 0.02);
  assert.ok(Math.abs(normalSquares / count - 1) < 0.03);
});

test('int(n) is even over its values (chi-squared, 6 degrees of freedom) and rejects bad bounds', () => {
  const random = new CounterRandom(5);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 70000; i++) counts[random.int(7)]!++;
  const chiSquared = counts.reduce((total, count) => total + (count - 10000) ** 2 / 10000, 0);
  assert.ok(chiSquared < 22.5, `chi-squared ${chiSquared}`); // p ≈ 0.001
  for (const bound of [0, -1, 1.5, 2 ** 32 + 1]) assert.throws(() => random.int(bound), RangeError);
});

test('every permutation of three is equally likely', () => {
  const random = new CounterRandom(9);
  const counts = new Map<string, number>();
  for (let i = 0; i < 12000; i++) {
    const order = random.shuffle([0, 1, 2]).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 6);
  for (const count of counts.values()) assert.ok(Math.abs(count - 2000) < 200, `${count}`);
});

test('shuffle keeps the elements; sample takes each at most once and leaves the array alone', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.uniqueArray(fc.integer(), { maxLength: 30 }),
      fc.nat(30),
      (seed, array, k) => {
        const before = [...array];
        const taken = new CounterRandom(seed).sample(array, Math.min(k, array.length));
        assert.deepEqual(array, before);
        assert.equal(new Set(taken).size, Math.min(k, array.length));
        assert.ok(taken.every((value) => array.includes(value)));
        const shuffled = new CounterRandom(seed).shuffle([...array]);
        assert.deepEqual([...shuffled].sort(), [...before].sort());
      },
    ),
  );
  assert.throws(() => new CounterRandom(0).sample([1, 2], 3), /cannot sample 3 of 2/);
});

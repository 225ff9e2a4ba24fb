/** Sums of slices in vector loops against the plain ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SliceSums } from '../src/ranks/slice-sums.js';
import { roundToBf16, sumOnWire } from '../src/ranks/sums.js';

const CAPACITY = 40;
const words = fc.integer({ min: 0, max: 0xffffffff });
/** Bits of every kind of number, those around the edges of the exponent more often. */
const anyBits = fc.oneof(
  words,
  words.map((word) => (word | 0x7f800000) >>> 0),
  words.map((word) => (word & 0x807fffff) >>> 0),
  words.map((word) => ((word & 0xffff0000) | 0x8000) >>> 0),
  fc.constantFrom(0, 0x80000000, 0x7f800000, 0xff800000, 0x7f7fffff, 0x7fffffff, 0xffffffff, 0x7f800001),
);

/** With all NaN alike: which of them comes out is nobody's business. */
const plain = (values: Float32Array) => values.map((value) => (Number.isNaN(value) ? Number.NaN : value));

/** Values of `size` ranks. */
const given = (size: number) =>
  fc
    .integer({ min: 0, max: CAPACITY })
    .chain((count) =>
      fc.array(fc.array(anyBits, { minLength: count, maxLength: count }), {
        minLength: size,
        maxLength: size,
      }),
    )
    .map((ranks) => ranks.map((bits) => new Float32Array(Uint32Array.from(bits).buffer)));

for (const size of [1, 2, 3, 5])
  test(`slices of ${size} ranks`, () => {
    const slices = new SliceSums(size, CAPACITY);
    fc.assert(
      fc.property(given(size), (ranks) => {
        const count = ranks[0]!.length;
        const total = () => plain(slices.total.subarray(0, count));
        ranks.forEach((values, rank) => {
          slices.values[rank]!.set(values);
        });
        slices.add(count);
        assert.deepEqual(total(), plain(sumOnWire(ranks, 'f32')));

        ranks.forEach((values, rank) => {
          slices.total.set(values);
          slices.packTotal(slices.outgoing[rank]!, count);
          const rounded = values.slice();
          roundToBf16(rounded);
          slices.unpackTotal(slices.outgoing[rank]!, count);
          assert.deepEqual(total(), plain(rounded));
          slices.arrived[rank]!.set(slices.outgoing[rank]!);
        });
        slices.addArrived(count);
        slices.packTotal(slices.outgoing[0]!, count);
        slices.unpackTotal(slices.outgoing[0]!, count);
        assert.deepEqual(total(), plain(sumOnWire(ranks, 'bf16')));
      }),
    );
  });

test('nothing is written beyond a slice’s memory', () => {
  const slices = new SliceSums(2, CAPACITY);
  slices.total.fill(7);
  for (const values of slices.values) values.fill(1);
  slices.add(slices.length);
  assert.ok(slices.total.every((value) => value === 2));
  assert.equal(slices.length % 16, 0);
  slices.total.fill(3);
  const before = slices.arrived[0]!.slice();
  slices.packTotal(slices.outgoing[0]!, slices.length);
  assert.deepEqual(slices.arrived[0], before);
  assert.ok(slices.values[1]!.every((value) => value === 1));
});

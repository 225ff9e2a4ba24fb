/** Sums of table rows over ranks beside the same sums of whole tables. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EmulatedRanks } from '../src/ranks/emulated.js';
import { sumOnWire } from '../src/ranks/sums.js';
import { bytesOfSum, type HostRows, sumRows } from '../src/train/ranks/rows.js';

const COLS = 3;

/** What each rank has: some rows, each with numbers whose sum depends on the order. */
const gradients = (tableRows: number, share: number) =>
  fc.array(
    fc
      .array(fc.integer({ min: 0, max: 1000 }), { minLength: tableRows, maxLength: tableRows })
      .map((draws): HostRows => {
        const rows = Uint32Array.from([...draws.keys()].filter((row) => draws[row]! < 1000 * share));
        const values = Float32Array.from({ length: rows.length * COLS }, (_, i) => {
          const draw = draws[rows[Math.floor(i / COLS)]!]! + 1;
          return Math.sin(draw * (i + 1)) * 2 ** (draw % 20);
        });
        return { rows, values };
      }),
    { minLength: 2, maxLength: 4 },
  );

const whole = ({ rows, values }: HostRows, tableRows: number) => {
  const all = new Float32Array(tableRows * COLS);
  rows.forEach((row, i) => {
    all.set(values.subarray(i * COLS, (i + 1) * COLS), row * COLS);
  });
  return all;
};

for (const wire of ['f32', 'bf16'] as const)
  for (const [name, tableRows, share] of [
    ['few rows', 40, 0.2],
    ['rows that ranks have in common', 12, 0.7],
    ['nearly all rows, which go as whole tables', 5, 1],
  ] as const)
    test(`${name}, ${wire}: the sum of whole tables, and all ranks have it`, () =>
      fc.assert(
        fc.asyncProperty(gradients(tableRows, share), async (own) => {
          const ranks = new EmulatedRanks(own.length);
          const summed = await Promise.all(
            own.map((each, rank) => sumRows(each, { rows: tableRows, cols: COLS }, ranks.rank(rank), wire)),
          );
          const present = [...new Set(own.flatMap(({ rows }) => [...rows]))].sort((a, b) => a - b);
          const sum = sumOnWire(
            own.map((each) => whole(each, tableRows)),
            wire,
          );
          for (const { rows, values } of summed) {
            assert.deepEqual([...rows], present);
            // -0 and 0 are no difference to a sum.
            const want = present.flatMap((row) => [...sum.subarray(row * COLS, (row + 1) * COLS)]);
            assert.deepEqual(
              [...values].map((value) => value + 0),
              want.map((value) => value + 0),
            );
          }
        }),
        { numRuns: 40 },
      ));

test('rows take the fewer bytes of both ways', async () => {
  for (const [count, wire] of [
    [1, 'f32'],
    [20, 'bf16'],
    [100, 'f32'],
    [100, 'bf16'],
  ] as const) {
    const table = { rows: 100, cols: 8 };
    const ranks = new EmulatedRanks(2);
    const sent = await Promise.all(
      [0, 1].map(async (rank) => {
        const rows = Uint32Array.from({ length: count }, (_, i) => i);
        const values = new Float32Array(count * 8).fill(1);
        return (await sumRows({ rows, values }, table, ranks.rank(rank), wire)).sent;
      }),
    );
    for (const [rank, bytes] of sent.entries()) {
      const numbers = 4 * count;
      // Each row goes to its owner, unless that is who has it, or comes back as a sum from here.
      const ofRows = (wire === 'bf16' ? 16 : 32) * count;
      const ofTable = bytesOfSum(800, { rank, size: 2 }, wire);
      assert.equal(bytes, numbers + (count === 100 ? ofTable : ofRows));
      assert.ok(bytes <= numbers + ofTable);
    }
  }
});

test('no rank has a row', async () => {
  const ranks = new EmulatedRanks(3);
  const none = { rows: new Uint32Array(), values: new Float32Array() };
  const all = await Promise.all(
    [0, 1, 2].map((rank) => sumRows(none, { rows: 10, cols: 2 }, ranks.rank(rank))),
  );
  assert.deepEqual(
    all,
    Array.from({ length: 3 }, () => ({ ...none, sent: 0 })),
  );
});

/**
 * The place of a run in its data at any world size: which rows its steps take, and where it goes on when the number of
 * ranks is another.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { loadDatasets, type TrainingData } from '../src/data/batches.js';
import { placeName } from '../src/data/rows.js';
import { batchesFrom, type Cursor, movedCursor, type Reading, START } from '../src/train/run/cursor.js';
import { runSize } from '../src/train/run/forecast.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-cursor-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));
let files = 0;

/** Rows that have one text of their own each; a type where the batch is halved. */
function rows(count: number, type?: string): string {
  const file = path.join(folder, `${files++}.jsonl`);
  const lines = Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      query: `q ${i}`,
      pos: [`p ${i}`],
      neg: [`n ${i}`, `m ${i}`],
      ...(type ? { type } : {}),
    }),
  );
  fs.writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

interface Shape {
  readonly trainData: readonly string[];
  readonly same: boolean;
  readonly drop: boolean;
}

const load = ({ trainData, same, drop }: Shape, perDevice: number): TrainingData =>
  loadDatasets({
    trainData,
    trainGroupSize: 2,
    perDeviceTrainBatchSize: perDevice,
    sameDatasetWithinBatch: same,
    dataloaderDropLast: drop,
    seed: 7,
  });

const readingOf = (data: TrainingData, worldSize: number, accumulation: number): Reading => {
  const size = { gradientAccumulationSteps: accumulation, maxSteps: -1, numTrainEpochs: 3 };
  const { window, stepsPerEpoch } = runSize(size, data.batchesPerEpoch(worldSize));
  return { layout: data.layout(worldSize), window, stepsPerEpoch };
};

/** Of each of `steps` steps: the places of its rows, all ranks' in order, and their passages. */
function stepsOf(data: TrainingData, reading: Reading, start: Cursor, steps: number, worldSize: number) {
  const perRank = Array.from({ length: worldSize }, (_, rank) => [
    ...batchesFrom(data, reading, start, steps, { rank, worldSize }),
  ]);
  return Array.from({ length: steps }, (_, step) => {
    const own = perRank.map((batches) => batches.slice(step * reading.window, (step + 1) * reading.window));
    // Batch by batch, and within a batch rank by rank.
    const inOrder = own[0]!.flatMap((_, n) => own.map((batches) => batches[n]!.batch));
    return {
      places: inOrder.flatMap((batch) => batch.rows.map(placeName)),
      passages: inOrder.flatMap((batch) => batch.passages),
      next: own[0]!.at(-1)!.next,
    };
  });
}

const mixed: Shape = { trainData: [rows(23), rows(14, 'symmetric_sts'), rows(9)], same: true, drop: true };

test('as many rows a step are the same steps on 1, 2 and 4 ranks', () => {
  for (const shape of [mixed, { ...mixed, same: false }, { ...mixed, same: false, drop: false }]) {
    const steps = [1, 2, 4].map((worldSize) => {
      const data = load(shape, 8 / worldSize);
      const reading = readingOf(data, worldSize, 1);
      // The last batch of an epoch may be filled up with several ranks.
      const whole = shape.drop || shape.same ? reading.stepsPerEpoch : reading.stepsPerEpoch - 1;
      return stepsOf(data, reading, START, whole, worldSize).map(({ places, passages }) => ({
        places,
        passages,
      }));
    });
    // Half of 8 rows for a symmetric type is 4 of them, whatever the ranks.
    assert.deepEqual(steps[1], steps[0]);
    assert.deepEqual(steps[2], steps[0]);
  }
});

test('a run that goes on at another world size and back takes the rows that it would have taken', () => {
  for (const [first, second, third] of [
    [1, 2, 1],
    [2, 4, 1],
    [4, 1, 2],
  ] as const) {
    const at = (worldSize: number) => {
      const data = load(mixed, 8 / worldSize);
      return { data, worldSize, reading: readingOf(data, worldSize, 1) };
    };
    const [a, b, c] = [at(first), at(second), at(third)];
    const total = 2 * a.reading.stepsPerEpoch;
    const whole = stepsOf(a.data, a.reading, START, total, first).map(({ places }) => places);
    for (const stop of [1, a.reading.stepsPerEpoch - 1, a.reading.stepsPerEpoch]) {
      const before = stepsOf(a.data, a.reading, START, stop, first);
      const moved = movedCursor(before.at(-1)!.next, a.reading, b.reading);
      const between = stepsOf(b.data, b.reading, moved.cursor, 2, second);
      const back = movedCursor(between.at(-1)!.next, b.reading, c.reading);
      const rest = stepsOf(c.data, c.reading, back.cursor, total - stop - 2, third);
      assert.deepEqual([moved.order, back.order], ['same', 'same']);
      assert.deepEqual(
        [...before, ...between, ...rest].map(({ places }) => places),
        whole,
      );
    }
  }
});

test('one dataset goes on at the same row where a step begins there; else some rows come again, as it says', () => {
  fc.assert(
    fc.property(
      fc.record({
        count: fc.integer({ min: 12, max: 40 }),
        sizes: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
        worlds: fc.tuple(fc.constantFrom(1, 2, 4), fc.constantFrom(1, 2, 4)),
        accumulation: fc.integer({ min: 1, max: 3 }),
        drop: fc.boolean(),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      ({ count, sizes, worlds, accumulation, drop, share }) => {
        const shape: Shape = { trainData: [rows(count)], same: false, drop };
        const [before, now] = [0, 1].map((n) => {
          const data = load(shape, sizes[n]!);
          return { data, reading: readingOf(data, worlds[n]!, accumulation), worldSize: worlds[n]! };
        }) as [Side, Side];
        const steps = 1 + Math.floor(share * (before.reading.stepsPerEpoch - 1));
        const taken = stepsOf(before.data, before.reading, START, steps, before.worldSize);
        const { cursor, order } = movedCursor(taken.at(-1)!.next, before.reading, now.reading);
        const left = now.reading.stepsPerEpoch - cursor.batch / now.reading.window;
        if (cursor.epoch > 0) {
          assert.equal(cursor.batch, 0);
          assert.notEqual(typeof order, 'object');
          return;
        }
        const rest = stepsOf(now.data, now.reading, cursor, left, now.worldSize);
        const inOrder = [...now.data.epoch(0, { worldSize: 1 })];
        // The order of the epoch, by a layout that has every row once.
        const epoch = [...load({ ...shape, drop: false }, 1).epoch(0)].flatMap(({ rows }) =>
          rows.map(placeName),
        );
        assert.ok(inOrder.length > 0);
        const seen = new Set(taken.flatMap(({ places }) => places));
        const coming = rest.flatMap(({ places }) => places);
        const twice = typeof order === 'object' ? order.twice : 0;
        const from = Math.min(seen.size, count) - twice;
        // Behind the end of the epoch rows of its beginning fill the last batch.
        const expected = coming.map((_, i) => epoch[(from + i) % count]!);
        assert.deepEqual(coming, expected);
      },
    ),
    { numRuns: 60 },
  );
});

interface Side {
  readonly data: TrainingData;
  readonly reading: Reading;
  readonly worldSize: number;
}

test('several datasets go on at the same share of the epoch, and say so', () => {
  const before = readingOf(load(mixed, 2), 1, 1);
  const now = readingOf(load(mixed, 2), 2, 1);
  const cursor = { epoch: 3, batch: before.stepsPerEpoch - 1 };
  const moved = movedCursor(cursor, before, now);
  assert.deepEqual(moved, { cursor: { epoch: 3, batch: now.stepsPerEpoch - 1 }, order: 'others' });
  // An epoch of which nothing is behind begins at its beginning.
  assert.deepEqual(movedCursor({ epoch: 3, batch: 0 }, before, now), {
    cursor: { epoch: 3, batch: 0 },
    order: 'rows',
  });
});

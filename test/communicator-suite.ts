/**
 * What every carrier of ranks must do, whoever carries. `conversation` is what one rank says and checks; it imports
 * nothing of the test runner, so that it also runs inside worker threads and processes of MPI.
 */
import assert from 'node:assert/strict';
import {
  allGatherJson,
  broadcastJson,
  type Communicator,
  partOf,
  type WireFormat,
} from '../src/ranks/communicator.js';

/** Numbers whose sum depends on the order in which they are added. */
export function valuesOf(rank: number, count: number, salt = 0): Float32Array {
  let state = (rank + 1) * 2654435761 + salt * 40503;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state / 2 ** 31) * 2 ** ((state >>> 8) % 24);
  });
}

const word = new Float32Array(1);
const wordBits = new Uint32Array(word.buffer);
const floatOfBits = (bits: number): number => {
  wordBits[0] = bits;
  return word[0]!;
};

/** The nearest bf16, ties to even, by comparing both neighbours: another way than the code that is tested. */
export function nearestBf16(value: number): number {
  if (!Number.isFinite(value)) return value;
  word[0] = value;
  const float = word[0];
  const down = wordBits[0]! & 0xffff0000;
  const [low, high] = [floatOfBits(down), floatOfBits(down + 0x10000)];
  // Beyond the largest one the next would have been 2^128.
  const above = Number.isFinite(high) ? high : Math.sign(low) * 2 ** 128;
  const [under, over] = [Math.abs(float - low), Math.abs(above - float)];
  if (under !== over) return under < over ? low : high;
  return (down & 0x10000) === 0 ? low : high;
}

/** Σ over ranks in their order, every partial sum an f32; with bf16 what goes in and what comes out is rounded. */
export function expectedSum(size: number, count: number, salt: number, wire: WireFormat): Float32Array {
  const given = Array.from({ length: size }, (_, rank) => {
    const values = valuesOf(rank, count, salt);
    return wire === 'bf16' ? values.map(nearestBf16) : values;
  });
  return Float32Array.from({ length: count }, (_, i) => {
    let sum = given[0]![i]!;
    for (const values of given.slice(1)) sum = Math.fround(sum + values[i]!);
    return wire === 'bf16' ? nearestBf16(sum) : sum;
  });
}

/** Lengths around the edges of parts, and one beyond any staging that a carrier may have. */
const LENGTHS = [0, 1, 127, 128, 129, 1000, 4096, 70_001];

export interface ConversationOptions {
  /** Values of one long sum; 0: none. */
  readonly long?: number;
}

/** What one rank says. All ranks run it; it throws where an answer is wrong. */
export async function conversation(
  communicator: Communicator,
  options: ConversationOptions = {},
): Promise<void> {
  const { rank, size } = communicator;
  const { long = 0 } = options;
  assert.ok(Number.isInteger(rank) && rank >= 0 && rank < size);

  // Sums, of memory of the carrier and of other arrays, one at a time.
  for (const wire of ['f32', 'bf16'] as const)
    for (const [salt, count] of [...LENGTHS, ...(long > 0 ? [long] : [])].entries()) {
      const values = salt % 2 === 0 ? communicator.memory(count) : new Float32Array(count);
      assert.equal(values.length, count);
      values.set(valuesOf(rank, count, salt));
      await communicator.startSum(values, wire).wait();
      assert.deepEqual(values, expectedSum(size, count, salt, wire), `sum of ${count} in ${wire}`);
    }

  // A view into a larger array is summed alone.
  const around = new Float32Array(300).fill(7);
  around.set(valuesOf(rank, 200, 3), 50);
  await communicator.startSum(around.subarray(50, 250)).wait();
  assert.deepEqual(around.slice(50, 250), expectedSum(size, 200, 3, 'f32'));
  assert.ok([...around.subarray(0, 50), ...around.subarray(250)].every((value) => value === 7));

  // Several under way, waited for in another order; what is not finite comes through.
  const counts = [5000, 1, 777, 20_000];
  const several = counts.map((count, salt) => valuesOf(rank, count, salt));
  if (rank === size - 1) several[2]![5] = Number.POSITIVE_INFINITY;
  const pending = several.map((values) => communicator.startSum(values));
  for (const each of [...pending].reverse()) await each.wait();
  counts.forEach((count, salt) => {
    const wanted = expectedSum(size, count, salt, 'f32');
    if (salt === 2) wanted[5] = Number.POSITIVE_INFINITY;
    assert.deepEqual(several[salt], wanted);
  });

  // A reduce-scatter gives the sum's own part, gathered parts give all of it.
  for (const wire of ['f32', 'bf16'] as const)
    for (const count of LENGTHS) {
      const values = valuesOf(rank, count, 9);
      const wanted = expectedSum(size, count, 9, wire);
      await communicator.startReduceScatter(values, wire).wait();
      const { start, end } = partOf(count, size, rank);
      assert.deepEqual(values.slice(start, end), wanted.slice(start, end), `part of ${count} in ${wire}`);
      values.fill(Number.NaN, 0, start).fill(Number.NaN, end);
      await communicator.startGatherParts(values).wait();
      assert.deepEqual(values, wanted, `gathered parts of ${count} in ${wire}`);
    }

  // Bytes of different lengths, none among them.
  const ownBytes = Uint8Array.from({ length: rank * 1000 }, (_, i) => (i * 31 + rank) & 255);
  const gathered = await communicator.allGather(ownBytes);
  assert.deepEqual(
    gathered.map((bytes) => bytes.length),
    Array.from({ length: size }, (_, r) => r * 1000),
  );
  gathered.forEach((bytes, r) => {
    assert.ok(bytes.every((byte, i) => byte === ((i * 31 + r) & 255)));
  });
  const received = await communicator.exchange(
    Array.from({ length: size }, (_, to) => new Uint8Array(((rank + 2 * to) % 3) * 501).fill(16 * rank + to)),
  );
  received.forEach((bytes, from) => {
    assert.equal(bytes.length, ((from + 2 * rank) % 3) * 501);
    assert.ok(bytes.every((byte) => byte === ((16 * from + rank) & 255)));
  });
  for (let root = 0; root < size; root++)
    assert.deepEqual(
      await broadcastJson(communicator, rank === root ? { text: `of ${root} – ünï` } : undefined, root),
      { text: `of ${root} – ünï` },
    );
  await assert.rejects(communicator.broadcast(new Uint8Array(1), size), /there is no rank/);
  assert.deepEqual(
    await allGatherJson(communicator, { rank }),
    Array.from({ length: size }, (_, r) => ({ rank: r })),
  );
  await communicator.barrier();
}

/**
 * What ranks pay for exchanging: the sum of a gradient in buckets, as the reducer starts it, and a small gather, beside
 * a copy of as many bytes by one thread, all in turns, so that what else the machine does disturbs all alike. Every rank
 * runs `exchangeTimes`, whoever carries; each takes its own time.
 */
import type { Communicator, WireFormat } from '../../src/ranks/communicator.js';
import { quantile } from '../report/statistics.js';

export interface ExchangeOptions {
  /** Bytes of f32 values that are summed in all. */
  readonly bytes: number;
  /** Bytes of f32 values of a bucket. */
  readonly buckets: readonly number[];
  readonly rounds: number;
}

export interface ExchangeRow {
  readonly operation: 'memcpy' | 'sum' | 'gather';
  /** Of a sum. */
  readonly wire: WireFormat | null;
  /** Of f32 values: all of them, and of one bucket. */
  readonly bytes: number;
  readonly bucketBytes: number;
  readonly milliseconds: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  /** Payload: bytes of f32 values over time. Null for what is too small to have a rate. */
  readonly gbPerSecond: number | null;
}

/** What a rank tells the others of a step: loss, norm and a wish to stop, in f64. */
const GATHERED_BYTES = 24;
/** Of small gathers one after the other, in a round. */
const GATHERS = 20;
/** Rounds that warm up: first touch is slow, and so is code that was never run. */
const WARM_UP = 2;

interface Case extends Omit<ExchangeRow, 'milliseconds' | 'lowerQuartile' | 'upperQuartile' | 'gbPerSecond'> {
  readonly run: () => Promise<void>;
  readonly times: number;
  readonly took: number[];
}

/** @throws MachineError of the communicator; RangeError for a sum that comes out wrong, for which there is no time. */
export async function exchangeTimes(
  communicator: Communicator,
  { bytes, buckets, rounds }: ExchangeOptions,
): Promise<ExchangeRow[]> {
  const values = communicator.memory(bytes / 4);
  // Without the carrier, by this thread alone: what the memory gives to one that copies.
  const copy = new Float32Array(values.length);
  const gathered = new Uint8Array(GATHERED_BYTES);
  const sum = async (bucketBytes: number, wire: WireFormat) => {
    const pending = [];
    for (let at = 0; at < values.length; at += bucketBytes / 4)
      pending.push(communicator.startSum(values.subarray(at, at + bucketBytes / 4), wire));
    for (const each of pending) await each.wait();
  };
  const cases: Case[] = [
    {
      ...{ operation: 'memcpy', wire: null, bytes, bucketBytes: bytes, times: 1, took: [] },
      run: async () => void (communicator.rank === 0 && copy.set(values)),
    },
    ...buckets.flatMap((bucketBytes) =>
      (['f32', 'bf16'] as const).map(
        (wire): Case => ({
          ...{ operation: 'sum', wire, bytes, bucketBytes, times: 1, took: [] },
          run: () => sum(bucketBytes, wire),
        }),
      ),
    ),
    {
      ...{ operation: 'gather', wire: null, bytes: GATHERED_BYTES, bucketBytes: GATHERED_BYTES },
      ...{ times: GATHERS, took: [] },
      run: async () => void (await communicator.allGather(gathered)),
    },
  ];
  const expected = (communicator.size * (communicator.size + 1)) / 2;
  for (let round = -WARM_UP; round < rounds; round++)
    for (const each of cases) {
      values.fill(communicator.rank + 1);
      await communicator.barrier();
      const start = performance.now();
      for (let i = 0; i < each.times; i++) await each.run();
      if (round >= 0) each.took.push((performance.now() - start) / each.times);
      const wrong = each.operation === 'sum' ? values.find((value) => value !== expected) : undefined;
      if (wrong !== undefined) throw new RangeError(`a sum came out as ${wrong} instead of ${expected}`);
    }
  return cases.map(({ run: _, times: _times, took, ...row }) => {
    const sorted = took.sort((a, b) => a - b);
    const milliseconds = quantile(sorted, 0.5);
    return {
      ...row,
      milliseconds,
      lowerQuartile: quantile(sorted, 0.25),
      upperQuartile: quantile(sorted, 0.75),
      gbPerSecond: row.operation === 'gather' ? null : row.bytes / milliseconds / 1e6,
    };
  });
}

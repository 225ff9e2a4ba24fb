/**
 * What ranks say to each other. Losses, the gradient reducer and the trainer are written against this interface; who
 * carries the bytes (one process, worker threads, MPI) is an implementation's business, and changes no bit: a sum is
 * taken by the owner of each part, over the ranks in their order, in f32, whoever carries it (sums.ts).
 *
 * All ranks make the same calls in the same order. A rank that cannot go on calls `abort`; what the others wait for
 * then rejects with its reason.
 */
import { MachineError } from '../errors.js';

/** Something that was started. A failure is held until somebody waits. */
export interface Pending {
  /** Resolves when it is done; rejects with a RankError when some rank failed. */
  wait(): Promise<void>;
}

/** In which format sums travel: bf16 halves the bytes; what is added is rounded to it, sums are taken in f32. */
export type WireFormat = 'f32' | 'bf16';

/** Why a rank ended, and with it all others. */
export interface RankFailure {
  /** Or ALL_RANKS. */
  readonly rank: number;
  /** One line. */
  readonly message: string;
  /** Of the process: 2 where what the user gave is at fault, else 1. */
  readonly exitCode: 1 | 2;
}

/** In place of a rank: all of them fail, for a reason that each has (a flag, a file that all read). */
export const ALL_RANKS = -1;

/** What waits rejects with this when some rank failed. */
export class RankError extends MachineError {
  override name = 'RankError';
  /** As an InputError's; of a rank's own failure. */
  more: readonly string[] = [];

  /** `failure`: which rank, and why. */
  constructor(
    /** Which rank, and why. */
    readonly failure: RankFailure,
  ) {
    super(failure.rank === ALL_RANKS ? failure.message : `rank ${failure.rank}: ${failure.message}`);
  }
}

/** What ranks do together: sums, gathers, broadcasts and barriers, each called by all of them in one order. */
export interface Communicator {
  /** From 0. */
  readonly rank: number;
  /** How many ranks. */
  readonly size: number;
  /** One process plays all ranks, which may then share a device. */
  readonly emulated?: boolean;

  /** Host memory [count] from which sums are taken without a copy, zeros at first. Any other array is copied. */
  memory(count: number): Float32Array;

  /**
   * Element-wise sum over ranks, in place, the same bits on all of them. Begins now; until it was waited for, `values`
   * belong to the carrier. All ranks give as many values. Several may be under way.
   */
  startSum(values: Float32Array, wire?: WireFormat): Pending;
  /** The same, but only this rank's own part (`partOf`) is the sum afterwards; the others are of no use. */
  startReduceScatter(values: Float32Array, wire?: WireFormat): Pending;
  /** Every rank's own part of `values`, in place, to all ranks. */
  startGatherParts(values: Float32Array): Pending;

  /** `parts[r]` goes to rank r, this one included; returns what each rank sent here. Lengths may differ. */
  exchange(parts: readonly Uint8Array[]): Promise<Uint8Array[]>;
  /** Every rank's bytes, in rank order. Lengths may differ between ranks. */
  allGather(bytes: Uint8Array): Promise<Uint8Array[]>;
  /** `root`'s bytes on every rank. @throws MachineError when there is no such rank. */
  broadcast(bytes: Uint8Array, root: number): Promise<Uint8Array>;
  /** Resolves when all ranks have called it. */
  barrier(): Promise<void>;

  /**
   * Ends what all ranks exchange, for this reason: whatever waits, here and on other ranks, and every later call
   * rejects with a RankError. Leaving the process is the caller's business.
   */
  abort(failure: RankFailure): Promise<never>;
  /** Nothing more is exchanged. All ranks close, after their last call. */
  close(): Promise<void>;
}

/** Elements. Parts begin at multiples of it: 256 bytes of f16, which any adapter can bind at. */
export const PART_ALIGNMENT = 128;

/** The elements [start, end) of `count` that `rank` of `size` owns: equal parts, the last ones shorter or empty. */
export function partOf(count: number, size: number, rank: number): { start: number; end: number } {
  const length = Math.ceil(count / size / PART_ALIGNMENT) * PART_ALIGNMENT;
  return { start: Math.min(count, rank * length), end: Math.min(count, (rank + 1) * length) };
}

/** @throws MachineError when there is no such rank. */
export function requireRank(rank: number, size: number): void {
  if (!(Number.isInteger(rank) && rank >= 0 && rank < size))
    throw new MachineError(`there is no rank ${rank} among ${size}`);
}

/** A promise as something started: its failure is nobody's until somebody waits. */
export function pendingOf(promise: Promise<void>): Pending {
  promise.catch(() => undefined);
  return { wait: () => promise };
}

// ---- numbers as bytes ----------------------------------------------------------------------------------------

/** The bytes of an array, not copied. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** f32 from bytes at any offset; a copy. */
export function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}

/** Every rank's values, in rank order. Lengths may differ between ranks. */
export async function allGatherFloats(
  communicator: Communicator,
  values: Float32Array,
): Promise<Float32Array[]> {
  return (await communicator.allGather(bytesOf(values))).map(floatsOf);
}

/** Every rank's number, in rank order. */
export async function allGatherNumbers(communicator: Communicator, value: number): Promise<number[]> {
  const all = await communicator.allGather(bytesOf(Float64Array.of(value)));
  return all.map((bytes) => new Float64Array(bytes.slice().buffer)[0]!);
}

/** Every rank's JSON value, in rank order. */
export async function allGatherJson<T>(communicator: Communicator, value: T): Promise<T[]> {
  const all = await communicator.allGather(Buffer.from(JSON.stringify(value)));
  return all.map((bytes) => JSON.parse(Buffer.from(bytes).toString()) as T);
}

/** `root`'s JSON value on every rank; of the others it is not looked at. */
export async function broadcastJson<T>(communicator: Communicator, value: T, root = 0): Promise<T> {
  const own = communicator.rank === root ? Buffer.from(JSON.stringify(value)) : new Uint8Array();
  return JSON.parse(Buffer.from(await communicator.broadcast(own, root)).toString()) as T;
}

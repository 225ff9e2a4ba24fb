/**
 * What the two threads of a rank say to each other, and what ranks say before each operation, so that those that do not
 * do the same get an error that names both instead of a hang or each other's bytes.
 */
import type { RankFailure, WireFormat } from './communicator.js';
import type { TransportPlace } from './transport.js';

/** Values in shared memory. */
export interface SharedValues {
  readonly buffer: SharedArrayBuffer;
  readonly byteOffset: number;
  readonly length: number;
}

export type Operation =
  | { readonly kind: 'sum' | 'reduce-scatter'; readonly values: SharedValues; readonly wire: WireFormat }
  | { readonly kind: 'gather-parts'; readonly values: SharedValues }
  | { readonly kind: 'exchange'; readonly parts: readonly Uint8Array[] }
  | { readonly kind: 'gather'; readonly bytes: Uint8Array }
  | { readonly kind: 'broadcast'; readonly bytes: Uint8Array; readonly root: number }
  | { readonly kind: 'barrier' };

export type Command =
  | { readonly id: number; readonly operation: Operation }
  | { readonly id: number; readonly abort: RankFailure }
  | { readonly id: number; readonly close: true };

export type Answer =
  /** The transport is open. */
  | { readonly ready: { readonly rank: number; readonly size: number } }
  | { readonly id: number; readonly received: readonly Uint8Array<ArrayBuffer>[] }
  | { readonly id: number; readonly failure: RankFailure };

/** What a communication thread is started with. */
export interface CarrierSeat {
  readonly transport: TransportPlace;
  /** Int32 cells, by the names of CELLS. */
  readonly cells: SharedArrayBuffer;
  readonly timeoutSeconds: number;
  /** How long work in which the computing thread beats by progress alone may give none (heartbeat.ts). */
  readonly busySeconds: number;
}

/** Shared by the two threads of a rank. */
export const CELLS = {
  /** Grows with every command; what an idle communication thread sleeps on. */
  commands: 0,
  /** 1 once the rank was told to abort: the command is then somewhere in the queue. */
  aborted: 1,
  /** Of the computing thread (heartbeat.ts). */
  beats: 2,
  /** Above 0: the computing thread is in work that lets it not beat, and the communication thread beats for it. */
  busy: 3,
} as const;

// ---- what ranks say before an operation ----------------------------------------------------------------------

const KINDS = [
  'sum',
  'reduce-scatter',
  'gather-parts',
  'exchange',
  'gather',
  'broadcast',
  'barrier',
] as const;

/** Of an operation's head: f64. */
export const HEAD_LENGTH = 4;

/** [sequence, kind, count, detail]: of all ranks alike, but for the count of gathers and broadcasts. */
export function headOf(operation: Operation, sequence: number): Float64Array {
  const kind = KINDS.indexOf(operation.kind);
  switch (operation.kind) {
    case 'sum':
    case 'reduce-scatter':
      return Float64Array.of(sequence, kind, operation.values.length, operation.wire === 'bf16' ? 1 : 0);
    case 'gather-parts':
      return Float64Array.of(sequence, kind, operation.values.length, 0);
    case 'gather':
      return Float64Array.of(sequence, kind, operation.bytes.length, 0);
    case 'broadcast':
      return Float64Array.of(sequence, kind, operation.bytes.length, operation.root);
    default:
      return Float64Array.of(sequence, kind, 0, 0);
  }
}

/** The bytes that a rank gives to a gather or a broadcast. */
export function lengthIn(head: Float64Array): number {
  return head[2]!;
}

/** In words, as messages say it. */
function described(head: Float64Array): string {
  const [sequence, code, count, detail] = head as unknown as readonly [number, number, number, number];
  const kind = KINDS[code];
  const what =
    kind === 'sum' || kind === 'reduce-scatter'
      ? `${kind} of ${count} values in ${detail === 1 ? 'bf16' : 'f32'}`
      : kind === 'gather-parts'
        ? `gather of the parts of ${count} values`
        : kind === 'gather'
          ? 'gather of bytes'
          : kind === 'broadcast'
            ? `broadcast from rank ${detail}`
            : (kind ?? 'something unknown');
  return `"${what}" (its call ${sequence})`;
}

/** The failure of the first rank that does not do what rank 0 does. */
export function difference(heads: readonly Float64Array[]): RankFailure | undefined {
  const same = (a: Float64Array, b: Float64Array) => {
    const free = KINDS[a[1]!] === 'gather' || KINDS[a[1]!] === 'broadcast';
    return a[0] === b[0] && a[1] === b[1] && (free || a[2] === b[2]) && a[3] === b[3];
  };
  const [first] = heads;
  const rank = heads.findIndex((head) => !same(first!, head));
  if (rank < 0) return undefined;
  return {
    rank,
    message: `ranks do not do the same: rank 0 does ${described(first!)}, rank ${rank} does ${described(heads[rank]!)}`,
    exitCode: 1,
  };
}

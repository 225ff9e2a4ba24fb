/**
 * What the suite and its peers say to each other: a process for each peer, which keeps its operands where it computes and
 * takes its turn when told. One JSON object a line; replies are marked, for libraries write to standard output too.
 */
import type { Workload } from './workloads.js';

export const REPLY = '#peer ';

export type Request =
  | { readonly do: 'open'; readonly adapter: string | null; readonly folder: string }
  | { readonly do: 'prepare'; readonly workload: Workload }
  /** Makes what so many repetitions at once need; nothing of it is timed. */
  | { readonly do: 'ready'; readonly times: number }
  | { readonly do: 'run'; readonly times: number }
  /** Waits until the process stands still: threads that spin after their work would take the next one's processor. */
  | { readonly do: 'rest' };

/** A process stands still when it takes less than `share` of a processor for `seconds`; nobody waits longer than `most`. */
export const REST = { seconds: 0.02, share: 0.1, most: 2 } as const;

export interface Opened {
  readonly version: string;
  /** The adapter's name, where the library tells it. */
  readonly adapter: string | null;
}

export interface Prepared {
  /** The probed rows, or the losses of the checked steps. */
  readonly result: readonly number[];
  readonly variant: string | null;
}

export interface Timed {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** A workload on one library, with its operands in place. */
export interface Work {
  /** Of what was computed, the part that `reference` in workloads.ts gives. */
  result(): Promise<readonly number[]>;
  /** The kernel that does most of it, where the library has several and tells. */
  variant?(): string | null;
  ready?(times: number): Promise<void>;
  /** Computes so many times and returns when all of it is done. */
  run(times: number): Promise<void>;
  dispose?(): void;
}

/** One library in a peer's process. */
export interface Library {
  readonly version: string;
  readonly adapter: string | null;
  /** @throws an error whose message is the reason, where the library has no such thing. */
  prepare(workload: Workload): Promise<Work>;
}

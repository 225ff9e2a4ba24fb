/**
 * Work that all ranks do at one place of a run and in which any of them may find something wrong: its own disk, its own
 * data, its own device. All of them learn it there, and end with the same reason. With one rank it is the work alone.
 */
import { InputError } from '../errors.js';
import { messageLine } from '../show.js';
import {
  ALL_RANKS,
  allGatherJson,
  broadcastJson,
  type Communicator,
  RankError,
  type RankFailure,
} from './communicator.js';
import { beatThrough } from './heartbeat.js';

/** Errors that all ranks have. */
const known = new WeakSet<Error>();

/** An error that all ranks come to alike, so that none has to tell the others. */
export function alikeOnAllRanks<E extends Error>(error: E): E {
  known.add(error);
  return error;
}

/**
 * The work of each rank, however long it lets no timer run; where one of them fails it, all throw.
 * @throws RankError of the first that failed, or of ALL_RANKS where all say the same (a flag, a file that all of them read).
 */
export async function together<T>(ranks: Communicator, work: () => T | Promise<T>): Promise<T> {
  if (ranks.size === 1) return work();
  let done: { value: T } | { error: Error };
  try {
    done = { value: await beatThrough(work) };
  } catch (error) {
    if (!(error instanceof Error) || error instanceof RankError) throw error;
    done = { error };
  }
  const own = 'error' in done ? done.error : undefined;
  const all = await allGatherJson(ranks, own ? failureOf(ranks.rank, own) : null);
  const first = all.find((each) => each !== null);
  if (!first) return (done as { value: T }).value;
  const alike = all.every((each) => each !== null && each.message === first.message);
  throw rankError(alike ? { ...first, rank: ALL_RANKS } : first, first.rank === ranks.rank ? own : undefined);
}

/** Rank 0's work, for which the others wait: what it returns is for rank 0 alone. @throws as `together`. */
export function onFirstRank<T>(ranks: Communicator, work: () => T | Promise<T>): Promise<T | undefined> {
  return together<T | undefined>(ranks, () => (ranks.rank === 0 ? work() : undefined));
}

/** What rank 0 found, a JSON value, on all ranks. @throws as `together`. */
export async function fromFirstRank<T>(ranks: Communicator, work: () => T | Promise<T>): Promise<T> {
  if (ranks.size === 1) return work();
  const found = await onFirstRank(ranks, work);
  return broadcastJson(ranks, found as T);
}

/** Ends a rank with an error, which is told to the others where they do not have it too. @throws RankError. */
export async function endAllRanks(ranks: Communicator, error: unknown): Promise<never> {
  if (ranks.size === 1 || error instanceof RankError) throw error;
  const reason = error instanceof Error ? error : new Error(String(error));
  const failure = failureOf(ranks.rank, reason);
  if (known.has(reason)) throw rankError({ ...failure, rank: ALL_RANKS }, reason);
  await ranks.abort(failure).catch((end: unknown) => {
    throw end instanceof RankError && end.failure.rank === ranks.rank ? rankError(end.failure, reason) : end;
  });
  throw reason;
}

/** An error of one rank, as the others are told it. */
export function failureOf(rank: number, error: unknown): RankFailure {
  const message = error instanceof Error ? error.message : String(error);
  return { rank, message: messageLine(message), exitCode: error instanceof InputError ? 2 : 1 };
}

/** With the stack of what it is about and the lines below it, where that is here. */
function rankError(failure: RankFailure, about: Error | undefined): RankError {
  const error = new RankError(failure);
  if (about?.stack) error.stack = about.stack;
  if (about instanceof InputError) error.more = about.more;
  return error;
}

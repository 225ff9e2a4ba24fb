/**
 * Work on a list of things that ranks share out: rank r takes the things r, r+W, r+2W, … What comes of them is told to
 * all ranks in the order of the list, so that whatever is added up over them is what one rank would add up, to the bit.
 */
import { deserialize, serialize } from 'node:v8';
import type { Communicator } from './communicator.js';

/** Every W-th thing, from rank r on. */
export function* shareOf<T>(ranks: Pick<Communicator, 'rank' | 'size'>, things: Iterable<T>): Generator<T> {
  let n = 0;
  for (const thing of things) if (n++ % ranks.size === ranks.rank) yield thing;
}

interface Told<T> {
  /** None: this rank is through with its share, or stops. */
  readonly results: readonly T[];
  readonly stops: boolean;
}

/**
 * What all ranks make of their shares, in order; `own` is what this one makes of its own. Once `stops` is true on some
 * rank, all end with the round, and `stopped` is called. All ranks take what this gives, to its end.
 */
export async function* inOrder<T>(
  ranks: Communicator,
  own: AsyncIterable<T>,
  stops: () => boolean,
  stopped: () => void,
): AsyncGenerator<T, void, undefined> {
  if (ranks.size === 1) {
    yield* own;
    if (stops()) stopped();
    return;
  }
  const source = own[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { value, done } = await source.next();
      const told: Told<T> = { results: done ? [] : [value], stops: stops() };
      const all = (await ranks.allGather(serialize(told))).map((bytes) => deserialize(bytes) as Told<T>);
      for (const { results } of all) yield* results;
      if (all.some((each) => each.stops)) {
        stopped();
        return;
      }
      // Shares differ by one thing, and the last ranks have the shorter ones.
      if (all.some(({ results }) => results.length === 0)) return;
    }
  } finally {
    await source.return?.();
  }
}

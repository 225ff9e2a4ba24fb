/** How ranks share queries: in tiles, tile t for rank t mod size; what each has found, all receive. */
import { bytesOf, type Communicator, floatsOf } from '../../ranks/communicator.js';
import type { Neighbours } from './neighbours.js';

/** Tiles of `rows` queries that this rank searches with. */
export const ownTiles = (
  communicator: Communicator | undefined,
  queries: number,
  rows: number,
): readonly number[] =>
  Array.from({ length: Math.ceil(queries / rows) }, (_, t) => t).filter(
    (t) => t % (communicator?.size ?? 1) === (communicator?.rank ?? 0),
  );

/** What every rank has found for its own tiles, to all. */
export async function gatherTiles(
  communicator: Communicator,
  { k, indices, scores }: Neighbours,
  queries: number,
  rows: number,
): Promise<void> {
  const bits = new Uint32Array(scores.buffer, scores.byteOffset, scores.length);
  const rangeOf = (tile: number) => [tile * rows * k, Math.min(queries, (tile + 1) * rows) * k] as const;
  const own = ownTiles(communicator, queries, rows).map(rangeOf);
  const given = new Uint32Array(own.reduce((sum, [start, end]) => sum + 2 * (end - start), 0));
  let to = 0;
  for (const range of own)
    for (const values of [indices, bits]) {
      const part = values.subarray(...range);
      given.set(part, to);
      to += part.length;
    }
  const all = await communicator.allGather(bytesOf(given));
  for (const [rank, bytes] of all.entries()) {
    const words = new Uint32Array(floatsOf(bytes).buffer);
    let at = 0;
    for (let tile = rank; tile * rows < queries; tile += communicator.size) {
      const [start, end] = rangeOf(tile);
      for (const values of [indices, bits]) {
        values.set(words.subarray(at, at + end - start), start);
        at += end - start;
      }
    }
  }
}

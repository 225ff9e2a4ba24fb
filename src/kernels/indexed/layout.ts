/** How kernels that look places up by index see their operands. */

/**
 * A tensor as [outer, extent, inner], of which along the middle axis `picks` places are named by an index: one list for all,
 * `rows` [picks], or for each element its own, `elements` [outer, picks, inner].
 */
export interface Picks {
  readonly outer: number;
  readonly extent: number;
  readonly inner: number;
  readonly picks: number;
  readonly by: 'rows' | 'elements';
}

/**
 * The entries of the index that elements [start, start+count) of a tensor [outer, `along`, inner] meet, as one range: all of
 * a block's where the tensor has another extent than the index.
 */
export function indexRange(
  { inner, picks, by }: Picks,
  start: number,
  count: number,
  blocks = false,
  along = picks,
): [start: number, count: number] {
  if (count === 0) return [0, 0];
  if (by === 'elements') {
    if (!blocks) return [start, count];
    const [first, last] = [start, start + count - 1].map((at) => Math.floor(at / (along * inner))) as [
      number,
      number,
    ];
    return [first * picks * inner, (last - first + 1) * picks * inner];
  }
  if (blocks) return [0, picks];
  const [first, last] = [start, start + count - 1].map((at) => Math.floor(at / inner)) as [number, number];
  if (Math.floor(first / picks) !== Math.floor(last / picks)) return [0, picks];
  return [first % picks, last - first + 1];
}

/** WGSL: of a number of `type` another where it stands for no place; bits of a NaN for floats, 0 for others. */
export const NO_PLACE = { f32: 0x7fc00000, f16: 0x7e007e00, i32: 0, u32: 0, bool: 0 } as const;

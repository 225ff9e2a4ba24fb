/**
 * Grids of workgroups: one thread an item, one thread some groups of four values, one workgroup a row, one thread a unit
 * of columns.
 */

/** Threads of a workgroup in kernels where each thread walks down one unit of columns. */
export const COLUMN_WORKGROUP = 32;

/** Threads of a workgroup in one-thread-per-item kernels. */
const FLAT_WORKGROUP = 256;

/** Workgroups in each dimension, or in one line. */
export type Grid = number | readonly [x: number, y?: number, z?: number];

/** The dimensions of a grid; a line of more than `limit` workgroups is folded into two. */
export function foldedGrid(grid: Grid, limit: number): readonly [number, number, number] {
  if (typeof grid !== 'number') return [grid[0], grid[1] ?? 1, grid[2] ?? 1];
  if (grid <= limit) return [grid, 1, 1];
  const x = Math.min(Math.ceil(Math.sqrt(grid)), limit);
  return [x, Math.ceil(grid / x), 1];
}

/** Workgroups for `items` items of a flat kernel, in one line; pair with `FLAT_MAIN`. */
export const flatGroups = (items: number): number => Math.ceil(items / FLAT_WORKGROUP);

/** Entry of a flat kernel: defines `i`, the item; the body must check it against its own bound. */
export const FLAT_MAIN = `
@compute @workgroup_size(${FLAT_WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * ${FLAT_WORKGROUP}u + local;
`;

/** Groups of four values of a piece; what lies after the last value is room that every tensor has. */
export const fours = ({ count }: { readonly count: number }): number => Math.ceil(count / 4);

/** Workgroups for them, with any number a thread: all have 256 of them. */
export const groupsOfFours = (piece: { readonly count: number }): number => flatGroups(fours(piece));

/** Groups of four values that a thread works on: variants of the family `pointwise`. */
export type Each = 1 | 4;

/** WGSL: `main` that does `work`, over groups of four values by their number `i`, for `p.count` of them. */
export const elementMain = (each: Each, work: string): string =>
  each === 1
    ? `${FLAT_MAIN}
  if (i >= p.count) { return; }
  ${work}
}`
    : `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = ((group.y * groups.x + group.x) * 64u + local) * 4u;
  for (var i = first; i < min(first + 4u, p.count); i++) {
  ${work}
  }
}`;

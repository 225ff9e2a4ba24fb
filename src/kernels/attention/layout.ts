/**
 * Where things lie: qkv is one [T, 3·H] tensor, query, key and value of a token side by side, heads within each; the
 * log-sum-exp is [T, heads], so that both can be cut between sequences. The parameters of all kernels, the entry that finds a workgroup's tile and head, and the
 * random numbers of dropout, which belong to a position, so that every kernel draws the same ones.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { bytesPerElement, type Tensor } from '../../tensor/tensor.js';
import { dropMask } from '../dropout.js';
import type { FloatDType } from '../launch/formats.js';
import { type RandomStream, THREEFRY } from '../random.js';

/** Tiles of consecutive rows of one sequence: [tiles, 4] u32 = (begin, end, first, sequence). */
export interface TileSource {
  readonly gpu: Gpu;
  /** Tokens of all sequences. */
  readonly tokens: number;
  /** Sequence s has the tokens bounds[s] … bounds[s+1] − 1. */
  readonly bounds: ArrayLike<number>;
  tiles(rowsPerTile: number): Tensor;
}

/** Dropout of attention's weights: a probability, and the stream that it is drawn from. */
export interface AttentionDropout extends RandomStream {
  /** That a weight of the softmax is dropped, from 0 to below 1; others are divided by 1 − p. */
  readonly probability: number;
}

/** Rows of the other side that a kernel takes at a time where it walks row by row. */
export const BLOCK = 8;

/**
 * Vec4s of a row of qkv and of a row of the result; heads of a row; the token that the operands begin with; the tile and the
 * head that the grid begins with. What follows is what its name says; `foldShift` is the binary logarithm of `foldOf`.
 */
export const PARAMS = {
  stride: 'u32',
  hidden4: 'u32',
  heads: 'u32',
  base: 'u32',
  firstTile: 'u32',
  firstHead: 'u32',
  scale: 'f32',
  threshold: 'u32',
  keepScale: 'f32',
  seed: 'u32',
  stream: 'u32',
  firstRow: 'u32',
  block: 'u32',
  minusInfinity: 'f32',
  foldShift: 'u32',
} as const;

/**
 * The same where query, key and value are tensors of their own, after what is different: vec4s of a row of queries and of
 * keys; the rows that the operands of a tile's own side and of the other begin with; the element
 * that the bias begins with.
 */
export const PARAMS_APART = {
  hidden4: 'u32',
  keyHidden4: 'u32',
  base: 'u32',
  otherBase: 'u32',
  firstTile: 'u32',
  firstHead: 'u32',
  scale: 'f32',
  threshold: 'u32',
  keepScale: 'f32',
  seed: 'u32',
  stream: 'u32',
  firstRow: 'u32',
  block: 'u32',
  minusInfinity: 'f32',
  biasBase: 'u32',
  foldShift: 'u32',
} as const;

export type AttentionParams = { readonly [K in keyof typeof PARAMS | keyof typeof PARAMS_APART]: number };

/** The extents that the choice of a variant may depend on. */
export interface AttentionSize {
  readonly tokens: number;
  /** heads · headDim. */
  readonly hidden: number;
  /** Tokens of the longest sequence. */
  readonly longest: number;
  /** Of keys and values, where they are tensors of their own; undefined: as of queries. */
  readonly keyTokens?: number | undefined;
  readonly keyHidden?: number | undefined;
  readonly longestKeys?: number | undefined;
}

/**
 * How many rows of so many bytes, of four values at least, lie side by side in a row of a texture, which is copied in
 * multiples of 256 bytes: a power of two up to 32.
 */
export const foldOf = (rowBytes: number): number =>
  rowBytes === 0 ? 1 : Math.max(1, 256 / (rowBytes & -rowBytes));

/** The same of all sources of such a size. */
export const foldOfSize = (dtype: FloatDType, { hidden, keyHidden = hidden }: AttentionSize): number =>
  Math.max(foldOf(hidden * bytesPerElement[dtype]), foldOf(keyHidden * bytesPerElement[dtype]));

/** Windows of rows begin at multiples of so many: any adapter can bind there. */
export const ALIGNED_ROWS = 64;

/** What part of a batch one launch sees. */
export interface Window {
  /** The rows that the operands of the tiles' own side and of the other begin with. */
  readonly base: number;
  readonly otherBase: number;
  /** The row that the operands of queries begin with. */
  readonly firstQuery: number;
  readonly firstTile: number;
  /** Heads [firstHead, firstHead + heads), side by side in the operands; of keys there are `keyHeads`. */
  readonly firstHead: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly biasBase: number;
  /** Of textures: see `foldOf`. */
  readonly fold: number;
}

export function parameters(
  { base, otherBase, firstQuery, firstTile, firstHead, heads, keyHeads, biasBase, fold }: Window,
  headDim: number,
  scale: number,
  dropout: AttentionDropout | undefined,
): AttentionParams {
  const { threshold, keepScale } = dropMask(dropout?.probability ?? 0);
  const hidden = heads * headDim;
  return {
    stride: (3 * hidden) / 4,
    hidden4: hidden / 4,
    keyHidden4: (keyHeads * headDim) / 4,
    heads,
    base,
    otherBase,
    firstTile,
    firstHead,
    scale,
    threshold,
    keepScale,
    seed: dropout?.seed ?? 0,
    stream: dropout?.stream ?? 0,
    firstRow: (dropout?.firstRow ?? 0) + firstQuery,
    block: BLOCK,
    minusInfinity: -Infinity,
    biasBase,
    foldShift: Math.log2(fold),
  };
}

/** WGSL: the vec4 columns of a head's query, key and value in a row of qkv, and of its part in a row of the result. */
export const QUERY = 'column';
export const KEY = 'p.hidden4 + column';
export const VALUE = '2u * p.hidden4 + column';

/** Softmax runs in base 2, with log2(e) folded into the scores. */
export const { LOG2E } = Math;

/** Of f32: where the running maximum starts. Scores of −∞ stay below it, so that of nothing else a row adds up to 0. */
export const LOWEST = '-0x1.fffffep+127';

export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
export const AXES = ['x', 'y', 'z', 'w'] as const;

/** WGSL of dropout: `keep(half)` is the factor of the probability that `half` of `randomBlock` belongs to. */
export const DROPOUT = `${THREEFRY}
// Two queries by four keys share one block: component = key mod 4, half = query mod 2.
fn randomBlock(query: u32, key: u32, head: u32, begin: u32) -> vec4u {
  return threefry(vec4u(p.seed, p.stream, 0u, 0u), vec4u(query / 2u, key / 4u, p.firstHead + head, p.firstRow + begin));
}
fn keep(half: u32) -> f32 { return select(0.0, p.keepScale, half >= p.threshold); }`;

/**
 * WGSL: the entry of every kernel. A workgroup works on one tile (rows `first` … of the sequence [begin, end)) and head,
 * whose components are the `d4` vec4s from `column` on; `lane` is this thread.
 */
export const entry = (threads: number, laneOf: string, d4: number, more = ''): string => `
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(${laneOf}) lane: u32${more}) {
  let tile = tiles[p.firstTile + group.x];
  let begin = tile.x - p.base; let end = tile.y - p.base; let first = tile.z - p.base;
  let head = group.y;
  let column = head * ${d4}u;`;

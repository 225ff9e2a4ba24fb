/**
 * Counter-based random bits in WGSL: Threefry-4x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). A value depends only on (seed, stream, position), so forward,
 * gradient and recomputation draw the same numbers without storing them.
 */

import { f32, integer, notNegative, signature } from '../tensor/operands.js';
import type { RandomStream } from '../tensor/random-streams.js';
import type { Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { flat } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

export type { RandomStream };

export const THREEFRY = `
fn rotate(x: u32, n: u32) -> u32 { return (x << n) | (x >> (32u - n)); }
fn threefry(key: vec4u, counter: vec4u) -> vec4u {
  var k = array<u32, 5>(key.x, key.y, key.z, key.w, 0x1BD11BDAu ^ key.x ^ key.y ^ key.z ^ key.w);
  var x = counter + key;
  // Five groups of four rounds, a key injection after each; the rotations repeat after eight rounds.
  for (var g = 0u; g < 5u; g++) {
    let odd = (g & 1u) == 1u;
    x.x += x.y; x.y = rotate(x.y, select(10u, 6u, odd)) ^ x.x; x.z += x.w; x.w = rotate(x.w, select(26u, 20u, odd)) ^ x.z;
    x.x += x.w; x.w = rotate(x.w, select(11u, 17u, odd)) ^ x.x; x.z += x.y; x.y = rotate(x.y, select(21u, 11u, odd)) ^ x.z;
    x.x += x.y; x.y = rotate(x.y, select(13u, 25u, odd)) ^ x.x; x.z += x.w; x.w = rotate(x.w, select(27u, 10u, odd)) ^ x.z;
    x.x += x.w; x.w = rotate(x.w, select(23u, 18u, odd)) ^ x.x; x.z += x.y; x.y = rotate(x.y, select(5u, 20u, odd)) ^ x.z;
    let i = g + 1u;
    x += vec4u(k[i % 5u], k[(i + 1u) % 5u], k[(i + 2u) % 5u], k[(i + 3u) % 5u]);
    x.w += i;
  }
  return x;
}`;

const FILL_NORMAL = signature(
  'fillNormal',
  { tensor: f32('...') },
  { numbers: { deviation: notNegative, seed: integer, stream: integer } },
);

/**
 * Fills an f32 tensor of any size with normal(0, deviation) by Box–Muller (1958): elements 4i..4i+3 take the four
 * words of the Threefry block at counter i.
 */
export function fillNormal(tensor: Tensor, deviation: number, random: RandomStream): void {
  FILL_NORMAL.check({ tensor }, { deviation, seed: random.seed, stream: random.stream });
  shaderOf('fillNormal', {}, () => ({
    label: 'fillNormal',
    params: { count: 'u32', first: 'u32', deviation: 'f32', seed: 'u32', stream: 'u32' } as const,
    buffers: { outY: 'array<f32>' },
    body: `${THREEFRY}
${FLAT_MAIN}
  if (4u * i >= p.count) { return; }
  let bits = threefry(vec4u(p.seed, p.stream, 1u, 0u), vec4u(p.first + i, 0u, 0u, 0u));
  // (0, 1]: 24 bits, so that the logarithm is finite.
  let uniform = (vec4f(bits >> vec4u(8u)) + 1.0) / 16777216.0;
  let radius = sqrt(-2.0 * log(uniform.xy)) * p.deviation;
  let angle = 6.283185307179586 * uniform.zw;
  let normal = vec4f(radius * cos(angle), radius * sin(angle));
  for (var e = 0u; e < min(4u, p.count - 4u * i); e++) { outY[4u * i + e] = normal[e]; }
}`,
  })).launch(
    tensor.gpu,
    { outY: flat(tensor) },
    ({ start, count }) => ({
      count,
      first: start / 4,
      deviation,
      seed: random.seed,
      stream: random.stream,
    }),
    ({ count }) => flatGroups(count / 4),
  );
}

const ROTATIONS = [
  [10, 26],
  [11, 21],
  [13, 27],
  [23, 5],
  [6, 20],
  [17, 11],
  [25, 10],
  [18, 20],
] as const;

/** Host reference of Threefry-4x32-20. */
export function threefry4x32(key: readonly number[], counter: readonly number[]): Uint32Array {
  const k = [...key, key.reduce((a, b) => a ^ b, 0x1bd11bda) >>> 0];
  const x = new Uint32Array(4);
  for (let i = 0; i < 4; i++) x[i] = counter[i]! + k[i]!;
  const rotate = (v: number, n: number) => ((v << n) | (v >>> (32 - n))) >>> 0;
  for (let round = 0; round < 20; round++) {
    const [r0, r1] = ROTATIONS[round % 8]!;
    const [b, d] = round % 2 === 0 ? [1, 3] : [3, 1];
    x[0] = x[0]! + x[b]!;
    x[b] = rotate(x[b]!, r0) ^ x[0]!;
    x[2] = x[2]! + x[d]!;
    x[d] = rotate(x[d]!, r1) ^ x[2]!;
    if (round % 4 === 3) {
      const i = (round + 1) / 4;
      for (let j = 0; j < 4; j++) x[j] = x[j]! + k[(i + j) % 5]!;
      x[3] = x[3]! + i;
    }
  }
  return x;
}

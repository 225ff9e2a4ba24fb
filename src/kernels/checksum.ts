/**
 * A checksum of a tensor's bits, made where the tensor lies: replicas of a model on several ranks are compared by it. Words
 * are mixed with their position and added up modulo 2³²: integers, so that no order of the sum changes it.
 */
import { f32, signature, u32 } from '../tensor/operands.js';
import type { Tensor } from '../tensor/tensor.js';
import { whole, windowed } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

const CHECKSUM = signature('addChecksum', { x: f32('...'), sums: u32('n') });

/** Threads of a workgroup, and words that each of them takes. */
const THREADS = 256;
const EACH = 64;

/**
 * Adds the checksum of elements [start, start+count) of x, f32, to `sums[slot]`, u32. The position of an element counts from
 * `start`. The same bits give the same sum on any device: `checksumReference` is the host's.
 */
export function addChecksum(x: Tensor, sums: Tensor, slot: number, start = 0, count = x.size - start): void {
  CHECKSUM.check({ x, sums });
  if (count === 0) return;
  shaderOf('checksum', {}, () => ({
    label: 'checksum',
    params: { count: 'u32', first: 'u32', baseX: 'u32', slot: 'u32' } as const,
    buffers: { X: 'array<u32>', ioSums: 'array<atomic<u32>>' },
    dtypes: { X: 'f32' } as const,
    body: `
var<workgroup> sums: array<u32, ${THREADS}>;

// Finalizer of MurmurHash3: of a position each word has a value of its own.
fn mixed(word: u32, position: u32) -> u32 {
  var h = word ^ (position * 0x9e3779b9u + 0x7f4a7c15u);
  h = (h ^ (h >> 16u)) * 0x85ebca6bu;
  h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
  return h ^ (h >> 16u);
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = (group.y * groups.x + group.x) * ${THREADS * EACH}u;
  var sum = 0u;
  for (var n = 0u; n < ${EACH}u; n++) {
    let i = begin + n * ${THREADS}u + lane;
    // Where the window begins is taken off modulo 2³².
    if (i < p.count) { sum += mixed(X[i + p.baseX], i + p.first); }
  }
  sums[lane] = sum;
  for (var half = ${THREADS / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  if (lane == 0u) { atomicAdd(&ioSums[p.slot], sums[0]); }
}`,
  })).launch(
    x.gpu,
    { X: windowed(x, count, (piece) => [start + piece.start, piece.count]), ioSums: whole(sums) },
    (piece, base) => ({
      count: piece.count,
      first: piece.start,
      baseX: start + piece.start - base['X']!,
      slot,
    }),
    (piece) => Math.ceil(piece.count / (THREADS * EACH)),
    (piece) => ({ bytes: 4 * piece.count }),
  );
}

/** The same of words on the host. */
export function checksumReference(words: Uint32Array): number {
  let sum = 0;
  words.forEach((word, position) => {
    let h = word ^ (Math.imul(position, 0x9e3779b9) + 0x7f4a7c15);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    sum = (sum + (h ^ (h >>> 16))) >>> 0;
  });
  return sum;
}

/**
 * Stable sorting of rows: eight entries at a time in registers, then pairs of sorted runs merged, each twice as long as the
 * last ones, until a row is one. A thread makes eight entries of a merged run; where they begin in the two it finds by halves
 * (merge path; Green, McColl, Bader 2012). No thread waits for another, and nothing is left to chance: equal keys stay in
 * the order of their positions.
 */
import { sizeOf } from '../../tensor/shape.js';
import { type DType, Tensor } from '../../tensor/tensor.js';
import { RANKS } from '../elementary.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { byRows } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';
import { readStrided } from '../strided/strided.js';

/** Entries that a thread sorts, and makes of a merged run. */
const EACH = 8;

/** WGSL: numbers of a format as u32 in their order; a NaN is above all, zeros are equal. */
const KEYS: Readonly<Record<DType, { readonly type: string; readonly key: (at: string) => string }>> = {
  f32: { type: 'array<f32>', key: (at) => `rank(X[${at}])` },
  f16: { type: 'array<u32>', key: (at) => `rank(unpack2x16float(X[(${at}) / 2u])[(${at}) % 2u])` },
  i32: { type: 'array<i32>', key: (at) => `bitcast<u32>(X[${at}]) ^ 0x80000000u` },
  u32: { type: 'array<u32>', key: (at) => `X[${at}]` },
  bool: { type: 'array<u32>', key: (at) => `X[${at}]` },
};

/** Batcher's network for eight: pairs of places whose entries are put in order. */
const NETWORK = [
  [0, 1],
  [2, 3],
  [4, 5],
  [6, 7],
  [0, 2],
  [1, 3],
  [4, 6],
  [5, 7],
  [1, 2],
  [5, 6],
  [0, 4],
  [1, 5],
  [2, 6],
  [3, 7],
  [2, 4],
  [3, 5],
  [1, 2],
  [3, 4],
  [5, 6],
] as const;

const eight = Array.from({ length: EACH }, (_, k) => k);

/** Keys with their positions, eight by eight in order. What lies beyond a row comes last. */
const blocksShader = (dtype: DType, bits: boolean) =>
  shaderOf('sort.blocks', { dtype, bits }, (form) => {
    const { type, key } = KEYS[form.bits ? 'u32' : form.dtype];
    return {
      label: 'sort.blocks',
      params: { count: 'u32', length: 'u32', blocks: 'u32', flip: 'u32' } as const,
      buffers: { X: type, outY: 'array<vec2u>' },
      dtypes: { X: form.dtype },
      body: `${type === 'array<f32>' || form.dtype === 'f16' ? RANKS : ''}
fn entry(base: u32, at: u32) -> vec2u {
  if (at >= p.length) { return vec2u(0xffffffffu); }
  return vec2u((${key('base + at')}) ^ p.flip, at);
}
fn later(a: vec2u, b: vec2u) -> bool { return a.x > b.x || (a.x == b.x && a.y > b.y); }
${FLAT_MAIN}
  if (i >= p.count) { return; }
  let first = (i % p.blocks) * ${EACH}u;
  let base = i / p.blocks * p.length;
  ${eight.map((k) => `var e${k} = entry(base, first + ${k}u);`).join(' ')}
  ${NETWORK.map(([a, b]) => `{ let swap = later(e${a}, e${b}); let low = select(e${a}, e${b}, swap); e${b} = select(e${b}, e${a}, swap); e${a} = low; }`).join('\n  ')}
  ${eight.map((k) => `if (first + ${k}u < p.length) { outY[base + first + ${k}u] = e${k}; }`).join('\n  ')}
}`,
    };
  });

const mergeShader = () =>
  shaderOf('sort.merge', {}, () => ({
    label: 'sort.merge',
    params: { count: 'u32', length: 'u32', blocks: 'u32', run: 'u32' } as const,
    buffers: { X: 'array<vec2u>', outY: 'array<vec2u>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let first = (i % p.blocks) * ${EACH}u;
  let base = i / p.blocks * p.length;
  // Runs [begin, middle) and [middle, end) become one; the second may be short or empty.
  let begin = first / (2u * p.run) * (2u * p.run);
  let middle = min(begin + p.run, p.length);
  let end = min(begin + 2u * p.run, p.length);
  // So many of the entries before ours come from the first run: those up to the first that is larger than its counterpart.
  let before = first - begin;
  var low = before - min(before, end - middle);
  var high = min(before, middle - begin);
  while (low < high) {
    let tried = (low + high) / 2u;
    if (X[base + begin + tried].x <= X[base + middle + before - 1u - tried].x) { low = tried + 1u; } else { high = tried; }
  }
  var a = begin + low;
  var b = middle + before - low;
  var next = X[base + min(a, p.length - 1u)];
  var other = X[base + min(b, p.length - 1u)];
  for (var at = first; at < min(first + ${EACH}u, p.length); at++) {
    if (a < middle && (b >= end || next.x <= other.x)) {
      outY[base + at] = next;
      a++;
      next = X[base + min(a, p.length - 1u)];
    } else {
      outY[base + at] = other;
      b++;
      other = X[base + min(b, p.length - 1u)];
    }
  }
}`,
  }));

/**
 * Rows of x, [rows, length] of any dtype, as pairs of a key and a position, in order: [rows, length, 2] u32. Keys are u32 in
 * the order of the numbers, complemented where `descending`; a NaN is the largest. `bits`: integers are taken as u32.
 * A row of pairs must fit one binding.
 */
export function sortedPairs(
  x: Tensor,
  {
    rows,
    length,
    descending,
    bits = false,
  }: { rows: number; length: number; descending: boolean; bits?: boolean },
): Tensor {
  const { gpu } = x;
  const shape = [rows, length, 2];
  let sorted = Tensor.empty(gpu, shape, 'u32', 'workspace');
  if (sizeOf(shape) === 0) return sorted;
  const blocks = Math.ceil(length / EACH);
  const seen = (tensor: Tensor) => byRows(tensor, { rows });
  const threads = ({ count }: { readonly count: number }) => flatGroups(count * blocks);
  blocksShader(x.dtype, bits).launch(
    gpu,
    { X: seen(x), outY: seen(sorted) },
    ({ count }) => ({ count: count * blocks, length, blocks, flip: descending ? 0xffffffff : 0 }),
    threads,
  );
  if (length <= EACH) return sorted;
  let next = Tensor.empty(gpu, shape, 'u32', 'workspace');
  for (let run = EACH; run < length; run *= 2) {
    mergeShader().launch(
      gpu,
      { X: seen(sorted), outY: seen(next) },
      ({ count }) => ({ count: count * blocks, length, blocks, run }),
      threads,
    );
    [sorted, next] = [next, sorted];
  }
  next.dispose();
  return sorted;
}

/** Positions of the entries of each row in their order, of equal ones the lower first; a NaN is the largest. x: [..., N]; u32. */
export function argsort(x: Tensor, descending: boolean): Tensor {
  const { rows, cols: length, shape } = x;
  const pairs = sortedPairs(x, { rows, length, descending });
  const positions = readStrided(pairs, [rows, length], { start: 1, strides: [2 * length, 2] });
  pairs.dispose();
  return positions.alias(shape);
}

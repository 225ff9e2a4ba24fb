/**
 * Running sums along an axis, seen as [outer, length, inner]: chunks are summed first, then the sums of chunks in the same
 * way, and a thread walks each chunk from the sum of those before it. Always in the same order; a sum's rounding does not
 * grow with the length.
 */
import { type DType, Tensor } from '../tensor/tensor.js';
import type { ReducedAxis } from './axis-passes.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { type Operand, type Piece, type Range, windowed, windowRoom } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

/** Elements that a thread walks. */
const CHUNK = 64;

type RunningDType = Extract<DType, 'f32' | 'i32' | 'u32'>;

interface WalkForm {
  readonly dtype: RunningDType;
  /** A chunk's sum alone is written, or every running sum; those after what the chunks before have. */
  readonly part: 'totals' | 'sums' | 'sums after';
}

const walkShader = (form: WalkForm) =>
  shaderOf('cumsum', form, ({ dtype, part }) => {
    const after = part === 'sums after';
    return {
      label: `cumsum.${part === 'totals' ? 'totals' : 'sums'}`,
      params: {
        first: 'u32',
        count: 'u32',
        length: 'u32',
        inner: 'u32',
        chunk: 'u32',
        chunks: 'u32',
        reverse: 'u32',
        baseX: 'u32',
        baseT: 'u32',
        baseY: 'u32',
      } as const,
      buffers: {
        X: `array<${dtype}>`,
        ...(after ? { T: `array<${dtype}>` } : {}),
        outY: `array<${dtype}>`,
      },
      body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let unit = p.first + i / p.inner;
  let column = i % p.inner;
  let own = unit % p.chunks;
  let base = unit / p.chunks * p.length * p.inner + column;
  var sum = ${dtype}();
  ${after ? `var before = ${dtype}();\n  if (own > 0u) { before = T[(unit - 1u) * p.inner + column - p.baseT]; }` : ''}
  for (var m = own * p.chunk; m < min(p.length, (own + 1u) * p.chunk); m++) {
    let at = base + select(m, p.length - 1u - m, p.reverse != 0u) * p.inner;
    sum += X[at - p.baseX];
    ${part === 'totals' ? '' : `outY[at - p.baseY] = ${after ? 'before + sum' : 'sum'};`}
  }
  ${part === 'totals' ? 'outY[unit * p.inner + column - p.baseY] = sum;' : ''}
}`,
    };
  });

/** Σ of x up to each element along the axis, itself included, or from it on where `reverse`. x: f32, i32 or u32, whose sums are modulo 2³². */
export function cumsum(x: Tensor, axis: ReducedAxis, reverse: boolean): Tensor {
  const { gpu } = x;
  const { outer, length, inner } = axis;
  const dtype = x.dtype as RunningDType;
  const out = Tensor.empty(gpu, x.shape, dtype);
  if (out.size === 0) return out;
  const chunk = Math.max(1, Math.min(CHUNK, length, Math.floor(windowRoom(x, inner) / inner)));
  const chunks = Math.ceil(length / chunk);
  const units = outer * chunks;
  /** Elements of x that the chunks of a piece are. */
  const walked = ({ start, count }: Piece): Range => {
    const [first, last] = [start, start + count - 1];
    const [line, end] = [Math.floor(first / chunks), Math.floor(last / chunks)];
    if (line !== end) return [line * length * inner, (end - line + 1) * length * inner];
    const low = (first % chunks) * chunk;
    const high = Math.min(length, ((last % chunks) + 1) * chunk);
    return [(line * length + (reverse ? length - high : low)) * inner, (high - low) * inner];
  };
  const walk = (part: WalkForm['part'], operands: Readonly<Record<string, Operand>>): void =>
    walkShader({ dtype, part }).launch(
      gpu,
      { X: windowed(x, units, walked), ...operands },
      ({ start, count }, base) => ({
        first: start,
        count: count * inner,
        length,
        inner,
        chunk,
        chunks,
        reverse: reverse ? 1 : 0,
        baseX: base['X']!,
        baseT: base['T'] ?? 0,
        baseY: base['outY']!,
      }),
      ({ count }) => flatGroups(count * inner),
    );
  if (chunks === 1) {
    walk('sums', { outY: windowed(out, units, walked) });
    return out;
  }
  const totals = Tensor.empty(gpu, [outer, chunks, inner], dtype, 'workspace');
  walk('totals', { outY: windowed(totals, units, ({ start, count }) => [start * inner, count * inner]) });
  const before = cumsum(totals, { outer, length: chunks, inner }, false);
  totals.dispose();
  walk('sums after', {
    T: windowed(before, units, ({ start, count }) => {
      const first = Math.max(0, start - 1);
      return [first * inner, (start + count - first) * inner];
    }),
    outY: windowed(out, units, walked),
  });
  before.dispose();
  return out;
}

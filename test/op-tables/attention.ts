/** Of the table of ops: attention. */
import * as ops from '../../src/autograd/index.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { attentionReference, outputOf } from '../../src/kernels/attention/reference.js';
import { kernelWidth } from '../../src/kernels/attention/widths.js';
import { PackedSequences } from '../../src/tensor/packed.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { type OpCase, pending } from './case.js';

const fusedCases: OpCase[] = (
  [
    [[5], 1, 4, false],
    [[3, 17, 1, 8], 4, 16, true],
    [[12, 5], 1, 64, false],
    [[70, 3], 1, 20, false],
    [[3, 17, 1, 8], 4, 15, true],
  ] as [number[], number, number, boolean][]
).map(([lengths, heads, d, causal]) => {
  const tokens = lengths.reduce((a, b) => a + b, 0);
  const times = tokens < 10 ? 16 : 6;
  const many = Array.from({ length: times }, () => lengths).flat();
  const { bounds } = new PackedSequences({} as Gpu, many);
  const mostRows = Math.max(...many.map((_, s) => bounds[s + 1]! - Math.floor(bounds[s]! / 64) * 64));
  return {
    name: `attention lengths ${lengths} heads ${heads} dim ${d}${causal ? ' causal' : ''}`,
    inputs: [[tokens, 3 * heads * d]],
    large: [[times * tokens, 3 * heads * d]],
    // A sequence must be seen at once, from a row on that is a multiple of 64.
    binding: Math.max(4096, 12 * heads * kernelWidth(d, 'f32') * mostRows),
    halves: [0],
    run: (gpu, [qkv]) => {
      const packed = new PackedSequences(gpu, qkv!.rows === tokens ? lengths : many);
      pending.push(packed);
      return ops.attention(qkv!, packed, heads, undefined, { causal });
    },
    reference: ([qkv]) =>
      attentionReference(qkv!, new PackedSequences({} as Gpu, lengths).bounds, heads, heads * d, causal),
  };
});

/** Queries, keys and values apart, of `batch` examples. */
interface Apart {
  readonly layout: 'bhld' | 'blhd';
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly d: number;
  readonly causal?: true | 'lower-right';
  /** Shape of the bias. */
  readonly bias?: readonly number[];
  readonly lengths?: readonly number[];
  readonly keyLengths?: readonly number[];
  readonly scale?: number;
  readonly halves?: false;
}

function apartCase(own: Apart): OpCase {
  const { layout, heads, keyHeads, queries, keys, d, causal, bias, lengths, keyLengths, scale } = own;
  const shape = (batch: number, heads: number, length: number) =>
    layout === 'bhld' ? [batch, heads, length, d] : [batch, length, heads, d];
  const shapes = (batch: number) => [
    shape(batch, heads, queries),
    shape(batch, keyHeads, keys),
    shape(batch, keyHeads, keys),
    ...(bias
      ? [bias.map((extent, i) => (i === bias.length - 4 && extent === own.batch ? batch : extent))]
      : []),
  ];
  const at = (shape: readonly number[], b: number, h: number, i: number) =>
    layout === 'bhld' ? ((b * shape[1]! + h) * shape[2]! + i) * d : ((b * shape[1]! + i) * shape[2]! + h) * d;
  const times = 8;
  const width = kernelWidth(d, 'f32');
  return {
    name: `scaledDotProductAttention ${layout} ${shape(own.batch, heads, queries)} keys ${keys} of ${keyHeads} heads${causal ? ` causal${causal === true ? '' : ` ${causal}`}` : ''}${bias ? ` bias ${bias}` : ''}${lengths ? ` lengths ${lengths}` : ''}${keyLengths ? ` of keys ${keyLengths}` : ''}`,
    inputs: shapes(own.batch),
    large: shapes(times * own.batch),
    // Of one sequence everything must be seen at once, from a row on that is a multiple of 64; of the bias a matrix.
    binding: Math.max(
      4096,
      4 * width * (layout === 'bhld' ? (heads / keyHeads) * queries + 63 : heads * (queries + 63)),
      8 * width * (layout === 'bhld' ? keys + 63 : keyHeads * (keys + 63)),
    ),
    ...(bias && bias.at(-2) !== queries ? { constant: [3] } : {}),
    ...(bias ? { adds: 'gradients' as const } : {}),
    ...(own.halves === false ? {} : { halves: [0, 1, 2] }),
    run: (_, [q, k, v, bias]) => {
      const many = q!.shape[0]! / own.batch;
      const repeated = (lengths: readonly number[]) => Array.from({ length: many }, () => lengths).flat();
      return ops.scaledDotProductAttention(q!, k!, v!, {
        ...(layout === 'bhld' ? {} : { layout }),
        ...(causal ? { causal } : {}),
        ...(bias ? { bias } : {}),
        ...(lengths ? { lengths: repeated(lengths) } : {}),
        ...(keyLengths ? { keyLengths: repeated(keyLengths) } : {}),
        ...(scale ? { scale } : {}),
      });
    },
    reference: ([q, k, v, added]) => {
      const [queryShape, keyShape] = [shape(own.batch, heads, queries), shape(own.batch, keyHeads, keys)];
      const out = new Float64Array(q!.length);
      for (let b = 0; b < own.batch; b++)
        for (let h = 0; h < heads; h++) {
          const key = (values: Float64Array) => (j: number, e: number) =>
            values[at(keyShape, b, Math.floor((h * keyHeads) / heads), j) + e]!;
          const biasAt = (i: number, j: number) => {
            const index = [b, h, i, j].slice(-bias!.length);
            return added![
              bias!.reduce((sum, extent, n) => sum * extent + (extent === 1 ? 0 : index[n]!), 0)
            ]!;
          };
          const rows = {
            queries: lengths?.[b] ?? queries,
            keys: keyLengths?.[b] ?? lengths?.[b] ?? keys,
            headDim: d,
            q: (i: number, e: number) => q![at(queryShape, b, h, i) + e]!,
            k: key(k!),
            v: key(v!),
            scale,
            causal,
            bias: bias && biasAt,
          };
          for (let i = 0; i < rows.queries; i++) out.set(outputOf(rows, i), at(queryShape, b, h, i));
        }
      return out;
    },
  };
}

/** x [..., d] with positions along an axis before its last. */
function rotaryCase(
  shape: number[],
  axis: number,
  interleaved: boolean,
  first: number,
  halves: boolean,
): OpCase {
  const at = shape.length + axis;
  const d = shape.at(-1)!;
  const length = shape[at]!;
  const inner = shape.slice(at + 1, -1).reduce((a, b) => a * b, 1);
  const base = 500;
  return {
    name: `rotary [${shape}] axis ${axis}${interleaved ? ' interleaved' : ''} from ${first}`,
    inputs: [shape],
    large: [[300, ...shape.slice(1)]],
    ...(halves ? { halves: [0] } : {}),
    run: (gpu, [x]) =>
      ops.rotary(
        x!,
        interleaved
          ? Tensor.from(
              gpu,
              Int32Array.from({ length: x!.shape[at]! }, (_, i) => first + i),
              [x!.shape[at]!],
            )
          : first,
        { base, axis, interleaved },
      ),
    reference: ([x]) => {
      const y = new Float64Array(x!.length);
      for (let row = 0; row < y.length / d; row++)
        for (let i = 0; i < d / 2; i++) {
          const angle = (first + (Math.floor(row / inner) % length)) * base ** ((-2 * i) / d);
          const [a, b] = [
            row * d + (interleaved ? 2 * i : i),
            row * d + (interleaved ? 2 * i + 1 : i + d / 2),
          ];
          y[a] = x![a]! * Math.cos(angle) - x![b]! * Math.sin(angle);
          y[b] = x![a]! * Math.sin(angle) + x![b]! * Math.cos(angle);
        }
      return y;
    },
  };
}

const swigluCase: OpCase = {
  name: 'swiglu',
  inputs: [
    [3, 8],
    [3, 8],
  ],
  large: [
    [300, 8],
    [300, 8],
  ],
  halves: [0, 1],
  run: (_, [gate, up]) => ops.swiglu(gate!, up!),
  reference: ([gate, up]) => gate!.map((x, i) => (x / (1 + Math.exp(-x))) * up![i]!),
};

export const attentionCases: OpCase[] = [
  ...fusedCases,
  swigluCase,
  rotaryCase([2, 5, 8], -2, false, 7, true),
  rotaryCase([2, 3, 2, 6], -3, false, -2, true),
  rotaryCase([2, 3, 2, 12], -3, true, 10_000, true),
  rotaryCase([4, 6], -2, true, 0, true),
  // Kernels of a form take long to compile: all that is said in numbers is said of two of them.
  apartCase({ layout: 'blhd', batch: 2, heads: 8, keyHeads: 4, queries: 35, keys: 35, d: 16, causal: true }),
  apartCase({
    layout: 'bhld',
    batch: 2,
    heads: 4,
    keyHeads: 2,
    queries: 11,
    keys: 25,
    d: 14,
    causal: 'lower-right',
    keyLengths: [25, 7],
  }),
  apartCase({
    layout: 'bhld',
    batch: 3,
    heads: 4,
    keyHeads: 2,
    queries: 5,
    keys: 5,
    d: 16,
    causal: true,
    bias: [4, 1, 5],
    lengths: [5, 2, 0],
    halves: false,
  }),
  apartCase({
    layout: 'blhd',
    batch: 2,
    heads: 8,
    keyHeads: 4,
    queries: 70,
    keys: 43,
    d: 16,
    causal: true,
    bias: [2, 1, 70, 43],
    keyLengths: [0, 41],
    scale: 0.5,
    halves: false,
  }),
];

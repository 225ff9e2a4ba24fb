/** Dropout, whose mask is a function of seed, stream and position: the family `dropout`. */
import { ShapeError } from '../errors.js';
import type { RandomStream } from '../tensor/random-streams.js';
import { bytesPerElement, Tensor } from '../tensor/tensor.js';
import { type FloatDType, floatDType, load4, store4, vec4Type } from './launch/formats.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { flat, type Piece } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { THREEFRY, threefry4x32 } from './random.js';
import { Draws, trialOf } from './trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from './variants.js';

/**
 * What is dropped of 65536 equally likely draws, and the factor of what stays: both from the same rounded probability,
 * so that they agree exactly. A probability of 1 drops all, as in PyTorch.
 */
export function dropMask(probability: number): { threshold: number; keepScale: number } {
  const threshold = probability === 1 ? 65536 : Math.min(65535, Math.round(probability * 65536));
  return { threshold, keepScale: threshold === 65536 ? 0 : 65536 / (65536 - threshold) };
}

interface DropoutForm {
  readonly dtype: FloatDType;
}

interface DropoutSize {
  readonly count: number;
}

interface DropoutOperands {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly probability: number;
  readonly random: RandomStream;
  /** Group of four values of the whole batch that x begins with. */
  readonly first: number;
}

const dropoutShader = (own: DropoutForm) =>
  shaderOf('dropout', own, (form) => {
    const part = (unit: string, bits: string) =>
      store4(
        form.dtype,
        'outY',
        unit,
        `${load4(form.dtype, 'X', unit)} * select(vec4f(), vec4f(p.scale), ${bits} >= vec4u(p.threshold))`,
      );
    return {
      label: 'dropout',
      params: {
        count: 'u32',
        blocks: 'u32',
        first: 'u32',
        threshold: 'u32',
        scale: 'f32',
        seed: 'u32',
        stream: 'u32',
      } as const,
      buffers: { X: vec4Type(form.dtype), outY: vec4Type(form.dtype) },
      body: `${THREEFRY}
${FLAT_MAIN}
  if (i >= p.blocks) { return; }
  let bits = threefry(vec4u(p.seed, p.stream, 0u, 0u), vec4u(p.first / 2u + i, 0u, 0u, 0u));
  let low = bits & vec4u(0xffffu);
  let high = bits >> vec4u(16u);
  // The block's two groups of four; a tensor that begins at an odd group has no first half of its first block.
  let odd = p.first & 1u;
  if (2u * i >= odd && 2u * i - odd < p.count) { let u = 2u * i - odd; ${part('u', 'low')} }
  if (2u * i + 1u - odd < p.count) { let u = 2u * i + 1u - odd; ${part('u', 'high')} }
}`,
    };
  });

const blocks: Variant<DropoutForm, DropoutSize, DropoutOperands> = {
  name: 'blocks',
  why: 'a thread a block of random bits, which serves eight values',
  supports: () => true,
  prior: () => 0,
  shaders: (_, form) => ({ dropout: dropoutShader(form) }),
  run(gpu, form, _, { x, y, probability, random, first }) {
    const { threshold, keepScale } = dropMask(probability);
    const blocksOf = ({ start, count }: Piece) => {
      const from = first + start / 4;
      const units = Math.ceil(count / 4);
      return { from, units, blocks: Math.ceil((units + (from % 2)) / 2) };
    };
    dropoutShader(form).launch(
      gpu,
      { X: flat(x), outY: flat(y) },
      (piece) => {
        const { from, units, blocks } = blocksOf(piece);
        return {
          count: units,
          blocks,
          first: from,
          threshold,
          scale: keepScale,
          seed: random.seed,
          stream: random.stream,
        };
      },
      (piece) => flatGroups(blocksOf(piece).blocks),
    );
  },
};

const caseOf = (
  dtype: FloatDType,
  count: number,
  use: 'check' | 'bench',
): Case<DropoutForm, DropoutSize> => ({ name: `${count} ${dtype}`, form: { dtype }, size: { count }, use });

export const dropoutFamily: Family<DropoutForm, DropoutSize, DropoutOperands> = {
  name: 'dropout',
  summary: 'dropout, whose mask is drawn anew wherever it is needed',
  variants: [blocks],
  formName: ({ dtype }) => dtype,
  sizeClass: () => 'any',
  cases: (['f32', 'f16'] as const).flatMap((dtype) => [
    caseOf(dtype, 1044, 'check'),
    caseOf(dtype, 20, 'check'),
    // Hidden states of the two models, for 1,728 tokens.
    caseOf(dtype, 1728 * 384, 'bench'),
    caseOf(dtype, 1728 * 1024, 'bench'),
  ]),
  // Operations on integers are not counted; there are about 40 a value.
  cost: ({ dtype }, { count }) => ({ flops: count, bytes: 2 * bytesPerElement[dtype] * count }),
  tolerance: ({ dtype }) => (dtype === 'f16' ? 1e-3 : 1e-6),
  trial(gpu, form, size) {
    const draws = new Draws(gpu, size.count);
    const x = draws.floats([size.count], form.dtype);
    const y = draws.empty([size.count], form.dtype);
    const [probability, random] = [0.3, { seed: 7, stream: 3 }];
    const { threshold, keepScale } = dropMask(probability);
    // An odd number: the first block is one of which only the second half is ours.
    const first = 5;
    const right = (i: number) => {
      const at = 4 * first + i;
      const words = threefry4x32([random.seed, random.stream, 0, 0], [Math.floor(at / 8), 0, 0, 0]);
      const word = words[at % 4]!;
      const draw = at % 8 < 4 ? word & 0xffff : word >>> 16;
      return draw >= threshold ? x.values[i]! * keepScale : 0;
    };
    const probes = Math.min(size.count, 1024);
    const part = (start: number) => ({
      start,
      values: Float64Array.from({ length: probes }, (_, i) => right(start + i)),
    });
    const parts = () => [part(0), part(size.count - probes)];
    return trialOf(draws, [{ output: y, parts }], (name) =>
      variantOf(gpu, dropoutFamily, form, size, name).run(gpu, form, size, {
        x: x.tensor,
        y,
        probability,
        random,
        first,
      }),
    );
  },
};

/**
 * Inverted dropout: x·0 with `probability` (a NaN stays one), else x/(1−p). The same call on dy is its gradient. Elements 8i..8i+7
 * of the whole batch (see `RandomStream.firstRow`) take the eight 16-bit halves of one Threefry block at counter
 * (i, stream).
 */
export function dropout(x: Tensor, probability: number, random: RandomStream): Tensor {
  const { firstRow = 0 } = random;
  const dtype = floatDType('dropout', x);
  const first = (firstRow * x.cols) / 4;
  if (!Number.isInteger(first))
    throw new ShapeError('dropout', 'part of a batch needs rows of whole groups of 4 values', { x });
  const y = Tensor.empty(x.gpu, x.shape, dtype);
  runVariant(x.gpu, dropoutFamily, { dtype }, { count: x.size }, { x, y, probability, random, first });
  return y;
}

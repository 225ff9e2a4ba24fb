/**
 * What the op tests, the bench and the tuner run of attention: forms and sizes, what they cost, and trials whose results
 * are compared with a float64 reference at probes.
 */
import type { Gpu } from '../../gpu/gpu.js';
import { f16ToF32, f32ToF16 } from '../../tensor/dtype.js';
import { PackedSequences } from '../../tensor/packed.js';
import { CounterRandom } from '../../tensor/random.js';
import { bytesPerElement, Tensor } from '../../tensor/tensor.js';
import type { FloatDType } from '../launch/formats.js';
import { type Case, type Cost, type Family, type SizeReader, type Trial, variantOf } from '../variants.js';
import type { AttentionForm, ForwardOperands, GradientOperands } from './form.js';
import { ALIGNED_ROWS, type AttentionSize } from './layout.js';
import { attentionGradientReference, attentionRow, logSumExpAt } from './reference.js';

type AttentionCase = Case<AttentionForm, AttentionSize>;

/**
 * What a variant may refuse: rows that are not whole groups of 64 values, and sequences of more rows than textures have,
 * less those that a window may begin with.
 */
export const sizeClass = ({ hidden, longest }: AttentionSize): string => {
  const limit = [4096, 8192 - ALIGNED_ROWS, 16384 - ALIGNED_ROWS].find((rows) => longest <= rows);
  return `${limit ? `to ${limit}` : 'longer'}${hidden % 128 === 0 ? '' : `, width ${hidden}`}`;
};

const caseOf = (
  use: AttentionCase['use'],
  heads: number,
  headDim: number,
  dtype: FloatDType,
  [tokens, longest]: readonly [number, number],
): AttentionCase => ({
  name: `${lengthsOf({ tokens, hidden: 0, longest })
    .join('+')
    .replace(
      /^(\d+)(\+\1)+$/,
      (all, n) => `${all.split('+').length}×${n}`,
    )} tokens, ${heads} heads of ${headDim} ${dtype}`,
  form: { headDim, dtype, dropout: false },
  size: { tokens, hidden: heads * headDim, longest },
  use,
});

const DTYPES = ['f32', 'f16'] as const;

const bench = DTYPES.flatMap((dtype) => [
  caseOf('bench', 12, 32, dtype, [1024, 128]),
  caseOf('bench', 16, 64, dtype, [1024, 128]),
]);

const check = [
  caseOf('check', 2, 32, 'f32', [62, 33]),
  caseOf('check', 1, 64, 'f32', [77, 70]),
  caseOf('check', 4, 32, 'f16', [102, 65]),
  caseOf('check', 3, 20, 'f16', [9, 5]),
];

export const forwardCases: readonly AttentionCase[] = [...check, ...bench];
export const gradientCases = forwardCases;

/** Sequences of such a size: as many of the longest as there is room for, the rest as two of unequal length. */
export function lengthsOf({ tokens, longest }: AttentionSize): number[] {
  const lengths = new Array<number>(Math.floor(tokens / Math.max(1, longest))).fill(longest);
  const rest = tokens - lengths.length * longest;
  const short = Math.floor(rest / 3);
  return [...lengths, short, rest - short].filter((length) => length > 0);
}

/** Pairs of query and key, over all sequences. */
const pairs = (size: AttentionSize) => lengthsOf(size).reduce((sum, n) => sum + n * n, 0);

export const forwardCost = ({ dtype, headDim }: AttentionForm, size: AttentionSize): Cost => ({
  flops: 4 * pairs(size) * size.hidden,
  bytes: size.tokens * (4 * size.hidden * bytesPerElement[dtype] + (4 * size.hidden) / headDim),
});

/** Five products are needed; two of them are computed twice, and count once. */
export const gradientCost = ({ dtype, headDim }: AttentionForm, size: AttentionSize): Cost => ({
  flops: 10 * pairs(size) * size.hidden,
  bytes: size.tokens * (8 * size.hidden * bytesPerElement[dtype] + (4 * size.hidden) / headDim),
});

/** Results in halves are rounded to 11 bits, and matrix units take probabilities so. */
export const forwardTolerance = ({ dtype }: AttentionForm): number => (dtype === 'f16' ? 2e-3 : 2e-5);
export const gradientTolerance = ({ dtype }: AttentionForm): number => (dtype === 'f16' ? 4e-3 : 4e-5);

/** References cost T² on the host, so the tuner's trials are of texts of so many tokens at most. */
const LONGEST_PROBE = 512;
export const probe = (size: AttentionSize): AttentionSize => {
  const longest = Math.min(LONGEST_PROBE, size.longest);
  return { ...size, longest, tokens: Math.min(size.tokens, 8 * longest) };
};

/** `--sizes`: sequences × tokens of each × heads × components of a head. */
export const sizes: SizeReader<AttentionForm, AttentionSize> = {
  spelled: 'SxTxHxD',
  read(numbers, { dtype }) {
    const [sequences = 0, longest = 0, heads = 0, headDim = 0] = numbers;
    if (numbers.length !== 4 || headDim % 4 !== 0 || headDim > 128) return undefined;
    return caseOf('bench', heads, headDim, dtype, [sequences * longest, longest]);
  },
};

interface Inputs {
  readonly heads: number;
  readonly hidden: number;
  readonly packed: PackedSequences;
  /** As the kernels see it: rounded to halves where they are. */
  readonly qkv: Float32Array;
  readonly operands: Pick<ForwardOperands, 'qkv' | 'sequences' | 'dropout' | 'out' | 'logSumExp'>;
  draw(width: number): { values: Float32Array; tensor: Tensor };
  dispose(): void;
}

function inputs(gpu: Gpu, { headDim, dtype, dropout }: AttentionForm, size: AttentionSize): Inputs {
  const { tokens, hidden } = size;
  const packed = new PackedSequences(gpu, lengthsOf(size));
  const random = new CounterRandom(1, 0);
  const made: Tensor[] = [];
  const keep = (tensor: Tensor) => {
    made.push(tensor.keep());
    return tensor;
  };
  const draw = (width: number) => {
    const drawn = Float32Array.from({ length: tokens * width }, () => 2 * random.uniform() - 1);
    const halves = dtype === 'f16' ? f32ToF16(drawn) : undefined;
    return {
      values: halves ? f16ToF32(halves) : drawn,
      tensor: keep(Tensor.from(gpu, halves ?? drawn, [tokens, width], dtype)),
    };
  };
  const { values: qkv, tensor } = draw(3 * hidden);
  return {
    heads: hidden / headDim,
    hidden,
    packed,
    qkv,
    draw,
    operands: {
      qkv: tensor,
      sequences: packed,
      // With probability 0 the code of dropout runs, and drops nothing.
      dropout: dropout ? { probability: 0, seed: 1, stream: 0 } : undefined,
      out: keep(Tensor.empty(gpu, [tokens, hidden], dtype)),
      logSumExp: keep(Tensor.empty(gpu, [tokens, hidden / headDim])),
    },
    dispose: () => {
      for (const tensor of made) tensor.dispose();
      packed.dispose();
    },
  };
}

/** The sequences to look at: the first, which is one of the longest, and the last. */
function probed({ bounds, count }: PackedSequences): { begin: number; end: number }[] {
  return [...new Set([0, count - 1])].map((s) => ({ begin: bounds[s]!, end: bounds[s + 1]! }));
}

/** The largest difference, relative to the largest wanted value; NaN where any is. */
class Worst {
  private top = 1e-6;
  private difference = 0;
  add(got: number, want: number): void {
    this.top = Math.max(this.top, Math.abs(want));
    const difference = Math.abs(got - want);
    if (!(difference <= this.difference)) this.difference = difference;
  }
  get error(): number {
    return this.difference / this.top;
  }
}

type Runner<Operands> = Pick<
  Family<AttentionForm, AttentionSize, Operands>,
  'name' | 'variants' | 'sizeClass'
>;

/** The variant of that name, or the one that the device chooses. */
function runner<Operands>(
  gpu: Gpu,
  family: Runner<Operands>,
  form: AttentionForm,
  size: AttentionSize,
): (operands: Operands, variant?: string) => void {
  return (operands, name) => {
    variantOf(gpu, family, form, size, name).run(gpu, form, size, operands);
  };
}

export function forwardTrial(
  gpu: Gpu,
  form: AttentionForm,
  size: AttentionSize,
  family: Runner<ForwardOperands>,
): Trial {
  const { heads, hidden, packed, qkv, operands, dispose } = inputs(gpu, form, size);
  const run = runner(gpu, family, form, size);
  const { out, logSumExp } = operands;
  const rows = { qkv, heads, hidden };
  return {
    outputs: [out, logSumExp],
    run: (variant) => run(operands, variant),
    async error() {
      const [got, gotSums] = [await out.toFloat32(), await logSumExp.toFloat32()];
      const [values, sums] = [new Worst(), new Worst()];
      for (const sequence of probed(packed)) {
        const { begin, end } = sequence;
        for (const i of new Set([begin, (begin + end) >> 1, end - 1])) {
          attentionRow(rows, sequence, i).forEach((want, c) => {
            values.add(got[i * hidden + c]!, want);
          });
          for (let h = 0; h < heads; h++)
            sums.add(gotSums[i * heads + h]!, logSumExpAt(rows, sequence, h, i));
        }
      }
      return Math.max(values.error, sums.error);
    },
    dispose,
  };
}

export function gradientTrial(
  gpu: Gpu,
  form: AttentionForm,
  size: AttentionSize,
  family: Runner<GradientOperands>,
  forward: (operands: ForwardOperands, size: AttentionSize) => void,
): Trial {
  const { heads, hidden, packed, qkv, operands, draw, dispose } = inputs(gpu, form, size);
  const run = runner(gpu, family, form, size);
  const { values: outer, tensor: dOut } = draw(hidden);
  forward(operands, size);
  const dqkv = Tensor.empty(gpu, operands.qkv.shape, form.dtype).keep();
  const d = form.headDim;
  return {
    outputs: [dqkv],
    run: (variant) => run({ ...operands, dOut, dqkv }, variant),
    async error() {
      const got = await dqkv.toFloat32();
      const worst = [new Worst(), new Worst(), new Worst()];
      for (const sequence of probed(packed))
        for (const h of new Set([0, heads - 1])) {
          const { dq, dk, dv } = attentionGradientReference({ qkv, heads, hidden }, outer, sequence, h);
          [dq, dk, dv].forEach((want, part) => {
            want.forEach((value, i) => {
              const row = sequence.begin + Math.floor(i / d);
              worst[part]!.add(got[row * 3 * hidden + part * hidden + h * d + (i % d)]!, value);
            });
          });
        }
      return Math.max(...worst.map(({ error }) => error));
    },
    dispose: () => {
      dqkv.dispose();
      dispose();
    },
  };
}

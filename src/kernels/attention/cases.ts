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
import { ALIGNED_ROWS, type AttentionSize, range } from './layout.js';
import { fusedHead, gradientOf, type HeadRows, logSumExpOf, outputOf } from './reference.js';
import { Spans } from './spans.js';

type AttentionCase = Case<AttentionForm, AttentionSize>;

/**
 * What a variant may refuse: rows that are not whole groups of 64 values, and sequences of more rows than textures have,
 * less those that a window may begin with.
 */
export const sizeClass = ({ hidden, longest, keyHidden, longestKeys = 0 }: AttentionSize): string => {
  const limit = [4096, 8192 - ALIGNED_ROWS, 16384 - ALIGNED_ROWS].find(
    (rows) => Math.max(longest, longestKeys) <= rows,
  );
  const keys = keyHidden === undefined || keyHidden === hidden ? '' : `, keys ${keyHidden}`;
  return `${limit ? `to ${limit}` : 'longer'}${hidden % 128 === 0 ? '' : `, width ${hidden}`}${keys}`;
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

/** Pairs of query and key that see each other, over all sequences. */
function pairs({ causal }: AttentionForm, size: AttentionSize): number {
  const { longest, longestKeys = longest } = size;
  const ratio = longest === 0 ? 0 : longestKeys / longest;
  const all = lengthsOf(size).reduce((sum, n) => sum + n * n * ratio, 0);
  return Math.round(causal ? all / 2 : all);
}

/** Values of all queries and all keys, with `perQuery` tensors like the one and `perKey` like the other. */
const values = (size: AttentionSize, perQuery: number, perKey: number) =>
  perQuery * size.tokens * size.hidden +
  perKey * (size.keyTokens ?? size.tokens) * (size.keyHidden ?? size.hidden);

export const forwardCost = (form: AttentionForm, size: AttentionSize): Cost => ({
  flops: 4 * pairs(form, size) * size.hidden,
  bytes: values(size, 2, 2) * bytesPerElement[form.dtype] + (4 * size.tokens * size.hidden) / form.headDim,
});

/** Five products are needed; two of them are computed twice, and count once. */
export const gradientCost = (form: AttentionForm, size: AttentionSize): Cost => ({
  flops: 10 * pairs(form, size) * size.hidden,
  bytes: values(size, 4, 4) * bytesPerElement[form.dtype] + (4 * size.tokens * size.hidden) / form.headDim,
});

/** Results in halves are rounded to 11 bits, and matrix units take probabilities so. */
export const forwardTolerance = ({ dtype }: AttentionForm): number => (dtype === 'f16' ? 2e-3 : 2e-5);
export const gradientTolerance = ({ dtype }: AttentionForm): number => (dtype === 'f16' ? 4e-3 : 4e-5);

/** References cost T² on the host, so the tuner's trials are of texts of so many tokens at most. */
const LONGEST_PROBE = 512;
export const probe = (size: AttentionSize): AttentionSize => {
  const shorter = (longest: number) => Math.min(LONGEST_PROBE, longest);
  const longest = shorter(size.longest);
  return {
    ...size,
    longest,
    tokens: Math.min(size.tokens, 8 * longest),
    ...(size.longestKeys === undefined ? {} : { longestKeys: shorter(size.longestKeys) }),
  };
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

/** Where a sequence of a trial begins: its first rows, and head h of it. */
interface TrialSequence {
  readonly query: number;
  readonly key: number;
  head(h: number): HeadRows;
}

interface Inputs {
  readonly heads: number;
  /** Query heads that share a key head. */
  readonly members: number;
  readonly sequences: readonly TrialSequence[];
  readonly queryRows: number;
  readonly operands: ForwardOperands;
  draw(rows: number, width: number, dtype?: FloatDType): { values: Float32Array; tensor: Tensor };
  empty(rows: number, width: number): Tensor;
  dispose(): void;
}

function inputs(gpu: Gpu, form: AttentionForm, size: AttentionSize): Inputs {
  const { headDim, dtype, dropout, apart, causal, bias } = form;
  const { hidden, keyHidden = hidden } = size;
  const random = new CounterRandom(1, 0);
  const made: { dispose(): void }[] = [];
  const keep = (tensor: Tensor) => {
    made.push(tensor.keep());
    return tensor;
  };
  // As the kernels see it: rounded to halves where they are.
  const draw = (rows: number, width: number, of = dtype) => {
    const drawn = Float32Array.from({ length: rows * width }, () => 2 * random.uniform() - 1);
    const halves = of === 'f16' ? f32ToF16(drawn) : undefined;
    return {
      values: halves ? f16ToF32(halves) : drawn,
      tensor: keep(Tensor.from(gpu, halves ?? drawn, [rows, width], of)),
    };
  };
  const empty = (rows: number, width: number) => keep(Tensor.empty(gpu, [rows, width], dtype));
  const heads = hidden / headDim;
  const members = hidden / keyHidden;
  const results = (rows: number) => ({
    // With probability 0 the code of dropout runs, and drops nothing.
    dropout: dropout ? { probability: 0, seed: 1, stream: 0 } : undefined,
    out: empty(rows, hidden),
    logSumExp: keep(Tensor.empty(gpu, [rows, heads])),
  });
  const shared = {
    heads,
    members,
    draw,
    empty,
    dispose: () => {
      for (const each of made) each.dispose();
    },
  };
  if (!apart) {
    const packed = new PackedSequences(gpu, lengthsOf(size));
    made.push(packed);
    const { values, tensor } = draw(size.tokens, 3 * hidden);
    const { bounds, count } = packed;
    return {
      ...shared,
      queryRows: size.tokens,
      // Those to look at: the first, which is one of the longest, and the last.
      sequences: [...new Set([0, count - 1])].map((s) => {
        const [begin, end] = [bounds[s]!, bounds[s + 1]!];
        const rows = { heads, hidden, begin, end, causal };
        return { query: begin, key: begin, head: (h) => fusedHead(values, rows, h) };
      }),
      operands: { qkv: tensor, sequences: packed, scale: 1 / Math.sqrt(headDim), ...results(size.tokens) },
    };
  }
  const { longest, longestKeys = longest } = size;
  const count = Math.max(1, Math.floor(size.tokens / Math.max(1, longest)));
  const [q, k, v] = [
    draw(count * longest, hidden),
    draw(count * longestKeys, keyHidden),
    draw(count * longestKeys, keyHidden),
  ];
  const scores = bias && draw(longest, longestKeys, 'f32');
  const spans = new Spans(
    gpu,
    range(count).map((s) => ({
      queries: { begin: s * longest, end: (s + 1) * longest },
      keys: { begin: s * longestKeys, end: (s + 1) * longestKeys },
      bias: 0,
    })),
    heads,
    keyHidden / headDim,
    members,
    0,
    { head: 0, query: longestKeys, key: 1 },
  );
  return {
    ...shared,
    queryRows: count * longest,
    sequences: [...new Set([0, count - 1])].map((s) => ({
      query: s * longest,
      key: s * longestKeys,
      head: (h) => {
        const key = (values: Float32Array) => (j: number, e: number) =>
          values[(s * longestKeys + j) * keyHidden + Math.floor(h / members) * headDim + e]!;
        return {
          queries: longest,
          keys: longestKeys,
          headDim,
          q: (i, e) => q.values[(s * longest + i) * hidden + h * headDim + e]!,
          k: key(k.values),
          v: key(v.values),
          causal,
          bias: scores && ((i, j) => scores.values[i * longestKeys + j]!),
        };
      },
    })),
    operands: {
      q: q.tensor,
      k: k.tensor,
      v: v.tensor,
      bias: scores?.tensor,
      spans,
      scale: 1 / Math.sqrt(headDim),
      ...results(count * longest),
    },
  };
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
  const { heads, sequences, operands, dispose } = inputs(gpu, form, size);
  const run = runner(gpu, family, form, size);
  const { out, logSumExp } = operands;
  const d = form.headDim;
  return {
    outputs: [out, logSumExp],
    run: (variant) => run(operands, variant),
    async error() {
      const [got, gotSums] = [await out.toFloat32(), await logSumExp.toFloat32()];
      const [values, sums] = [new Worst(), new Worst()];
      for (const { query, head } of sequences)
        for (let h = 0; h < heads; h++) {
          const rows = head(h);
          for (const i of new Set([0, rows.queries >> 1, rows.queries - 1])) {
            outputOf(rows, i).forEach((want, e) => {
              values.add(got[((query + i) * heads + h) * d + e]!, want);
            });
            sums.add(gotSums[(query + i) * heads + h]!, logSumExpOf(rows, i));
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
  const { heads, members, sequences, queryRows, operands, draw, empty, dispose } = inputs(gpu, form, size);
  const run = runner(gpu, family, form, size);
  const { hidden } = size;
  const { values: outer, tensor: dOut } = draw(queryRows, hidden);
  forward(operands, size);
  const like = ({ rows, cols }: Tensor) => empty(rows, cols);
  const full: GradientOperands =
    'qkv' in operands
      ? { ...operands, dOut, dqkv: like(operands.qkv) }
      : { ...operands, dOut, dq: like(operands.q), dk: like(operands.k), dv: like(operands.v) };
  const outputs = 'dqkv' in full ? [full.dqkv] : [full.dq, full.dk, full.dv];
  const d = form.headDim;
  return {
    outputs,
    run: (variant) => run(full, variant),
    async error() {
      const got = await Promise.all(outputs.map((output) => output.toFloat32()));
      const worst = [new Worst(), new Worst(), new Worst()];
      // Key heads: what all query heads that share one pass on adds up.
      for (const { query, key, head } of sequences)
        for (const keyHead of new Set([0, heads / members - 1])) {
          const sums = [undefined, undefined, undefined] as (Float64Array | undefined)[];
          for (let member = 0; member < members; member++) {
            const h = keyHead * members + member;
            const { dq, dk, dv } = gradientOf(head(h), (i, e) => outer[((query + i) * heads + h) * d + e]!);
            const add = (part: 0 | 1 | 2, values: Float64Array, row: number, ofHead: number, all: number) => {
              values.forEach((value, n) => {
                const at = (row + Math.floor(n / d)) * all + ofHead;
                worst[part]!.add(
                  got.length === 1
                    ? got[0]![((row + Math.floor(n / d)) * 3 + part) * hidden + h * d + (n % d)]!
                    : got[part]![at * d + (n % d)]!,
                  value,
                );
              });
            };
            add(0, dq, query, h, heads);
            for (const [part, values] of [
              [1, dk],
              [2, dv],
            ] as const) {
              const sum = (sums[part] ??= new Float64Array(values.length));
              values.forEach((value, n) => {
                sum[n]! += value;
              });
              if (member === members - 1) add(part, sum, key, keyHead, heads / members);
            }
          }
        }
      return Math.max(...worst.map(({ error }) => error));
    },
    dispose,
  };
}

/**
 * What `bench peers` gives every library to do: the operands, made from a formula that any language can evaluate, the
 * floating-point operations that the result needs, and float64 references of the part that is checked.
 */
import { erf } from '../../src/kernels/pointwise.js';
import { CHARACTER_LOSSES, CHARACTERS, characterFlops } from './characters.js';
import { operand, weightScale } from './operands.js';

export { operand, weightScale };

/** C = A·B of n×n matrices in f32, rows side by side. */
export interface MatmulWorkload {
  readonly kind: 'matmul';
  readonly n: number;
}

/** softmax(Q·Kᵀ/√d)·V for each text and head; Q, K and V are [texts, tokens, heads, headDim]. */
export interface AttentionWorkload {
  readonly kind: 'attention';
  readonly texts: number;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
}

/**
 * One AdamW step on the mean square of gelu(x·W1ᵀ + b1)·W2ᵀ + b2 − target. x and target: [rows, width];
 * W1: [hidden, width]; W2: [width, hidden]. GELU is the exact one; no weight decay.
 */
export interface TrainWorkload {
  readonly kind: 'train';
  readonly rows: number;
  readonly width: number;
  readonly hidden: number;
}

/** One Adam step of the character model (characters.ts). */
export interface CharacterWorkload {
  readonly kind: 'characters';
}

export type Workload = MatmulWorkload | AttentionWorkload | TrainWorkload | CharacterWorkload;

export const ADAM = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8 };

/** Steps of the training workload whose losses are checked before it is timed. */
export const CHECKED_STEPS = 3;

/** Seeds of the operands. */
export const SEEDS = { a: 1, b: 2, q: 3, k: 4, v: 5, x: 6, target: 7, w1: 8, w2: 9 };

export function nameOf(workload: Workload): string {
  if (workload.kind === 'matmul') return `matmul ${workload.n}×${workload.n}×${workload.n}`;
  if (workload.kind === 'attention') {
    const { texts, tokens, heads, headDim } = workload;
    return `attention ${texts}×${tokens} tokens, ${heads} heads of ${headDim}`;
  }
  if (workload.kind === 'characters') {
    const { layers, width, context, batch } = CHARACTERS;
    return `training step of a character model, ${layers} layers, ${width} wide, ${batch}×${context} characters`;
  }
  return `training step, ${workload.rows}×${workload.width}→${workload.hidden}→${workload.width}`;
}

/** Floating-point operations that the result needs: products only. */
export function flopsOf(workload: Workload): number {
  if (workload.kind === 'matmul') return 2 * workload.n ** 3;
  if (workload.kind === 'attention')
    return 4 * workload.texts * workload.heads * workload.tokens ** 2 * workload.headDim;
  if (workload.kind === 'characters') return characterFlops();
  // Two products forward; backward three, for the gradient of x is not needed.
  const { rows, width, hidden } = workload;
  return 5 * 2 * rows * width * hidden;
}

/** Largest error that a right result may have, relative to the largest reference value. */
export const toleranceOf = ({ kind }: Workload): number =>
  kind === 'train' || kind === 'characters' ? 1e-4 : 2e-5;

/** Rows (of a matrix, or tokens of each text) whose values are compared: the first, one in the middle, the last. */
export const probeRows = (rows: number): number[] => [...new Set([0, Math.floor(rows / 2), rows - 1])];

/** The probed rows of a result [groups, rows, width]. */
export function probed(result: Float32Array, groups: number, rows: number, width: number): number[] {
  const values: number[] = [];
  for (let g = 0; g < groups; g++)
    for (const row of probeRows(rows)) {
      const start = (g * rows + row) * width;
      for (let c = 0; c < width; c++) values.push(result[start + c]!);
    }
  return values;
}

// ---- references ----------------------------------------------------------------------------------------------

/** What a right result holds: the probed rows, or the losses of the checked steps. */
export function reference(workload: Workload): number[] {
  if (workload.kind === 'matmul') return matmulReference(workload);
  if (workload.kind === 'characters') return [...CHARACTER_LOSSES];
  return workload.kind === 'attention' ? attentionReference(workload) : trainReference(workload);
}

function matmulReference({ n }: MatmulWorkload): number[] {
  const [a, b] = [operand(SEEDS.a, n * n), operand(SEEDS.b, n * n)];
  return probeRows(n).flatMap((row) => {
    const sums = new Float64Array(n);
    for (let k = 0; k < n; k++) {
      const factor = a[row * n + k]!;
      for (let c = 0; c < n; c++) sums[c]! += factor * b[k * n + c]!;
    }
    return [...sums];
  });
}

function attentionReference({ texts, tokens, heads, headDim }: AttentionWorkload): number[] {
  const width = heads * headDim;
  const count = texts * tokens * width;
  const [q, k, v] = [SEEDS.q, SEEDS.k, SEEDS.v].map((seed) => operand(seed, count)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const values: number[] = [];
  for (let text = 0; text < texts; text++)
    for (const row of probeRows(tokens))
      for (let head = 0; head < heads; head++) {
        const at = (token: number) => (text * tokens + token) * width + head * headDim;
        const logits = Array.from({ length: tokens }, (_, token) => {
          let dot = 0;
          for (let d = 0; d < headDim; d++) dot += q[at(row) + d]! * k[at(token) + d]!;
          return dot / Math.sqrt(headDim);
        });
        const top = Math.max(...logits);
        const weights = logits.map((logit) => Math.exp(logit - top));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let d = 0; d < headDim; d++) {
          let sum = 0;
          for (let token = 0; token < tokens; token++) sum += weights[token]! * v[at(token) + d]!;
          values.push(sum / total);
        }
      }
  return values;
}

/** Losses before each of the checked steps. */
function trainReference({ rows, width, hidden }: TrainWorkload): number[] {
  const x = operand(SEEDS.x, rows * width);
  const target = operand(SEEDS.target, rows * width);
  const weights = [
    Float64Array.from(operand(SEEDS.w1, hidden * width, weightScale(width))),
    new Float64Array(hidden),
    Float64Array.from(operand(SEEDS.w2, width * hidden, weightScale(hidden))),
    new Float64Array(width),
  ] as const;
  const moments = weights.map(({ length }) => [new Float64Array(length), new Float64Array(length)] as const);
  const losses: number[] = [];
  for (let step = 1; step <= CHECKED_STEPS; step++) {
    const [w1, b1, w2, b2] = weights;
    const gradients = weights.map(({ length }) => new Float64Array(length));
    const [dw1, db1, dw2, db2] = gradients as [Float64Array, Float64Array, Float64Array, Float64Array];
    let loss = 0;
    for (let r = 0; r < rows; r++) {
      const input = Float64Array.from(x.subarray(r * width, (r + 1) * width));
      const before = w1Product(w1, b1, input, hidden, width);
      const normal = before.map((value) => 0.5 * (1 + erf(value / Math.SQRT2)));
      const h = before.map((value, j) => value * normal[j]!);
      const dh = new Float64Array(hidden);
      for (let c = 0; c < width; c++) {
        let y = b2[c]!;
        for (let j = 0; j < hidden; j++) y += h[j]! * w2[c * hidden + j]!;
        const difference = y - target[r * width + c]!;
        loss += difference ** 2 / (rows * width);
        const dy = (2 * difference) / (rows * width);
        db2[c]! += dy;
        for (let j = 0; j < hidden; j++) {
          dh[j]! += dy * w2[c * hidden + j]!;
          dw2[c * hidden + j]! += dy * h[j]!;
        }
      }
      for (let j = 0; j < hidden; j++) {
        const density = Math.exp(-0.5 * before[j]! ** 2) / Math.sqrt(2 * Math.PI);
        const d = dh[j]! * (normal[j]! + before[j]! * density);
        db1[j]! += d;
        for (let i = 0; i < width; i++) dw1[j * width + i]! += d * input[i]!;
      }
    }
    losses.push(loss);
    for (const [p, weight] of weights.entries()) {
      const [m, v] = moments[p]!;
      adam(weight, gradients[p]!, m, v, step);
    }
  }
  return losses;
}

function w1Product(w1: Float64Array, b1: Float64Array, input: Float64Array, hidden: number, width: number) {
  const out = Float64Array.from(b1);
  for (let j = 0; j < hidden; j++) {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += input[i]! * w1[j * width + i]!;
    out[j]! += sum;
  }
  return out;
}

/** Kingma & Ba 2015, algorithm 1. */
function adam(weight: Float64Array, gradient: Float64Array, m: Float64Array, v: Float64Array, step: number) {
  const { learningRate, beta1, beta2, eps } = ADAM;
  for (let i = 0; i < weight.length; i++) {
    m[i] = beta1 * m[i]! + (1 - beta1) * gradient[i]!;
    v[i] = beta2 * v[i]! + (1 - beta2) * gradient[i]! ** 2;
    const [mean, square] = [m[i]! / (1 - beta1 ** step), v[i]! / (1 - beta2 ** step)];
    weight[i]! -= (learningRate * mean) / (Math.sqrt(square) + eps);
  }
}

/** The largest error relative to the largest reference value; Infinity where something is no number or missing. */
export function errorOf(got: readonly number[], want: readonly number[]): number {
  if (got.length !== want.length) return Infinity;
  let [error, top] = [0, 1e-30];
  for (const [i, value] of want.entries()) {
    const difference = Math.abs(got[i]! - value);
    if (!Number.isFinite(difference)) return Infinity;
    error = Math.max(error, difference);
    top = Math.max(top, Math.abs(value));
  }
  return error / top;
}

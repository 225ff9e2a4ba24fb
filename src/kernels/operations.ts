/**
 * Records of operations that are computed in one way: losses, rows of tables. They are measured and
 * checked like families of several variants; whoever writes a second way moves the operation to a family of its own.
 */
import { MachineError } from '../errors.js';
import type { Capabilities } from '../gpu/capabilities.js';
import { Gpu, type ShaderSource } from '../gpu/gpu.js';
import { Tensor } from '../tensor/tensor.js';
import { gatherRows, segmentSumRows } from './rows.js';
import { crossEntropyRows, crossEntropyRowsGradient } from './softmax.js';
import { Draws, type Expected, probedRows, trialOf } from './trials.js';
import type { Case, Cost, Family, Trial } from './variants.js';

interface Form {
  readonly dtype: 'f32';
}

interface Size {
  readonly rows: number;
  readonly cols: number;
}

type OperationFamily = Family<Form, Size, () => void>;

/** What a trial of an operation holds. */
interface Made {
  /** Computes results of the shapes of `results`; the same tensors where the operation writes into what it is given. */
  compute(): readonly Tensor[];
  readonly results: readonly Tensor[];
  /** What the results must be, of which the output is filled in. */
  readonly parts: readonly Expected['parts'][];
}

interface Operation {
  readonly name: string;
  readonly summary: string;
  /** Rows and columns to time, besides small ones to check. */
  readonly sizes: readonly (readonly [rows: number, cols: number])[];
  cost(size: Size): Cost;
  readonly tolerance: number;
  make(gpu: Gpu, draws: Draws, size: Size): Made;
}

const FORM: Form = { dtype: 'f32' };

const caseOf = (use: Case<Form, Size>['use'], rows: number, cols: number): Case<Form, Size> => ({
  name: `${rows}×${cols} f32`,
  form: FORM,
  size: { rows, cols },
  use,
});

/** A trial whose results the operation allocates: each run gives the last results back first, so it gets their memory. */
function operationTrial(gpu: Gpu, { make }: Operation, size: Size): Trial {
  const draws = new Draws(gpu, 1);
  const { compute, results, parts } = make(gpu, draws, size);
  let outputs = results.map((tensor) => tensor.keep());
  /** A result whose memory is not that which was poisoned says nothing about what was written. */
  let elsewhere = false;
  return {
    get outputs() {
      return outputs;
    },
    run() {
      const before = new Set(outputs.map((tensor) => tensor.binding().entry));
      const inPlace = new Set(outputs);
      // Those that a run writes into stay; the others are allocated by the run.
      for (const tensor of outputs) if (!draws.tensors.includes(tensor)) tensor.dispose();
      outputs = compute().map((tensor) => (inPlace.has(tensor) ? tensor : tensor.keep()));
      elsewhere = outputs.some((tensor) => !before.has(tensor.binding().entry));
    },
    async error() {
      if (elsewhere) throw new MachineError('the result of a run lies in other memory than the one before');
      const expected = outputs.map((output, i) => ({ output, parts: parts[i]! }));
      return trialOf(draws, expected, () => {}).error();
    },
    dispose() {
      for (const tensor of outputs) if (!draws.tensors.includes(tensor)) tensor.dispose();
      for (const tensor of draws.tensors) tensor.dispose();
    },
  };
}

function familyOf(operation: Operation): OperationFamily {
  const { name, summary, sizes, cost, tolerance } = operation;
  const checked = caseOf('check', 5, 12);
  return {
    name,
    summary,
    variants: [
      {
        name: 'only',
        why: 'the one way there is',
        supports: () => true,
        prior: () => 0,
        shaders: (facts) => sourcesOf(facts, operation, checked.size),
        run: (_, __, ___, compute) => compute(),
      },
    ],
    sizeClass: () => 'any',
    cases: [checked, caseOf('check', 33, 260), ...sizes.map(([rows, cols]) => caseOf('bench', rows, cols))],
    sizes: {
      spelled: 'RxC',
      read: ([rows, cols, ...more]) =>
        rows && cols && cols % 4 === 0 && more.length === 0 ? caseOf('bench', rows, cols) : undefined,
    },
    cost: (_, size) => cost(size),
    tolerance: () => tolerance,
    trial: (gpu, _, size) => operationTrial(gpu, operation, size),
  };
}

/** The shaders that the operation dispatches, by label: found by running it on a device that computes nothing. */
function sourcesOf(
  capabilities: Capabilities,
  operation: Operation,
  size: Size,
): Record<string, { source: ShaderSource }> {
  const gpu = Gpu.plan({ capabilities });
  const sources: Record<string, { source: ShaderSource }> = {};
  const dispatch = gpu.dispatch.bind(gpu);
  gpu.dispatch = (shader, ...rest) => {
    sources[shader.label] = { source: shader };
    dispatch(shader, ...rest);
  };
  const trial = operationTrial(gpu, operation, size);
  trial.run();
  trial.dispose();
  return sources;
}

// ---- softmax and losses ----------------------------------------------------------------------------------------

const row = (values: Float32Array, cols: number, r: number) => values.subarray(r * cols, (r + 1) * cols);

function softmaxOf(x: ArrayLike<number>): Float64Array {
  const top = Math.max(...Array.from(x));
  const powers = Float64Array.from(x, (v) => Math.exp(v - top));
  const total = powers.reduce((sum, v) => sum + v, 0);
  return powers.map((v) => v / total);
}

/** Scores of a batch against its passages, as losses see them, and wide rows. */
const SCORES = [
  [64, 512],
  [1024, 4096],
] as const;

/** Rows of a result of [rows, cols], each made by `of`. */
const rowParts =
  ({ rows, cols }: Size, of: (r: number) => ArrayLike<number>): Expected['parts'] =>
  () =>
    probedRows(rows).map((r) => ({ start: r * cols, values: of(r) }));

const IGNORED = -100;

const crossEntropyOperation: Operation = {
  name: 'crossEntropy',
  summary: 'cross-entropy of each row with its target',
  sizes: SCORES,
  cost: ({ rows, cols }) => ({ flops: 3 * rows * cols, bytes: 4 * rows * (cols + 3) }),
  tolerance: 1e-5,
  make(gpu, draws, { rows, cols }) {
    const x = draws.floats([rows, cols], 'f32', 0, 8);
    const targets = draws.indices(rows, cols);
    const loss = (r: number) => -Math.log(softmaxOf(row(x.values, cols, r))[targets.values[r]!]!);
    return {
      compute() {
        const { loss, counted } = crossEntropyRows(x.tensor, {
          targets: targets.tensor,
          ignoreIndex: IGNORED,
        });
        return [loss, counted];
      },
      results: [Tensor.empty(gpu, [rows]), Tensor.empty(gpu, [rows])],
      parts: [
        () => probedRows(rows).map((r) => ({ start: r, values: [loss(r)] })),
        () => [{ start: 0, values: new Float64Array(rows).fill(1) }],
      ],
    };
  },
};

const crossEntropyGradientOperation: Operation = {
  name: 'crossEntropyGradient',
  summary: 'gradient of cross-entropy towards the scores',
  sizes: SCORES,
  cost: ({ rows, cols }) => ({ flops: 5 * rows * cols, bytes: 8 * rows * (cols + 1) }),
  tolerance: 1e-5,
  make(gpu, draws, size) {
    const { rows, cols } = size;
    const x = draws.floats([rows, cols], 'f32', 0, 8);
    const targets = draws.indices(rows, cols);
    const dLoss = draws.floats([rows], 'f32', 1);
    const to = { targets: targets.tensor, ignoreIndex: IGNORED };
    return {
      compute: () => [crossEntropyRowsGradient(x.tensor, to, dLoss.tensor)],
      results: [Tensor.empty(gpu, [rows, cols])],
      parts: [
        rowParts(size, (r) =>
          softmaxOf(row(x.values, cols, r)).map(
            (p, c) => dLoss.values[r]! * (p - (c === targets.values[r] ? 1 : 0)),
          ),
        ),
      ],
    };
  },
};

// ---- rows of tables --------------------------------------------------------------------------------------------

/** Tokens by the width of the two models. */
const TOKENS = [
  [1728, 384],
  [4096, 1024],
] as const;
/** Rows of the table that they name. */
const VOCABULARY = 8192;

const gatherOperation: Operation = {
  name: 'gatherRows',
  summary: `rows of a table of ${VOCABULARY}, by index`,
  sizes: TOKENS,
  cost: ({ rows, cols }) => ({ flops: 0, bytes: rows * (8 * cols + 4) }),
  tolerance: 0,
  make(gpu, draws, size) {
    const { rows, cols } = size;
    const table = draws.floats([VOCABULARY, cols]);
    const index = draws.indices(rows, VOCABULARY);
    return {
      compute: () => [gatherRows(table.tensor, index.tensor)],
      results: [Tensor.empty(gpu, [rows, cols])],
      parts: [rowParts(size, (r) => row(table.values, cols, index.values[r]!))],
    };
  },
};

const gatherGradientOperation: Operation = {
  name: 'gatherRowsGradient',
  summary: 'rows of the same index added up, four of them each on average',
  sizes: TOKENS,
  cost: ({ rows, cols }) => ({ flops: rows * cols, bytes: rows * 4 * cols * 1.25 }),
  tolerance: 1e-6,
  make(gpu, draws, { rows, cols }) {
    const x = draws.floats([rows, cols]);
    // Every target has a row at least, so that all of the result is written.
    const targets = Math.max(1, Math.floor(rows / 4));
    const { values: drawn } = draws.indices(rows, targets);
    const target = Array.from(drawn, (t, i) => (i < targets ? i : t));
    const order = Uint32Array.from(target.keys()).sort((a, b) => target[a]! - target[b]! || a - b);
    const starts = new Uint32Array(targets + 1);
    for (const t of target) starts[t + 1]!++;
    for (let t = 0; t < targets; t++) starts[t + 1]! += starts[t]!;
    const u32 = (values: Uint32Array) => draws.kept(Tensor.from(gpu, values, [values.length], 'u32'));
    const segments = {
      order: u32(order),
      starts: u32(starts),
      rows: u32(Uint32Array.from({ length: targets }, (_, t) => t)),
    };
    const out = draws.empty([targets, cols]);
    return {
      compute() {
        segmentSumRows(x.tensor, segments, out, false);
        return [out];
      },
      results: [out],
      parts: [
        rowParts({ rows: targets, cols }, (t) => {
          const sum = new Float64Array(cols);
          for (let k = starts[t]!; k < starts[t + 1]!; k++)
            row(x.values, cols, order[k]!).forEach((v, c) => {
              sum[c]! += v;
            });
          return sum;
        }),
      ],
    };
  },
};

export const operationFamilies: readonly OperationFamily[] = [
  crossEntropyOperation,
  crossEntropyGradientOperation,
  gatherOperation,
  gatherGradientOperation,
].map(familyOf);

/**
 * Lexical scores by id matching (docs/spec/flagembedding-m3.md §3.2): score(q,p) = Σ over shared ids of the two
 * weights. The host lists the matches, so no vocabulary-sized tensor exists and both directions are plain gathers.
 */
import { f32, requireBeside, signature, u32, wholeNumber } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { byRows, flat, type Operand, partsOf } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';
import { Draws, trialOf } from './trials.js';
import { type Case, type Family, runVariant, type Variant, variantOf } from './variants.js';

/** Matches listed twice: by pair of texts for the scores, by weight for the gradient. All u32. */
export interface SparseMatches {
  /** Shape of the score matrix. */
  readonly shape: readonly [number, number];
  /** [pairs+1]: bounds of each pair's matches. */
  readonly pairStarts: Tensor;
  /** [matches, 2]: the two weights' indices. */
  readonly pairMatches: Tensor;
  /** [weights+1]: bounds of each weight's matches. */
  readonly weightStarts: Tensor;
  /** [2·matches, 2]: the pair, and the other weight's index. */
  readonly weightMatches: Tensor;
}

interface SparseForm {
  readonly part: 'value' | 'gradient';
}

interface SparseSize {
  /** Scores, or for the gradient weights. */
  readonly sums: number;
  /** Products that are added up. */
  readonly matches: number;
}

interface SparseOperands {
  /** The weights, or for the gradient that of the scores. */
  readonly first: Tensor;
  readonly weights: Tensor;
  /** [sums+1]: bounds of each sum's matches. */
  readonly starts: Tensor;
  /** [matches, 2]: indices in `first` and in the weights. */
  readonly matches: Tensor;
  readonly out: Tensor;
}

const labelOf = ({ part }: SparseForm): string =>
  part === 'value' ? 'sparseScores' : 'sparseScoresGradient';

const matchesShader = (own: SparseForm) =>
  shaderOf('sumMatches', own, (form) => ({
    label: labelOf(form),
    params: {
      count: 'u32',
      firstA: 'u32',
      endA: 'u32',
      firstB: 'u32',
      endB: 'u32',
      firstK: 'u32',
      endK: 'u32',
      fresh: 'u32',
    } as const,
    buffers: {
      A: 'array<f32>',
      B: 'array<f32>',
      starts: 'array<u32>',
      matches: 'array<vec2u>',
      ioY: 'array<f32>',
    },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  var sum = 0.0;
  if (p.fresh == 0u) { sum = ioY[i]; }
  for (var k = max(starts[i], p.firstK); k < min(starts[i + 1u], p.endK); k++) {
    let m = matches[k - p.firstK];
    if (m.x >= p.firstA && m.x < p.endA && m.y >= p.firstB && m.y < p.endB) {
      sum += A[m.x - p.firstA] * B[m.y - p.firstB];
    }
  }
  ioY[i] = sum;
}`,
  }));

/** out[i] = Σ of first[m₀]·weights[m₁] over the matches m of i, in their order where both fit a binding. */
const threads: Variant<SparseForm, SparseSize, SparseOperands> = {
  name: 'threads',
  why: 'a thread a sum, which has few matches',
  supports: () => true,
  prior: () => 0,
  shaders: (_, form) => ({ sums: matchesShader(form) }),
  run(gpu, form, _, { first: a, weights: b, starts, matches, out }) {
    const shader = matchesShader(form);
    const parts = (operand: Operand) => partsOf(labelOf(form), gpu, operand);
    for (const listed of parts(byRows(matches)))
      for (const first of parts(flat(a)))
        for (const second of parts(flat(b)))
          shader.launch(
            gpu,
            {
              A: first.operand,
              B: second.operand,
              starts: flat(starts, { beyond: 1 }),
              matches: listed.operand,
              ioY: flat(out),
            },
            ({ count }) => ({
              count,
              firstA: first.start,
              endA: first.start + first.count,
              firstB: second.start,
              endB: second.start + second.count,
              firstK: listed.start,
              endK: listed.start + listed.count,
              fresh: listed.first && first.first && second.first ? 1 : 0,
            }),
            ({ count }) => flatGroups(count),
          );
  },
};

const formName = ({ part }: SparseForm): string => (part === 'value' ? 'f32' : 'gradient f32');

const caseOf = (
  form: SparseForm,
  [sums, matches]: readonly [number, number],
  use: 'check' | 'bench',
): Case<SparseForm, SparseSize> => ({
  name: `${sums} of ${matches} ${formName(form)}`,
  form,
  size: { sums, matches },
  use,
});

export const sparseFamily: Family<SparseForm, SparseSize, SparseOperands> = {
  name: 'sparseScores',
  summary: 'lexical scores by the ids that two texts share, and their gradient',
  variants: [threads],
  formName,
  sizeClass: () => 'any',
  cases: (['value', 'gradient'] as const).flatMap((part) => [
    caseOf({ part }, [7, 30], 'check'),
    caseOf({ part }, [300, 41], 'check'),
    // 32 queries with 256 passages that share some words each.
    caseOf({ part }, [8192, 40_000], 'bench'),
  ]),
  cost: (_, { sums, matches }) => ({ flops: 2 * matches, bytes: 16 * matches + 8 * sums }),
  tolerance: () => 1e-6,
  trial(gpu, form, size) {
    const { sums, matches } = size;
    const draws = new Draws(gpu, sums + matches);
    const [first, weights] = [draws.floats([1000]), draws.floats([1000])];
    const pairs = draws.indices(2 * matches, 1000);
    const bounds = Uint32Array.from({ length: sums + 1 }, (_, i) => Math.floor(matches * (i / sums) ** 1.5));
    const out = draws.empty([sums]);
    const operands = {
      first: first.tensor,
      weights: weights.tensor,
      starts: draws.kept(Tensor.from(gpu, bounds, [sums + 1], 'u32')),
      matches: draws.kept(Tensor.from(gpu, pairs.values, [matches, 2], 'u32')),
      out,
    };
    const right = (i: number) => {
      let sum = 0;
      for (let k = bounds[i]!; k < bounds[i + 1]!; k++)
        sum += first.values[pairs.values[2 * k]!]! * weights.values[pairs.values[2 * k + 1]!]!;
      return sum;
    };
    const parts = () => [{ start: 0, values: Float64Array.from({ length: sums }, (_, i) => right(i)) }];
    return trialOf(draws, [{ output: out, parts }], (name) =>
      variantOf(gpu, sparseFamily, form, size, name).run(gpu, form, size, operands),
    );
  },
};

function run(form: SparseForm, operands: SparseOperands): void {
  const size = { sums: operands.out.size, matches: operands.matches.rows };
  runVariant(operands.out.gpu, sparseFamily, form, size, operands);
}

const SPARSE_SCORES = signature(
  'sparseScores',
  {
    weights: f32('groups'),
    pairStarts: u32('queries*columns+1'),
    pairMatches: u32('m', 2),
    weightStarts: u32('groups+1'),
    weightMatches: u32('2*m', 2),
  },
  { numbers: { queries: wholeNumber(), columns: wholeNumber() } },
);

/** weights: [groups]. Returns scores of `matches.shape`. */
export function sparseScores(weights: Tensor, matches: SparseMatches): Tensor {
  requireBeside('sparseScores', 'matches', 'one of sparseMatches', matches, 'pairStarts', 'shape');
  const { pairStarts, pairMatches, weightStarts, weightMatches } = matches;
  const [queries, columns] = matches.shape;
  SPARSE_SCORES.check(
    { weights, pairStarts, pairMatches, weightStarts, weightMatches },
    { queries, columns },
  );
  const out = Tensor.empty(weights.gpu, matches.shape);
  run({ part: 'value' }, { first: weights, weights, starts: pairStarts, matches: pairMatches, out });
  return out;
}

export function sparseScoresGradient(weights: Tensor, matches: SparseMatches, dScores: Tensor): Tensor {
  const out = Tensor.empty(weights.gpu, weights.shape);
  const { weightStarts: starts, weightMatches } = matches;
  run({ part: 'gradient' }, { first: dScores, weights, starts, matches: weightMatches, out });
  return out;
}

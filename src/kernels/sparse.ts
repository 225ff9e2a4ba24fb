/**
 * Lexical scores by id matching (docs/spec/flagembedding-m3.md §3.2): score(q,p) = Σ over shared ids of the two
 * weights. The host lists the matches, so no vocabulary-sized tensor exists and both directions are plain gathers.
 */
import { f32, requireBeside, signature, u32, wholeNumber } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from './launch/grid.js';
import { byRows, flat, type Operand, partsOf } from './launch/operands.js';
import { shaderOf } from './launch/shader.js';

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
  const scores = Tensor.empty(weights.gpu, matches.shape);
  sumMatches('sparseScores', weights, weights, pairStarts, pairMatches, scores);
  return scores;
}

export function sparseScoresGradient(weights: Tensor, matches: SparseMatches, dScores: Tensor): Tensor {
  const dWeights = Tensor.empty(weights.gpu, weights.shape);
  sumMatches('sparseScoresGradient', dScores, weights, matches.weightStarts, matches.weightMatches, dWeights);
  return dWeights;
}

/** out[i] = Σ of a[m₀]·b[m₁] over the matches m of i, [starts[i], starts[i+1]), in their order where b and a fit a binding. */
function sumMatches(label: string, a: Tensor, b: Tensor, starts: Tensor, matches: Tensor, out: Tensor): void {
  const { gpu } = out;
  const shader = shaderOf('sumMatches', { label }, (form) => ({
    label: form.label,
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
  const parts = (operand: Operand) => partsOf(label, gpu, operand);
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
}

/**
 * Lexical scores by id matching (spec flagembedding-m3 §3.2): score(q,p) = Σ over shared ids of the two weights.
 * The host lists the matches, so no vocabulary-sized tensor exists and both directions are plain gathers.
 */
import { f32, requireBeside, signature, u32, wholeNumber } from '../tensor/operands.js';
import { Tensor } from '../tensor/tensor.js';
import { FLAT_MAIN, flatGrid, shaderOf } from './launch.js';

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

const PARAMS = { count: 'u32' } as const;

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
  shaderOf('sparseScores', () => ({
    label: 'sparseScores',
    params: PARAMS,
    buffers: { W: 'array<f32>', starts: 'array<u32>', matches: 'array<vec2u>', outS: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  var sum = 0.0;
  for (var k = starts[i]; k < starts[i + 1u]; k++) { let m = matches[k]; sum += W[m.x] * W[m.y]; }
  outS[i] = sum;
}`,
  })).run(
    weights.gpu,
    [weights, matches.pairStarts, matches.pairMatches, scores],
    { count: scores.size },
    flatGrid(scores.size),
  );
  return scores;
}

export function sparseScoresGradient(weights: Tensor, matches: SparseMatches, dScores: Tensor): Tensor {
  const dWeights = Tensor.empty(weights.gpu, weights.shape);
  shaderOf('sparseScoresGradient', () => ({
    label: 'sparseScoresGradient',
    params: PARAMS,
    buffers: {
      W: 'array<f32>',
      DS: 'array<f32>',
      starts: 'array<u32>',
      matches: 'array<vec2u>',
      outW: 'array<f32>',
    },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  var sum = 0.0;
  for (var k = starts[i]; k < starts[i + 1u]; k++) { let m = matches[k]; sum += DS[m.x] * W[m.y]; }
  outW[i] = sum;
}`,
  })).run(
    weights.gpu,
    [weights, dScores, matches.weightStarts, matches.weightMatches, dWeights],
    { count: weights.size },
    flatGrid(weights.size),
  );
  return dWeights;
}

/** Scores between texts: ColBERT late interaction and lexical matching. */
import type { MaxSimLayout } from '../../kernels/maxsim/layout.js';
import { maxSimGradient, maxSim as maxSimKernel } from '../../kernels/maxsim/maxsim.js';
import {
  type SparseMatches,
  sparseScoresGradient,
  sparseScores as sparseScoresKernel,
} from '../../kernels/sparse.js';
import { scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

/** 1/n_q Σ_i max_j q_i·p_j for the pairs of `layout`. vectors: [T,C]; returns [queries, columns]. */
export function maxSim(vectors: Tensor, layout: MaxSimLayout): Tensor {
  return scope(() => {
    const { scores, positions } = maxSimKernel(vectors, layout);
    return record('maxSim', scores, positions ? [vectors, positions] : [vectors], [
      [
        vectors,
        (dScores, sink) => {
          const into = sink?.into;
          const dVectors = maxSimGradient(vectors, positions, layout, dScores, into);
          return into ? undefined : dVectors;
        },
      ],
    ]);
  });
}

/** Σ over shared ids of the two weights, for the pairs of `matches`. weights: [groups]. */
export function sparseScores(weights: Tensor, matches: SparseMatches): Tensor {
  return record(
    'sparseScores',
    sparseScoresKernel(weights, matches),
    [weights],
    [[weights, (dScores) => sparseScoresGradient(weights, matches, dScores)]],
  );
}

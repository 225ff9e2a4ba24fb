/** What scores are as a teacher: how the three are weighted, how sharp their softmax is, how numbers are written. */
import type { Representation } from '../encode/encoded.js';

export const scoreModes = ['dense', 'sparse', 'colbert', 'hybrid'] as const;
/** By what a teacher scores: one of M3's heads, or all of them. */
export type ScoreMode = (typeof scoreModes)[number];

/** Of the dense, the lexical and the ColBERT score. */
export type ScoreWeights = readonly [dense: number, sparse: number, colbert: number];

/** Of the ensemble that teaches in self-distillation (docs/spec/flagembedding-m3.md §3.4). */
export const ENSEMBLE_WEIGHTS: ScoreWeights = [1, 0.3, 1];

const NAMES = ['dense', 'sparse', 'colbert'] as const;

/** What a mode needs: of hybrid scores those that have a weight. */
export function neededScores(mode: ScoreMode, weights: ScoreWeights): Set<Representation> {
  return new Set(mode === 'hybrid' ? NAMES.filter((_, i) => weights[i] !== 0) : [mode]);
}

/**
 * [pairs]: the scores of a mode; hybrid: w₀·dense + w₁·sparse + w₂·ColBERT, and with `mean` that divided by w₀ + w₁ + w₂, as
 * FlagEmbedding's `compute_score` has it. scores: [pairs] each, those that `neededScores` names.
 */
export function combinedScores(
  scores: Readonly<Partial<Record<Representation, Float32Array | undefined>>>,
  mode: ScoreMode,
  weights: ScoreWeights,
  mean: boolean,
): Float32Array {
  if (mode !== 'hybrid') return scores[mode]!;
  const parts = NAMES.flatMap((name, i) =>
    weights[i] === 0 ? [] : [{ values: scores[name]!, weight: weights[i]! }],
  );
  const divisor = mean ? weights.reduce((sum, weight) => sum + weight, 0) : 1;
  return Float32Array.from(parts[0]!.values, (_, pair) => {
    let sum = 0;
    for (const { values, weight } of parts) sum += weight * values[pair]!;
    return sum / divisor;
  });
}

/** Of the softmax over a row's candidates, in nats: 0 where one of them has everything, ln(candidates) where all are equal. */
export function teacherEntropy(scores: readonly number[]): number {
  const largest = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
  let [sum, weighted] = [0, 0];
  for (const score of scores) {
    const weight = Math.exp(score - largest);
    sum += weight;
    // 0·(−∞) of a score that is out of reach.
    if (weight > 0) weighted += weight * (score - largest);
  }
  return Math.log(sum) - weighted / sum;
}

/** A list of numbers in JSON, none of which reads as an integer: PyTorch has no softmax of those. */
export function jsonFloats(values: readonly number[]): string {
  const written = values.map((value) => {
    const word = JSON.stringify(value);
    return /^-?\d+$/.test(word) ? `${word}.0` : word;
  });
  return `[${written.join(', ')}]`;
}

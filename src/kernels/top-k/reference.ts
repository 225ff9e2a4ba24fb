/** What the running top-k must find, on the host: all entries sorted. */

/** Positions of the k best of `scores`: highest score first, of equal ones the lower position first; zeros are equal. */
export function bestPositions(scores: ArrayLike<number>, k: number): number[] {
  const order = Array.from({ length: scores.length }, (_, i) => i);
  order.sort((a, b) => (scores[a]! === scores[b]! ? a - b : scores[a]! > scores[b]! ? -1 : 1));
  return order.slice(0, k);
}

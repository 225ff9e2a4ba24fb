/** Float64 reference of ColBERT's score. */

/** Float64 reference of one pair: q, p row-major [n,C] without CLS rows. */
export function maxSimReference(
  q: ArrayLike<number>,
  p: ArrayLike<number>,
  cols: number,
  floor: boolean,
): number {
  let sum = 0;
  const nq = q.length / cols;
  for (let i = 0; i < nq; i++) {
    let best = floor ? 0 : -Infinity;
    for (let j = 0; j < p.length / cols; j++) {
      let dot = 0;
      for (let c = 0; c < cols; c++) dot += q[i * cols + c]! * p[j * cols + c]!;
      if (dot > best) best = dot;
    }
    sum += best;
  }
  return sum / Math.max(1, nq);
}

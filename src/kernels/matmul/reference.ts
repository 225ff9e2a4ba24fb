/** The matrix product in float64. */
import type { MatmulSize } from './form.js';

export function matmulReference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { M, N, K, transA = false, transB = false }: MatmulSize & { transA?: boolean; transB?: boolean },
  bias?: ArrayLike<number>,
): Float64Array {
  const c = new Float64Array(M * N);
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++)
      c[m * N + n] = matmulElement(a, b, { M, N, K, transA, transB }, m, n) + (bias ? bias[n]! : 0);
  return c;
}

/** Element [m,n] of the product. */
export function matmulElement(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { M, N, K, transA = false, transB = false }: MatmulSize & { transA?: boolean; transB?: boolean },
  m: number,
  n: number,
): number {
  let sum = 0;
  for (let k = 0; k < K; k++) sum += a[transA ? k * M + m : m * K + k]! * b[transB ? n * K + k : k * N + n]!;
  return sum;
}

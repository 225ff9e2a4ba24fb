/** Of the table of ops: normalisation. */
import * as ops from '../../src/autograd/index.js';
import { layerNormReference } from '../../src/kernels/layer-norm/layer-norm.js';
import type { OpCase } from './case.js';

export const layerNormCases: OpCase[] = [
  [3, 7],
  [9, 32],
  [70, 20],
].flatMap(([rows, cols]) => [
  {
    name: `layerNorm ${rows}×${cols}`,
    inputs: [[rows!, cols!], [cols!], [cols!]],
    large: [[rows! + 400, 6 * cols!], [6 * cols!], [6 * cols!]],
    binding: 65536,
    adds: 'gradients',
    halves: cols! % 4 === 0 ? [0] : undefined,
    run: (_, [x, g, b]) => ops.layerNorm(x!, g!, b!, 1e-5),
    reference: ([x, g, b]) => layerNormReference(x!, g!, b!, cols!, 1e-5),
  } satisfies OpCase,
  {
    name: `layerNorm with residual ${rows}×${cols}`,
    inputs: [[rows!, cols!], [cols!], [cols!], [rows!, cols!]],
    large: [[rows! + 400, 6 * cols!], [6 * cols!], [6 * cols!], [rows! + 400, 6 * cols!]],
    binding: 65536,
    adds: 'gradients',
    halves: cols! % 4 === 0 ? [0, 3] : undefined,
    run: (_, [x, g, b, r]) => ops.layerNorm(x!, g!, b!, 1e-5, r),
    reference: ([x, g, b, r]) =>
      layerNormReference(
        x!.map((v, i) => v + r![i]!),
        g!,
        b!,
        cols!,
        1e-5,
      ),
  } satisfies OpCase,
]);

/** Of the table of ops: normalisation. */
import * as ops from '../../src/autograd/index.js';
import { layerNormReference } from '../../src/kernels/layer-norm/layer-norm.js';
import { type OpCase, rowsOf } from './case.js';

const rmsNormCases = [
  [3, 7],
  [9, 32],
].map(
  ([rows, cols]): OpCase => ({
    name: `rmsNorm ${rows}×${cols}`,
    inputs: [[rows!, cols!], [cols!]],
    large: [[rows! + 400, 6 * cols!], [6 * cols!]],
    binding: 65536,
    adds: 'gradients',
    halves: [0],
    run: (_, [x, g]) => ops.rmsNorm(x!, g!, 1e-5),
    reference: ([x, g]) =>
      Float64Array.from(
        rowsOf(x!, cols!).flatMap((row) => {
          const rstd = 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / cols! + 1e-5);
          return row.map((v, c) => v * rstd * g![c]!);
        }),
      ),
  }),
);

const layerNormCases: OpCase[] = [
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
    halves: [0],
    run: (_, [x, g, b]) => ops.layerNorm(x!, g!, b!, 1e-5),
    reference: ([x, g, b]) => layerNormReference(x!, g!, b!, cols!, 1e-5),
  } satisfies OpCase,
  {
    name: `layerNorm with residual ${rows}×${cols}`,
    inputs: [[rows!, cols!], [cols!], [cols!], [rows!, cols!]],
    large: [[rows! + 400, 6 * cols!], [6 * cols!], [6 * cols!], [rows! + 400, 6 * cols!]],
    binding: 65536,
    adds: 'gradients',
    halves: [0, 3],
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

export const normCases: OpCase[] = [...layerNormCases, ...rmsNormCases];

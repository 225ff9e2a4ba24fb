/** Rows that are put into a table where an index says; adding to them is the gradient of a gather (gather.ts). */
import { f32, signature, u32 } from '../../tensor/operands.js';
import type { Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { byRows, flat, partsOf } from '../launch/operands.js';
import { shaderOf } from '../launch/shader.js';

const SCATTER_ROWS = signature('scatterRows', {
  table: f32('V', 'C'),
  index: u32('n'),
  values: f32('n', 'C'),
});

/** table[index[i]] = values[i]. table: [V,C], of any size; index: [n] u32, distinct and below V (the caller checks); values: [n,C]. */
export function scatterRows(table: Tensor, index: Tensor, values: Tensor): void {
  SCATTER_ROWS.check({ table, index, values });
  const { gpu, cols } = table;
  if (index.size === 0) return;
  const form = { vec: cols % 4 === 0 };
  const width = form.vec ? cols / 4 : cols;
  for (const part of partsOf('scatterRows', gpu, byRows(table)))
    shaderOf('scatterRows', form, ({ vec }) => {
      const type = vec ? 'vec4f' : 'f32';
      return {
        label: 'scatterRows',
        params: { count: 'u32', width: 'u32', first: 'u32', end: 'u32' } as const,
        buffers: { ioTable: `array<${type}>`, index: 'array<u32>', X: `array<${type}>` },
        body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let row = index[i / p.width];
  if (row < p.first || row >= p.end) { return; }
  ioTable[(row - p.first) * p.width + i % p.width] = X[i];
}`,
      };
    }).launch(
      gpu,
      { ioTable: part.operand, index: flat(index), X: byRows(values) },
      ({ count }) => ({ count: count * width, width, first: part.start, end: part.start + part.count }),
      ({ count }) => flatGroups(count * width),
      ({ count }) => ({ bytes: 8 * count * cols }),
    );
}

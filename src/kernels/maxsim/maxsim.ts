/**
 * ColBERT late interaction (Khattab & Zaharia 2020): score(q,p) = 1/n_q Σ_i max_j q_i·p_j, over packed token
 * vectors. Tiled: only the maximum and its position per (query token, passage) are kept, never the similarity
 * tensor. The first token of each text (CLS) takes no part.
 *
 * Even those grow with query tokens × passages, so large batches are worked on in blocks of whole queries. One
 * block keeps its positions for the gradient; of several, the gradient finds them again block by block. Where one
 * binding cannot see all vectors, a block meets the passages part by part.
 *
 * Forward is a matmul tile whose columns are one passage's tokens, folded into a running maximum: a family, below, whose
 * variants are in files of their own. The gradient is in `gradient.ts`.
 */
import { f32, optional, requireBeside, signature, u32, wholeNumber } from '../../tensor/operands.js';
import { Tensor } from '../../tensor/tensor.js';
import { FLAT_MAIN, flatGroups } from '../launch/grid.js';
import { whole, windowed } from '../launch/operands.js';
import { threadSum } from '../launch/rows.js';
import { shaderOf } from '../launch/shader.js';
import { type Family, runVariant } from '../variants.js';
import { cases, cost, sizeClass, trial } from './cases.js';
import { subgroup8 } from './emit-subgroup8.js';
import { workgroup } from './emit-workgroup.js';
import type { MaxSimForm, MaxSimSize, WinnersOperands } from './form.js';
import { addBlockGradient } from './gradient.js';
import type { MaxSimBlock, MaxSimLayout } from './layout.js';

export const maxSimFamily: Family<MaxSimForm, MaxSimSize, WinnersOperands> = {
  name: 'maxSim',
  summary: 'the passage token nearest to each query token, and its similarity',
  variants: [workgroup, subgroup8],
  sizeClass,
  cases,
  cost,
  tolerance: () => 2e-5,
  trial: (gpu, form, size) => trial(gpu, form, size, maxSimFamily),
};

export interface MaxSimResult {
  /** [queries, columns] */
  readonly scores: Tensor;
  /** [rows, columns] u32: winning passage token, or NONE. Undefined when the layout has several blocks. */
  readonly positions: Tensor | undefined;
}

const MAX_SIM = signature(
  'maxSim',
  {
    vectors: f32('T', 'C'),
    queries: u32('queries', 4),
    passages: u32('passages', 4),
    tokens: u32('rows', 2),
    tiles: u32('tiles', 4),
  },
  { numbers: { columns: wholeNumber() }, atLeast: { C: 1 } },
);

/** vectors: [T,C]. @throws ShapeError. */
export function maxSim(vectors: Tensor, layout: MaxSimLayout): MaxSimResult {
  requireBeside('maxSim', 'layout', 'one of maxSimLayout', layout, 'blocks', 'tiles');
  const { queries, passages, tokens, tiles, columns } = layout;
  MAX_SIM.check(
    { vectors, queries, passages, tokens, tiles },
    { columns },
    { extents: { T: [layout.vectors, 'the layout'] } },
  );
  const scores = Tensor.empty(vectors.gpu, [layout.queries.rows, layout.columns]);
  let kept: Tensor | undefined;
  for (const block of layout.blocks) {
    const { best, positions } = winners(vectors, layout, block);
    meanOverTokens(best, layout, block, scores);
    best.dispose();
    if (layout.blocks.length === 1) kept = positions;
    else positions.dispose();
  }
  return { scores, positions: kept };
}

/** Maxima and positions of a block: [block.rows, columns] f32 and u32. */
function winners(
  vectors: Tensor,
  layout: MaxSimLayout,
  block: MaxSimBlock,
): { best: Tensor; positions: Tensor } {
  const { gpu, cols } = vectors;
  const best = Tensor.empty(gpu, [block.rows, layout.columns]);
  const positions = Tensor.empty(gpu, [block.rows, layout.columns], 'u32');
  const tokens = block.parts.reduce((sum, { tokens }) => sum + tokens.end - tokens.begin, 0);
  runVariant(
    gpu,
    maxSimFamily,
    { unit: cols % 4 === 0 ? 4 : 1 },
    { rows: block.rows, passages: layout.columns, tokens, width: cols },
    { vectors, layout, block, best, positions },
  );
  return { best, positions };
}

/** Writes the block's rows of `scores`. */
function meanOverTokens(best: Tensor, layout: MaxSimLayout, block: MaxSimBlock, scores: Tensor): void {
  const { columns } = layout;
  shaderOf('maxSimMean', {}, () => ({
    label: 'maxSimMean',
    params: { columns: 'u32', firstQuery: 'u32', firstRow: 'u32', count: 'u32', base: 'u32' } as const,
    buffers: { B: 'array<f32>', queries: 'array<vec4u>', outS: 'array<f32>' },
    body: `${FLAT_MAIN}
  if (i >= p.count) { return; }
  let query = queries[p.firstQuery + i / p.columns];
  let row = query.w - p.firstRow;
  let tokens = query.y - query.x;
  ${threadSum('sum', 'f32', ['0u', 'tokens', '1u'], (k) => `B[(row + ${k}) * p.columns + i % p.columns]`)}
  outS[p.firstQuery * p.columns + i - p.base] = sum / f32(max(1u, tokens));
}`,
  })).launch(
    best.gpu,
    {
      B: whole(best),
      queries: whole(layout.queries),
      outS: windowed(scores, block.queries, ({ start, count }) => [
        (block.firstQuery + start) * columns,
        count * columns,
      ]),
    },
    ({ start, count }, base) => ({
      columns,
      firstQuery: block.firstQuery + start,
      firstRow: block.firstRow,
      count: count * columns,
      base: base['outS']!,
    }),
    ({ count }) => flatGroups(count * columns),
  );
}

const MAX_SIM_GRADIENT = signature(
  'maxSim',
  { vectors: f32('T', 'C'), dScores: f32('Q', 'columns'), into: optional(f32('T', 'C')) },
  { numbers: { Q: wholeNumber(), columns: wholeNumber() } },
);

/**
 * d vectors [T,C] of dScores [queries, columns], added to `into` where given; a new tensor is zero in rows that
 * take no part. `positions` is what `maxSim` returned for the same vectors and layout.
 */
export function maxSimGradient(
  vectors: Tensor,
  positions: Tensor | undefined,
  layout: MaxSimLayout,
  dScores: Tensor,
  into?: Tensor,
): Tensor {
  MAX_SIM_GRADIENT.check({ vectors, dScores, into }, { Q: layout.queries.rows, columns: layout.columns });
  const dVectors = into ?? Tensor.zeros(vectors.gpu, vectors.shape);
  // In query order, so that sums over a passage have the same order whatever the blocks.
  for (const block of layout.blocks) {
    const found = positions ? undefined : winners(vectors, layout, block);
    found?.best.dispose();
    addBlockGradient(vectors, positions ?? found!.positions, layout, block, dScores, dVectors, !into);
    found?.positions.dispose();
  }
  return dVectors;
}

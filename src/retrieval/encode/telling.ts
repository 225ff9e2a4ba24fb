/** How far texts are encoded, told batch by batch (`encodeStream`'s `onBatch`). */

import type { Reporter } from '../../console/reporter.js';
import type { Gpu } from '../../gpu/gpu.js';
import type { Unit, Work } from '../../progress.js';

/** What a command is told with; undefined where nobody listens, such as on ranks beside the first. */
export type Tell = ((work: Work) => void) | undefined;

/** What rank 0 tells `report`. */
export function tellOf(
  report: Pick<Reporter, 'progress'> | undefined,
  { rank }: { readonly rank: number } = { rank: 0 },
): Tell {
  return rank === 0 && report ? (work) => report.progress?.(work) : undefined;
}

/** Of `total`, where that is known; `from`: texts that an earlier run encoded. */
export function tellEncoded(
  tell: Tell,
  gpu: Gpu,
  {
    unit,
    total,
    from = 0,
  }: { readonly unit: Unit; readonly total?: number | undefined; readonly from?: number },
): ((batch: { readonly texts: number; readonly tokens: number }) => void) | undefined {
  if (!tell) return undefined;
  let [done, tokens] = [from, 0];
  return (batch) => {
    done += batch.texts;
    tokens += batch.tokens;
    tell({ phase: 'encode', done, total, unit, tokens, memoryBytes: gpu.pool.heldBytes });
  };
}

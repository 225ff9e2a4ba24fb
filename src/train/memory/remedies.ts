/** What a run whose memory does not suffice could do instead, in words; find-remedies.ts plans it. */
import { formatBytes } from '../../show.js';

export interface Remedy {
  /** As they are typed. */
  readonly flags: string;
  /** Sums may be rounded in another order. */
  readonly sameResults: boolean;
  /** That the run would take; null: more than any adapter like this could give. */
  readonly bytes: number | null;
  readonly fits: boolean;
}

/** A line for each, in two lists. */
export function renderRemedies(remedies: readonly Remedy[]): string[] {
  const width = Math.max(...remedies.map(({ flags }) => flags.length));
  const lines = (same: boolean, title: string) => {
    const of = remedies.filter(({ sameResults }) => sameResults === same);
    if (of.length === 0) return [];
    return [
      title,
      ...of.map(({ flags, bytes, fits }) => {
        const size = bytes === null ? 'more than this adapter can do' : formatBytes(bytes).padStart(10);
        return `  ${flags.padEnd(width)}${size}${bytes === null ? '' : fits ? '  fits' : '  too much'}`;
      }),
    ];
  };
  return [
    ...lines(true, 'What it would take with flags that change no result:'),
    ...lines(false, 'And with flags that change what is trained:'),
  ];
}

/** What to do, for the message that ends the run. */
export function adviceOf(remedies: readonly Remedy[], shared: boolean): string {
  const best =
    remedies.find(({ fits, sameResults }) => fits && sameResults) ?? remedies.find(({ fits }) => fits);
  const fewer = shared ? 'start fewer ranks on a machine, ' : '';
  if (best)
    return `use ${best.flags}, with which it takes ${formatBytes(best.bytes!)} and ${best.sameResults ? 'gives the same results' : 'trains another model'}`;
  const wayOut = `${fewer}take a smaller model, or raise --max_gpu_memory`;
  return remedies.length === 0
    ? `no flag is left that would take less: ${wayOut}`
    : `none of the changes above is enough by itself: combine them, ${wayOut}`;
}

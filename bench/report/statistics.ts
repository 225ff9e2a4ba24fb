/** What is said of samples. */

/** The value below which `share` of the sorted values lie. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  const rest = at - low;
  return sorted[low]! * (1 - rest) + sorted[Math.min(low + 1, sorted.length - 1)]! * rest;
}

/**
 * Tuning as a run meets it: `--tune off` chooses kernels by rule, `cached` uses what earlier runs found, `full` tunes what
 * this run asks for and has not been tuned on this machine. What a run asks for is known from its plan, which takes the
 * same steps on a device that computes nothing.
 */
import type { TuneMode } from '../flags.js';
import type { Decision } from '../gpu/choices.js';
import type { Gpu } from '../gpu/gpu.js';
import { families, familyNamed } from './families.js';
import { loadWinners, requireTunedFolder, storeWinner } from './tuned-file.js';
import { candidatesOf, type Tuned, type TuneOptions, tune } from './tuner.js';

/** Gives the device what earlier runs found, unless the mode is `off`. `note` is told what was used and what no longer holds. */
export function useWinners(gpu: Gpu, mode: TuneMode, note: (line: string) => void): void {
  if (mode === 'off') return;
  const { used, retired, notice } = loadWinners(gpu, families);
  if (notice) note(notice);
  if (used > 0) note(`${used} kernel choices of earlier tuning are used`);
  if (retired > 0)
    note(`${retired} kernel choices of earlier tuning are not: the kernels have changed since`);
}

/**
 * Tunes each class of sizes among `asked` (`KernelChoices.decided` has them) that has more than one candidate and no winner
 * yet, at the first size that comes; remembers the winners on the device and in the cache folder. Returns what was tuned.
 * @throws MachineError when a variant that always works is wrong, InputError when the cache folder cannot be written.
 */
export async function tuneAsked(
  gpu: Gpu,
  asked: Iterable<Decision>,
  options: TuneOptions & { readonly again?: boolean } = {},
  told: (tuned: Tuned) => void = () => undefined,
): Promise<Tuned[]> {
  const results: Tuned[] = [];
  const seen = new Set<string>();
  for (const { key, family: name, form, size } of asked) {
    if (seen.has(key)) continue;
    seen.add(key);
    const family = familyNamed(name);
    if (!family || (gpu.choices.winner(key) !== undefined && options.again !== true)) continue;
    if (candidatesOf(gpu, family, form, size, options.all).length < 2) continue;
    requireTunedFolder(gpu.capabilities);
    const tuned = await tune(gpu, family, form, size, options);
    gpu.choices.remember(key, tuned.winner);
    storeWinner(gpu, family, form, size, tuned);
    results.push(tuned);
    told(tuned);
  }
  return results;
}

/** One line of what tuning did. */
export function tuningSummary(results: readonly Tuned[], seconds: number): string {
  const changed = results.filter(({ winner, untuned }) => winner !== untuned);
  const examples = changed.slice(0, 3).map(({ key, winner, candidates }) => {
    const ratio = candidates.find(({ variant }) => variant === winner)?.ratio ?? 1;
    return `${key.split(' ')[0]}: ${winner} ×${ratio.toFixed(2)}`;
  });
  return (
    `tuned ${results.length} kernels in ${seconds.toFixed(1)} s: ${changed.length} chosen otherwise than by rule` +
    `${examples.length > 0 ? ` (${examples.join(', ')}${changed.length > examples.length ? ', …' : ''})` : ''}`
  );
}

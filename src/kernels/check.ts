/**
 * Whether a variant computes what its family says: its outputs are filled with a pattern that no kernel makes, it runs
 * once, every element must have been written and be a number, and the family compares with its reference. The bench
 * asks before it times, the tuner before it keeps a winner.
 */
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { valuesOf } from './trials.js';
import type { Trial } from './variants.js';

/** A NaN in f32, and two NaNs in f16. */
const POISON = 0x7fff7fff;
const CHUNK_WORDS = 1 << 20;

export interface Verdict {
  /** In the measure of `Trial.error`; NaN where it was not asked for. */
  readonly error: number;
  /** What is wrong, as the end of a sentence about the kernel; undefined: nothing. */
  readonly problem: string | undefined;
}

/** Fills a result with what no kernel computes, so that one that writes nothing is seen: NaNs, of integers the largest. */
export function poison(output: Tensor): void {
  const words = new Uint32Array(Math.min(CHUNK_WORDS, Math.ceil(output.bytes / 4))).fill(POISON);
  const whole = output.binding();
  for (let at = 0; at < output.bytes; at += 4 * words.length) {
    const length = Math.min(words.length, Math.ceil((output.bytes - at) / 4));
    output.gpu.upload({ ...whole, offset: whole.offset + at, size: 4 * length }, words.subarray(0, length));
  }
}

/** How many elements are still poison, and how many of the others are no numbers. */
async function inspect(tensor: Tensor): Promise<{ unwritten: number; notNumbers: number }> {
  const bytes = await tensor.gpu.read(tensor.binding());
  let unwritten = 0;
  let notNumbers = 0;
  if (tensor.dtype === 'f16') {
    const halves = new Uint16Array(bytes, 0, tensor.size);
    for (let i = 0; i < halves.length; i++) {
      const half = halves[i]!;
      if (half === (POISON & 0xffff)) unwritten++;
      else if ((half & 0x7fff) > 0x7c00) notNumbers++;
    }
    return { unwritten, notNumbers };
  }
  const words = new Uint32Array(bytes, 0, tensor.size);
  const floats = tensor.dtype === 'f32';
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === POISON) unwritten++;
    else if (floats && (word & 0x7fffffff) > 0x7f800000) notNumbers++;
  }
  return { unwritten, notNumbers };
}

/** What the outputs of a trial hold, as numbers. */
export const outputValues = ({ outputs }: Trial): Promise<Float32Array[]> =>
  Promise.all(outputs.map(valuesOf));

/** Largest difference relative to the largest expected value; what is not finite in one alone is infinitely far. */
function distance(got: Float32Array, want: Float32Array): number {
  let top = 1e-6;
  let most = 0;
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i]!, want[i]!];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
    if (Math.abs(b) > top) top = Math.abs(b);
    if (Math.abs(a - b) > most) most = Math.abs(a - b);
  }
  return most / top;
}

/**
 * Runs the trial once on poisoned outputs, by the named variant or the device's choice, and looks at all of them.
 * @param tolerance the largest error of a right result, `Family.tolerance`.
 * @param expected what the variant that always works computed (`outputValues`): the reference looks at probes only.
 */
export async function checkTrial(
  trial: Trial,
  tolerance: number,
  variant?: string,
  expected?: readonly Float32Array[],
): Promise<Verdict> {
  for (const output of trial.outputs) poison(output);
  scope(() => trial.run(variant));
  const wrong = (problem: string, error = Number.NaN) => ({ error, problem });
  for (const [i, output] of trial.outputs.entries()) {
    const { unwritten, notNumbers } = await inspect(output);
    const where = `of ${output.size} elements${trial.outputs.length === 1 ? '' : ` of result ${i + 1}`}`;
    if (unwritten > 0) return wrong(`leaves ${unwritten} ${where} unwritten`);
    if (notNumbers > 0) return wrong(`makes ${notNumbers} ${where} no numbers`);
  }
  const error = await trial.error();
  if (!(error <= tolerance))
    return wrong(`is wrong by ${error.toExponential(1)} where ${tolerance} is allowed`, error);
  if (expected) {
    const got = await outputValues(trial);
    const worst = Math.max(...expected.map((want, i) => distance(got[i]!, want)));
    // Two right results lie on both sides of the reference.
    if (!(worst <= 2 * tolerance))
      return wrong(`differs by ${worst.toExponential(1)} from the variant that always works`, worst);
  }
  return { error, problem: undefined };
}

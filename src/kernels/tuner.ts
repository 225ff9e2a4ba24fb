/**
 * Finds the fastest variant of a family for a form and size on a device: every candidate is checked against the reference
 * and against the variant that always works, its outputs poisoned before, and only then timed, in turns with the others.
 *
 * Machines are noisy: the same kernel may take half as long a minute later. So what decides is the median of the ratios
 * within the rounds, and the device's own choice is left only for a candidate that is clearly faster.
 */
import { createHash } from 'node:crypto';
import { MachineError, ShapeError } from '../errors.js';
import type { Capabilities } from '../gpu/capabilities.js';
import type { Gpu } from '../gpu/gpu.js';
import { scope } from '../tensor/scope.js';
import { checkTrial, outputValues } from './check.js';
import { choiceKey, decide, type Family, type Trial, type Variant } from './variants.js';

export interface TuneOptions {
  /** Timed rounds at most; a candidate that is far behind after two is timed no more. */
  readonly rounds?: number;
  /** Also variants that are ranked below 0 for the adapter. */
  readonly all?: boolean;
  /** A candidate replaces the device's own choice from this ratio of their times on. */
  readonly gain?: number;
}

export interface Candidate {
  readonly variant: string;
  /** Median milliseconds of a run; undefined for one that was not timed. */
  readonly milliseconds?: number | undefined;
  /** Median over the rounds of (time of the device's own choice) / (time of this one). */
  readonly ratio?: number | undefined;
  /** Why it is out: a wrong result, or what the device said. */
  readonly refused?: string | undefined;
}

export interface Tuned {
  readonly key: string;
  /** The variant to use. */
  readonly winner: string;
  /** What the device would have chosen by rule: what is found is kept for others, whatever this one is forced to. */
  readonly untuned: string;
  readonly candidates: readonly Candidate[];
}

const ROUNDS = 9;
const GAIN = 1.1;
/** A round repeats short runs until it takes so long, so that a clock and a wait do not decide. */
const LEAST_ROUND = 4;
/** After the first round a candidate below this ratio is out. */
const HOPELESS = 0.35;
/** After two rounds a candidate below this ratio is out. */
const FAR_BEHIND = 0.7;

/**
 * Tunes one form and size. Memory: the operands of one trial, plus the host copy of its outputs. Nothing is remembered: the
 * caller decides where (`gpu.choices.remember`, a file).
 * @throws MachineError when the variant that always works computes a wrong result.
 */
export async function tune<Form extends object, Size extends object, Operands>(
  gpu: Gpu,
  family: Family<Form, Size, Operands>,
  form: Form,
  size: Size,
  { rounds = ROUNDS, gain = GAIN, all = false }: TuneOptions = {},
): Promise<Tuned> {
  const key = choiceKey(family, form, size);
  const untuned = decide(gpu, family, form, size, key, { byRule: true }).name;
  const supporting = candidatesOf(gpu, family, form, size, all);
  const refused = new Map<string, string>();
  const timed: string[] = [];
  const times = new Map<string, number[]>();
  const trial = family.trial(gpu, form, family.probe?.(size) ?? size);
  try {
    if (supporting.length > 1) {
      const tolerance = family.tolerance(form, size);
      const always = family.variants[0].name;
      const reason = await wrong(trial, always, tolerance);
      if (reason)
        throw new MachineError(`${family.name}: the variant ${always}, which always works, ${reason}`);
      const expected = await outputValues(trial);
      for (const { name } of supporting) {
        const why = name === always ? undefined : await wrong(trial, name, tolerance, expected);
        if (why) refused.set(name, why);
        else timed.push(name);
      }
      // The device's own choice sets the measure; a device whose choice is wrong has to take another.
      const base = timed.includes(untuned) ? untuned : always;
      const racing = new Set(timed);
      const repeats = await repetitions(gpu, trial, base);
      for (let round = 0; round < rounds && racing.size > 1; round++) {
        for (const name of racing) {
          const seconds = await time(gpu, trial, name, repeats);
          const list = times.get(name);
          if (list) list.push(seconds);
          else times.set(name, [seconds]);
        }
        if (round > 1) continue;
        for (const name of racing)
          if (name !== base && ratioOf(times, base, name) < (round === 0 ? HOPELESS : FAR_BEHIND))
            racing.delete(name);
      }
    }
    const base = refused.has(untuned) ? family.variants[0].name : untuned;
    const winner = winnerOf(times, base, gain);
    const candidates = supporting.map(({ name }) => {
      const list = times.get(name);
      return {
        variant: name,
        milliseconds: list && 1e3 * median(list),
        ratio: list && ratioOf(times, base, name),
        refused: refused.get(name),
      };
    });
    return { key, winner, untuned, candidates };
  } finally {
    trial.dispose();
  }
}

/** Who competes: the always-working variant, the device's own choice, and whatever is not known to lose. */
export function candidatesOf<Form extends object, Size extends object, Operands>(
  gpu: Gpu,
  family: Family<Form, Size, Operands>,
  form: Form,
  size: Size,
  all = false,
): Variant<Form, Size, Operands>[] {
  return family.variants.filter(
    (variant, n) =>
      variant.supports(gpu.capabilities, form, size) &&
      (n === 0 || all || variant.prior(gpu.capabilities, form, size) >= 0),
  );
}

/** Why the variant cannot be taken, or undefined when all outputs are written and right. */
async function wrong(
  trial: Trial,
  variant: string,
  tolerance: number,
  expected?: readonly Float32Array[],
): Promise<string | undefined> {
  try {
    return (await checkTrial(trial, tolerance, variant, expected)).problem;
  } catch (error) {
    if (error instanceof MachineError || error instanceof ShapeError) return error.message.split('\n')[0]!;
    throw error;
  }
}

async function repetitions(gpu: Gpu, trial: Trial, variant: string): Promise<number> {
  const milliseconds = 1e3 * (await time(gpu, trial, variant, 1));
  return Math.max(1, Math.min(200, Math.ceil(LEAST_ROUND / Math.max(milliseconds, 1e-3))));
}

/** Seconds of one run. */
async function time(gpu: Gpu, trial: Trial, variant: string, repeats: number): Promise<number> {
  await gpu.finish();
  const start = performance.now();
  for (let n = 0; n < repeats; n++) scope(() => trial.run(variant));
  await gpu.finish();
  return (performance.now() - start) / 1e3 / repeats;
}

/**
 * The variant with the highest median over the rounds of (time of `base`) / (its own), if that is above `gain`; else `base`.
 * `times`: seconds by round.
 */
export function winnerOf(times: ReadonlyMap<string, number[]>, base: string, gain: number): string {
  let winner = base;
  let most = gain;
  for (const name of times.keys()) {
    const ratio = ratioOf(times, base, name);
    if (ratio > most) [winner, most] = [name, ratio];
  }
  return winner;
}

function ratioOf(times: ReadonlyMap<string, number[]>, base: string, name: string): number {
  const [mine, theirs] = [times.get(name)!, times.get(base)!];
  return median(mine.map((seconds, round) => theirs[round]! / seconds));
}

const median = (list: readonly number[]): number => {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/**
 * Names what the candidates for a form are made of: a change of any source, or of who competes, retires a winner.
 */
export function sourcesOf<Form extends object, Size extends object, Operands>(
  facts: Capabilities,
  family: Family<Form, Size, Operands>,
  form: Form,
  size: Size,
): string {
  const hash = createHash('sha256');
  for (const variant of family.variants)
    if (variant.supports(facts, form, size)) {
      hash.update(`${variant.name}\n`);
      for (const { source } of Object.values(variant.shaders(facts, form))) hash.update(`${source.wgsl}\n`);
    }
  return hash.digest('hex').slice(0, 16);
}

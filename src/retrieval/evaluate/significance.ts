/**
 * Whether two systems differ on the same queries by more than chance would have it: the paired randomisation test
 * (Fisher; Smucker, Allan & Carterette 2007 recommend it for retrieval) and the paired t-test, both two-sided.
 */
import { ShapeError } from '../../errors.js';
import { CounterRandom } from '../../tensor/random.js';

/** Difference of two systems over the same queries, and how likely it is by chance. */
export interface PairedTest {
  /** Pairs, and those of them that differ. */
  readonly pairs: number;
  /** Pairs of two values that are not equal. */
  readonly different: number;
  /** Mean of b − a. */
  readonly difference: number;
  /** Of the randomisation test. */
  readonly randomisation: number;
  /** All assignments of signs were counted, none drawn. */
  readonly exact: boolean;
  /** Of the t-test with pairs − 1 degrees of freedom; null where there is none: fewer than two pairs. */
  readonly t: number | null;
}

/** How many assignments `pairedTest` draws, and from which seed. */
export interface PairedTestOptions {
  /** Assignments of signs that are drawn; where there are no more than that, all are counted. */
  permutations?: number;
  /** Of the draws. Default 42. */
  seed?: number;
}

/**
 * Values of two systems, query by query. Under the null hypothesis a query's two values could as well be exchanged, so the
 * p-value is the share of the 2^n assignments of signs to the differences whose sum is at least as far from 0 as the
 * observed one; of drawn ones (count + 1)/(permutations + 1). @throws ShapeError for lists of two lengths.
 */
export function pairedTest(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { permutations = 10_000, seed = 42 }: PairedTestOptions = {},
): PairedTest {
  const pairs = a.length;
  if (b.length !== pairs) throw new ShapeError('pairedTest', `${pairs} values and ${b.length}`);
  if (!(Number.isInteger(permutations) && permutations >= 1))
    throw new ShapeError('pairedTest', `${permutations} permutations`);
  const all = Float64Array.from({ length: pairs }, (_, i) => b[i]! - a[i]!);
  if (!all.every(Number.isFinite)) throw new ShapeError('pairedTest', 'values that are not finite');
  const total = sum(all);
  const difference = pairs === 0 ? 0 : total / pairs;
  // Where two values are equal their sign changes nothing.
  const differences = all.filter((value) => value !== 0);
  const different = differences.length;
  const exact = 2 ** different <= permutations;
  // Sums of the same numbers in another order differ in their last bits.
  const least = Math.abs(total) - 1e-9 * sum(differences.map(Math.abs));
  const randomisation = exact
    ? countedShare(differences, least)
    : drawnShare(differences, least, permutations, new CounterRandom(seed));
  return { pairs, different, difference, randomisation, exact, t: tTest(all, difference) };
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function countedShare(differences: Float64Array, least: number): number {
  const assignments = 2 ** differences.length;
  let extreme = 0;
  for (let signs = 0; signs < assignments; signs++) {
    let total = 0;
    for (let i = 0; i < differences.length; i++)
      total += (signs >>> i) & 1 ? differences[i]! : -differences[i]!;
    if (Math.abs(total) >= least) extreme++;
  }
  return extreme / assignments;
}

function drawnShare(
  differences: Float64Array,
  least: number,
  permutations: number,
  random: CounterRandom,
): number {
  let extreme = 0;
  for (let drawn = 0; drawn < permutations; drawn++) {
    let total = 0;
    let word = 0;
    for (let i = 0; i < differences.length; i++) {
      if (i % 32 === 0) word = random.word();
      total += (word >>> (i % 32)) & 1 ? differences[i]! : -differences[i]!;
    }
    if (Math.abs(total) >= least) extreme++;
  }
  return (extreme + 1) / (permutations + 1);
}

function tTest(differences: Float64Array, mean: number): number | null {
  const n = differences.length;
  if (n < 2) return null;
  const variance = sum(differences.map((value) => (value - mean) ** 2)) / (n - 1);
  // No spread: the difference is 0 for certain, or is not for certain.
  if (variance === 0) return mean === 0 ? 1 : 0;
  const t = mean / Math.sqrt(variance / n);
  return studentTails(t, n - 1);
}

/** P(|T| ≥ |t|) of Student's t: the regularised incomplete beta function I_{ν/(ν+t²)}(ν/2, 1/2). */
export function studentTails(t: number, degrees: number): number {
  return incompleteBeta(degrees / 2, 0.5, degrees / (degrees + t * t));
}

/** I_x(a, b) by its continued fraction (Abramowitz & Stegun 26.5.8), evaluated from the front by Lentz's method. */
function incompleteBeta(a: number, b: number, x: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges fast on this side of the mean, and I_x(a,b) = 1 − I_{1−x}(b,a).
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, 1 - x);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  const tiny = 1e-300;
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1) || tiny);
  let fraction = d;
  for (let m = 1; m <= 1000; m++) {
    for (const coefficient of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 / (1 + coefficient * d || tiny);
      c = 1 + coefficient / c || tiny;
      fraction *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return (front * fraction) / a;
}

/** ln Γ(x), x > 0: Stirling's series from x = 10 on, below it by the recurrence. */
function logGamma(x: number): number {
  let shift = 0;
  let z = x;
  while (z < 10) shift += Math.log(z++);
  const inverse = 1 / (z * z);
  const series =
    (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) / z;
  return (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + series - shift;
}

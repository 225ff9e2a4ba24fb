/**
 * A function's gradient held against differences: what `torch.autograd.gradcheck` does, for a device that computes in f32.
 * The sums over outputs are taken in float64, so that what is left of error is the function's own rounding.
 */
import { ShapeError } from '../errors.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { CounterRandom } from '../tensor/random.js';
import { adopt, noGrad, scope, withGrad } from '../tensor/scope.js';
import { formatShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { propagate } from './tape.js';

/** Step and tolerances of `checkGradients`. */
export interface CheckGradientsOptions {
  /** By how much an element is moved to either side. Default 1e-2: f32 has seven digits, of which half are lost. */
  readonly eps?: number;
  /** Of the largest gradient of an input, by how much one may differ. Default 1e-2. */
  readonly tolerance?: number;
  /** Elements of an input that are looked at, evenly spread; default 64. Each takes two evaluations. */
  readonly samples?: number;
  /** Draws the weights of the outputs; default 0. */
  readonly seed?: number;
}

/** What was found of one input. */
export interface GradientCheck {
  /** Its place among the inputs that were given, from 0. */
  readonly input: number;
  /** Of the input and of its gradient. */
  readonly shape: readonly number[];
  /** Elements that were looked at. */
  readonly checked: number;
  /** The largest difference, divided by the largest gradient of this input. */
  readonly error: number;
  /** Where that is, and both values. */
  readonly worst: {
    /** Its place in the input, one number an axis. */
    readonly index: readonly number[];
    /** What backward gave there. */
    readonly gradient: number;
    /** What the difference of two losses gave there. */
    readonly difference: number;
  };
  /** Whether `error` is within the tolerance. */
  readonly passed: boolean;
}

/** A gradient that is not what differences say; `checks` has all inputs, those that passed too. */
export class GradientMismatch extends Error {
  override name = 'GradientMismatch';

  /** `checks`: of all inputs; the message describes each. */
  constructor(
    /** Of all inputs, in their order. */
    readonly checks: readonly GradientCheck[],
  ) {
    super(`gradients differ from differences\n${checks.map(describe).join('\n')}`);
  }
}

function describe({ input, shape, checked, error, worst, passed }: GradientCheck): string {
  const at = `at [${worst.index}] the gradient is ${worst.gradient}, by differences ${worst.difference}`;
  return `  input ${input} ${formatShape(shape)}: ${passed ? 'ok' : 'WRONG'}, ${checked} elements, largest error ${error.toExponential(1)}, ${at}`;
}

const OPTIONS = new OptionNames<CheckGradientsOptions>({
  eps: 'number',
  tolerance: 'number',
  samples: 'number',
  seed: 'number',
});

/**
 * Compares the gradient of Σ r ∘ f(inputs), r drawn, with its central differences for each input. `f` is synchronous, returns
 * one f32 tensor, and computes the same whenever it is called; inputs, one or a list: f32, moved by `eps` and put back. Where `f` has a
 * kink within `eps` of an input, differences say nothing.
 * @returns what was found of each input. @throws GradientMismatch when one differs by more than `tolerance`; ShapeError for
 * inputs that are not f32, and for what is no function.
 */
export async function checkGradients(
  f: (...inputs: Tensor[]) => Tensor,
  given: Tensor | readonly Tensor[],
  options: CheckGradientsOptions = {},
): Promise<GradientCheck[]> {
  const { eps = 1e-2, tolerance = 1e-2, samples = 64, seed = 0 } = OPTIONS.read('checkGradients', options);
  const op = 'checkGradients';
  if (typeof f !== 'function') throw new ShapeError(op, `needs a function, found ${show(f)}`);
  const inputs = given instanceof Tensor ? [given] : given;
  if (!Array.isArray(inputs))
    throw new ShapeError(op, `inputs must be a tensor or a list of tensors, found ${show(inputs)}`);
  if (!(eps > 0 && tolerance > 0 && Number.isInteger(samples) && samples > 0))
    throw new ShapeError(op, 'eps, tolerance and samples must be above 0');
  if (!Array.isArray(inputs)) throw new ShapeError(op, `inputs must be a list, found ${show(inputs)}`);
  for (const input of inputs)
    if (!(input instanceof Tensor) || input.dtype !== 'f32')
      throw new ShapeError(op, 'differences need f32 inputs', input instanceof Tensor ? { input } : {});
  return scope(async () => {
    const own = inputs.map((input) => {
      const copy = Tensor.empty(input.gpu, input.shape);
      copy.copyUnrecorded(input);
      copy.requiresGrad = true;
      return copy;
    });
    const values = await Promise.all(own.map((copy) => copy.toFloat32()));
    const random = new CounterRandom(seed, 0);
    const output = withGrad(() => f(...own));
    if (!(output instanceof Tensor) || output.dtype !== 'f32')
      throw new ShapeError(op, `the function must return one f32 tensor, found ${show(output)}`);
    const weights = Float32Array.from({ length: output.size }, () => 2 * random.uniform() - 1);
    // An input that f does not use has a gradient of zeros.
    const found = output.node
      ? propagate([[output, Tensor.from(output.gpu, weights, output.shape)]], own, { only: true })
      : [];
    for (const gradient of found) if (gradient) adopt(gradient);
    const gradients = await Promise.all(found.map((gradient) => gradient?.toFloat32()));
    const objective = () =>
      scope(async () => {
        const y = await noGrad(() => f(...own)).toFloat32();
        return y.reduce((sum, value, i) => sum + value * weights[i]!, 0);
      });
    const checks: GradientCheck[] = [];
    for (const [n, copy] of own.entries()) {
      const kept = values[n]!;
      const gradient = gradients[n] ?? new Float32Array(copy.size);
      const step = Math.max(1, Math.floor(copy.size / samples));
      const top = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
      let worst = { at: 0, error: 0, difference: gradient[0] ?? 0 };
      let checked = 0;
      for (let at = n % step; at < copy.size && checked < samples; at += step, checked++) {
        // What f32 makes of them is what the two evaluations are apart.
        const [high, low] = [Math.fround(kept[at]! + eps), Math.fround(kept[at]! - eps)];
        const move = (value: number) => noGrad(() => copy.write([value], at));
        move(high);
        const up = await objective();
        move(low);
        const down = await objective();
        move(kept[at]!);
        const difference = (up - down) / (high - low);
        const error = Math.abs(difference - gradient[at]!) / top;
        // NaN is the worst there is, and stays it.
        if (!(error <= worst.error || Number.isNaN(worst.error))) worst = { at, error, difference };
      }
      checks.push({
        input: n,
        shape: copy.shape,
        checked,
        error: worst.error,
        worst: {
          index: indexOf(copy.shape, worst.at),
          gradient: gradient[worst.at] ?? 0,
          difference: worst.difference,
        },
        passed: worst.error <= tolerance,
      });
    }
    if (checks.some(({ passed }) => !passed)) throw new GradientMismatch(checks);
    return checks;
  });
}

/** Where element `at` of a row-major tensor is. */
function indexOf(shape: readonly number[], at: number): number[] {
  let rest = at;
  return shape
    .toReversed()
    .map((extent) => {
      const place = rest % extent;
      rest = Math.floor(rest / extent);
      return place;
    })
    .reverse();
}

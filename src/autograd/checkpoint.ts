/**
 * Recompute checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"): what a function
 * computes on the way is forgotten after forward and computed again in backward. Memory is that of the inputs,
 * time one more forward; the gradients are the same to the bit, since the same kernels run on the same numbers.
 */
import { ShapeError } from '../errors.js';
import { show } from '../show.js';
import { adopt, type Counter, isRecording, rehearse, replay, scope, withGrad } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { reshape } from './ops/shape.js';
import { propagate, record, wantsGradient } from './tape.js';

/**
 * fn(...inputs), keeping nothing of it for backward but the inputs. `fn` is synchronous, returns one tensor, and
 * computes the same when it is called again: randomness comes from `RandomStreams`, whose draws are replayed.
 * It may use parameters, which get their gradients, but no other tensor on the tape than its inputs.
 * @throws ShapeError when it does.
 */
export function checkpoint(fn: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  if (typeof fn !== 'function') throw new ShapeError('checkpoint', `needs a function, found ${show(fn)}`);
  if (!isRecording()) return scope(() => fn(...inputs));
  const counters = new Map<Counter, number>();
  let trains = false;
  const seen = new Set<Tensor>();
  const output = rehearse(
    {
      counters,
      read(used) {
        for (const tensor of used as Tensor[]) seen.add(tensor);
      },
      unrecorded(used) {
        for (const tensor of used as Tensor[]) {
          if (tensor.node && !inputs.includes(tensor))
            throw new ShapeError(
              'checkpoint',
              `the function uses a tensor [${tensor.shape}] on the tape that is not among its inputs; pass it as one`,
            );
          trains ||= wantsGradient(tensor);
        }
      },
    },
    () =>
      scope(() => {
        const result = fn(...inputs);
        if (!(result instanceof Tensor))
          throw new ShapeError('checkpoint', 'the function must return one tensor, and not a promise of it');
        return result;
      }),
  );
  // An input or a parameter that comes back as it is: nothing to compute again.
  if (inputs.includes(output) || wantsGradient(output)) return reshape(output, output.shape);
  if (!trains) return output;

  const wants = inputs.map(wantsGradient);
  let gradients: (Tensor | undefined)[] = [];
  const rerun = (dy: Tensor) => {
    const again = inputs.map((original, i) => {
      const input = original.detach();
      if (wants[i]) input.requiresGrad = true;
      return input;
    });
    const result = replay(counters, () => withGrad(() => scope(() => fn(...again))));
    // What trains in it may have nothing to do with what it returns.
    gradients = result.node ? propagate([[result, dy]], again) : [];
    for (const gradient of gradients) if (gradient) adopt(gradient);
  };
  return record(
    'checkpoint',
    output,
    inputs,
    inputs.map((input, i) => [input, () => gradients[i]] as const),
    rerun,
    // What was made on the way is gone; the rest, parameters above all, must be the same when it runs again.
    [...seen].filter((tensor) => !tensor.freed && tensor.version !== output.version),
  );
}

/** Being told, from inside backward, how far it has come: what is done with gradients can start while others are computed. */
import { ShapeError } from '../../errors.js';
import { show } from '../../show.js';
import { floats, signature } from '../../tensor/operands.js';
import type { Tensor } from '../../tensor/tensor.js';
import { record } from '../tape.js';

const ON_BACKWARD = signature('onBackward', { x: floats('...') });

/**
 * x itself, as another handle to it; once backward has all of the gradient of what is returned, it calls `done`. Nodes
 * run youngest first: whatever was computed after this call, from the result or not, has given its gradients to its
 * leaves by then, what a `checkpoint` computes again included. So all that follows should read the result and not x.
 * Takes no memory, dispatches nothing and changes no number.
 *
 * `done` is called once in a backward, synchronously; what it makes is freed when it returns, unless kept. It is not
 * called where no gradient arrives (nothing before x trains, or the loss does not depend on x): such a gradient is not
 * computed for its sake, and the end of backward says the same. In a function under `checkpoint` it is called when
 * that is computed again, not in forward.
 */
export function onBackward(x: Tensor, done: () => void): Tensor {
  ON_BACKWARD.check({ x });
  if (typeof done !== 'function')
    throw new ShapeError('onBackward', `needs a function, found ${show(done)}`, { x });
  return record(
    'onBackward',
    x.detach(),
    [],
    [
      [
        x,
        (dy, sink) => {
          sink?.add(dy);
          done();
          return sink ? undefined : dy;
        },
      ],
    ],
  );
}

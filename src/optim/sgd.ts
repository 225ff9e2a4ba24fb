/** Stochastic gradient descent with PyTorch's momentum and Nesterov's (Sutskever et al. 2013), over any f32 tensors. */
import { ShapeError } from '../errors.js';
import { sgd } from '../kernels/sgd.js';
import { notNegative, probability, signature } from '../tensor/operands.js';
import type { MomentLayout, Moments } from './moments.js';
import {
  type CommonSettings,
  type Given,
  type GroupOptions,
  type Member,
  Optimizer,
  type StepGradient,
  type Update,
} from './optimizer.js';

/** Settings of SGD: momentum and its kinds. */
export interface SGDSettings extends CommonSettings {
  /** What is left of the momentum in a step; 0, the default: there is none. */
  momentum: number;
  /** A gradient counts 1 − dampening in the momentum, but 1 in the first step. Default 0. */
  dampening: number;
  /** Looks ahead by the momentum. Default false. */
  nesterov: boolean;
}

const SETTINGS = signature(
  'SGD',
  {},
  { numbers: { momentum: notNegative, dampening: probability, weightDecay: notNegative } },
);

const MOMENTUM = 'momentum_buffer';

function checkSettings({ momentum, dampening, weightDecay, nesterov }: SGDSettings): void {
  SETTINGS.check({}, { momentum, dampening, weightDecay });
  if (nesterov && !(momentum > 0 && dampening === 0))
    throw new ShapeError('SGD', 'nesterov needs a momentum above 0 and no dampening');
}

/**
 * SGD over parameters, tensors that require gradients, or groups of them with settings of their own. Defaults as PyTorch's:
 * rate 1e-3 and nothing else; decay is added to the gradient. A table's gradient is made dense.
 * @throws ShapeError for settings that make numbers of no use, and for what cannot be trained.
 */
export class SGD extends Optimizer<SGDSettings> {
  /** `settings`: of all groups that do not say otherwise. */
  constructor(
    parameters: Iterable<Given> | readonly GroupOptions<SGDSettings>[],
    settings: Partial<SGDSettings> = {},
  ) {
    const defaults = { learningRate: 1e-3, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false };
    super('SGD', parameters, defaults, settings, checkSettings);
  }

  protected layoutOf(_: Member, { momentum }: SGDSettings): MomentLayout {
    return { names: momentum > 0 ? { [MOMENTUM]: Number.NEGATIVE_INFINITY } : {}, byRows: false };
  }

  protected prepare(
    { tensor }: Member,
    gradient: StepGradient,
    moments: Moments,
    { momentum, dampening, weightDecay, nesterov }: SGDSettings,
    learningRate: number,
  ): Update {
    const buffer = moments.get(MOMENTUM);
    if (momentum > 0 && !buffer)
      throw new ShapeError('SGD', 'what was trained without momentum cannot begin to have any', {
        parameter: tensor,
      });
    if (!('dense' in gradient)) throw new RangeError('SGD: a gradient by rows');
    const flat = [tensor.size];
    return (factor) =>
      sgd(
        {
          weights: tensor.alias(flat),
          gradients: gradient.dense.alias(flat),
          momentum: momentum > 0 ? buffer : undefined,
          factor,
        },
        {
          ...{ learningRate, weightDecay, momentum, nesterov },
          gain: moments.steps === 1 ? 1 : 1 - dampening,
        },
      );
  }
}

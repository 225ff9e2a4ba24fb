/** Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019), as PyTorch computes them, over any f32 tensors. */
import { Parameter } from '../autograd/parameter.js';
import { ShapeError } from '../errors.js';
import { type AdamWSettings, adamW } from '../kernels/adamw.js';
import { type NumberSpec, notNegative, positive, signature } from '../tensor/operands.js';
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
import { prepareTableUpdate } from './table-update.js';

export interface AdamSettings extends CommonSettings {
  /** What is left of the mean of gradients in a step, in [0, 1). Default 0.9. */
  beta1: number;
  /** The same of the mean of their squares. Default 0.999. */
  beta2: number;
  /** Beside the root of the squares. Default 1e-8. */
  eps: number;
}

export const beta: NumberSpec = {
  what: 'a number of at least 0 and below 1 in f32',
  allows: (value) => value >= 0 && Math.fround(value) < 1,
};

const settingsOf = (op: string) =>
  signature(
    op,
    {},
    {
      numbers: {
        beta1: beta,
        beta2: beta,
        // A weight without a gradient divides 0 by it.
        eps: positive,
        weightDecay: notNegative,
      },
    },
  );

const MEAN = 'exp_avg';
const SQUARE = 'exp_avg_sq';
const NAMES = { [MEAN]: Number.NEGATIVE_INFINITY, [SQUARE]: 0 };

abstract class AnyAdam extends Optimizer<AdamSettings> {
  protected constructor(
    private readonly name: string,
    /** Decay shrinks weights and is no part of the gradient. */
    private readonly decoupled: boolean,
    parameters: Iterable<Given> | readonly GroupOptions<AdamSettings>[],
    defaults: AdamSettings,
    settings: Partial<AdamSettings>,
  ) {
    const check = settingsOf(name);
    super(name, parameters, defaults, settings, ({ beta1, beta2, eps, weightDecay }) =>
      check.check({}, { beta1, beta2, eps, weightDecay }),
    );
  }

  /** With decay in the gradient every row of a table has one. */
  protected layoutOf(member: Member, { weightDecay }: AdamSettings): MomentLayout {
    const byRows = member.rows !== undefined && (this.decoupled || weightDecay === 0);
    return { names: NAMES, byRows };
  }

  protected prepare(
    { tensor }: Member,
    gradient: StepGradient,
    moments: Moments,
    { beta1, beta2, eps, weightDecay }: AdamSettings,
    learningRate: number,
  ): Update {
    const decay = this.decoupled ? { weightDecay } : { weightDecay: 0, penalty: weightDecay };
    const settings = (): AdamWSettings => ({
      ...{ step: moments.steps, learningRate, beta1, beta2, eps },
      ...decay,
    });
    if ('rows' in gradient) {
      if (!this.decoupled && weightDecay > 0)
        throw new ShapeError(this.name, 'a table that was trained by its rows cannot begin to decay', {
          parameter: tensor,
        });
      const update = prepareTableUpdate(tensor, gradient.rows, moments.table!, weightDecay > 0);
      return (factor) => update(factor, settings());
    }
    const flat = [tensor.size];
    const parameter = tensor.role instanceof Parameter ? tensor.role : undefined;
    const halves = parameter?.currentHalf;
    return (factor) => {
      adamW(
        {
          weights: tensor.alias(flat),
          gradients: gradient.dense.alias(flat),
          moment1: moments.get(MEAN)!,
          moment2: moments.get(SQUARE)!,
          halves,
          factor,
        },
        settings(),
      );
      if (halves) parameter!.noteHalved();
    };
  }
}

/**
 * AdamW over parameters, tensors that require gradients, or groups of them with settings of their own. Defaults as PyTorch's:
 * rate 1e-3, β 0.9 and 0.999, ε 1e-8, decay 1e-2. A table that collects its gradient by rows is updated by them, to the
 * bit as a dense one.
 * @throws ShapeError for settings that make numbers of no use, and for what cannot be trained.
 */
export class AdamW extends AnyAdam {
  /** `settings`: of all groups that do not say otherwise. */
  constructor(
    parameters: Iterable<Given> | readonly GroupOptions<AdamSettings>[],
    settings: Partial<AdamSettings> = {},
  ) {
    super(
      'AdamW',
      true,
      parameters,
      { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 1e-2 },
      settings,
    );
  }
}

/**
 * Adam over the same; decay, 0 by default, is added to the gradient: then a table's gradient is dense.
 * @throws ShapeError for settings that make numbers of no use, and for what cannot be trained.
 */
export class Adam extends AnyAdam {
  /** `settings`: of all groups that do not say otherwise. */
  constructor(
    parameters: Iterable<Given> | readonly GroupOptions<AdamSettings>[],
    settings: Partial<AdamSettings> = {},
  ) {
    super(
      'Adam',
      false,
      parameters,
      { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 },
      settings,
    );
  }
}

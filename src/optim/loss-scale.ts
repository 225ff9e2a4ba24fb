/**
 * Loss scaling for f16 (Micikevicius et al. 2018, "Mixed precision training", §3.2): the loss is multiplied so that
 * small gradients do not vanish in halves, and the optimiser divides again. Dynamic scaling raises the scale after
 * a window of good steps and lowers it when gradients overflow; such a step is skipped. The rules are DeepSpeed's
 * (docs/spec/flagembedding-m3.md §5.3), of which PyTorch's GradScaler is the case of hysteresis 1.
 */
import { InputError, MachineError, ShapeError } from '../errors.js';
import { isJsonObject } from '../files/json.js';
import { Fields } from '../files/json-fields.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { notNegative, positive, signature, wholeNumber } from '../tensor/operands.js';

/** How the loss is scaled so that half-precision gradients neither vanish nor overflow. */
export type LossScaling =
  | {
      /** A fixed scale. */
      readonly kind: 'static';
      /** Of all steps, above 0. */
      readonly scale: number;
    }
  | {
      /** One that falls where gradients overflow and rises after good steps. */
      readonly kind: 'dynamic';
      /** Of the first step. */
      readonly initialScale: number;
      /** Steps without overflow after which the scale doubles. */
      readonly window: number;
      /** Overflows it takes before the scale halves. */
      readonly hysteresis: number;
      /** An overflow at it is an error. */
      readonly minimumScale: number;
    };

/** What `--fp16` does without a DeepSpeed file: PyTorch's GradScaler. */
export const defaultLossScaling: LossScaling = {
  kind: 'dynamic',
  initialScale: 2 ** 16,
  window: 2000,
  hysteresis: 1,
  minimumScale: 1,
};

/** A fixed scale that overflows so often in a row is too large for this model. */
const FIXED_PATIENCE = 10;

const LARGEST = 2 ** 100;

const STATIC = new OptionNames<Extract<LossScaling, { kind: 'static' }>>({ kind: true, scale: true });
const STATIC_SIZES = signature('LossScaler', {}, { numbers: { scale: positive } });
const DYNAMIC = new OptionNames<Extract<LossScaling, { kind: 'dynamic' }>>({
  ...{ kind: true, initialScale: true, window: true, hysteresis: true, minimumScale: true },
});
const DYNAMIC_SIZES = signature(
  'LossScaler',
  {},
  {
    numbers: {
      ...{ initialScale: positive, minimumScale: notNegative },
      ...{ window: wholeNumber(1), hysteresis: wholeNumber(1) },
    },
  },
);

/** @throws ShapeError for a scaling of which a number is missing or makes no sense. */
function checkScaling(scaling: LossScaling): void {
  if (scaling?.kind === 'static') STATIC_SIZES.check({}, { scale: STATIC.read('LossScaler', scaling).scale });
  else if (scaling?.kind === 'dynamic')
    DYNAMIC_SIZES.check({}, { ...DYNAMIC.read('LossScaler', scaling), kind: 0 });
  else
    throw new ShapeError(
      'LossScaler',
      `takes { kind: 'static' or 'dynamic', … } or null, found ${show(scaling)}`,
    );
}

/** What a step did to the scale. */
export interface LossScaleEvent {
  /** `overflow`: the step was skipped; `loss_scale`: after a window of good ones the scale rose. */
  readonly event: 'overflow' | 'loss_scale';
  /** The scale from the next step on, and that of this step. */
  readonly loss_scale: number;
  /** The scale of this step. */
  readonly previous_loss_scale: number;
}

/** What is saved of a LossScaler. */
export interface LossScalerState {
  /** Of the next step. */
  readonly scale: number;
  /** Steps since the last overflow. */
  readonly good: number;
  /** Overflows that it takes now before the scale falls. */
  readonly hysteresis: number;
  /** Overflows in a row up to now. */
  readonly overflows: number;
}

/** Loss scaling for f16: the scale falls where gradients overflow and rises after steps that did not. */
export class LossScaler {
  /** Of the next step; 1 without scaling. */
  scale: number;
  /** Steps since the last overflow, or since the start. */
  private good = 0;
  private hysteresis: number;
  private overflows = 0;

  /** By default as PyTorch's GradScaler. `scaling` null: f32, where nothing is scaled and an overflow is an error. */
  constructor(private readonly scaling: LossScaling | null = defaultLossScaling) {
    if (scaling !== null) checkScaling(scaling);
    this.scale = scaling === null ? 1 : scaling.kind === 'static' ? scaling.scale : scaling.initialScale;
    this.hysteresis = scaling?.kind === 'dynamic' ? scaling.hysteresis : 1;
  }

  /** As JSON, for checkpoints. */
  state(): LossScalerState {
    const { scale, good, hysteresis, overflows } = this;
    return { scale, good, hysteresis, overflows };
  }

  /** Goes on from what `state` gave. @throws InputError for what is no state of a loss scale. */
  restore(given: LossScalerState | Fields): void {
    if (!(given instanceof Fields) && !isJsonObject(given))
      throw new InputError(`expected the state of a loss scale, found ${show(given)}`);
    const state = given instanceof Fields ? given : new Fields({ ...given }, 'the state of a loss scale');
    const scale = state.number('scale');
    if (!(scale > 0 && scale <= LARGEST)) throw state.fault('scale', `above 0 and at most ${LARGEST}`);
    this.good = state.count('good');
    this.hysteresis = state.count('hysteresis', 1);
    this.overflows = state.count('overflows');
    this.scale = scale;
  }

  /**
   * Takes note of how a step went and sets the scale of the next. Returns what should be logged, if anything.
   * @throws MachineError when gradients overflow and the scale cannot be lowered.
   */
  update(overflow: boolean): LossScaleEvent | undefined {
    const { scaling, scale } = this;
    if (!overflow) {
      this.good++;
      this.overflows = 0;
      if (scaling?.kind !== 'dynamic' || this.good % scaling.window !== 0) return undefined;
      this.hysteresis = scaling.hysteresis;
      // Where gradients are 0 nothing ever overflows, and f32 has to hold the scale.
      if (scale >= LARGEST) return undefined;
      this.scale *= 2;
      return { event: 'loss_scale', loss_scale: this.scale, previous_loss_scale: scale };
    }
    this.good = 0;
    this.overflows++;
    if (scaling === null)
      throw new MachineError('the gradients are not finite: nothing of this step is saved');
    if (scaling.kind === 'static') {
      if (this.overflows >= FIXED_PATIENCE)
        throw new MachineError(
          `${this.overflows} steps in a row overflowed f16 at the fixed loss scale ${scale}: lower it, or train without --fp16`,
        );
    } else if (this.hysteresis > 1) this.hysteresis--;
    else if (scale <= scaling.minimumScale)
      throw new MachineError(
        `f16 overflows at the smallest loss scale ${scaling.minimumScale}, after ${this.overflows === 1 ? 'an overflow' : `${this.overflows} overflows in a row`}: ` +
          'nothing of this step is saved',
      );
    else this.scale = Math.max(scaling.minimumScale, scale / 2);
    return { event: 'overflow', loss_scale: this.scale, previous_loss_scale: scale };
  }
}

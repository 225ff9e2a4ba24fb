/**
 * What `requiresGrad` and `grad` of a tensor mean: a leaf has a sink in which backward leaves its gradient. A parameter
 * is a leaf with a name; any other tensor becomes one when a gradient is asked of it, or given to it.
 */
import { ShapeError } from '../errors.js';
import { sameShape } from '../tensor/shape.js';
import { type DType, type LeafRole, makeLeavesWith, type Tensor } from '../tensor/tensor.js';
import { DenseGradient, type RowGradients } from './gradients.js';

export class Leaf implements LeafRole {
  private asked = false;

  constructor(
    private values: Tensor,
    /** Undefined: it was made not to train. */
    readonly gradient: DenseGradient | RowGradients | undefined,
  ) {}

  get tensor(): Tensor {
    return this.values;
  }

  /** From here on the leaf's values are those of another tensor of its shape; frees the one before. */
  protected replaceTensor(by: Tensor): void {
    this.values.role = undefined;
    this.values.dispose();
    this.values = by;
    by.role = this;
  }

  protected get gradientDType(): DType {
    return this.tensor.dtype;
  }

  get trains(): boolean {
    return this.asked;
  }

  /** @throws ShapeError for integers, for false on the result of an op. */
  train(on: boolean): void {
    const { tensor } = this;
    if (on && tensor.dtype !== 'f32' && tensor.dtype !== 'f16')
      throw new ShapeError('requiresGrad', 'only floats have gradients', { tensor });
    if (!on && tensor.node)
      throw new ShapeError('requiresGrad', 'computed by an op; detach() leaves the tape', { tensor });
    this.asked = on;
  }

  /** @throws ShapeError when it is not of the leaf's shape, dtype and device. */
  setGradient(gradient: Tensor | undefined): void {
    const { tensor } = this;
    if (
      gradient &&
      !(
        sameShape(gradient.shape, tensor.shape) &&
        gradient.dtype === this.gradientDType &&
        gradient.gpu === tensor.gpu
      )
    )
      throw new ShapeError('grad', "a gradient is of its leaf's shape, dtype and device", {
        leaf: tensor,
        gradient,
      });
    this.gradient?.set(gradient);
  }

  half(): Tensor | undefined {
    return undefined;
  }

  dispose(): void {
    this.gradient?.dispose();
  }
}

makeLeavesWith((tensor) => new Leaf(tensor, new DenseGradient(tensor)));

/**
 * A parameter: a named tensor that may train, where its gradient arrives, and the f16 copy of it that products of halves read.
 * Those of a model lie in a store (parameter-store.ts); one alone has memory of its own.
 */
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { castInto } from '../kernels/pointwise.js';
import { customInspect, show } from '../show.js';
import { keepAll } from '../tensor/scope.js';
import { checkShape, type Shape } from '../tensor/shape.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { DenseGradient, RowGradients } from './gradients.js';
import { Leaf } from './leaves.js';

/** A slice of a parameter under the name that weight files give it. */
export interface ParameterPart {
  /** As weight files have it. */
  readonly name: string;
  /** First element within the parameter. */
  readonly start: number;
  /** Of this part alone. */
  readonly shape: Shape;
}

/** Name, shape and first values of a parameter. */
export interface ParameterSpec {
  /** Its name in the store; of a parameter in one part also that in weight files. */
  readonly name: string;
  /** Of the whole tensor, all parts. */
  readonly shape: Shape;
  /** Several named slices fused into one tensor (query, key, value); by default the one name. */
  readonly parts?: readonly ParameterPart[];
  /** Weight decay applies. */
  readonly decay: boolean;
  /** False: it has no gradient, no moments, and is never updated. */
  readonly trainable: boolean;
  /** An embedding table: its gradient is collected by rows. */
  readonly table?: boolean;
  /** A matrix that products read: an f16 store has room for its f16 copy beside those of the others, where the optimiser writes it. */
  readonly product?: boolean;
  /**
   * When forward first uses it: backward completes the gradients of later stages first (`ParameterStore.buckets`).
   * 0 by default: complete at the end of backward.
   */
  readonly stage?: number;
  /** What it belongs to, by which it can be chosen among others (`ParameterStore.group`); by default 'default'. */
  readonly group?: string;
}

/** @throws ShapeError when no parameter can be made of it. */
export function checkSpec(op: string, { name, shape, table, stage }: ParameterSpec): void {
  checkShape(op, shape);
  if (table && shape.length !== 2)
    throw new ShapeError(op, `the table ${show(name)} must be of rows and columns, not [${shape}]`);
  if (stage !== undefined && !(Number.isSafeInteger(stage) && stage >= 0))
    throw new ShapeError(
      op,
      `the stage of ${show(name)} must be a whole number from 0 on, found ${show(stage)}`,
    );
}

/**
 * A named tensor, f32, where its gradient arrives, and the f16 copy of it that products of halves read: made for the first of
 * them, and written again when the weight was.
 */
export class Parameter extends Leaf {
  /** As its specification has it. */
  readonly name: string;
  /** Of the whole tensor, all parts. */
  readonly shape: Shape;
  /** Its slices as weight files name them; one of all of it where it is not fused. */
  readonly parts: readonly ParameterPart[];
  /** Weight decay applies. */
  readonly decay: boolean;
  /** It was made to train; whether it does now is `requiresGrad`. */
  readonly trainable: boolean;
  /** An embedding table: its gradient is collected by rows. */
  readonly table: boolean;
  /** When forward first uses it, as `ParameterSpec.stage`. */
  readonly stage: number;
  /** Whoever regroups parameters says so here. */
  group: string;
  /** The weight's version that the f16 copy is of. */
  private halved: number | undefined;
  private gather: ((start: number, count: number) => Promise<Float32Array>) | undefined;

  /**
   * A parameter in no store, zeros at first: its gradient is its own, made when the first one arrives, and a table's is
   * collected by rows. Disposing of its tensor frees all of it.
   * @throws ShapeError when the shape is none, or a table's is not of rows and columns.
   */
  static alone(gpu: Gpu, spec: ParameterSpec): Parameter {
    checkSpec('Parameter', spec);
    return keepAll(() => apart(gpu, spec));
  }

  /** For stores and modules: of a tensor and a gradient that are there. `Parameter.alone` makes one with both. */
  constructor(
    spec: ParameterSpec,
    tensor: Tensor,
    gradient: DenseGradient | RowGradients | undefined,
    private copy: Tensor | undefined,
    /** First element in the store's flat buffers; undefined when it lies apart. */
    readonly offset: number | undefined,
  ) {
    super(tensor, gradient);
    this.name = spec.name;
    this.shape = spec.shape;
    this.parts = spec.parts ?? [{ name: spec.name, start: 0, shape: spec.shape }];
    this.decay = spec.decay;
    this.trainable = spec.trainable;
    this.table = spec.table === true;
    this.stage = spec.stage ?? 0;
    this.group = spec.group ?? 'default';
    super.train(spec.trainable);
    tensor.role = this;
  }

  /** The weight was written since its f16 copy was made. */
  get isStale(): boolean {
    return this.copy !== undefined && this.halved !== this.tensor.version.current;
  }

  /** The f16 copy as the weight is now, made when it is first asked for; of a divided weight its tensor. */
  override half(): Tensor {
    if (this.isDivided) return this.tensor;
    this.copy ??= Tensor.empty(this.tensor.gpu, this.shape, 'f16', 'weights').keep();
    if (this.isStale) {
      castInto(this.tensor, this.copy);
      this.noteHalved();
    }
    return this.copy;
  }

  /** The f16 copy as the weight is now, if there is one: whoever writes the weight can write it too, and say so (`noteHalved`). */
  get currentHalf(): Tensor | undefined {
    return this.copy && this.half();
  }

  /** Frees the f16 copy until a product of halves wants one again; of a store it lies among others, and stays. */
  forgetHalf(): void {
    if (this.offset !== undefined) return;
    this.copy?.dispose();
    this.copy = undefined;
    this.halved = undefined;
  }

  /** Whoever wrote the weight wrote the copy too. */
  noteHalved(): void {
    this.halved = this.tensor.version.current;
  }

  /**
   * Several processes have parts of the weight in f32 (`ParameterStore.divide`): the tensor is the f16 copy that products
   * read, and `read` asks all of them.
   */
  get isDivided(): boolean {
    return this.tensor.dtype === 'f16';
  }

  /** For `ParameterStore.divide`: the weight, as it is, now lies in this f32 tensor; without one, its f16 copy is all that is here. */
  moveTo(tensor?: Tensor): void {
    const current = !this.isStale;
    this.replaceTensor(tensor ?? this.copy!);
    if (!tensor) this.copy = undefined;
    else if (current) this.noteHalved();
  }

  /** Gradients are f32, whatever products read. */
  protected override get gradientDType(): DType {
    return 'f32';
  }

  /**
   * The values of `count` elements from `start` on, f32, on the host. @throws RangeError where the weight is divided and
   * nobody gathers it (`StoreAdamW.withTensors`).
   */
  async read(start = 0, count = this.tensor.size - start): Promise<Float32Array> {
    const { tensor } = this;
    if (!this.isDivided)
      return new Float32Array(
        await tensor.gpu.read({ ...tensor.bindingRange(start, count), size: 4 * count }),
      );
    if (!this.gather)
      throw new RangeError(`${this.name}: ranks have parts of it; it is read while all of them give theirs`);
    return this.gather(start, count);
  }

  /** How a divided weight is read from here on; without `gather` it cannot be. */
  readBy(gather: ((start: number, count: number) => Promise<Float32Array>) | undefined): void {
    this.gather = gather;
  }

  /** From here on: no gradient, no update, no decay. What it had of a gradient is gone. */
  freeze(): void {
    this.train(false);
  }

  /** Trains again. @throws ShapeError when it was made not to train. */
  unfreeze(): void {
    this.train(true);
  }

  /** `freeze`, `unfreeze`, and what `requiresGrad` of the tensor does. @throws ShapeError for true when it was made not to train. */
  override train(on: boolean): void {
    if (on && !this.gradient)
      throw new ShapeError('requiresGrad', `the parameter "${this.name}" was made not to train`, {
        parameter: this.tensor,
      });
    if (!on) this.gradient?.clear();
    super.train(on);
  }

  /** Of its tensor: the gradient so far. */
  get grad(): Tensor | undefined {
    return this.tensor.grad;
  }

  set grad(gradient: Tensor | undefined) {
    this.tensor.grad = gradient;
  }

  /** Of its tensor: whether it trains. Set to false, it freezes. */
  get requiresGrad(): boolean {
    return this.tensor.requiresGrad;
  }

  set requiresGrad(on: boolean) {
    this.tensor.requiresGrad = on;
  }

  override toString(): string {
    return `Parameter "${this.name}" of ${this.tensor}`;
  }

  /** How `console.log` shows it. */
  [customInspect](): string {
    return this.toString();
  }

  /** @throws ShapeError also when the parameter does not train. */
  override setGradient(gradient: Tensor | undefined): void {
    const parameter = this.tensor;
    if (gradient && !this.gradient)
      throw new ShapeError('grad', 'the parameter was made not to train', { parameter });
    if (gradient && !this.trains)
      throw new ShapeError('grad', 'the parameter is frozen, and a gradient would count in the norm', {
        parameter,
      });
    super.setGradient(gradient);
  }

  /** Frees gradient and f16 copy; disposing of the tensor calls it. */
  override dispose(): void {
    super.dispose();
    this.copy?.dispose();
  }
}

/** A parameter that lies in no flat buffer. */
export function apart(gpu: Gpu, spec: ParameterSpec): Parameter {
  const tensor = Tensor.zeros(gpu, spec.shape, 'f32', 'weights');
  const gradient = spec.table ? new RowGradients(tensor) : new DenseGradient(tensor);
  return new Parameter(spec, tensor, spec.trainable ? gradient : undefined, undefined, undefined);
}

/** A table that may train. */
export interface TableParameter extends Parameter {
  readonly gradient: RowGradients;
}

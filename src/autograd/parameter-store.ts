/**
 * The trainable state of a model. All dense parameters lie side by side in one flat buffer, their gradients in
 * another of the same layout, so that clearing, the norm and the optimiser are a few dispatches, not one per
 * tensor. Embedding tables stay apart and collect their gradient by rows.
 */
import { InputError, ShapeError } from '../errors.js';
import type { Gpu, Purpose } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { castInto } from '../kernels/pointwise.js';
import { show } from '../show.js';
import { keepAll } from '../tensor/scope.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { bucketsOf, type ElementRange, type GradientBucket, joinedRanges, sizeOfRanges } from './buckets.js';
import { DenseGradient, RowGradients } from './gradients.js';
import { apart, checkSpec, Parameter, type ParameterSpec, type TableParameter } from './parameter.js';

/** Elements: 256 bytes of f16, which any adapter can bind at. */
const SLOT = 128;

const slotSize = (shape: Shape) => Math.ceil(sizeOf(shape) / SLOT) * SLOT;

const collectsRows = (parameter: Parameter): parameter is TableParameter =>
  parameter.gradient instanceof RowGradients;

/** A model's parameters by name, in flat buffers of values and of gradients. */
export class ParameterStore {
  /** All of them, in the order of their specifications. */
  readonly parameters: readonly Parameter[];
  /** Elements of the flat buffers of weights and gradients of trainable dense parameters, which are equally laid out. */
  readonly size: number;
  /** Undefined when there are no such parameters. Of divided weights only what follows those. */
  weights: Tensor | undefined;
  /** Where of the flat buffers `weights` begins. */
  weightsStart = 0;
  /** Where weights are divided: the f32 values of those elements of the flat buffers that this process keeps, side by side. */
  masters: Tensor | undefined;
  private flatGradients: Tensor | undefined;
  private readonly isFlat: boolean;
  /**
   * Mixed precision: f16 copies of the first elements of `weights`, which hold all that products read. The
   * optimiser writes them along with the weights.
   */
  readonly halves: Tensor | undefined;
  /** Elements of the flat buffers before which weight decay applies. */
  readonly decayEnd: number;
  private readonly byName = new Map<string, Parameter>();

  /** `precision` f16: what products read gets its f16 copy at once; weights and gradients are f32 anyway. */
  constructor(
    /** The device of all its tensors. */
    readonly gpu: Gpu,
    specs: readonly ParameterSpec[],
    /** What products read: f32, or f16 copies. */
    readonly precision: FloatDType = 'f32',
  ) {
    for (const spec of specs) checkSpec('ParameterStore', spec);
    const names = specs.flatMap((spec) => [
      ...new Set([spec.name, ...(spec.parts ?? []).map((part) => part.name)]),
    ]);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined)
      throw new ShapeError('ParameterStore', `two parameters or parts are called ${show(twice)}`);
    // In the order of stages, so that those of one stage are few ranges.
    const flat = specs
      .filter((spec) => spec.trainable && !spec.table)
      .sort((a, b) => (a.stage ?? 0) - (b.stage ?? 0));
    const offsets = new Map<ParameterSpec, number>();
    let size = 0;
    const place = (list: ParameterSpec[]) => {
      for (const spec of list) {
        offsets.set(spec, size);
        size += slotSize(spec.shape);
      }
    };
    const product = (spec: ParameterSpec) => spec.product === true;
    const other = (spec: ParameterSpec) => !product(spec);
    const decaying = flat.filter((spec) => spec.decay);
    const rest = flat.filter((spec) => !spec.decay);
    place(decaying.filter(product));
    const halvesEnd = size;
    place(decaying.filter(other));
    this.decayEnd = size;
    place([...rest.filter(product), ...rest.filter(other)]);
    this.size = size;
    this.isFlat = flat.length > 0;
    const made = keepAll(() => {
      const weights = this.flatZeros('weights');
      const halves =
        precision === 'f16' && halvesEnd > 0 ? Tensor.empty(gpu, [halvesEnd], 'f16', 'weights') : undefined;
      const parameters = specs.map((spec) => {
        const offset = offsets.get(spec);
        if (offset === undefined) return apart(gpu, spec);
        const slot = (flat: Tensor) => flat.slot(offset, spec.shape);
        const tensor = slot(weights!);
        const gradient = new DenseGradient(tensor, () => slot(this.gradients!).keep());
        let half: Tensor | undefined;
        if (halves && spec.product && offset < halvesEnd) half = slot(halves);
        return new Parameter(spec, tensor, gradient, half, offset);
      });
      return { weights, halves, parameters };
    });
    this.weights = made.weights;
    this.halves = made.halves;
    this.parameters = made.parameters;
    for (const parameter of this.parameters) this.byName.set(parameter.name, parameter);
  }

  /** Zeros everywhere, padding included: the norm and the optimiser run over it. */
  private flatZeros(purpose: Purpose): Tensor | undefined {
    return this.isFlat ? Tensor.zeros(this.gpu, [this.size], 'f32', purpose) : undefined;
  }

  /** Of the same layout as `weights`; made when they are first asked for, as by the first gradient: inference has none. */
  get gradients(): Tensor | undefined {
    this.flatGradients ??= this.flatZeros('gradients')?.keep();
    return this.flatGradients;
  }

  /** @throws InputError when there is no such parameter. */
  get(name: string): Tensor {
    const parameter = this.byName.get(name);
    if (!parameter) throw new InputError(`no parameter "${name}"`);
    return parameter.tensor;
  }

  /** Trainable tables; each collects its gradient by rows. */
  get tables(): TableParameter[] {
    return this.parameters.filter(collectsRows);
  }

  /** The parameters of a group; none when there is no such group. */
  group(name: string): Parameter[] {
    return this.parameters.filter(({ group }) => group === name);
  }

  /** Number of scalars, all parameters. */
  get count(): number {
    return this.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  }

  /** Those of the flat buffers' elements whose parameters train; one range unless some were frozen. */
  trainingRanges(): ElementRange[] {
    return joinedRanges(this.trainingSlots());
  }

  /**
   * The training elements of the flat buffers as buckets, each of them in exactly one, in the order in which backward
   * completes their gradients: the last stage first. Stages are joined until they have `bytes` bytes of f32; one that has
   * more stays whole. Tables lie apart and are not among
   * them. Freezing or unfreezing a parameter changes the buckets.
   */
  buckets(bytes: number): GradientBucket[] {
    return bucketsOf(this.trainingSlots(), bytes);
  }

  /** Where dense parameters lie that train and have elements, padding included. */
  private trainingSlots(): (ElementRange & { readonly stage: number })[] {
    return this.parameters.flatMap(({ offset, shape, stage, trains }) => {
      const size = slotSize(shape);
      return offset !== undefined && trains && size > 0 ? [{ start: offset, end: offset + size, stage }] : [];
    });
  }

  /**
   * Mixed precision on several processes: of the weights that have copies in `halves` this one keeps in f32 what lies in
   * `own`, ascending ranges of the flat buffers, side by side in `masters`; whoever has the others' gathers them one by one
   * for those who want them (`Parameter.read`). What products do not read, and what does not train, stays whole. Tensors
   * of parameters are others afterwards.
   */
  divide(own: readonly ElementRange[]): void {
    const { gpu, halves, size, weights } = this;
    if (!halves || !weights || this.masters) return;
    this.refreshHalves();
    const end = halves.size;
    const kept = own.flatMap((range) =>
      range.start < end ? [{ start: range.start, end: Math.min(end, range.end) }] : [],
    );
    const empty = (shape: Shape) => Tensor.empty(gpu, shape, 'f32', 'weights');
    const [masters, rest] = keepAll(() => [empty([sizeOfRanges(kept)]), empty([size - end])] as const);
    let at = 0;
    for (const range of kept) {
      masters.copyFrom(weights, at, range.start, range.end - range.start);
      at += range.end - range.start;
    }
    rest.copyFrom(weights, 0, end);
    for (const parameter of this.parameters) {
      const { offset, shape, tensor, trains } = parameter;
      if (offset === undefined) continue;
      if (offset >= end) parameter.moveTo(rest.slot(offset - end, shape).keep());
      else if (trains) parameter.moveTo();
      else {
        const apart = empty(shape).keep();
        apart.copyUnrecorded(tensor);
        parameter.moveTo(apart);
      }
    }
    weights.dispose();
    this.masters = masters;
    this.weights = rest;
    this.weightsStart = end;
  }

  /** Where elements of the flat buffers lie that every process has: in f32, or of divided weights their copies. */
  placesOf({ start, end }: ElementRange): {
    /** On the device, flat. */
    tensor: Tensor;
    /** The first of its elements that are meant. */
    start: number;
    /** How many. */
    count: number;
  }[] {
    const { halves, weights, weightsStart: from } = this;
    const [before, after] = [Math.min(end, from), Math.max(start, from)];
    return [
      ...(start < before ? [{ tensor: halves!, start, count: before - start }] : []),
      ...(after < end ? [{ tensor: weights!, start: after - from, count: end - after }] : []),
    ];
  }

  /** Makes the f16 copies anew of all weights that were written since; products do it by themselves for theirs. */
  refreshHalves(): void {
    const { halves, weights } = this;
    const inHalves = halves
      ? this.parameters.filter(({ offset }) => offset !== undefined && offset < halves.size)
      : [];
    // After loading: all of them at once.
    if (halves && !this.masters && inHalves.every((parameter) => parameter.isStale)) {
      castInto(weights!, halves);
      for (const parameter of inHalves) parameter.noteHalved();
    }
    for (const parameter of this.parameters) if (parameter.isStale) parameter.half();
  }

  /** The optimiser wrote `halves` along with `weights`: copies that lie there are of the weights as they are now. */
  noteHalvesUpdated(): void {
    const end = this.halves?.size ?? 0;
    for (const parameter of this.parameters)
      if (parameter.offset !== undefined && parameter.offset < end && parameter.trains)
        parameter.noteHalved();
  }

  /** Back to no gradients: the flat buffer is filled with zeros, tables forget their rows. */
  zeroGradients(): void {
    this.flatGradients?.fillZero();
    for (const { gradient } of this.tables) gradient.clear();
  }

  /** Gradients by part name, dense, on the host: for checks. */
  async readGradients(): Promise<Map<string, Float32Array>> {
    const result = new Map<string, Float32Array>();
    for (const parameter of this.parameters) {
      const { gradient } = parameter;
      if (!gradient) continue;
      let whole: Float32Array;
      if (gradient instanceof RowGradients) {
        const cols = parameter.tensor.cols;
        whole = new Float32Array(sizeOf(parameter.shape));
        const merged = gradient.merged();
        if (merged) {
          const values = (await merged.values.toArray()) as Float32Array;
          merged.rows.forEach((row, i) => {
            whole.set(values.subarray(i * cols, (i + 1) * cols), row * cols);
          });
        }
      } else whole = (await gradient.into!.toArray()) as Float32Array;
      for (const part of parameter.parts)
        result.set(part.name, whole.slice(part.start, part.start + sizeOf(part.shape)));
    }
    return result;
  }

  /** Frees all parameters, their gradients and the flat buffers. */
  dispose(): void {
    for (const { tensor } of this.parameters) tensor.dispose();
    this.weights?.dispose();
    this.masters?.dispose();
    this.halves?.dispose();
    this.flatGradients?.dispose();
  }
}

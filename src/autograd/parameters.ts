/**
 * The trainable state of a model. All dense parameters lie side by side in one flat buffer, their gradients in
 * another of the same layout, so that clearing, the norm and the optimiser are a few dispatches, not one per
 * tensor. Embedding tables stay apart and collect their gradient by rows.
 */
import { InputError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch.js';
import { castRange } from '../kernels/pointwise.js';
import { flatRanges } from '../kernels/ranges.js';
import { segmentSumRows } from '../kernels/rows.js';
import { RowIndex } from '../tensor/row-index.js';
import { scope } from '../tensor/scope.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import { type RowGradient, Tensor } from '../tensor/tensor.js';

/** A slice of a parameter under the name that weight files give it. */
export interface ParameterPart {
  readonly name: string;
  /** First element within the parameter. */
  readonly start: number;
  readonly shape: Shape;
}

export interface ParameterSpec {
  readonly name: string;
  readonly shape: Shape;
  /** Several named slices fused into one tensor (query, key, value); by default the one name. */
  readonly parts?: readonly ParameterPart[];
  /** Weight decay applies. */
  readonly decay: boolean;
  readonly trainable: boolean;
  /** An embedding table: its gradient is collected by rows. */
  readonly table?: boolean;
  /** A matrix that products read: in mixed precision it has an f16 copy. */
  readonly product?: boolean;
}

export interface Parameter extends ParameterSpec {
  readonly tensor: Tensor;
  readonly parts: readonly ParameterPart[];
}

/** Elements: 256 bytes of f16, which any adapter can bind at. */
const SLOT = 128;

export class ParameterStore {
  readonly parameters: readonly Parameter[];
  /** Flat weights and gradients of trainable dense parameters, equally laid out; undefined when there are none. */
  readonly weights: Tensor | undefined;
  readonly gradients: Tensor | undefined;
  /**
   * Mixed precision: f16 copies of the first elements of `weights`, which hold all that products read. The
   * optimiser writes them along with the weights.
   */
  readonly halves: Tensor | undefined;
  /** Elements of the flat buffers before which weight decay applies. */
  readonly decayEnd: number;
  private readonly byName = new Map<string, Parameter>();
  private readonly loose: Parameter[] = [];

  /** `precision` f16: what products read gets an f16 copy (`Tensor.half`); weights and gradients are f32 anyway. */
  constructor(
    readonly gpu: Gpu,
    specs: readonly ParameterSpec[],
    readonly precision: FloatDType = 'f32',
  ) {
    const flat = specs.filter((spec) => spec.trainable && !spec.table);
    const offsets = new Map<ParameterSpec, number>();
    let size = 0;
    const place = (list: ParameterSpec[]) => {
      for (const spec of list) {
        offsets.set(spec, size);
        size += Math.ceil(sizeOf(spec.shape) / SLOT) * SLOT;
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
    if (size > 0) {
      // Zeros everywhere, padding included: the norm and the optimiser run over it.
      this.weights = Tensor.zeros(gpu, [size], 'f32', 'weights').keep();
      this.gradients = Tensor.zeros(gpu, [size], 'f32', 'gradients').keep();
    }
    if (precision === 'f16' && halvesEnd > 0)
      this.halves = Tensor.empty(gpu, [halvesEnd], 'f16', 'weights').keep();
    this.parameters = specs.map((spec) => {
      const offset = offsets.get(spec);
      let tensor: Tensor;
      if (offset === undefined) tensor = Tensor.empty(gpu, spec.shape, 'f32', 'weights').keep();
      else {
        tensor = this.weights!.viewAt(offset, spec.shape, true)!.keep();
        tensor.grad = this.gradients!.viewAt(offset, spec.shape, true)!.keep();
      }
      tensor.requiresGrad = spec.trainable;
      const inHalves = offset !== undefined && offset < halvesEnd;
      if (precision === 'f16' && spec.product)
        tensor.half = inHalves
          ? this.halves!.viewAt(offset, spec.shape, true)!.keep()
          : Tensor.empty(gpu, spec.shape, 'f16', 'weights').keep();
      if (spec.trainable && spec.table) tensor.rowGradients = [];
      const parts = spec.parts ?? [{ name: spec.name, start: 0, shape: spec.shape }];
      const parameter = { ...spec, tensor, parts };
      if (tensor.half && !inHalves) this.loose.push(parameter);
      return parameter;
    });
    for (const parameter of this.parameters) this.byName.set(parameter.name, parameter);
  }

  /** @throws InputError when there is no such parameter. */
  get(name: string): Tensor {
    const parameter = this.byName.get(name);
    if (!parameter) throw new InputError(`no parameter "${name}"`);
    return parameter.tensor;
  }

  /** Trainable tables; each holds its gradient in `tensor.rowGradients`. */
  get tables(): Parameter[] {
    return this.parameters.filter((parameter) => parameter.table && parameter.trainable);
  }

  /** Number of scalars, all parameters. */
  get count(): number {
    return this.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  }

  /** Brings the f16 copies up to date after weights were written from outside the optimiser. */
  refreshHalves(): void {
    const { halves, weights } = this;
    if (halves)
      for (const { start, count } of flatRanges(halves, 0, halves.size))
        castRange(weights!, halves, start, count);
    this.refreshLooseHalves(() => true);
  }

  /** Of those whose copies are not in `halves`: frozen ones, and such as do not decay. */
  refreshLooseHalves(which: (parameter: Parameter) => boolean): void {
    for (const parameter of this.loose)
      if (which(parameter)) castRange(parameter.tensor, parameter.tensor.half!, 0, parameter.tensor.size);
  }

  zeroGradients(): void {
    this.gradients?.fillZero();
    for (const { tensor } of this.tables) {
      for (const piece of tensor.rowGradients!) piece.values.dispose();
      tensor.rowGradients = [];
    }
  }

  /** Merges a table's collected pieces into one; undefined when it has no gradient. */
  mergedRows(parameter: Parameter): RowGradient | undefined {
    const { tensor } = parameter;
    const pieces = tensor.rowGradients!;
    if (pieces.length <= 1) return pieces[0];
    const union = Uint32Array.from(new Set(pieces.flatMap((piece) => [...piece.rows]))).sort();
    const at = new Map(Array.from(union, (row, i) => [row, i]));
    const values = Tensor.zeros(this.gpu, [union.length, tensor.cols], 'f32', 'gradients').keep();
    scope(() => {
      for (const piece of pieces) {
        const index = new RowIndex(
          this.gpu,
          piece.rows.map((row) => at.get(row)!),
        );
        segmentSumRows(piece.values, index.segments(), values, true);
        piece.values.dispose();
        index.dispose();
      }
    });
    tensor.rowGradients = [{ rows: union, values }];
    return tensor.rowGradients[0];
  }

  /** Gradients by part name, dense, on the host: for checks. */
  async readGradients(): Promise<Map<string, Float32Array>> {
    const result = new Map<string, Float32Array>();
    for (const parameter of this.parameters) {
      if (!parameter.trainable) continue;
      let whole: Float32Array;
      if (parameter.table) {
        const cols = parameter.tensor.cols;
        whole = new Float32Array(sizeOf(parameter.shape));
        const merged = this.mergedRows(parameter);
        if (merged) {
          const values = (await merged.values.toArray()) as Float32Array;
          merged.rows.forEach((row, i) => {
            whole.set(values.subarray(i * cols, (i + 1) * cols), row * cols);
          });
        }
      } else whole = (await parameter.tensor.grad!.toArray()) as Float32Array;
      for (const part of parameter.parts)
        result.set(part.name, whole.slice(part.start, part.start + sizeOf(part.shape)));
    }
    return result;
  }

  dispose(): void {
    this.zeroGradients();
    for (const { tensor } of this.parameters) {
      tensor.grad?.dispose();
      tensor.dispose();
    }
    this.weights?.dispose();
    this.halves?.dispose();
    this.gradients?.dispose();
  }
}

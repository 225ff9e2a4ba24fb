/** The layers of torch.nn: linear, embedding, norms, dropout, and their sequence; names and first values are PyTorch's. */
import { dropout, gatherRows, indexSelect, layerNorm, linear, reshape, rmsNorm } from '../autograd/index.js';
import { requireGpu } from '../autograd/make-options.js';
import type { Parameter } from '../autograd/parameter.js';
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { OptionNames } from '../options.js';
import { show } from '../show.js';
import { positive, probability, signature, wholeNumber } from '../tensor/operands.js';
import type { RandomStreams } from '../tensor/random-streams.js';
import { RowIndex } from '../tensor/row-index.js';
import { noGrad, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { constant_, kaimingUniform_, normal_, uniform_ } from './initialize.js';
import { type Held, heldIn, Module, parameter } from './module.js';
import { defaultRandom } from './random.js';

/** Where first values are drawn; by default the device's own counter (`manualSeed`). */
export interface RandomOptions {
  /** A counter of the program's own. */
  readonly random?: RandomStreams | undefined;
}

export const RANDOM_OPTIONS = new OptionNames<RandomOptions>({ random: 'any' });

export interface LinearOptions extends RandomOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** Of another module, [out, in]: tied, not copied. */
  readonly weight?: Parameter;
}

const LINEAR_OPTIONS = new OptionNames<LinearOptions>({ bias: 'boolean', weight: 'any', random: 'any' });
const LINEAR = signature('Linear', {}, { numbers: { in: wholeNumber(), out: wholeNumber() } });

/** x·Wᵀ + b. x: [..., in] f32 or f16; returns [..., out] of the product's format. Weight and bias begin uniform in ±1/√in. */
export class Linear extends Module {
  /** [out, in]. */
  readonly weight: Parameter;
  /** [out], or none. */
  readonly bias: Parameter | undefined;

  /** @throws ShapeError for extents that are none, and a tied weight of another shape. */
  constructor(gpu: Gpu, inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    requireGpu('Linear', gpu);
    LINEAR.check({}, { in: inFeatures, out: outFeatures });
    const { bias = true, weight, random } = LINEAR_OPTIONS.read('Linear', options);
    const shape = [outFeatures, inFeatures];
    if (weight && `${weight.shape}` !== `${shape}`)
      throw new ShapeError('Linear', `a tied weight must be [${shape}]`, { weight: weight.tensor });
    this.weight = weight ?? kaimingUniform_(parameter(gpu, shape), Math.sqrt(5), random);
    const bound = inFeatures === 0 ? 0 : 1 / Math.sqrt(inFeatures);
    this.bias = bias ? uniform_(parameter(gpu, [outFeatures]), -bound, bound, random) : undefined;
  }

  /** The result is of `dtype`, by default that of x as the product reads it (`Module.to`). */
  forward(x: Tensor, dtype?: FloatDType): Tensor {
    return scope(() => linear(this.inPrecision(x), this.weight.tensor, this.bias?.tensor, dtype));
  }
}

export interface EmbeddingOptions extends RandomOptions {
  /** The row of padding: zeros at first, and without gradient. Negative: from the end. */
  readonly paddingIndex?: number;
}

/** Row numbers: a list of them, lists of equal lengths, what `RowIndex` made of them, or u32 or i32 on the device, of any shape. */
export type Ids = RowIndex | Tensor | ArrayLike<number> | readonly ArrayLike<number>[];

const EMBEDDING_OPTIONS = new OptionNames<EmbeddingOptions>({ paddingIndex: 'number', random: 'any' });
const EMBEDDING = signature('Embedding', {}, { numbers: { rows: wholeNumber(), columns: wholeNumber() } });

/**
 * Rows of a table by their numbers: [n] ids give [n, dim], lists [a, b] of ids [a, b, dim], of the module's precision. Rows begin
 * normal(0, 1).
 */
export class Embedding extends Module {
  /** [rows, columns]. */
  readonly weight: Parameter;
  private readonly paddingIndex: number | undefined;

  /** @throws ShapeError for extents that are none, and a padding row that the table does not have. */
  constructor(gpu: Gpu, rows: number, columns: number, options: EmbeddingOptions = {}) {
    super();
    const { paddingIndex, random } = EMBEDDING_OPTIONS.read('Embedding', options);
    requireGpu('Embedding', gpu);
    EMBEDDING.check({}, { rows, columns });
    if (
      paddingIndex !== undefined &&
      !(Number.isInteger(paddingIndex) && paddingIndex >= -rows && paddingIndex < rows)
    )
      throw new ShapeError('Embedding', `padding index ${paddingIndex} of ${rows} rows`);
    this.weight = normal_(parameter(gpu, [rows, columns], { table: true }), 0, 1, random);
    this.paddingIndex = paddingIndex;
    if (paddingIndex !== undefined) {
      const row = paddingIndex < 0 ? rows + paddingIndex : paddingIndex;
      noGrad(() => this.weight.tensor.write(new Float32Array(columns), row * columns));
    }
  }

  /**
   * Ids on the host give a gradient of the rows that they name, ids on the device a dense one.
   * @throws ShapeError for a number that is no row, for lists of different lengths, for ids on the device with a padding row.
   */
  forward(ids: Ids): Tensor {
    return scope(() => this.inPrecision(this.rowsAt(ids)));
  }

  private rowsAt(ids: Ids): Tensor {
    const { tensor } = this.weight;
    if (ids instanceof Tensor) {
      if (this.paddingIndex !== undefined)
        throw new ShapeError('Embedding', 'a padding row is known on the host: so must the ids be', { ids });
      return indexSelect(tensor, 0, ids);
    }
    const options = { paddingIndex: this.paddingIndex };
    if (ids instanceof RowIndex) return gatherRows(tensor, ids, options);
    const { values, shape } = flatIds(ids);
    const index = new RowIndex(tensor.gpu, values);
    try {
      return reshape(gatherRows(tensor, index, options), [...shape, tensor.cols]);
    } finally {
      // What was recorded takes what it needs anew.
      index.dispose();
    }
  }
}

/** @throws ShapeError unless they are whole numbers from 0 on, in lists of one length. */
function flatIds(ids: ArrayLike<number> | readonly ArrayLike<number>[]): {
  values: Uint32Array;
  shape: number[];
} {
  const fail = (problem: string): never => {
    throw new ShapeError('Embedding', problem);
  };
  if (typeof ids !== 'object' || ids === null || typeof ids.length !== 'number')
    return fail(`ids must be a list of row numbers, found ${show(ids)}`);
  const lists = (
    typeof ids[0] === 'object' ? Array.from(ids as ArrayLike<unknown>) : [ids]
  ) as ArrayLike<number>[];
  const length = lists[0]?.length ?? 0;
  const values = new Uint32Array(lists.length * length);
  for (const [n, list] of lists.entries()) {
    if (list?.length !== length) fail(`list ${n} of ids has ${list?.length}, the first ${length}`);
    for (let i = 0; i < length; i++) {
      const id = list[i]!;
      if (!(Number.isInteger(id) && id >= 0 && id < 2 ** 32)) fail(`${show(id)} is no row number`);
      values[n * length + i] = id;
    }
  }
  return { values, shape: lists[0] === ids ? [length] : [lists.length, length] };
}

/** Of a norm over the last dimension. */
export interface NormOptions {
  /** Added to the variance. */
  readonly eps?: number;
  /** Default true. */
  readonly bias?: boolean;
}

const NORM_OPTIONS = new OptionNames<NormOptions>({ eps: 'number', bias: 'boolean' });
const NORM = signature('LayerNorm', {}, { numbers: { features: wholeNumber(), eps: positive } });

/** (x − mean) / √(variance + ε)·γ + β over the last dimension, of `features` values; ε 1e-5. γ begins as 1, β as 0. */
export class LayerNorm extends Module {
  /** γ, [features]. */
  readonly weight: Parameter;
  /** β, [features]; undefined with `bias: false`. */
  readonly bias: Parameter | undefined;
  private readonly eps: number;
  /** In place of β. */
  private readonly zeros: Tensor | undefined;

  /** @throws ShapeError for extents that are none, and an ε that is not above 0. */
  constructor(gpu: Gpu, features: number, options: NormOptions = {}) {
    super();
    const { eps = 1e-5, bias = true } = NORM_OPTIONS.read('LayerNorm', options);
    requireGpu('LayerNorm', gpu);
    NORM.check({}, { features, eps });
    this.eps = eps;
    this.weight = constant_(parameter(gpu, [features]), 1);
    this.bias = bias ? parameter(gpu, [features]) : undefined;
    if (!bias)
      this.zeros = this.registerBuffer('zeros', Tensor.zeros(gpu, [features]), { persistent: false });
  }

  /** With a residual, of (x + residual). */
  forward(x: Tensor, residual?: Tensor, dtype?: FloatDType): Tensor {
    return layerNorm(x, this.weight.tensor, this.bias?.tensor ?? this.zeros!, this.eps, residual, dtype);
  }
}

const RMS_NORM_OPTIONS = new OptionNames<Pick<NormOptions, 'eps'>>({ eps: 'number' });
const RMS_NORM = signature('RMSNorm', {}, { numbers: { features: wholeNumber(), eps: positive } });

/** x / √(mean of squares + ε)·γ over the last dimension, of `features` values; ε 2⁻²³. γ begins as 1. */
export class RMSNorm extends Module {
  /** γ, [features]. */
  readonly weight: Parameter;
  private readonly eps: number;

  /** @throws ShapeError for extents that are none, and an ε that is not above 0. */
  constructor(gpu: Gpu, features: number, options: Pick<NormOptions, 'eps'> = {}) {
    super();
    const { eps = 2 ** -23 } = RMS_NORM_OPTIONS.read('RMSNorm', options);
    requireGpu('RMSNorm', gpu);
    RMS_NORM.check({}, { features, eps });
    this.eps = eps;
    this.weight = constant_(parameter(gpu, [features]), 1);
  }

  /** x: [..., features] f32 or f16; returns the same. */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight.tensor, this.eps);
  }
}

const DROPOUT = signature('Dropout', {}, { numbers: { probability } });

/** While training, zeros with a probability, and what is left divided by 1 − p; else x itself. */
export class Dropout extends Module {
  private readonly random: RandomStreams | undefined;

  /** `probability`: of a zero, from 0 to below 1. @throws ShapeError for another. */
  constructor(
    private readonly probability = 0.5,
    options: RandomOptions = {},
  ) {
    super();
    const { random } = RANDOM_OPTIONS.read('Dropout', options);
    DROPOUT.check({}, { probability });
    this.random = random;
  }

  /** x of any shape; returns the same. */
  forward(x: Tensor): Tensor {
    if (!this.training || this.probability === 0) return x;
    return dropout(x, this.probability, (this.random ?? defaultRandom(x.gpu)).next());
  }
}

/** A module, or a function, of one tensor. */
export type Layer =
  | (Module & {
      /** Of one tensor one tensor. */
      forward(x: Tensor): Tensor;
    })
  | ((x: Tensor) => Tensor);

/** One layer after the other; activations are the functions themselves: `new Sequential(new Linear(gpu, 2, 64), relu, …)`. */
export class Sequential extends Module {
  /** In their order; a module's name is its place, `0`, `1` … */
  readonly layers: readonly Layer[];

  /** @throws ShapeError for what is neither a module nor a function. */
  constructor(...layers: Layer[]) {
    super();
    const wrong = layers.findIndex((layer) => typeof layer !== 'function' && !(layer instanceof Module));
    if (wrong >= 0)
      throw new ShapeError(
        'Sequential',
        `layer ${wrong} must be a module or a function, found ${show(layers[wrong])}; layers are arguments, not a list`,
      );
    this.layers = layers;
  }

  /** By their places alone. */
  protected override *held(): Generator<[name: string, value: Held]> {
    yield* heldIn('Sequential', this.layers);
  }

  /** What the last layer gives; what those before it gave is freed unless a gradient needs it. */
  forward(x: Tensor): Tensor {
    return scope(() =>
      this.layers.reduce((y, layer) => (layer instanceof Module ? layer.forward(y) : layer(y)), x),
    );
  }
}

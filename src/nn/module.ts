/**
 * Module: parameters, buffers and modules under their names, as torch.nn.Module has them. What an object's own properties hold
 * is what it is made of: a `Parameter`, a `Module`, or an array of them (PyTorch's ModuleList), which counts from 0. Names are
 * those of the properties, in PyTorch's spelling: `selfAttn` is `self_attn`.
 */
import { cast } from '../autograd/index.js';
import { Parameter, type ParameterSpec } from '../autograd/parameters.js';
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { show } from '../show.js';
import type { Shape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { saveTensors } from '../weights/save-tensors.js';
import { type LoadOptions, type LoadReport, loadEntries, type StateDict } from './state-dict.js';

/** `selfAttn` → `self_attn`; a name that begins with a capital, or has an underscore, is as it is. */
export const pythonName = (property: string): string =>
  /^[A-Z]|_/.test(property) ? property : property.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`);

/** What a property holds, if a module is made of it. */
export type Held = Parameter | Module;

const isHeld = (value: unknown): value is Held => value instanceof Parameter || value instanceof Module;

/** Modules and parameters of a list by their places, at which there may be functions too. */
export function* heldIn(
  owner: string,
  list: readonly unknown[],
  prefix = '',
): Generator<[name: string, value: Held]> {
  for (const [n, item] of list.entries())
    if (isHeld(item)) yield [`${prefix}${n}`, item];
    else if (typeof item !== 'function')
      throw new ShapeError(owner, `${prefix}${n} is no module, no parameter and no function`);
}

/** What a parameter is to an optimiser, and how its gradient is collected. */
export interface ParameterOptions extends Partial<Pick<ParameterSpec, 'decay' | 'table'>> {}

/**
 * A parameter of a module: f32 zeros that train. `decay` (default true): an optimiser's weight decay applies. `table`: [rows, cols]
 * whose gradient is collected by rows.
 * @throws ShapeError when the shape is none.
 */
export function parameter(
  gpu: Gpu,
  shape: Shape,
  { decay = true, table = false }: ParameterOptions = {},
): Parameter {
  return Parameter.alone(gpu, { name: 'parameter', shape: [...shape], decay, table, trainable: true });
}

/**
 * What all modules are: `class Net extends Module { readonly fc = new Linear(gpu, 2, 3); forward(x) { … } }`. Subclasses have a
 * `forward` of their own.
 */
export abstract class Module {
  /** Whether dropout drops; see `train` and `eval`. */
  training = true;
  /** The format of what products and attention read and leave; see `to`. */
  precision: FloatDType = 'f32';
  private readonly ownBuffers = new Map<string, Tensor>();

  /**
   * A tensor that is saved and loaded with the parameters but not trained: f32, or any other that is not `persistent`.
   * The module owns it. @throws ShapeError when a name is taken, and for a persistent one that is not f32.
   */
  protected registerBuffer(name: string, tensor: Tensor, { persistent = true } = {}): Tensor {
    if (this.ownBuffers.has(name)) throw new ShapeError('registerBuffer', `two buffers are called ${name}`);
    if (persistent && tensor.dtype !== 'f32')
      throw new ShapeError('registerBuffer', 'only f32 is saved; others can be { persistent: false }', {
        tensor,
      });
    this.ownBuffers.set(persistent ? name : `${name}?`, tensor.keep());
    return tensor;
  }

  /** Own parameters and modules by their names. */
  protected *held(): Generator<[name: string, value: Held]> {
    for (const [property, value] of Object.entries(this)) {
      const name = pythonName(property);
      if (isHeld(value)) yield [name, value];
      else if (Array.isArray(value) && value.some(isHeld))
        yield* heldIn(this.constructor.name, value, `${name}.`);
    }
  }

  /** Own modules, by their names. */
  *namedChildren(): Generator<[name: string, module: Module]> {
    for (const [name, value] of this.held()) if (value instanceof Module) yield [name, value];
  }

  /** This one, under the name `prefix`, and all that it is made of; each once. */
  *namedModules(prefix = '', seen: Set<Module> = new Set()): Generator<[name: string, module: Module]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.namedChildren())
      yield* child.namedModules(prefix ? `${prefix}.${name}` : name, seen);
  }

  /** All parameters by their names; one that several names lead to under the first. */
  *namedParameters(): Generator<[name: string, parameter: Parameter]> {
    const seen = new Set<Parameter>();
    for (const [name, value] of this.stateEntries())
      if (value instanceof Parameter && !seen.has(value)) {
        seen.add(value);
        yield [name, value];
      }
  }

  /** All parameters, each once. */
  parameters(): Parameter[] {
    return [...this.namedParameters()].map(([, parameter]) => parameter);
  }

  /** All persistent buffers by their names. */
  *namedBuffers(): Generator<[name: string, tensor: Tensor]> {
    for (const [name, value] of this.stateEntries()) if (value instanceof Tensor) yield [name, value];
  }

  /** Parameters and persistent buffers under every name that leads to them, own ones first. */
  private *stateEntries(prefix = '', path: readonly Module[] = []): Generator<[string, Parameter | Tensor]> {
    if (path.includes(this)) throw new ShapeError(this.constructor.name, 'a module contains itself');
    const held = [...this.held()];
    for (const [name, value] of held) if (value instanceof Parameter) yield [prefix + name, value];
    for (const [name, tensor] of this.ownBuffers) if (!name.endsWith('?')) yield [prefix + name, tensor];
    for (const [name, value] of held)
      if (value instanceof Module) yield* value.stateEntries(`${prefix}${name}.`, [...path, this]);
  }

  /** Dropout drops, here and in all modules of this one. */
  train(on = true): this {
    for (const [, module] of this.namedModules()) module.training = on;
    return this;
  }

  /** No dropout. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Mixed precision, here and in all modules of this one (Micikevicius et al. 2018): with 'f16' products, attention and
   * embeddings give halves, and f32 inputs of them are rounded first. Sums, norms and softmax are computed in f32; parameters,
   * their gradients and what an optimiser holds of them stay f32, and products read f16 copies. Other layers go by the
   * format of what they are given. 'f32' again: inputs are taken as they come, and the copies are freed.
   * @throws ShapeError for another format.
   */
  to(precision: FloatDType): this {
    if (precision !== 'f32' && precision !== 'f16')
      throw new ShapeError(this.constructor.name, `precision must be f32 or f16, found ${show(precision)}`);
    for (const [, module] of this.namedModules()) module.precision = precision;
    if (precision === 'f32') for (const parameter of this.parameters()) parameter.forgetHalf();
    return this;
  }

  /** x as a product of this module reads it: rounded to f16 where that is the precision, else as it is. */
  protected inPrecision(x: Tensor): Tensor {
    return this.precision === 'f16' && x?.dtype === 'f32' ? cast(x, 'f16') : x;
  }

  /** No gradient and no update of any parameter from here on. */
  freeze(): this {
    for (const parameter of this.parameters()) parameter.freeze();
    return this;
  }

  /** All parameters train again. */
  unfreeze(): this {
    for (const parameter of this.parameters()) parameter.unfreeze();
    return this;
  }

  /** Back to no gradients. */
  zeroGrad(): void {
    for (const { tensor } of this.parameters()) tensor.zeroGrad();
  }

  /** Parameters and persistent buffers by name, not copies of them; what several names lead to under each. */
  stateDict(): Map<string, Tensor> {
    return new Map(
      [...this.stateEntries()].map(([name, value]) => [
        name,
        value instanceof Parameter ? value.tensor : value,
      ]),
    );
  }

  /**
   * Overwrites parameters and buffers: from a file (safetensors, or one of torch.save), an open `WeightSource`, or tensors by name,
   * of the shapes that are here, of any float format. Of a parameter with several names one is enough.
   * @throws InputError naming all that is missing, unexpected, or of another shape or of no floats; then nothing was
   * written. Without `strict` what is missing or unexpected is returned and no error.
   */
  loadStateDict(source: StateDict, options: LoadOptions = {}): LoadReport {
    return loadEntries([...this.stateDict()], source, options);
  }

  /**
   * Writes the state as safetensors; `loadStateDict` reads it, and PyTorch. f32, from which training goes on to the bit, or with
   * `dtype: 'f16'` rounded, half as large.
   */
  async save(file: string, { dtype = 'f32' }: { readonly dtype?: FloatDType } = {}): Promise<void> {
    if (dtype !== 'f32' && dtype !== 'f16')
      throw new ShapeError('save', `dtype must be f32 or f16, found ${show(dtype)}`);
    await saveTensors(
      file,
      [...this.stateDict()].map(([name, tensor]) => ({
        ...{ name, shape: tensor.shape, dtype },
        read: async (start = 0, count = tensor.size - start) =>
          new Float32Array(await tensor.gpu.read({ ...tensor.bindingRange(start, count), size: 4 * count })),
      })),
    );
  }

  /** Frees parameters, their gradients, and buffers, of all modules of this one. */
  dispose(): void {
    for (const { tensor } of this.parameters()) tensor.dispose();
    for (const [, module] of this.namedModules()) module.disposeOwn();
  }

  /** Frees what a module holds beside its parameters. */
  protected disposeOwn(): void {
    for (const tensor of this.ownBuffers.values()) tensor.dispose();
    this.ownBuffers.clear();
  }
}

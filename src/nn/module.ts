/**
 * Module: parameters, buffers and modules under their names, as torch.nn.Module has them. What an object's own properties hold
 * is what it is made of: a `Parameter`, a `Module`, or arrays (PyTorch's ModuleList), plain objects and Maps (its ModuleDict) of
 * them. Names are those of the properties, in PyTorch's spelling: `selfAttn` is `self_attn`.
 */
import { cast } from '../autograd/index.js';
import { requireGpu } from '../autograd/make-options.js';
import { Parameter, type ParameterSpec } from '../autograd/parameter.js';
import { ShapeError } from '../errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FloatDType } from '../kernels/launch/formats.js';
import { OptionNames } from '../options.js';
import { customInspect, show } from '../show.js';
import { signature } from '../tensor/operands.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { saveTensors } from '../weights/save-tensors.js';
import { type LoadOptions, type LoadReport, loadEntries, type StateDict } from './state-dict.js';

/** `selfAttn` → `self_attn`; a name that begins with a capital, or has an underscore, is as it is. */
const pythonName = (property: string): string =>
  /^[A-Z]|_/.test(property) ? property : property.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`);

/** What a property holds, if a module is made of it. */
export type Held = Parameter | Module;

const isHeld = (value: unknown): value is Held => value instanceof Parameter || value instanceof Module;

/** What is in an array, a Map or a plain object, by places or keys; undefined: it is none of them. */
function entriesOf(value: unknown): Iterable<[key: unknown, item: unknown]> | undefined {
  if (Array.isArray(value)) return value.entries();
  if (value instanceof Map || value instanceof Set) return value.entries();
  const plain =
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  return plain ? Object.entries(value) : undefined;
}

/** Whether a module is made of anything in this value, which may lead back to itself. */
function holdsAny(value: unknown, path: readonly unknown[] = []): boolean {
  if (isHeld(value)) return true;
  const entries = path.includes(value) ? undefined : entriesOf(value);
  return entries !== undefined && [...entries].some(([, item]) => holdsAny(item, [...path, value]));
}

/** Modules and parameters of a list by their places, at which there may be functions too. */
export function* heldIn(
  owner: string,
  list: readonly unknown[],
  prefix = '',
): Generator<[name: string, value: Held]> {
  for (const [n, item] of list.entries())
    if (holdsAny(item)) yield* heldBy(owner, `${prefix}${n}`, item);
    else if (typeof item !== 'function')
      throw new ShapeError(owner, `${prefix}${n} is no module, no parameter and no function`);
}

/** Modules and parameters of a property, which may be a list or an object of them, whose keys are names as they are. */
function* heldBy(owner: string, name: string, value: unknown): Generator<[name: string, value: Held]> {
  if (isHeld(value)) yield [name, value];
  // A parameter's own tensor may stand beside it; another would be trained by nobody.
  else if (value instanceof Tensor && value.requiresGrad && !value.node && !(value.role instanceof Parameter))
    throw new ShapeError(
      owner,
      `${name} requires a gradient and is no parameter; parameter(gpu, x) makes one of it`,
      {
        [name]: value,
      },
    );
  else if (Array.isArray(value)) {
    if (holdsAny(value)) yield* heldIn(owner, value, `${name}.`);
  } else if (holdsAny(value)) {
    if (value instanceof Set)
      throw new ShapeError(owner, `${name} is a Set, whose members have no names: use a list or a Map`);
    for (const [key, item] of entriesOf(value)!) {
      if (typeof key !== 'string' || key.includes('.'))
        throw new ShapeError(owner, `${name} has the key ${show(key)}, which is no name without dots`);
      yield* heldBy(owner, `${name}.${key}`, item);
    }
  }
}

const VALUES = signature('parameter', { values: { shape: ['...'], dtypes: ['f32'], optional: false } });

/** How a module's state is written. */
export interface SaveOptions {
  /** Default f32. */
  readonly dtype?: FloatDType;
}

const SAVE_OPTIONS = new OptionNames<SaveOptions>({ dtype: 'string' });

/** What a parameter is to an optimiser, and how its gradient is collected. */
export interface ParameterOptions extends Partial<Pick<ParameterSpec, 'decay' | 'table'>> {}

const PARAMETER_OPTIONS = new OptionNames<ParameterOptions>({ decay: 'boolean', table: 'boolean' });

/**
 * A parameter of a module, f32, that trains: zeros of a shape, or a copy of a tensor's values (`torch.nn.Parameter(x)`). `decay`
 * (default true): an optimiser's weight decay applies. `table`: [rows, cols] whose gradient is collected by rows.
 * @throws ShapeError when the shape is none, and for a tensor that is not f32 or on another device.
 */
export function parameter(gpu: Gpu, shape: Shape | Tensor, options: ParameterOptions = {}): Parameter {
  const { decay = true, table = false } = PARAMETER_OPTIONS.read('parameter', options);
  requireGpu('parameter', gpu);
  const values = shape instanceof Tensor ? shape : undefined;
  if (values) VALUES.check({ values }, {}, { gpu });
  else if (!Array.isArray(shape))
    throw new ShapeError('parameter', `needs a shape, or a tensor of its values, found ${show(shape)}`);
  const extents = [...(values?.shape ?? (shape as Shape))];
  const made = Parameter.alone(gpu, { name: 'parameter', shape: extents, decay, table, trainable: true });
  if (values) made.tensor.copyUnrecorded(values);
  return made;
}

/**
 * What all modules are: `class Net extends Module { readonly fc = new Linear(gpu, 2, 3); forward(x) { … } }`. Subclasses have a
 * `forward` of their own. `#private` fields are no properties: a module that stands in one is not found (TypeScript's
 * `private` is a property).
 */
export abstract class Module {
  /** Whether dropout drops; see `train` and `eval`. */
  training = true;
  /** The format of what products and attention read and leave; see `to`. */
  precision: FloatDType = 'f32';
  private readonly ownBuffers = new Map<string, { readonly tensor: Tensor; readonly persistent: boolean }>();

  /**
   * A tensor that is saved and loaded with the parameters but not trained: f32, or any other that is not `persistent`.
   * The module owns it. @throws ShapeError when a name is taken, and for a persistent one that is not f32.
   */
  protected registerBuffer(
    name: string,
    tensor: Tensor,
    {
      persistent = true,
    }: {
      /** Whether it is saved and loaded. Default true. */
      readonly persistent?: boolean;
    } = {},
  ): Tensor {
    if (this.ownBuffers.has(name)) throw new ShapeError('registerBuffer', `two buffers are called ${name}`);
    if (persistent && tensor.dtype !== 'f32')
      throw new ShapeError('registerBuffer', 'only f32 is saved; others can be { persistent: false }', {
        tensor,
      });
    this.ownBuffers.set(name, { tensor: tensor.keep(), persistent });
    return tensor;
  }

  /** Own parameters and modules by their names. */
  protected *held(): Generator<[name: string, value: Held]> {
    for (const [property, value] of Object.entries(this))
      if (value !== this.ownBuffers) yield* heldBy(this.constructor.name, pythonName(property), value);
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

  /** Parameters and persistent buffers under every name that leads to them, own ones first. @throws ShapeError when a name leads to two. */
  private *stateEntries(): Generator<[string, Parameter | Tensor]> {
    const names = new Set<string>();
    for (const entry of this.entriesBelow()) {
      const [name] = entry;
      if (names.has(name))
        throw new ShapeError(
          this.constructor.name,
          `two parameters or buffers are called ${show(name)} (selfAttn is self_attn)`,
        );
      names.add(name);
      yield entry;
    }
  }

  private *entriesBelow(prefix = '', path: readonly Module[] = []): Generator<[string, Parameter | Tensor]> {
    if (path.includes(this)) throw new ShapeError(this.constructor.name, 'a module contains itself');
    const held = [...this.held()];
    for (const [name, value] of held) if (value instanceof Parameter) yield [prefix + name, value];
    for (const [name, { tensor, persistent }] of this.ownBuffers)
      if (persistent) yield [prefix + name, tensor];
    for (const [name, value] of held)
      if (value instanceof Module) yield* value.entriesBelow(`${prefix}${name}.`, [...path, this]);
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
  async save(file: string, options: SaveOptions = {}): Promise<void> {
    const { dtype = 'f32' } = SAVE_OPTIONS.read('save', options);
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

  /** Modules within modules with the shapes of their parameters, and how many values there are in all. */
  toString(): string {
    const all = this.parameters();
    const values = all.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const frozen = all.filter(({ trains }) => !trains).length;
    const count = `${values.toLocaleString('en-US')} values in ${all.length} parameters`;
    return `${this.outline('')}, ${count}${frozen > 0 ? `, ${frozen} of them frozen` : ''}`;
  }

  /** How `console.log` shows it. */
  [customInspect](): string {
    return this.toString();
  }

  private outline(indent: string): string {
    const held = [...this.held()];
    const own = held.flatMap(([name, value]) =>
      value instanceof Parameter ? `${name} ${formatShape(value.shape)}` : [],
    );
    const inner = held.flatMap(([name, value]) =>
      value instanceof Module ? `\n${indent}  ${name}: ${value.outline(`${indent}  `)}` : [],
    );
    const end = inner.length > 0 ? `${inner.join('')}\n${indent}` : '';
    return `${this.constructor.name}(${own.join(', ')}${end})`;
  }

  /** Frees parameters, their gradients, and buffers, of all modules of this one. */
  dispose(): void {
    for (const { tensor } of this.parameters()) tensor.dispose();
    for (const [, module] of this.namedModules()) module.disposeOwn();
  }

  /** Frees what a module holds beside its parameters. */
  protected disposeOwn(): void {
    for (const { tensor } of this.ownBuffers.values()) tensor.dispose();
    this.ownBuffers.clear();
  }
}

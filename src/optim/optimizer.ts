/**
 * What all optimisers share: groups of tensors with settings of their own, one update of each that has a gradient, and their
 * state in a file. What an update is stands with each: adam.ts, sgd.ts.
 *
 * `StoreAdamW` (src/train) stays apart: it updates the flat buffers of a whole model in a few dispatches and divides
 * their moments among ranks, for which it must know the model's layout. Kernels, moments of tables and state are the same.
 */
import { type RowGradient, RowGradients } from '../autograd/gradients.js';
import type { Parameter } from '../autograd/parameter.js';
import { InputError, ShapeError } from '../errors.js';
import { isJsonObject } from '../files/json.js';
import type { Gpu } from '../gpu/gpu.js';
import { clipFactor, globalNorm } from '../kernels/adamw.js';
import { scaleInPlace } from '../kernels/sgd.js';
import { OptionNames } from '../options.js';
import { customInspect, printable, show } from '../show.js';
import { notNegative, positive, signature } from '../tensor/operands.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { SafetensorsFile } from '../weights/safetensors.js';
import { saveTensors } from '../weights/save-tensors.js';
import { type MomentLayout, Moments } from './moments.js';
import type { Schedule } from './schedules.js';
import { requireTensors } from './state.js';

/** What an optimiser takes: a module's or a model's parameter, or a tensor that requires a gradient. */
export type Trainable = Parameter | Tensor;

/** One of them by itself or with a name, under which its state is saved; else that is its number. */
export type Given = Trainable | readonly [name: string, trainable: Trainable];

/** Settings that every optimiser has. */
export interface CommonSettings {
  /** The rate of each step, or a schedule of it by the number of steps that were done (0 at first). */
  learningRate: number | Schedule;
  /** λ; of a `Parameter` that was made without decay it is 0. */
  weightDecay: number;
}

/** Tensors with settings of their own; those that are left out are the optimiser's. */
export type GroupOptions<S> = Partial<S> & {
  /** Parameters, or tensors that require gradients. */
  readonly parameters: Iterable<Given>;
};

/** A group as the optimiser has it. Its settings may be changed between steps. */
export type Group<S> = S & {
  /** Their tensors. */
  readonly parameters: readonly Tensor[];
};

/** Norm of the gradient, and whether the step was taken. */
export interface StepResult {
  /** Global norm of the scaled gradients, before clipping. */
  readonly norm: number;
  /** The gradients were not finite: nothing was updated. */
  readonly skipped: boolean;
}

/** How a step treats gradients that were scaled. */
export interface ScaledStepOptions {
  /** Multiplies the gradients: 1/loss scale, 1/micro-batches. Default 1. */
  readonly scale?: number;
  /** The scaled gradients are clipped to this global norm; by default, and with 0, they are not. */
  readonly maxGradNorm?: number;
}

const SCALED_STEP = new OptionNames<ScaledStepOptions>({ scale: true, maxGradNorm: true });

/** One tensor that is trained, and how it is updated. */
export interface Member {
  /** In state files and errors. */
  readonly name: string;
  /** The values that are updated. */
  readonly tensor: Tensor;
  /** Whether the group's weight decay applies to it. */
  readonly decays: boolean;
  /** The rows of a table that have a gradient; undefined for what has a dense one. */
  readonly rows: RowGradients | undefined;
}

/** The gradient of a step: dense, or of some rows of a table whose moments are held by rows. */
export type StepGradient =
  | {
      /** Of the tensor's shape, f32 or its format. */
      readonly dense: Tensor;
    }
  | {
      /** Of those rows alone. */
      readonly rows: RowGradient;
    };

/** Does the update, with the factor of all gradients (`clipFactor`); the moments count it already. */
export type Update = (factor: Tensor) => void;

const STEP = (op: string) =>
  signature(op, {}, { numbers: { scale: positive, maxGradNorm: notNegative, learningRate: notNegative } });

const tensorOf = (trainable: Trainable): Tensor => {
  const tensor =
    trainable instanceof Tensor ? trainable : (trainable as Partial<Parameter> | undefined)?.tensor;
  if (!(tensor instanceof Tensor))
    throw new ShapeError(
      'Optimizer',
      `expected parameters or tensors, or groups { parameters: … } of them, found ${show(trainable)}`,
    );
  return tensor;
};

const isGroup = (item: unknown): boolean => typeof item === 'object' && item !== null && 'parameters' in item;

/** Of a module, which an optimiser may be given in place of its parameters. */
const hasParameters = (given: unknown): boolean =>
  typeof (given as { parameters?: unknown } | undefined)?.parameters === 'function';

/** @throws ShapeError for what is no list. */
function listOf(op: string, given: unknown): unknown[] {
  if (typeof (given as Partial<Iterable<unknown>> | undefined)?.[Symbol.iterator] === 'function')
    return [...(given as Iterable<unknown>)];
  const meant = hasParameters(given) ? ', whose parameters() are meant' : '';
  throw new ShapeError(op, `expected parameters, or groups of them, found ${show(given)}${meant}`);
}

const isNamed = (given: Given): given is readonly [string, Trainable] =>
  Array.isArray(given) && given.length === 2 && typeof given[0] === 'string';

/** What all optimisers have: groups, clipping, their state saved and restored. */
export abstract class Optimizer<S extends CommonSettings> {
  /** As they were given, settings filled in. */
  readonly groups: readonly Group<S>[];
  /** Steps done; those that were skipped are none. */
  steps = 0;
  private readonly members: readonly (readonly [Member, Group<S>])[];
  private readonly states = new Map<Member, Moments>();
  /** Multiplies gradients by 1. */
  private plain: Tensor | undefined;

  /** @throws ShapeError for what cannot be trained: no f32, computed by an op, without a gradient to ask for, twice. */
  protected constructor(
    private readonly op: string,
    given: Iterable<Given> | readonly GroupOptions<S>[],
    defaults: S,
    settings: Partial<S>,
    private readonly checkSettings: (settings: S) => void,
  ) {
    const own = withSettings(op, defaults, settings);
    checkSettings(own);
    const all = listOf(op, given) as (Given | GroupOptions<S>)[];
    const grouped = all.length > 0 && all.every(isGroup);
    const groups = (grouped ? all : [{ parameters: all }]) as GroupOptions<S>[];
    const members: (readonly [Member, Group<S>])[] = [];
    const seen = new Set<Tensor>();
    const names = new Set<string>();
    this.groups = groups.map((group) => {
      const { parameters, ...ofGroup } = group;
      // A module among them has a function of this name.
      const items = listOf(op, typeof parameters === 'function' ? group : parameters) as Given[];
      const listed = items.map((item) => {
        const [name, trainable] = isNamed(item) ? item : [`${seen.size}`, item];
        const tensor = tensorOf(trainable);
        requireTrainable(op, tensor);
        if (seen.has(tensor)) throw new ShapeError(op, 'a parameter is named twice', { parameter: tensor });
        if (names.has(name)) throw new ShapeError(op, `two parameters are called ${show(name)}`);
        seen.add(tensor);
        names.add(name);
        const sink = tensor.role?.gradient;
        const decays = trainable instanceof Tensor || trainable.decay;
        return { name, tensor, decays, rows: sink instanceof RowGradients ? sink : undefined };
      });
      const settings = withSettings(op, own, ofGroup as unknown as Partial<S>);
      checkSettings(settings);
      // Sealed: a setting that there is not can neither be set nor go unnoticed.
      const made: Group<S> = Object.seal({ ...settings, parameters: listed.map(({ tensor }) => tensor) });
      for (const member of listed) members.push([member, made]);
      return made;
    });
    this.members = members;
    if (members.length === 0) throw new ShapeError(op, 'needs at least one parameter');
    for (const [{ tensor }] of members)
      if (tensor.gpu !== members[0]![0].tensor.gpu)
        throw new ShapeError(op, 'parameters of two devices', { parameter: tensor });
  }

  /** How the moments of a tensor are held; asked before its first update. */
  protected abstract layoutOf(member: Member, settings: S): MomentLayout;

  /** Asks for all memory that the update of a tensor takes, and returns what does it. */
  protected abstract prepare(
    member: Member,
    gradient: StepGradient,
    moments: Moments,
    settings: S,
    rate: number,
  ): Update;

  /**
   * One update of every tensor that has a gradient, with the gradients as they are; a frozen one stays as it is, and so
   * does one without. Gradients are not cleared. Nothing waits for the device.
   */
  step(): void {
    this.gpu.phase('optimizer', () =>
      scope(() => {
        this.plain ??= Tensor.from(this.gpu, [1, 0], [2], 'f32', 'optimizer').keep();
        this.update(this.plain);
      }),
    );
  }

  /**
   * The same with gradients times `scale`, clipped, and only if they are finite: for losses that were multiplied so that f16
   * keeps small gradients (`LossScaler`). Waits for the norm.
   * @throws ShapeError for a scale that is not above 0, and a norm below 0.
   */
  async stepScaled(options: ScaledStepOptions = {}): Promise<StepResult> {
    const { scale = 1, maxGradNorm = 0 } = SCALED_STEP.read(`${this.op}.stepScaled`, options);
    STEP(`${this.op}.stepScaled`).check({}, { scale, maxGradNorm, learningRate: 0 });
    return this.gpu.phase('optimizer', () =>
      scope(async () => {
        this.requireAlive();
        const sources = gradientsOf(this.members.map(([{ tensor }]) => tensor));
        if (sources.length === 0) return { norm: 0, skipped: false };
        const { factor, norm } = clipFactor(globalNorm(sources), scale, maxGradNorm);
        const updated = this.update(factor);
        const [value, skipped] = (await norm.toFloat32()) as unknown as [number, number];
        if (skipped) {
          this.steps--;
          for (const moments of updated) moments.steps--;
        }
        return { norm: value, skipped: skipped !== 0 };
      }),
    );
  }

  private update(factor: Tensor): Moments[] {
    this.requireAlive();
    const work = this.members.flatMap(([member, group]) => {
      if (!member.tensor.requiresGrad) return [];
      this.checkSettings(group);
      const rate =
        typeof group.learningRate === 'function' ? group.learningRate(this.steps) : group.learningRate;
      STEP(`${this.op}.step`).check({}, { scale: 1, maxGradNorm: 0, learningRate: rate });
      const settings = this.settingsOf(member, group);
      const known = this.states.get(member);
      const byRows = known ? known.table !== undefined : this.layoutOf(member, settings).byRows;
      const dense = byRows ? undefined : member.tensor.grad;
      const rows = byRows ? member.rows?.merged() : undefined;
      const gradient = dense ? { dense } : rows ? { rows } : undefined;
      if (!gradient) return [];
      const moments = known ?? new Moments(member.tensor, this.layoutOf(member, settings));
      this.states.set(member, moments);
      return [{ moments, run: this.prepare(member, gradient, moments, settings, rate) }];
    });
    // All memory is there: from here on every tensor is updated.
    for (const { moments, run } of work) {
      moments.steps++;
      run(factor);
    }
    this.steps++;
    return work.map(({ moments }) => moments);
  }

  /** @throws ShapeError when a parameter was disposed of: it would be left out without a word, or only its gradient missed. */
  private requireAlive(): void {
    const gone = this.members.find(([{ tensor }]) => tensor.isDisposed)?.[0];
    if (gone)
      throw new ShapeError(`${this.op}.step`, `the parameter ${show(gone.name)} was disposed of`, {
        parameter: gone.tensor,
      });
  }

  private settingsOf(member: Member, group: Group<S>): S {
    return member.decays ? group : { ...group, weightDecay: 0 };
  }

  /** Back to no gradients, of all tensors. */
  zeroGrad(): void {
    for (const [{ tensor }] of this.members) tensor.zeroGrad();
  }

  /**
   * Writes what it takes to go on to the bit into a safetensors file: steps, moments, rows; not the weights, and not the
   * settings. Tensors have PyTorch's names after their parameter's: `0.exp_avg`, `layers.0.weight.momentum_buffer`.
   */
  async save(file: string): Promise<void> {
    const entries = this.members.flatMap(([member]) => {
      const moments = this.states.get(member);
      return moments ? [[member.name, moments] as const] : [];
    });
    const state: SavedState = {
      optimizer: this.op,
      steps: this.steps,
      updates: Object.fromEntries(entries.map(([name, { steps }]) => [name, steps])),
    };
    const tensors = entries.flatMap(([name, moments]) => moments.saved(name));
    await saveTensors(file, tensors, { format: 'pt', state: JSON.stringify(state) });
  }

  /**
   * Goes on where an optimiser of this kind and these parameters was saved; what this one held is forgotten.
   * @throws InputError naming the file and the tensor when the file is none of it; then this optimiser is as before.
   */
  load(file: string): void {
    const source = SafetensorsFile.open(file);
    const restored = new Map<Member, Moments>();
    try {
      const saved = savedState(this.op, source);
      const loaded = this.members
        .filter(([{ name }]) => Object.hasOwn(saved.updates, name))
        .map(([member, group]) => ({
          member,
          layout: this.layoutOf(member, this.settingsOf(member, group)),
        }));
      const known = new Set(loaded.map(({ member }) => member.name));
      const stranger = Object.keys(saved.updates).find((name) => !known.has(name));
      if (stranger !== undefined)
        throw new InputError(`${printable(file)}: this optimiser has no parameter ${show(stranger)}`);
      requireTensors(
        source,
        new Map(
          loaded.flatMap(({ member, layout }) => Moments.wanted(member.name, member.tensor, layout, source)),
        ),
      );
      for (const { member, layout } of loaded) {
        const moments = new Moments(member.tensor, layout);
        restored.set(member, moments);
        moments.restore(member.name, source);
        moments.steps = saved.updates[member.name]!;
      }
      for (const moments of this.states.values()) moments.dispose();
      this.states.clear();
      for (const [member, moments] of restored) this.states.set(member, moments);
      restored.clear();
      this.steps = saved.steps;
    } finally {
      for (const moments of restored.values()) moments.dispose();
      source.close();
    }
  }

  /** Steps, and the settings of each group. */
  toString(): string {
    const groups = this.groups.map(({ parameters, ...settings }) => {
      const told = Object.entries(settings).map(
        ([name, value]) => `${name} ${typeof value === 'function' ? 'by schedule' : value}`,
      );
      return `\n  ${parameters.length} tensors: ${told.join(', ')}`;
    });
    return `${this.op} after ${this.steps} steps${groups.join('')}`;
  }

  /** How `console.log` shows it. */
  [customInspect](): string {
    return this.toString();
  }

  /** Frees moments; the tensors are the caller's. */
  dispose(): void {
    for (const moments of this.states.values()) moments.dispose();
    this.states.clear();
    this.plain?.dispose();
    this.plain = undefined;
  }

  /** The device of its tensors. */
  protected get gpu(): Gpu {
    return this.members[0]![0].tensor.gpu;
  }
}

/** Those that are given instead of the defaults. @throws ShapeError for one that there is not. */
export function withSettings<S extends object>(op: string, defaults: S, settings: Partial<S>): S {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  const unknown = given.find(([name]) => !(name in defaults));
  if (unknown)
    throw new ShapeError(
      op,
      `there is no setting ${show(unknown[0])}; there are ${Object.keys(defaults).join(', ')}`,
    );
  return { ...defaults, ...Object.fromEntries(given) };
}

interface SavedState {
  readonly optimizer: string;
  readonly steps: number;
  /** By the parameters' names. */
  readonly updates: Readonly<Record<string, number>>;
}

function savedState(op: string, source: SafetensorsFile): SavedState {
  const fail = (problem: string): never => {
    throw new InputError(`${printable(source.describe())}: ${problem}`);
  };
  const text = source.metadata.get('state');
  let state: unknown;
  try {
    state = text === undefined ? undefined : JSON.parse(text);
  } catch {
    state = undefined;
  }
  if (!isJsonObject(state)) return fail('expected the state of an optimiser in its metadata');
  const { optimizer, steps, updates } = state as Partial<Record<string, unknown>>;
  if (optimizer !== op) fail(`expected the state of ${op}, found that of ${show(optimizer)}`);
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isCount(steps) || !isJsonObject(updates) || !Object.values(updates).every(isCount))
    fail('expected numbers of steps from 0');
  return state as unknown as SavedState;
}

function requireTrainable(op: string, parameter: Tensor): void {
  if (parameter.isDisposed) throw new ShapeError(op, 'a parameter was disposed of', { parameter });
  if (parameter.dtype !== 'f32')
    throw new ShapeError(op, 'trains f32 weights, of which products may read f16 copies', { parameter });
  if (parameter.node) throw new ShapeError(op, 'computed by an op: only leaves are trained', { parameter });
  if (!parameter.role?.gradient)
    throw new ShapeError(
      op,
      'requires no gradient (requiresGrad was never set, or it was made not to train)',
      {
        parameter,
      },
    );
}

/** The gradients there are, of tables by rows. */
function gradientsOf(tensors: readonly Tensor[]): Tensor[] {
  return tensors.flatMap((tensor) => {
    const sink = tensor.role?.gradient;
    if (!tensor.requiresGrad || !sink) return [];
    const gradient = sink instanceof RowGradients ? sink.merged()?.values : sink.dense();
    return gradient ?? [];
  });
}

const MAX_NORM = signature('clipGradNorm', {}, { numbers: { maxNorm: positive } });

/**
 * Scales the gradients of the tensors so that their norm, taken together, is at most `maxNorm`, in place; returns the norm
 * before that, a scalar on the device. PyTorch's `clip_grad_norm_`: by maxNorm / (norm + 1e-6). Where the norm is not finite,
 * gradients that are finite become 0.
 * @throws ShapeError for a norm that is not above 0, and gradients that are not f32.
 */
export function clipGradNorm(parameters: Iterable<Trainable>, maxNorm: number): Tensor {
  MAX_NORM.check({}, { maxNorm });
  const tensors = [...parameters].map(tensorOf);
  if (tensors.length === 0) throw new ShapeError('clipGradNorm', 'needs at least one parameter');
  return scope(() => {
    const gradients = gradientsOf(tensors);
    if (gradients.length === 0) return Tensor.zeros(tensors[0]!.gpu, []);
    const norm = globalNorm(gradients);
    const { factor } = clipFactor(norm, 1, maxNorm);
    for (const gradient of gradients) scaleInPlace(gradient, factor);
    return norm.alias([]);
  });
}

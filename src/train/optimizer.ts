/**
 * AdamW over a parameter store: fused update, global-norm clipping, no readback on the way. A step whose gradients
 * are not finite does not happen; the GPU finds that out, and the host learns it with the norm.
 */
import type { Parameter, ParameterPart } from '../autograd/parameter.js';
import type { ParameterStore } from '../autograd/parameter-store.js';
import { type AdamWSettings, adamW, clipFactor, globalNorm } from '../kernels/adamw.js';
import { rowSquareSums } from '../kernels/reduce.js';
import { beta } from '../optim/adam.js';
import { type StepResult, withSettings } from '../optim/optimizer.js';
import {
  type Placement,
  requireTensors,
  restoreSpans,
  type Span,
  type StateSource,
  savedRows,
  savedSpans,
  savedValues,
  WHOLE,
} from '../optim/state.js';
import { TableMoments } from '../optim/table-moments.js';
import { prepareTableUpdate } from '../optim/table-update.js';
import { allGatherNumbers } from '../ranks/communicator.js';
import { notNegative, positive, signature } from '../tensor/operands.js';
import { keepAll, scope } from '../tensor/scope.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import type { StateTensor } from '../weights/save-tensors.js';
import { type AdamWState, DividedReads, type DividedTensor, requireState } from './optimizer-state.js';
import { joinedNorm, type Ownership, ownsRow } from './ranks/ownership.js';
import { placementOfRows, type Shard } from './ranks/shard.js';

/** Settings of StoreAdamW. */
export interface StoreAdamWOptions {
  /** What is left of the mean of gradients in a step, in [0, 1). Default 0.9. */
  beta1: number;
  /** The same of the mean of their squares. Default 0.999. */
  beta2: number;
  /** Beside the root of the squares. Default 1e-8. */
  eps: number;
  /** λ, of those parameters that decay. Default 1e-2, as PyTorch's. */
  weightDecay: number;
  /** Gradients are clipped to this global norm; 0, the default: no clipping. */
  maxGradNorm: number;
}

const DEFAULTS: StoreAdamWOptions = {
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 1e-2,
  maxGradNorm: 0,
};

const OPTIONS = signature(
  'StoreAdamW',
  {},
  {
    numbers: {
      beta1: beta,
      beta2: beta,
      // A weight without a gradient divides 0 by it.
      eps: positive,
      weightDecay: notNegative,
      maxGradNorm: { what: 'a number', allows: (value) => !Number.isNaN(value) },
    },
  },
);
const STEP = signature('StoreAdamW.step', {}, { numbers: { learningRate: notNegative, scale: positive } });
const NORM = signature(
  'StoreAdamW.apply',
  {},
  {
    numbers: {
      // Infinity and NaN are norms of gradients that overflowed.
      norm: { what: 'no number below 0', allows: (value: number) => !(value < 0) },
    },
  },
);

/** As PyTorch's optimiser calls them. */
const MEAN = 'exp_avg';
const SQUARE = 'exp_avg_sq';
const ROWS = 'rows';

interface SavedMoments {
  readonly name: string;
  readonly shape: Shape;
  readonly mean: readonly Span[];
  readonly square: readonly Span[];
  /** Which elements lie there. */
  readonly placement: Placement;
  readonly table?: Parameter;
  /** Of the table. */
  readonly rows?: Uint32Array;
}

/** A table is one part: its gradient comes by rows of the whole. */
function partOf({ name, parts }: Parameter): ParameterPart {
  if (parts.length !== 1) throw new RangeError(`the table ${name} has ${parts.length} parts`);
  return parts[0]!;
}

/** AdamW (Loshchilov and Hutter 2019) over a ParameterStore's parameters. */
export class StoreAdamW {
  /** Updates done. */
  steps = 0;
  private readonly options: StoreAdamWOptions;
  private readonly moments: { m: Tensor; v: Tensor } | undefined;
  private readonly tableMoments = new Map<Parameter, TableMoments>();
  /** Tables that the last update moved; undefined when it was none, or its weights were gathered. */
  private toGather: readonly Parameter[] | undefined;

  /**
   * `shard`: ranks divide the moments among them, and the f32 weights that products read in f16 (`ParameterStore.divide`);
   * each updates its own parts, and `gatherWeights` brings the others'. Of what is frozen now no rank has moments.
   * @throws ShapeError for options that make numbers of no use: β outside [0,1), ε 0 in f32, what is no number; and for
   * one that there is not.
   */
  constructor(
    private readonly store: ParameterStore,
    options: Partial<StoreAdamWOptions> = {},
    private readonly shard?: Shard,
  ) {
    this.options = withSettings('StoreAdamW', DEFAULTS, options);
    OPTIONS.check({}, { ...this.options });
    if (shard) store.divide(shard.own.ranges);
    const zeros = (shape: readonly number[]) => Tensor.zeros(store.gpu, shape, 'f32', 'optimizer');
    if (store.weights) {
      const shape = [shard ? shard.count : store.size];
      this.moments = keepAll(() => ({ m: zeros(shape), v: zeros(shape) }));
    }
    for (const table of store.tables) this.tableMoments.set(table, new TableMoments(table, shard?.own));
  }

  /**
   * Makes room for the moments of `rows` rows of a table, or of all it has (of the own ones, where ranks divide them): then
   * no step needs more of it until more rows have had a gradient. @throws MachineError where there is no memory.
   */
  reserve(table: Parameter, rows: number): void {
    this.tableMoments.get(table)?.reserve(rows);
  }

  /**
   * One update with the gradients in the store times `scale` (1/micro-batches, 1/loss scale), then clears them.
   * Reads back the global norm before clipping, once the GPU is there. Where it is not finite, weights, moments and
   * `steps` are as before. Of ranks that divide the moments all must call it.
   * @throws ShapeError for a rate below 0, a scale that is not above 0, what is no number.
   */
  step(learningRate: number, scale = 1): Promise<StepResult> {
    return this.store.gpu.phase('optimizer', () => this.update(learningRate, scale));
  }

  private async update(learningRate: number, scale: number): Promise<StepResult> {
    const { shard } = this;
    const norms = shard && (await allGatherNumbers(shard.communicator, await this.partialNorm(shard.own)));
    const stats = this.apply(learningRate, scale, norms ? { norm: joinedNorm(norms) } : {});
    const [norm, skipped] = await stats.toFloat32();
    stats.dispose();
    await this.gatherWeights();
    if (skipped) this.noteSkipped();
    return { norm: norm!, skipped: skipped !== 0 };
  }

  /**
   * The norm of the gradients that `own` names, as they stand in the store; not finite where they overflowed, zeros where
   * a parameter was frozen. Ranks join theirs (`joinedNorm`) for `apply`.
   */
  partialNorm(own: Ownership): Promise<number> {
    const { store } = this;
    return scope(async () => {
      const parts = own.ranges.map(({ start, end }) => {
        const part = store.gradients!.aliasAt(start, [end - start]);
        if (!part) throw new RangeError(`gradients from element ${start} on cannot be bound`);
        return part;
      });
      const flat = parts.length > 0 ? globalNorm(parts).beginRead() : undefined;
      // Of all rows, so that the memory it takes does not depend on whose they are; the host adds up the own ones.
      const tables = store.tables
        .filter((table) => table.trains)
        .flatMap((table) => table.gradient.merged() ?? [])
        .map(({ rows, values }) => ({ rows, sums: rowSquareSums(values).beginRead() }));
      let squares = ((await flat?.wait())?.[0] ?? 0) ** 2;
      for (const { rows, sums } of tables) {
        const values = await sums.wait();
        const pieces = values.length / rows.length;
        for (const [n, row] of rows.entries())
          if (ownsRow(own, row))
            for (const piece of values.subarray(n * pieces, (n + 1) * pieces)) squares += piece;
      }
      return Math.sqrt(squares);
    });
  }

  /**
   * `step` without the wait: returns [2] on the device, the norm and whether the update was skipped (1) or not (0), to be
   * disposed of by the caller. Until it is known `steps` counts the update as done: whoever learns that it was skipped
   * calls `noteSkipped`. `norm`: of the gradients of all ranks before `scale`, from which clipping and skipping follow;
   * by default that of the gradients in the store. Where ranks divide the moments it is not known to one of them and must
   * be given, and `gatherWeights` is to follow.
   */
  apply(
    learningRate: number,
    scale = 1,
    {
      norm,
    }: {
      /** Of the gradients of all ranks, before `scale`. */
      readonly norm?: number;
    } = {},
  ): Tensor {
    STEP.check({}, { learningRate, scale });
    if (norm !== undefined) NORM.check({}, { norm });
    else if (this.shard)
      throw new RangeError('StoreAdamW.apply: ranks that divide the moments must give the norm of all');
    this.shard?.requireCovered(this.store);
    this.steps++;
    try {
      return this.record(learningRate, scale, norm);
    } catch (error) {
      this.steps--;
      throw error;
    }
  }

  /**
   * Where ranks divide the moments: brings the weights here that others updated, and takes its own to them. All ranks call
   * it after each `apply`, before anything reads the weights.
   */
  async gatherWeights(): Promise<void> {
    const { store, shard, toGather } = this;
    if (!shard || !toGather) return;
    this.toGather = undefined;
    await shard.gatherWeights(store);
    for (const table of toGather) {
      const moments = this.tableMoments.get(table)!;
      await shard.gatherRows(table.tensor, moments.rows(), moments.capacity);
    }
    store.refreshHalves();
  }

  /** The last update did not happen. */
  noteSkipped(): void {
    this.steps--;
  }

  private record(learningRate: number, scale: number, given: number | undefined): Tensor {
    const { store, options, shard } = this;
    const settings = (decay: boolean): AdamWSettings => ({
      step: this.steps,
      learningRate,
      beta1: options.beta1,
      beta2: options.beta2,
      eps: options.eps,
      weightDecay: decay ? options.weightDecay : 0,
    });
    const stats = scope(() => {
      // A step that does not happen leaves the copies as they are: they must be of these weights.
      store.refreshHalves();
      const rows = store.tables
        .filter((table) => table.trains)
        .map((table) => ({ table, gradient: table.gradient.merged() }));
      const sources = [
        ...(store.gradients ? [store.gradients] : []),
        ...rows.flatMap(({ gradient }) => (gradient ? [gradient.values] : [])),
      ];
      if (sources.length === 0) return Tensor.zeros(store.gpu, [2]);
      const whole = given === undefined ? globalNorm(sources) : Tensor.from(store.gpu, [given], [1]);
      const { factor, norm } = clipFactor(whole, scale, options.maxGradNorm);
      // Memory that there may not be is asked for before anything is updated.
      const updates = rows.map(({ table, gradient }) => {
        const decays = options.weightDecay > 0 && table.decay;
        const update = prepareTableUpdate(table.tensor, gradient, this.tableMoments.get(table)!, decays);
        return { table, update };
      });
      if (store.weights && this.moments) {
        const { weights, weightsStart, masters, gradients, decayEnd, halves, size } = store;
        const { m, v } = this.moments;
        // Where decay or f16 copies end, the settings of the kernel change.
        const halvesEnd = halves?.size ?? 0;
        const bounds = [0, halvesEnd, decayEnd, size];
        for (const range of store.trainingRanges())
          bounds.slice(1).forEach((bound, n) => {
            const start = Math.max(range.start, bounds[n]!);
            const end = Math.min(range.end, bound);
            if (end <= start) return;
            for (const own of shard?.within({ start, end }) ?? [{ start, end, momentsStart: start }]) {
              // Masters lie side by side as their moments do, which begin with theirs.
              const divided = start < weightsStart;
              adamW(
                {
                  weights: divided ? masters! : weights,
                  gradients: gradients!,
                  moment1: m,
                  moment2: v,
                  factor,
                  halves: start < halvesEnd ? halves : undefined,
                },
                settings(start < decayEnd),
                {
                  ...{ start: own.start, count: own.end - own.start, momentsStart: own.momentsStart },
                  weightsStart: divided ? own.momentsStart : own.start - weightsStart,
                },
              );
            }
          });
        if (!shard) store.noteHalvesUpdated();
      }
      for (const { table, update } of updates) update(factor, settings(table.decay));
      // Those that do not lie in `halves`.
      if (!shard) store.refreshHalves();
      return norm;
    });
    // All ranks know of a step that does not happen.
    if (shard && Number.isFinite(Math.fround(given!)))
      this.toGather = store.tables.filter((table) => table.trains);
    store.zeroGradients();
    return stats.keep();
  }

  /** What a checkpoint holds beside `tensors`. */
  state(): AdamWState {
    return { updates: this.steps };
  }

  /**
   * The moments, as a checkpoint holds them, in the order of the store's parameters: of each part of a dense parameter
   * `NAME.exp_avg` and `NAME.exp_avg_sq` in its shape, where NAME is what weight files call the part; of a table
   * `NAME.rows`, u32 [n], the rows that ever had a gradient, in the order in which they came, and their moments, [n,C].
   * How many rows there are is as of this call: whoever writes the tensors does so before the next step. They are read
   * when asked for, in pieces where wanted, and do not change the optimiser. What was made not to train has none; what
   * was frozen since has what it had.
   * @throws RangeError where ranks divide the moments: `withTensors` has them there.
   */
  tensors(): StateTensor[] {
    if (this.shard) throw new RangeError('StoreAdamW.tensors: ranks divide the moments; use withTensors');
    return this.stateTensors(({ name, shape, spans }) => savedSpans(name, shape, spans));
  }

  /**
   * Calls `work` with these tensors, which are the same whoever has the moments; it may read divided weights too
   * (`Parameter.read`). Where ranks divide them all ranks call this, and rank 0 alone does its work, while the others, which
   * need not name any, give what it reads, of a tensor at a time.
   */
  async withTensors<T>(work: ((tensors: StateTensor[]) => Promise<T>) | undefined): Promise<T | undefined> {
    const { shard } = this;
    if (!shard) return work?.(this.tensors());
    const reads = new DividedReads(shard.communicator);
    const tensors = this.stateTensors((tensor) => reads.add(tensor));
    const weights = this.dividedWeights(shard).map(
      ([parameter, tensor]) => [parameter, reads.add(tensor)] as const,
    );
    if (shard.own.rank !== 0) {
      await reads.answer();
      return undefined;
    }
    try {
      for (const [parameter, { read }] of weights)
        parameter.readBy((start, count) => read(start, count) as Promise<Float32Array>);
      return await work?.(tensors);
    } finally {
      for (const [parameter] of weights) parameter.readBy(undefined);
      await reads.end();
    }
  }

  /** Of which this rank has a part in f32, where that lies. */
  private dividedWeights(shard: Shard): [Parameter, DividedTensor][] {
    const { parameters, masters } = this.store;
    return parameters.flatMap((parameter): [Parameter, DividedTensor][] => {
      const { name, shape, offset, isDivided } = parameter;
      if (!isDivided) return [];
      const spans = [{ tensor: masters!, start: 0, count: masters!.size }];
      return [[parameter, { name, shape, spans, placement: shard.placementOf(offset!) }]];
    });
  }

  /** In the order of a checkpoint. */
  private stateTensors(moment: (tensor: DividedTensor) => StateTensor): StateTensor[] {
    const result: StateTensor[] = [];
    for (const { name, shape, mean, square, placement, rows } of this.saved()) {
      if (rows) result.push(savedValues(`${name}.${ROWS}`, rows));
      result.push(
        moment({ name: `${name}.${MEAN}`, shape, spans: mean, placement }),
        moment({ name: `${name}.${SQUARE}`, shape, spans: square, placement }),
      );
    }
    return result;
  }

  /**
   * Goes on, to the bit, where the optimiser stopped that gave `state` and the tensors of `source`; the weights are the
   * caller's business. Whatever this one held is forgotten. Where ranks divide the moments each takes its own, whoever had
   * them before, of however many ranks. `where`: the file that the state is from, for messages.
   * @throws InputError naming the file and the tensor, when the source has not exactly the tensors of these parameters
   * in their shapes, or a value that no moment has, and for what is no state: then this optimiser is of no more use.
   */
  restore(state: unknown, source: StateSource, where: string): void {
    const { updates } = requireState(state, where);
    const rows = new Map<Parameter, Uint32Array>(
      this.store.tables.map((table) => {
        const name = partOf(table).name;
        return [table, savedRows(source, `${name}.${ROWS}`, table.tensor.rows)] as const;
      }),
    );
    const wanted = new Map<string, { shape: Shape; dtype: 'f32' | 'u32' }>();
    for (const { name, shape, table } of this.saved()) {
      const own = table && rows.get(table)!;
      if (own) wanted.set(`${name}.${ROWS}`, { shape: [own.length], dtype: 'u32' });
      for (const suffix of [MEAN, SQUARE])
        wanted.set(`${name}.${suffix}`, { shape: own ? [own.length, shape[1]!] : shape, dtype: 'f32' });
    }
    requireTensors(source, wanted);
    for (const [table, own] of rows) this.tableMoments.get(table)!.restart(own);
    for (const { name, mean, square, placement } of this.saved()) {
      const own = { placement, rank: this.shard?.own.rank ?? 0 };
      restoreSpans(source, `${name}.${MEAN}`, mean, own);
      restoreSpans(source, `${name}.${SQUARE}`, square, { ...own, least: 0 });
    }
    this.steps = updates;
  }

  /** Where the moments of each part and of each table lie. */
  private *saved(): Generator<SavedMoments> {
    const { shard } = this;
    for (const parameter of this.store.parameters) {
      const moments = this.tableMoments.get(parameter);
      if (moments) {
        const rows = moments.rows();
        const { cols } = parameter.tensor;
        yield {
          ...{ name: partOf(parameter).name, shape: [rows.length, cols] },
          ...{ mean: moments.spans('moment1'), square: moments.spans('moment2') },
          ...{ placement: shard ? placementOfRows(cols, shard.own.size) : WHOLE },
          ...{ table: parameter, rows },
        };
      } else if (parameter.offset !== undefined)
        for (const { name, start, shape } of parameter.parts) {
          const first = parameter.offset + start;
          const spans = (tensor: Tensor): Span[] => [
            shard ? { tensor, start: 0, count: shard.count } : { tensor, start: first, count: sizeOf(shape) },
          ];
          yield {
            ...{ name, shape, mean: spans(this.moments!.m), square: spans(this.moments!.v) },
            placement: shard?.placementOf(first) ?? WHOLE,
          };
        }
    }
  }

  /** Frees all moments. */
  dispose(): void {
    this.moments?.m.dispose();
    this.moments?.v.dispose();
    for (const moments of this.tableMoments.values()) moments.dispose();
  }
}

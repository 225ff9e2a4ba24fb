/**
 * A training run: a model, its optimiser, the loss scale, what is drawn at random and what was done so far. One step is
 *   for each of `window` batches: forward, backward, gradients added up;  clip, AdamW;  loss scale.
 * The trainer, the memory plan, the benchmark and parity drive this one object.
 *
 * With several ranks each has batches of its own, and what they do alike follows from sums over ranks: gradients are
 * summed while the last batch of a step goes backward (ranks/reducer.ts), then one small exchange gives all of them the
 * loss, the norm, and whether one of them wants to stop.
 *
 * Batches do not wait for the GPU: their losses stay on the device, and a step reads them back once, together with the
 * gradient norm and whether the update was skipped. In f32 nothing of the next step depends on those numbers, so that
 * the host records it while the GPU is still busy with this one; with a loss scale the next step waits for them.
 */

import { neverStops, type StopRequest, untilStopped } from '../../console/interruption.js';
import type { RowPlace } from '../../data/rows.js';
import { MachineError } from '../../errors.js';
import type { Fields } from '../../files/json-fields.js';
import { globalNorm } from '../../kernels/adamw.js';
import type { M3Model } from '../../models/m3.js';
import type { LossScaling } from '../../optim/loss-scale.js';
import { type LossScaleEvent, LossScaler, type LossScalerState } from '../../optim/loss-scale.js';
import type { Schedule } from '../../optim/schedules.js';
import type { StateSource } from '../../optim/state.js';
import type { Communicator, WireFormat } from '../../ranks/communicator.js';
import { inOrder } from '../../ranks/rounds.js';
import { SingleCommunicator } from '../../ranks/single.js';
import { alikeOnAllRanks } from '../../ranks/together.js';
import { streamKey } from '../../tensor/random.js';
import { RandomStreams } from '../../tensor/random-streams.js';
import { scope } from '../../tensor/scope.js';
import { Tensor } from '../../tensor/tensor.js';
import { withDefaults } from '../losses/m3-loss.js';
import { StoreAdamW, type StoreAdamWOptions } from '../optimizer.js';
import type { AdamWState } from '../optimizer-state.js';
import { GradientReducer } from '../ranks/reducer.js';
import { Shard } from '../ranks/shard.js';
import { anyRank, joinedNumbers } from '../ranks/step-numbers.js';
import {
  batchScoresOf,
  type LossName,
  lossesOf,
  microBatch,
  ownScoresOf,
  type StepSettings,
} from '../step/train-step.js';
import { type Cursor, readCursor, START } from './cursor.js';
import { Evaluation } from './evaluation.js';
import type { RankedBatch, RunBatch, StepInFlight, TakenStep } from './step.js';
import { adviceAfter, meanOf, type StepNumbers } from './step-outcome.js';
import { StepParts } from './step-parts.js';
import { RunTally, type TallyState } from './tally.js';

export interface RunSettings {
  readonly optimizer: StoreAdamWOptions;
  readonly step: StepSettings;
  /** Batches of a step. */
  readonly window: number;
  /** By updates that were done. */
  readonly learningRate: Schedule;
  /** Null: f32, where nothing is scaled and an overflow ends the run. */
  readonly lossScaling: LossScaling | null;
  /** Of dropout; null: none is drawn. */
  readonly seed: number | null;
  /** Self-distillation begins after so many batches and one more; null: never. */
  readonly selfDistillAfter: number | null;
  readonly communicator?: Communicator | undefined;
  /** In which gradients travel between ranks; f32 by default. */
  readonly wire?: WireFormat | undefined;
  /** Ranks divide the optimiser's state among them: moments, and in mixed precision f32 weights (ranks/shard.ts). */
  readonly shardOptimizer?: boolean | undefined;
}

/** As checkpoints keep it. */
export interface RunState {
  /** Steps that were taken. */
  readonly step: number;
  readonly cursor: Cursor;
  /** Batches so far, where self-distillation counts them. */
  readonly forwards: number;
  /** Uses of randomness so far. */
  readonly random: number;
  readonly optimizer: AdamWState;
  readonly loss_scale: LossScalerState;
  readonly tally: TallyState;
}

export class TrainingRun {
  readonly optimizer: StoreAdamW;
  readonly scaler: LossScaler;
  readonly tally = new RunTally();
  /** Steps whose numbers are known. */
  completed = 0;
  /** Batches so far, where self-distillation counts them. */
  forwards = 0;
  cursor: Cursor = START;
  /** Where there are several ranks. */
  readonly reducer: GradientReducer | undefined;
  private readonly random: RandomStreams | undefined;
  /** [window + 2 + window·parts] f32: the loss of each batch of the step, the norm, whether the update was skipped; and parts. */
  private readonly numbers: Tensor;
  private readonly parts: StepParts;
  /** Batches whose gradients are in the model. */
  private gathered: (readonly RowPlace[])[] = [];
  /** Of them. */
  private tokens = 0;
  /** Steps that the GPU was given. */
  private begun = 0;
  /** Some rank wants to stop, as all learned with the numbers of the last step. */
  private stopAgreed = false;

  constructor(
    readonly model: M3Model,
    readonly settings: RunSettings,
  ) {
    const { communicator, seed, wire, shardOptimizer } = settings;
    let shard: Shard | undefined;
    if (communicator && communicator.size > 1) {
      this.reducer = new GradientReducer(model.store, communicator, { wire, ownPartsOnly: shardOptimizer });
      if (shardOptimizer) shard = new Shard(communicator, this.reducer.buckets);
    }
    this.optimizer = new StoreAdamW(model.store, settings.optimizer, shard);
    this.scaler = new LossScaler(settings.lossScaling);
    if (seed !== null) this.random = dropoutStreams(seed, communicator?.rank ?? 0);
    const { window, step } = settings;
    this.parts = new StepParts(window, window + 2, step.unified ?? false, settings.selfDistillAfter !== null);
    this.numbers = Tensor.zeros(model.gpu, [window + 2 + this.parts.size], 'f32', 'workspace').keep();
  }

  // ---- one step ------------------------------------------------------------------------------------------

  /** Adds the gradients of one batch to the model's and frees the batch. Does not wait for the GPU. */
  async accumulate({ rows = [], next, ...batch }: RunBatch): Promise<void> {
    const { model, settings, random } = this;
    const { selfDistillAfter, communicator } = settings;
    if (this.gathered.length === settings.window)
      throw new RangeError(`a step of this run takes ${settings.window} batches`);
    const last = this.gathered.length === settings.window - 1;
    const selfDistill = selfDistillAfter !== null && this.forwards++ > selfDistillAfter;
    try {
      await scope(async () => {
        const loss = await microBatch(model, { ...batch, selfDistill }, settings.step, {
          ...{ random, lossScale: this.scaler.scale, communicator },
          onBackward: last ? this.reducer?.arm() : undefined,
          onParts: (parts) => this.parts.gather(this.numbers, this.gathered.length, parts),
        });
        this.numbers.copyFrom(loss, this.gathered.length);
      });
    } finally {
      batch.tokens.dispose();
    }
    this.gathered.push(rows);
    this.tokens += batch.tokens.packed.tokens;
    if (next) this.cursor = next;
  }

  /** Ends a step with the gradients of the batches since the last one; waits for its numbers. */
  async update(): Promise<TakenStep> {
    return this.settle(await this.endStep());
  }

  /** `wishes`: to stop after this step; of interest to other ranks only. */
  private async endStep(wishes: () => boolean = () => false): Promise<StepInFlight> {
    const began = performance.now();
    const { optimizer, settings, reducer, model } = this;
    // Of a step in flight it is taken that it is applied: with a loss scale none is.
    const learningRate = settings.learningRate(optimizer.steps);
    const ranks = settings.communicator?.size ?? 1;
    const scale = 1 / (this.gathered.length * this.scaler.scale * ranks);
    const step = { number: this.begun + 1, learningRate, rows: this.gathered };
    const numbers = reducer
      ? await this.updateAlike(reducer, learningRate, scale, wishes)
      : model.gpu.phase('optimizer', () => this.updateAlone(learningRate, scale));
    this.begun++;
    this.forget();
    return { ...step, numbers, seconds: (performance.now() - began) / 1000 };
  }

  /** No batch is gathered: those that were are of a step that was begun, or of one that never will be. */
  private forget(): void {
    this.gathered = [];
    this.tokens = 0;
    this.parts.clear();
  }

  private updateAlone(learningRate: number, scale: number): StepInFlight['numbers'] {
    const { optimizer, numbers, settings, gathered, tokens } = this;
    const partsOf = this.parts.reading();
    const stats = optimizer.apply(learningRate, scale);
    numbers.copyFrom(stats, settings.window);
    stats.dispose();
    const reading = numbers.beginRead();
    return async () => {
      const read = (await reading.wait()) as Float32Array;
      const losses = read.subarray(0, gathered.length);
      const [norm, skip] = read.subarray(settings.window);
      if (skip !== 0) optimizer.noteSkipped();
      return { losses, loss: meanOf(losses), norm: norm!, skipped: skip !== 0, parts: partsOf(read), tokens };
    };
  }

  /** What all ranks know is waited for before the update: then each does the same. */
  private async updateAlike(
    reducer: GradientReducer,
    learningRate: number,
    scale: number,
    wishes: () => boolean,
  ): Promise<StepInFlight['numbers']> {
    const { optimizer, settings, gathered, tokens } = this;
    const { gpu, store } = this.model;
    const partsOf = this.parts.reading();
    const { losses, reduction, joint, names } = await gpu.phase('reduce', async () => {
      const reading = this.numbers.beginRead();
      const reduction = await reducer.finish();
      const own = await optimizer.partialNorm(reducer.own);
      const read = (await reading.wait()) as Float32Array;
      const losses = read.subarray(0, gathered.length);
      const parts = partsOf(read);
      // Ranks take their batches alike, and so have the same parts.
      const others = [tokens, ...parts.values()];
      const told = { loss: meanOf(losses), norm: own, stop: wishes(), others };
      const joint = await joinedNumbers(settings.communicator!, told);
      return { losses, reduction, joint, names: [...parts.keys()] };
    });
    const { loss, norm, stop, notFinite } = joint;
    const [meanTokens, ...means] = joint.others;
    const told = {
      parts: new Map(names.map((name, n) => [name, means[n]!])),
      tokens: Math.round(meanTokens! * settings.communicator!.size),
    };
    this.stopAgreed = stop;
    const skipped = !Number.isFinite(norm);
    if (skipped) store.zeroGradients();
    else
      await gpu.phase('optimizer', () => {
        optimizer.apply(learningRate, scale, { norm }).dispose();
        return optimizer.gatherWeights();
      });
    const scaled = Math.fround(norm * Math.fround(scale));
    return async () => ({ losses, loss, norm: scaled, skipped, notFinite, reduction, ...told });
  }

  /** Waits for the numbers of a step. @throws MachineError for one after which the run cannot go on. */
  private async settle(step: StepInFlight): Promise<TakenStep> {
    const { scaler, tally } = this;
    const { number, learningRate } = step;
    const asked = performance.now();
    const numbers = await step.numbers();
    const seconds = step.seconds + (performance.now() - asked) / 1000;
    const { loss, norm, skipped, reduction, parts, tokens } = numbers;
    this.completed++;
    let event: LossScaleEvent | undefined;
    try {
      event = scaler.update(skipped);
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      throw await this.failed(`step ${number}, loss ${loss}: ${error.message}`, step, numbers);
    }
    if (!skipped && !Number.isFinite(loss))
      throw await this.failed(`loss ${loss} at step ${number}: nothing of this step is saved`, step, numbers);
    tally.step(skipped, learningRate, norm);
    return {
      ...{ number, loss, norm, skipped, learningRate, lossScale: scaler.scale, event, parts, tokens },
      seconds,
      ...(reduction ? { reduction } : {}),
    };
  }

  /** All ranks come to it alike. */
  private async failed(
    what: string,
    { learningRate, rows }: StepInFlight,
    numbers: StepNumbers,
  ): Promise<MachineError> {
    const { settings, tally, scales } = this;
    const advice = await adviceAfter(
      {
        ...{
          moved: tally.moved,
          learningRate,
          temperature: withDefaults(settings.step).temperature,
          half: scales,
        },
        ...{ rows, numbers, weightsFinite: () => this.weightsFinite() },
      },
      settings.communicator,
    );
    return alikeOnAllRanks(new MachineError(`${what}; ${advice}`));
  }

  /** One step, its numbers waited for. For steps one after the other take `steps`. */
  async step(batches: AsyncIterator<RunBatch>): Promise<TakenStep> {
    return this.settle((await this.begin(batches))!);
  }

  /** Undefined when `stops` came true before the step had all its batches: the run is then where it was before. */
  private async begin(
    batches: AsyncIterator<RunBatch>,
    stops: () => boolean = () => false,
  ): Promise<StepInFlight | undefined> {
    if (this.stopAgreed) return undefined;
    const began = performance.now();
    const end = this.model.gpu.openPhase(`step ${this.begun + 1}`);
    const { cursor, forwards, random } = this;
    const drawn = random?.counter ?? 0;
    while (this.gathered.length < this.settings.window) {
      // Ranks stop between steps, when all know that one of them is to.
      if (!this.reducer && stops()) {
        this.model.store.zeroGradients();
        this.forget();
        Object.assign(this, { cursor, forwards });
        if (random) random.counter = drawn;
        end();
        return undefined;
      }
      const { value, done } = await batches.next();
      if (done) throw new RangeError(`no batch for step ${this.begun + 1}`);
      await this.accumulate(value);
    }
    const step = await this.endStep(stops);
    end();
    return { ...step, seconds: (performance.now() - began) / 1000 };
  }

  // ---- many steps ----------------------------------------------------------------------------------------

  /**
   * The steps up to number `last`, each as soon as its numbers are known. When one of which `pausesAfter` is true is
   * given, or the last one, the GPU has done no more than it: the model may be looked at and saved. Otherwise the next
   * one may have begun. Once `stops` is true, which is asked before each batch, no more are given than the GPU was
   * given whole: then too the model may be looked at and saved. Of several ranks all stop after the same step when
   * `stops` is true on one of them; there it is asked once a step, and before the first.
   * @throws InputError of a batch, MachineError for a step after which the run cannot go on.
   */
  async *steps(
    batches: AsyncIterator<RunBatch>,
    last: number,
    pausesAfter: (step: number) => boolean = () => false,
    stops: () => boolean = () => false,
  ): AsyncGenerator<TakenStep, void, undefined> {
    let before: StepInFlight | undefined;
    const { communicator } = this.settings;
    try {
      this.stopAgreed = this.reducer !== undefined && (await anyRank(communicator!, stops()));
      while (this.begun < last) {
        const next = await this.begin(batches, stops).catch((error: unknown) => ({ error }));
        // What went wrong in a step is told after what the one before it came to.
        if (before) yield await this.settle(before);
        before = undefined;
        if (!next) return;
        if ('error' in next) throw next.error;
        // Ranks know the numbers already.
        if (this.reducer || this.scales || next.number === last || pausesAfter(next.number))
          yield await this.settle(next);
        else before = next;
      }
    } finally {
      await batches.return?.();
    }
  }

  /** The loss is scaled, and a step may be skipped. */
  get scales(): boolean {
    return this.settings.lossScaling !== null;
  }

  // ---- beside the steps ----------------------------------------------------------------------------------

  /**
   * The loss on other batches, and how the scores rank the candidates of rows; all batches are freed. No dropout, no
   * self-distillation, no gradients. Of several ranks each gives its share (`shareOf`), and all get the whole. Once `stop`
   * is requested on one of them no other batch is begun, and the evaluation is `stopped`.
   */
  async evaluate(
    batches: AsyncIterable<RunBatch> | Iterable<RunBatch>,
    candidates: AsyncIterable<RankedBatch> | Iterable<RankedBatch> = [],
    stop: StopRequest = neverStops,
  ): Promise<Evaluation> {
    const ranks = this.settings.communicator ?? new SingleCommunicator();
    const evaluation = new Evaluation();
    const ofAll = <T>(own: AsyncIterable<T>) =>
      inOrder(
        ranks,
        own,
        () => stop.requested,
        () => {
          evaluation.stopped = true;
          // Then no step is begun either; a run on its own asks for itself.
          this.stopAgreed = this.reducer !== undefined;
        },
      );
    for await (const { losses, rows } of ofAll(this.evaluated(untilStopped(batches, stop))))
      evaluation.add(losses, rows);
    if (evaluation.stopped) return evaluation;
    for await (const { parts, group, scores } of ofAll(this.scored(untilStopped(candidates, stop))))
      evaluation.rank(parts, group, scores);
    return evaluation;
  }

  /** Scores of each query with the passages of the batch, which is freed; no dropout, no gradients. */
  async scoresOf({ rows: _, next: __, ...batch }: RunBatch): Promise<Map<LossName, Float32Array>> {
    try {
      return await batchScoresOf(this.model, { ...batch, selfDistill: false }, this.settings.step);
    } finally {
      batch.tokens.dispose();
    }
  }

  private async *evaluated(batches: AsyncIterable<RunBatch>) {
    const { model, settings } = this;
    for await (const { rows = [], next: _, ...batch } of batches)
      try {
        yield { losses: await lossesOf(model, { ...batch, selfDistill: false }, settings.step), rows };
      } finally {
        batch.tokens.dispose();
      }
  }

  private async *scored(candidates: AsyncIterable<RankedBatch>) {
    const { model, settings } = this;
    for await (const { parts, ...batch } of candidates)
      try {
        yield { parts, group: batch.group, scores: await ownScoresOf(model, batch, settings.step) };
      } finally {
        batch.tokens.dispose();
      }
  }

  /**
   * Where the run stands, as JSON; the weights and the optimiser's tensors (`optimizer.tensors()`) belong to it.
   * @throws MachineError while a step is on its way.
   */
  state(): RunState {
    if (this.begun !== this.completed || this.gathered.length > 0)
      throw new MachineError(`step ${this.begun} is on its way: the run has no state between steps`);
    return {
      step: this.completed,
      cursor: this.cursor,
      forwards: this.forwards,
      random: this.random?.counter ?? 0,
      optimizer: this.optimizer.state(),
      loss_scale: this.scaler.state(),
      tally: this.tally.state(),
    };
  }

  /**
   * Goes on, to the bit, where the run stood that gave `state` and the tensors of `tensors`, whose weights the model has.
   * @throws InputError naming what does not fit; the run is then of no more use.
   */
  restore(state: Fields, tensors: StateSource): void {
    const step = state.count('step');
    this.optimizer.restore(state.value('optimizer'), tensors, state.where);
    this.scaler.restore(state.fields('loss_scale'));
    this.tally.restore(state.fields('tally'), step);
    if (this.tally.applied !== this.optimizer.steps)
      throw state.fault('optimizer', `of ${this.tally.applied} updates, as "tally" has it`);
    this.cursor = readCursor(state.fields('cursor'));
    this.forwards = state.count('forwards');
    if (this.random) this.random.counter = state.count('random');
    this.completed = this.begun = step;
  }

  /** Of what trains on this rank's device; where ranks have parts of it all call this, and all get the same. */
  async weightsFinite(): Promise<boolean> {
    const { masters, weights, tables } = this.model.store;
    const sources = [masters, weights, ...tables.map((table) => table.tensor)].filter(
      (tensor) => tensor !== undefined && tensor.size > 0,
    ) as Tensor[];
    const finite = sources.length === 0 || Number.isFinite(await scope(() => globalNorm(sources).item()));
    return masters ? !(await anyRank(this.settings.communicator!, !finite)) : finite;
  }

  /** Frees what the run made; the model is its maker's. */
  dispose(): void {
    this.optimizer.dispose();
    this.numbers.dispose();
  }
}

/** Dropout of each rank, drawn apart from that of the others; rank 0 draws what a run on its own does. */
export function dropoutStreams(seed: number, rank: number): RandomStreams {
  return new RandomStreams(rank === 0 ? seed : (streamKey(seed, [DROPOUT_OF_RANK, rank])[0] as number));
}

/** Keeps it apart from whatever else is drawn from the seed. */
const DROPOUT_OF_RANK = 0x72616e6b;
